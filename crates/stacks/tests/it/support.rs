//! What every test needs: threads that block where they are told to, and the truth about their stacks.

use std::ffi::{c_int, c_void};
use std::fs;
use std::hint::black_box;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use object::{Object as _, ObjectSymbol as _};
use pollscope_stacks::address::CodeAddress;
use pollscope_stacks::capture::{Capture, Capturer};
use pollscope_stacks::maps::Maps;
use pollscope_stacks::process::Process;
use pollscope_stacks::thread::ThreadRef;

/// Tests wait at most this long for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

unsafe extern "C" {
    fn _Unwind_Backtrace(callback: extern "C" fn(*mut c_void, *mut c_void) -> c_int, data: *mut c_void) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}

/// The return addresses of the thread that asks, found by the platform's own unwinder with every register known: of
/// this function's caller first.
#[inline(never)]
pub(crate) fn truth() -> Vec<u64> {
    extern "C" fn note(context: *mut c_void, data: *mut c_void) -> c_int {
        // SAFETY: both pointers are those that `_Unwind_Backtrace` was given or made, for the time of this call.
        unsafe { (*data.cast::<Vec<u64>>()).push(_Unwind_GetIP(context) as u64) };
        0
    }
    let mut addresses: Vec<u64> = Vec::with_capacity(128);
    // SAFETY: `note` has the type that is asked for and does not unwind; `addresses` outlives the call.
    unsafe { _Unwind_Backtrace(note, (&raw mut addresses).cast()) };
    addresses.retain(|address| *address != 0);
    addresses.split_off(1)
}

/// A thread that is blocked, and what it found on its own stack just before.
pub(crate) struct Blocked {
    pub(crate) thread: ThreadRef,
    /// The function that blocks first, then its callers.
    pub(crate) truth: Vec<u64>,
    pub(crate) handle: JoinHandle<()>,
}

/// Runs `block` in a thread, below some functions of its own.
pub(crate) fn spawn(block: impl FnOnce() + Send + 'static) -> Blocked {
    let (tell, hear) = channel();
    let handle = std::thread::spawn(move || {
        let mut block = Some(block);
        outer(&tell, &mut || block.take().expect("called once")());
    });
    let (thread, truth) = hear.recv_timeout(PATIENCE).expect("the thread starts");
    Blocked { thread, truth, handle }
}

#[inline(never)]
fn outer(tell: &Sender<(ThreadRef, Vec<u64>)>, block: &mut dyn FnMut()) {
    middle(tell, block);
    black_box(());
}

#[inline(never)]
fn middle(tell: &Sender<(ThreadRef, Vec<u64>)>, block: &mut dyn FnMut()) {
    let large = black_box([1_u8; 3000]);
    inner(tell, block);
    black_box(large);
}

#[inline(never)]
fn inner(tell: &Sender<(ThreadRef, Vec<u64>)>, block: &mut dyn FnMut()) {
    tell.send((ThreadRef::current(), truth())).expect("the test waits");
    block();
    black_box(());
}

/// Captures a thread once it is blocked in this system call.
#[track_caller]
pub(crate) fn capture_in(capturer: &mut Capturer, thread: &ThreadRef, name: &str) -> Capture {
    let begin = Instant::now();
    loop {
        let last = capturer.capture(thread);
        match last {
            Ok(capture) if capture.syscall.as_ref().and_then(|call| call.name) == Some(name) => return capture,
            _ if begin.elapsed() > PATIENCE => panic!("never blocked in {name}: {last:?}"),
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// The stack ends as the truth does, from the caller of the blocking function outwards, and that function is there.
#[track_caller]
pub(crate) fn assert_true(capture: &Capture, truth: &[u64]) {
    let frames: Vec<u64> = capture.stack.frames.iter().map(|frame| frame.raw()).collect();
    let text = || format!("{}\ntruth:\n{}", names(&frames).join("\n"), names(truth).join("\n"));
    assert!(capture.stack.is_complete(), "{:?}\n{}", capture.stack.end, text());
    assert_eq!(capture.stack.guessed, None);
    let callers = &truth[1..];
    assert!(frames.ends_with(callers), "{}", text());
    let blocking = frames[frames.len() - callers.len() - 1];
    assert_eq!(name(blocking), name(truth[0]), "{}", text());
    // One more or less of anything would be seen: between it and the system call each is a function of its own.
    assert!(matches!(capture.stack.frames[0], CodeAddress::Exact(_)));
}

/// The functions that addresses are in.
pub(crate) fn names(addresses: &[u64]) -> Vec<String> {
    addresses.iter().map(|address| format!("{address:#x} {}", name(*address).unwrap_or("?"))).collect()
}

/// The function of the test program that a return address is in, by the symbol table.
pub(crate) fn name(address: u64) -> Option<&'static str> {
    static SYMBOLS: OnceLock<Vec<(u64, u64, String)>> = OnceLock::new();
    let symbols = SYMBOLS.get_or_init(symbols);
    let after = symbols.partition_point(|(start, ..)| *start < address);
    symbols[..after].last().filter(|(_, end, _)| address <= *end).map(|(.., name)| name.as_str())
}

fn symbols() -> Vec<(u64, u64, String)> {
    let program = fs::read("/proc/self/exe").expect("the test program");
    let file = object::File::parse(&*program).expect("an ELF file");
    let maps = Maps::read(&Process::current()).expect("maps");
    let here = symbols as *const () as u64;
    let header = maps.find(here).and_then(|mapping| mapping.header).expect("the test program is mapped");
    let mut symbols: Vec<_> = file
        .symbols()
        .filter(|symbol| symbol.kind() == object::SymbolKind::Text && symbol.size() > 0)
        .filter_map(|symbol| {
            let start = header + symbol.address() - file.relative_address_base();
            Some((start, start + symbol.size(), symbol.name().ok()?.to_owned()))
        })
        .collect();
    symbols.sort();
    symbols
}

/// A pipe that takes nothing more: its reading and its writing end.
pub(crate) fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    // SAFETY: these commands of fcntl take and give integers only.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    while writer.write(&[0; 4096]).is_ok() {}
    // SAFETY: as above.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, 0) };
    (reader, writer)
}
