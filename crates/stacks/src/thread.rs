//! What one thread is doing right now, as the kernel tells in `/proc/PID/task/TID`: no signal, no pause, and for
//! threads of the same user no privilege.

mod open_file;
mod watched;

use std::fs::File;
use std::io::Read;

use crate::handler_stack::HandlerStack;
pub use crate::proc_file::{ProcFile, ReadError, StateError, is_for_want_of_descriptors};
use crate::process::Process;
use crate::seccomp;
use open_file::OpenFile;
pub use watched::Watched;

/// Which thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ThreadRef {
    /// The process.
    pub process: Process,
    /// The thread's id, as the kernel counts: not the `pthread_t`, not Rust's `ThreadId`.
    pub tid: u32,
    /// Where its signal handlers run, if it said so: without, it is sent no signal.
    pub handler_stack: Option<HandlerStack>,
}

/// What a thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// On a CPU, or waiting for one: it could go on. Where its code is cannot be read without asking the thread.
    Running,
    /// Blocked in a system call.
    InSyscall {
        /// The call's number on this architecture.
        number: u64,
        /// Its arguments: `rdi`, `rsi`, `rdx`, `r10`, `r8`, `r9`.
        args: [u64; 6],
        /// The stack pointer.
        sp: u64,
        /// The instruction after `syscall`.
        pc: u64,
    },
    /// Blocked, but not in a system call: in a page fault, or stopped by a signal or a debugger.
    Stopped {
        /// The stack pointer.
        sp: u64,
        /// The instruction that it is at.
        pc: u64,
    },
}

/// How a thread was scheduled since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Time on a CPU, in nanoseconds.
    pub on_cpu_ns: u64,
    /// Time ready to run without getting a CPU, in nanoseconds.
    pub run_delay_ns: u64,
    /// How often it got a CPU. Unchanged between two looks at a thread that was blocked in both: it did not run between.
    pub slices: u64,
}

/// What `status` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The scheduler's state: `R` running, `S` sleeping, `D` waiting for a device, `T` stopped, `t` traced, `Z` dead.
    pub letter: char,
    /// How often it gave up the CPU: each time that it blocked.
    pub voluntary_switches: u64,
    /// How often the CPU was taken from it.
    pub involuntary_switches: u64,
    /// The signals that wait for this thread; bit 0 is signal 1.
    pub pending_signals: u64,
    /// The signals that this thread blocks; bit 0 is signal 1.
    pub blocked_signals: u64,
    /// The mode of its seccomp filter: 0 without, 2 with one; `None` where the kernel has none.
    pub seccomp: Option<u8>,
}

impl Process {
    /// The numbers of its threads.
    ///
    /// # Errors
    /// When it is gone.
    pub fn tids(&self) -> std::io::Result<Vec<u32>> {
        let listed = std::fs::read_dir(self.file("task").to_string())?;
        Ok(listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    /// One of its threads.
    pub fn thread(self, tid: u32) -> ThreadRef {
        ThreadRef { process: self, tid, handler_stack: None }
    }
}

impl ThreadRef {
    /// The thread that asks. It asks for the process as well: who has that asks it for the thread [`current_tid`].
    pub fn current() -> ThreadRef {
        ThreadRef { handler_stack: HandlerStack::of_current_thread(), ..Process::current().thread(current_tid()) }
    }

    /// Whether it is the one that asks.
    pub fn is_current(&self) -> bool {
        self.process.is_own() && self.tid == current_tid()
    }

    /// What there is to say where something else than its files told why it cannot be looked at.
    pub(crate) fn unreadable(&self, why: StateError) -> ReadError {
        ReadError { file: self.file("status"), why }
    }

    fn file(&self, name: &'static str) -> ProcFile {
        self.process.file_of_thread(self.tid, name)
    }

    fn open(&self, name: &'static str) -> Result<File, ReadError> {
        let file = self.file(name);
        let opened = if cfg!(not(supported)) {
            Err(StateError::Unsupported)
        } else {
            File::open(file.to_string()).map_err(StateError::from)
        };
        opened.map_err(|why| ReadError { file, why })
    }

    /// What is in one of its files, with at most the bytes that fit, as `parse` takes it apart. Of another process it counts only
    /// once that is [confirmed](Process::confirm).
    fn read<T>(
        &self,
        name: &'static str,
        buffer: &mut [u8],
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ReadError> {
        let mut opened = self.open(name)?;
        let read = fill(&mut opened, buffer).and_then(|text| parse(text).ok_or(StateError::Unrecognised));
        read.map_err(|why| ReadError { file: self.file(name), why })
    }

    /// The same, confirmed.
    fn read_confirmed<T>(
        &self,
        name: &'static str,
        buffer: &mut [u8],
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ReadError> {
        let read = self.read(name, buffer, parse)?;
        self.process.confirm()?;
        Ok(read)
    }
}

/// The kernel's number of the thread that asks.
#[cfg(supported)]
pub fn current_tid() -> u32 {
    // SAFETY: gettid takes nothing, changes nothing and cannot fail.
    unsafe { libc::gettid() }.cast_unsigned()
}

/// The kernel's number of the thread that asks, which is not known here.
#[cfg(not(supported))]
pub fn current_tid() -> u32 {
    0
}

fn fill<'buffer>(opened: &mut File, buffer: &'buffer mut [u8]) -> Result<&'buffer str, StateError> {
    let mut length = 0;
    while length < buffer.len() {
        match opened.read(&mut buffer[length..])? {
            0 => break,
            more => length += more,
        }
    }
    std::str::from_utf8(&buffer[..length]).map_err(|_| StateError::Unrecognised)
}

/// What a thread is doing right now.
///
/// # Errors
/// See [`StateError`].
///
/// ```
/// # #[cfg(supported)] {
/// use pollscope_stacks::thread::{State, ThreadRef, read_state};
/// // Anyone who asks is in the system call that asks: `read`, number 0.
/// assert!(matches!(read_state(&ThreadRef::current()), Ok(State::InSyscall { number: 0, .. } | State::Running)));
/// # }
/// ```
pub fn read_state(thread: &ThreadRef) -> Result<State, ReadError> {
    thread.read_confirmed("syscall", &mut [0; 256], parse_state)
}

/// As [`read_state`], but not confirmed.
pub(crate) fn state(thread: &ThreadRef) -> Result<State, ReadError> {
    thread.read("syscall", &mut [0; 256], parse_state)
}

/// How often it got a CPU, not confirmed; `None` where the kernel does not count it.
pub(crate) fn slices(thread: &ThreadRef) -> Option<u64> {
    thread.read("schedstat", &mut [0; 128], parse_schedule).ok().map(|schedule| schedule.slices)
}

/// A thread's time on the CPU in nanoseconds, up to now, by its own clock: of this process only, and not under a
/// [filter](crate::seccomp) that may end the process for asking.
#[cfg(supported)]
pub(crate) fn cpu_time(thread: &ThreadRef) -> Option<u64> {
    // The kernel's CPUCLOCK_SCHED of one thread, which the C library's macros do not make.
    const SCHED_OF_THREAD: i32 = 2 | 4;
    if !thread.process.is_own() || !seccomp::may_call() {
        return None;
    }
    let clock = !thread.tid.cast_signed() << 3 | SCHED_OF_THREAD;
    clock_ns(clock)
}

/// A thread's time on the CPU, which has no clock of its own here.
#[cfg(not(supported))]
pub(crate) fn cpu_time(_thread: &ThreadRef) -> Option<u64> {
    None
}

/// A thread's time on the CPU in the kernel, in nanoseconds, to within [`KERNEL_TICK_NS`]: how time on the CPU divides, the kernel
/// estimates from where its ticks find the thread.
///
/// # Errors
/// See [`StateError`].
pub fn read_kernel_time(thread: &ThreadRef) -> Result<u64, ReadError> {
    let ticks = |stat: &str| field_of_stat(stat, 15)?.parse::<u64>().ok();
    Ok(thread.read_confirmed("stat", &mut [0; 1024], ticks)?.saturating_mul(KERNEL_TICK_NS))
}

/// How often it waited for a page to be read from a disk.
///
/// # Errors
/// See [`StateError`].
pub fn read_major_faults(thread: &ThreadRef) -> Result<u64, ReadError> {
    thread.read_confirmed("stat", &mut [0; 1024], |stat| field_of_stat(stat, 12)?.parse().ok())
}

/// For how long it is there, in nanoseconds, at most: that is [`KERNEL_TICK_NS`] too much at the worst. `None` where that is not told,
/// or may not be asked for.
#[cfg(supported)]
pub fn read_age(thread: &ThreadRef) -> Option<u64> {
    let ticks = |stat: &str| field_of_stat(stat, 22)?.parse::<u64>().ok();
    let began = thread.read_confirmed("stat", &mut [0; 1024], ticks).ok()?.saturating_mul(KERNEL_TICK_NS);
    // What a thread's begin is counted by.
    seccomp::may_call().then(|| clock_ns(libc::CLOCK_BOOTTIME))?.map(|now| now.saturating_sub(began))
}

/// For how long it is there, which nobody asks here.
#[cfg(not(supported))]
pub fn read_age(_thread: &ThreadRef) -> Option<u64> {
    None
}

#[cfg(supported)]
fn clock_ns(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel only writes to `time`.
    let read = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (read == 0).then(|| time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned())
}

/// What `stat` counts time in, on every Linux on x86-64: a hundredth of a second.
pub const KERNEL_TICK_NS: u64 = 10_000_000;

/// A field of `stat`, from 1. The second one is a name in parentheses, in which anything can be.
fn field_of_stat(stat: &str, number: usize) -> Option<&str> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(number.checked_sub(3)?)
}

/// The CPU that a thread is on, or was on last.
#[cfg(supported)]
pub(crate) fn cpu(thread: &ThreadRef) -> Result<usize, ReadError> {
    thread.read_confirmed("stat", &mut [0; 1024], |stat| field_of_stat(stat, 39)?.parse().ok())
}

/// Reads one thread's [`Schedule`] again and again, at a tenth of the cost of [`read_schedule`]: its file stays open.
///
/// ```
/// # #[cfg(supported)] {
/// use pollscope_stacks::thread::{Scheduled, StateError, ThreadRef};
/// let (tell, hear) = std::sync::mpsc::channel();
/// let (go_on, wait) = std::sync::mpsc::channel::<()>();
/// let thread = std::thread::spawn(move || (tell.send(ThreadRef::current()).unwrap(), wait.recv()));
/// let other = hear.recv().unwrap();
/// let scheduled = Scheduled::open(&other).unwrap();
/// while !scheduled.is_not_waiting(&other).unwrap() {}
/// assert!(scheduled.read().unwrap().slices > 0);
/// drop(go_on);
/// thread.join().unwrap();
/// // The kernel takes a moment longer than `join`. Another thread of the same number is not mistaken for it.
/// while !scheduled.read().is_err_and(|error| error.why == StateError::NotFound) {}
/// # }
/// ```
#[derive(Debug)]
pub struct Scheduled {
    schedstat: OpenFile,
    stat: OpenFile,
}

impl Scheduled {
    /// Opens the thread's files.
    ///
    /// # Errors
    /// As [`read_schedule`].
    pub fn open(thread: &ThreadRef) -> Result<Scheduled, ReadError> {
        let opened =
            Scheduled { schedstat: OpenFile::open(thread, "schedstat")?, stat: OpenFile::open(thread, "stat")? };
        // Opened of this process, they stay this process's.
        thread.process.confirm()?;
        Ok(opened)
    }

    /// How it was scheduled up to now.
    ///
    /// # Errors
    /// [`StateError::NotFound`] once the thread ended.
    pub fn read(&self) -> Result<Schedule, ReadError> {
        self.schedstat.read_again(&mut [0; 128], parse_schedule)
    }

    /// Whether it is sure that a wait for a CPU that is under way now began after this was asked: it waited for something else, or
    /// ran.
    ///
    /// # Errors
    /// As [`Scheduled::read`].
    pub fn is_not_waiting(&self, thread: &ThreadRef) -> Result<bool, ReadError> {
        let before = cpu_time(thread);
        let is_blocked = |stat: &str| Some(matches!(field_of_stat(stat, 3)?, "S" | "D"));
        let is_blocked = self.stat.read_again(&mut [0; 1024], is_blocked)?;
        Ok(is_blocked || before.zip(cpu_time(thread)).is_some_and(|(before, after)| after > before))
    }
}

/// Whether one thread runs, asked again and again: between the kernel's answer and the caller's next step lies as little as can be.
///
/// `syscall` tells less. Its `running` is also the answer for a thread that blocked twice while the kernel waited for it to be off
/// the CPU, which can take until the next tick of the clock.
#[cfg(supported)]
#[derive(Debug)]
pub(crate) struct Runs(OpenFile);

/// One answer. The kernel writes the count last: up to then the thread did not block once more.
#[cfg(supported)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// See [`Status::letter`].
    pub(crate) letter: char,
    /// See [`Status::voluntary_switches`].
    pub(crate) times_blocked: u64,
}

#[cfg(supported)]
impl Runs {
    pub(crate) fn open(thread: &ThreadRef) -> Result<Runs, ReadError> {
        OpenFile::open(thread, "status").map(Runs)
    }

    pub(crate) fn read(&self) -> Result<Run, ReadError> {
        self.0.read_again(&mut [0; STATUS], parse_run)
    }
}

/// More than `status` has.
const STATUS: usize = 8192;

#[cfg(supported)]
fn parse_run(text: &str) -> Option<Run> {
    let (_, state) = text.split_once("\nState:\t")?;
    let (_, last) = text.rsplit_once("\nvoluntary_ctxt_switches:\t")?;
    Some(Run { letter: state.chars().next()?, times_blocked: last.lines().next()?.parse().ok()? })
}

/// How it was scheduled.
///
/// # Errors
/// See [`StateError`]; a kernel without the accounting gives `NotFound`.
pub fn read_schedule(thread: &ThreadRef) -> Result<Schedule, ReadError> {
    thread.read_confirmed("schedstat", &mut [0; 128], parse_schedule)
}

/// Its scheduler state, context switches and signals.
///
/// # Errors
/// See [`StateError`].
pub fn read_status(thread: &ThreadRef) -> Result<Status, ReadError> {
    thread.read_confirmed("status", &mut [0; STATUS], parse_status)
}

/// The kernel function that it waits in; `None` when it does not wait, or the kernel does not say.
///
/// # Errors
/// See [`StateError`].
pub fn read_wchan(thread: &ThreadRef) -> Result<Option<String>, ReadError> {
    thread.read_confirmed("wchan", &mut [0; 256], |text| {
        let name = text.trim();
        Some((!name.is_empty() && name != "0").then(|| name.to_owned()))
    })
}

/// `running`, `-1 SP PC`, or `NUMBER ARG×6 SP PC`.
fn parse_state(text: &str) -> Option<State> {
    let mut words = text.split_ascii_whitespace();
    let first = words.next()?;
    if first == "running" {
        return Some(State::Running);
    }
    let mut hexadecimal = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    if first == "-1" {
        return Some(State::Stopped { sp: hexadecimal()?, pc: hexadecimal()? });
    }
    let number = first.parse().ok()?;
    let mut args = [0; 6];
    for argument in &mut args {
        *argument = hexadecimal()?;
    }
    Some(State::InSyscall { number, args, sp: hexadecimal()?, pc: hexadecimal()? })
}

fn parse_schedule(text: &str) -> Option<Schedule> {
    let mut numbers = text.split_ascii_whitespace().map(|word| word.parse().ok());
    Some(Schedule { on_cpu_ns: numbers.next()??, run_delay_ns: numbers.next()??, slices: numbers.next()?? })
}

fn parse_status(text: &str) -> Option<Status> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
            .filter(|v| !v.is_empty())
    };
    let mask = |name| u64::from_str_radix(field(name)?, 16).ok();
    Some(Status {
        letter: field("State")?.chars().next()?,
        voluntary_switches: field("voluntary_ctxt_switches")?.parse().ok()?,
        involuntary_switches: field("nonvoluntary_ctxt_switches")?.parse().ok()?,
        pending_signals: mask("SigPnd")?,
        blocked_signals: mask("SigBlk")?,
        seccomp: seccomp::mode(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_state_is_read() {
        let write = "1 0x3 0x7f00 0x1000 0x0 0x0 0x0 0x7ffd10 0x7f11\n";
        let args = [3, 0x7f00, 0x1000, 0, 0, 0];
        for (text, expected) in [
            ("running\n", Some(State::Running)),
            (write, Some(State::InSyscall { number: 1, args, sp: 0x007f_fd10, pc: 0x7f11 })),
            ("-1 0x7ffd10 0x7f11\n", Some(State::Stopped { sp: 0x007f_fd10, pc: 0x7f11 })),
            ("", None),
            ("1 0x3", None),
            ("-1", None),
            ("nonsense 0x1", None),
        ] {
            assert_eq!(parse_state(text), expected, "{text:?}");
        }
    }

    #[cfg(supported)]
    #[test]
    fn schedule_and_status_are_read() {
        assert_eq!(parse_schedule("12 34 5\n"), Some(Schedule { on_cpu_ns: 12, run_delay_ns: 34, slices: 5 }));
        assert_eq!(parse_schedule("12 34"), None);
        let text = "Name:\tState: odd\nState:\tS (sleeping)\nSigPnd:\t0000000000000200\nShdPnd:\t0\nSigBlk:\t1\n\
                    voluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t8\n";
        let expected = Status {
            letter: 'S',
            voluntary_switches: 7,
            involuntary_switches: 8,
            pending_signals: 0x200,
            blocked_signals: 1,
            seccomp: None,
        };
        assert_eq!(parse_status(text), Some(expected));
        assert_eq!(parse_status("State:\tS\n"), None);
        assert_eq!(parse_run(text), Some(Run { letter: 'S', times_blocked: 7 }));
        assert_eq!(parse_run("Name:\tR\nState:\tR (running)\n"), None);
    }

    #[test]
    #[cfg(supported)]
    fn a_thread_that_does_not_exist_is_an_error() {
        let nobody = Process::current().thread(u32::MAX);
        let not_found = |name| ReadError { file: nobody.file(name), why: StateError::NotFound };
        assert_eq!(read_state(&nobody), Err(not_found("syscall")));
        assert_eq!(read_status(&nobody), Err(not_found("status")));
        assert_eq!(read_schedule(&nobody), Err(not_found("schedstat")));
        assert_eq!(read_wchan(&nobody), Err(not_found("wchan")));
        assert_eq!(Process::open(u32::MAX).unwrap_err().why, StateError::NotFound);
    }

    #[test]
    fn a_name_does_not_shift_the_fields_of_stat() {
        let stat = "7 (a b) R (c) S 1 7 7 0 -1 4 10 0 3 0 250 40 0 0 20";
        assert_eq!([12, 15].map(|number| field_of_stat(stat, number)), [Some("3"), Some("40")]);
        assert_eq!([2, 39].map(|number| field_of_stat(stat, number)), [None, None]);
    }

    #[test]
    #[cfg(supported)]
    fn one_can_look_at_oneself() {
        assert!(read_kernel_time(&ThreadRef::current()).is_ok() && read_major_faults(&ThreadRef::current()).is_ok());
        let me = ThreadRef::current();
        assert!(read_schedule(&me).unwrap().slices > 0);
        assert_eq!(read_status(&me).unwrap().letter, 'R');
    }

    #[cfg(supported)]
    #[test]
    fn a_thread_that_runs_waits_for_no_cpu() {
        use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
        let stop = AtomicBool::new(false);
        let (tell, hear) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                tell.send(ThreadRef::current()).unwrap();
                while !stop.load(Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let thread = hear.recv().unwrap();
            let scheduled = Scheduled::open(&thread).unwrap();
            while !scheduled.is_not_waiting(&thread).unwrap() {}
            stop.store(true, Relaxed);
        });
    }

    #[cfg(supported)]
    #[test]
    fn a_thread_is_as_old_as_it_is() {
        let began = std::time::Instant::now();
        let age = std::thread::spawn(|| read_age(&ThreadRef::current()).unwrap()).join().unwrap();
        let at_most = began.elapsed().as_nanos() as u64 + KERNEL_TICK_NS;
        assert!(age <= at_most, "{age} of {at_most}");
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(read_age(&ThreadRef::current()).unwrap() >= 1_000_000, "this one is older");
        assert_eq!(read_age(&Process::current().thread(0)), None);
    }
}
