//! Runtimes of this process that another builder made: no probe sees their polls, however long they take.
//!
//! A thread of a probe's runtime says who it is before it parks for the first time, and before it polls. Any other one that waits
//! within Tokio's own park is somebody else's. A stack is looked at only where there is a hint, and while the thread is blocked, so
//! that it is not interrupted. Of its functions only those of the symbol table are asked for: that leaves nothing in memory.

use std::collections::HashMap;
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_stacks::look::Looker;
use pollscope_stacks::process::Process;
use pollscope_stacks::seccomp;
use pollscope_stacks::symbolize::functions;
use pollscope_stacks::syscall::Syscall;
use pollscope_stacks::thread::{State, ThreadRef, current_tid, read_schedule, read_state};

/// How the names of threads begin that a framework with runtimes of its own gives; the kernel keeps 15 bytes of them.
const HINTS: [&str; 2] = ["actix-rt|", "actix-server"];
/// And those of threads that measure, as this one does: whether their polls are slow is of no interest.
const INSTRUMENTS: [&str; 2] = ["pollscope-", "console_subscri"];
/// So much CPU time from one look to the next is a hint, in nanoseconds.
const HOT_NS: u64 = 100_000_000;
/// So many threads are looked at, at most.
const MOST: usize = 8;
/// A thread whose stack was so often that of no loop is none; in a poll it may look like that, where the loop is inlined into it.
const ENOUGH: u8 = 3;
/// For so long all of them together are waited for that run: one that is hot is seldom blocked.
const PATIENCE: Duration = Duration::from_millis(50);
/// The functions of a Tokio loop, whose thread has the loop's core.
const LOOPS: [&str; 3] = [
    "tokio::runtime::scheduler::current_thread::CoreGuard",
    "tokio::runtime::scheduler::current_thread::Context",
    "tokio::runtime::scheduler::multi_thread::worker::",
];
/// What such a loop calls when there is nothing to poll, after `on_thread_park`; which of these is inlined is the compiler's choice.
const PARKS: [&str; 7] = [
    "tokio::runtime::scheduler::current_thread::Context::park",
    "tokio::runtime::scheduler::multi_thread::worker::Context::park",
    "tokio::runtime::scheduler::multi_thread::park::",
    "tokio::runtime::driver::Driver",
    "tokio::runtime::io::driver::Driver",
    "tokio::runtime::time::Driver",
    "tokio::runtime::park::",
];

/// The threads that have a place in some probe of this process.
static KNOWN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn known() -> MutexGuard<'static, Vec<u32>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that has a place in a probe, for as long as it has.
#[derive(Debug)]
pub(crate) struct KnownThread(u32);

impl KnownThread {
    pub(crate) fn this_one() -> KnownThread {
        let tid = current_tid();
        known().push(tid);
        KnownThread(tid)
    }
}

impl Drop for KnownThread {
    fn drop(&mut self) {
        let mut known = known();
        if let Some(index) = known.iter().position(|tid| *tid == self.0) {
            known.swap_remove(index);
        }
    }
}

/// Whether a thread of this process has a place in a probe, or measures: nobody else is to look at what it does.
#[cfg(feature = "whole-process")]
pub(crate) fn is_known(tid: u32) -> bool {
    known().contains(&tid) || name_of(tid).is_some_and(|name| is_instrument(&name))
}

fn name_of(tid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/self/task/{tid}/comm")).ok()?.trim_end().to_owned())
}

fn is_instrument(name: &str) -> bool {
    INSTRUMENTS.iter().any(|with| name.starts_with(with))
}

/// What was found out of a thread that no probe knows.
#[derive(Debug, Clone, Copy, Default)]
struct Stranger {
    cpu_ns: u64,
    /// How often its stack was looked at, and was that of no loop.
    looks: u8,
}

/// Looks for such runtimes.
#[derive(Debug, Default)]
pub(crate) struct OtherRuntimes {
    strangers: HashMap<u32, Stranger>,
}

impl OtherRuntimes {
    /// The name of a thread of this process that has no place in a probe and runs a Tokio loop. `by_name`: only threads with the
    /// name of a known framework are looked at.
    pub(crate) fn find(&mut self, by_name: bool) -> Option<String> {
        // Listing threads and reading names takes calls that a filter may not expect.
        if !seccomp::look() {
            return None;
        }
        let process = Process::current();
        let candidates = self.candidates(&process, by_name);
        if candidates.is_empty() {
            return None;
        }
        let (mut looker, until) = (Looker::new(process), Instant::now() + PATIENCE);
        let found = candidates.into_iter().take(MOST).find(|candidate| {
            let is_other = is_loop(&process, candidate, &mut looker, until)
                // It may have become known meanwhile.
                .map(|is_loop| is_loop && !known().contains(&candidate.thread.tid));
            if let (Some(false), Some(stranger)) = (is_other, self.strangers.get_mut(&candidate.thread.tid)) {
                stranger.looks = stranger.looks.saturating_add(1);
            }
            is_other == Some(true)
        });
        looker.close();
        found.map(|candidate| candidate.name)
    }

    /// The threads whose stacks are worth a look.
    fn candidates(&mut self, process: &Process, by_name: bool) -> Vec<Candidate> {
        let tids: Vec<u32> = fs::read_dir("/proc/self/task")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        let known = known().clone();
        self.strangers.retain(|tid, _| tids.contains(tid) && !known.contains(tid));
        let strangers = tids.into_iter().filter(|tid| !known.contains(tid));
        strangers.filter_map(|tid| self.candidate(process.thread(tid), by_name)).collect()
    }

    fn candidate(&mut self, thread: ThreadRef, by_name: bool) -> Option<Candidate> {
        let name = name_of(thread.tid)?;
        if is_instrument(&name) {
            return None;
        }
        let is_named = HINTS.iter().any(|with| name.starts_with(with));
        let is_hinted = is_named || !by_name && self.hints_at_a_loop(&thread);
        is_hinted.then_some(Candidate { thread, name, is_named })
    }

    /// Whether it waits as a loop does, or has had much CPU time since the last look.
    fn hints_at_a_loop(&mut self, thread: &ThreadRef) -> bool {
        let stranger = self.strangers.entry(thread.tid).or_default();
        let cpu_ns = read_schedule(thread).map_or(stranger.cpu_ns, |schedule| schedule.on_cpu_ns);
        let ran_ns = cpu_ns.saturating_sub(std::mem::replace(&mut stranger.cpu_ns, cpu_ns));
        stranger.looks < ENOUGH && (ran_ns >= HOT_NS || waits_for_events(thread))
    }
}

struct Candidate {
    thread: ThreadRef,
    name: String,
    /// Whether its name alone is a hint: then a loop of any kind is enough.
    is_named: bool,
}

fn waits_for_events(thread: &ThreadRef) -> bool {
    let Ok(State::InSyscall { number, args, .. }) = read_state(thread) else { return false };
    Syscall::new(number, &args).name.is_some_and(|name| name.starts_with("epoll_"))
}

/// Whether its stack is that of a Tokio loop, which, unless its name says enough, waits for events. `None`: it did not stand still,
/// or is in a poll now.
fn is_loop(process: &Process, candidate: &Candidate, looker: &mut Looker, until: Instant) -> Option<bool> {
    while !matches!(read_state(&candidate.thread).ok()?, State::InSyscall { .. }) {
        if Instant::now() >= until {
            return None;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let stack = looker.look(&candidate.thread, 0)?.stack?;
    // A method is `<Type>::name` or `Type::name`, as the compiler mangles it.
    let functions: Vec<String> =
        functions(process, &stack.frames).iter().map(|name| name.replace(['<', '>'], "")).collect();
    let has = |names: &[&str]| functions.iter().any(|function| names.iter().any(|name| function.contains(name)));
    match has(&LOOPS) {
        true => (candidate.is_named || has(&PARKS)).then_some(true),
        false => stack.is_complete().then_some(false),
    }
}
