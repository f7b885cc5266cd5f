//! C code with every kind of frame, and old frames of other functions everywhere between them.

use std::ffi::{CString, c_int, c_void};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;

use pollscope_stacks::capture::{Capture, Capturer};
use pollscope_stacks::maps::Maps;
use pollscope_stacks::memory;
use pollscope_stacks::process::Process;
use pollscope_stacks::thread::{State, ThreadRef};
use pollscope_stacks::unwind::{Memory, Registers, Unwinder};

use crate::support::capture_in;

/// As in `adversary.c`.
#[repr(C)]
struct Walk {
    number: u64,
    levels: c_int,
    wait_for: c_int,
    tell: c_int,
    count: c_int,
    truth: [u64; 256],
}

type Adversary = extern "C" fn(*mut Walk) -> c_int;

/// Compiles the C file with these flags and loads it.
fn load(name: &str, flags: &[&str]) -> Adversary {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/adversary.c");
    let library =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("adversary-{name}-{}.so", std::process::id()));
    let status =
        Command::new("cc").args(["-shared", "-fPIC", "-w"]).args(flags).arg("-o").arg(&library).arg(source).status();
    assert!(status.expect("a C compiler").success());
    let path = CString::new(library.to_str().expect("a path")).expect("a path");
    // SAFETY: the library is the one just made; it has no code that runs on loading. It is never unloaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null());
    // What is mapped stays; the unwinder must do without the file.
    std::fs::remove_file(library).expect("it was there");
    // SAFETY: the handle is valid, and the name is a C string.
    let symbol = unsafe { libc::dlsym(handle, c"adversary".as_ptr()) };
    assert!(!symbol.is_null());
    // SAFETY: the function in the C file has this type.
    unsafe { std::mem::transmute::<*mut c_void, Adversary>(symbol) }
}

/// Of how many stacks what was found.
#[derive(Default)]
struct Found {
    right: u64,
    guessed: u64,
    /// Frames of stacks of which only a part was copied.
    of_parts: usize,
}

/// The first bytes of a stack of this process, copied.
struct Part<'a> {
    start: u64,
    bytes: &'a [u8],
}

impl Memory for Part<'_> {
    fn stack(&mut self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        self.bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn code(&mut self, address: u64, into: &mut [u8]) -> usize {
        memory::read(&Process::current(), address, into)
    }

    fn limit(&self) -> Option<u64> {
        Some(self.bytes.len() as u64)
    }
}

/// However much of the stack is copied, what is found in it are the innermost frames of the whole; returns how many, in all.
#[track_caller]
fn check_parts(unwinder: &mut Unwinder, capture: &Capture) -> usize {
    let State::InSyscall { sp, pc, .. } = capture.state else { panic!("{capture:?}") };
    let whole = &capture.stack;
    let mut copy = vec![0; 16 << 10];
    let copied = memory::read(&Process::current(), sp, &mut copy);
    let parts = (0..24).map(|step| (64 + step * step * 24).min(copied));
    let frames = |bytes| {
        let part = unwinder.unwind(&Registers::blocked(sp, pc), &mut Part { start: sp, bytes: &copy[..bytes] });
        let is_sure = part.is_complete() || part.guessed.is_none();
        let is_right = part.is_complete() || whole.frames.starts_with(&part.frames);
        assert!(is_sure && is_right, "{bytes} bytes: {part:x?}\nwhole: {whole:x?}");
        if part.is_complete() { 0 } else { part.frames.len() }
    };
    parts.map(frames).sum()
}

/// Walks down by as many numbers, and captures each at the bottom.
fn walks(capturer: &mut Capturer, name: &str, flags: &[&str], numbers: u64) -> Found {
    let adversary = load(name, flags);
    let mut unwinder = Unwinder::new(Maps::read(&Process::current()).unwrap());
    let mut found = Found::default();
    for number in 1..=numbers {
        let (wait_for, mut go) = std::io::pipe().unwrap();
        let (mut told, tell) = std::io::pipe().unwrap();
        let mut walk = Box::new(Walk {
            number: number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            levels: (number % 12) as c_int,
            wait_for: wait_for.as_raw_fd(),
            tell: tell.as_raw_fd(),
            count: 0,
            truth: [0; 256],
        });
        let address = &raw mut *walk as usize;
        let (send, receive) = channel();
        let thread = std::thread::spawn(move || {
            send.send(ThreadRef::current()).unwrap();
            adversary(address as *mut Walk);
        });
        told.read_exact(&mut [0]).unwrap();
        let capture = capture_in(capturer, &receive.recv().unwrap(), "read");
        // SAFETY: the thread told that it is through with writing; it is blocked until `go`.
        let truth = unsafe { (&raw const *walk).read_volatile() };
        let truth = &truth.truth[..truth.count as usize];
        let frames: Vec<u64> = capture.stack.frames.iter().map(|frame| frame.raw()).collect();
        // `read` and the leaf, which has two calls, are the two further in than the truth's second.
        let right = frames.len() == truth.len() + 1 && frames.ends_with(&truth[1..]);
        let text = || format!("{name} {number}: {:?}\n{frames:x?}\ntruth:\n{truth:x?}", capture.stack);
        // What the code tells is never wrong. A guess may be, once in ten thousand.
        assert!(right || capture.stack.guessed.is_some(), "{}", text());
        if !right {
            eprintln!("{}", text());
        }
        if right && number % 8 == 0 {
            found.of_parts += check_parts(&mut unwinder, &capture);
        }
        found.right += u64::from(right && capture.stack.is_complete());
        found.guessed += u64::from(capture.stack.guessed.is_some());
        go.write_all(&[1]).unwrap();
        thread.join().unwrap();
    }
    found
}

#[test]
fn every_frame_is_right() {
    // One for all: each library is loaded after it learnt of the others.
    let mut capturer = Capturer::new();
    for (name, flags) in [
        ("O0", &["-O0"][..]),
        ("O1", &["-O1"]),
        ("O2", &["-O2"]),
        ("O3", &["-O3"]),
        ("Os", &["-Os"]),
        ("O2-pointers", &["-O2", "-fno-omit-frame-pointer"]),
        ("O2-probes", &["-O2", "-fstack-clash-protection", "-fstack-protector-all", "-fcf-protection"]),
        ("O2-pushes", &["-O2", "-mno-accumulate-outgoing-args", "-mpush-args"]),
    ] {
        let found = walks(&mut capturer, name, flags, 400);
        assert!(found.right >= 399, "{name}: {} of 400", found.right);
        // Some walks have no function in them that does not tell, and some do: both are tested.
        assert!((1..400).contains(&found.guessed), "{name}: {} guessed", found.guessed);
        assert!(found.of_parts > 1_000, "{name}: {} frames", found.of_parts);
    }
}
