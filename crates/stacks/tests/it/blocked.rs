//! Threads of this process, blocked in every way that is common.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use pollscope_stacks::capture::{CaptureError, Capturer};
use pollscope_stacks::process::Process;
use pollscope_stacks::thread::{self, StateError, ThreadRef};

use crate::support::{PATIENCE, assert_true, capture_in, full_pipe, spawn};

/// Captures twenty times, and once more with nothing known.
#[track_caller]
fn check(blocked: &crate::support::Blocked, call: &str) -> pollscope_stacks::capture::Capture {
    let mut capturer = Capturer::new();
    let first = capture_in(&mut capturer, &blocked.thread, call);
    assert_true(&first, &blocked.truth);
    for _ in 0..20 {
        let again = capture_in(&mut capturer, &blocked.thread, call);
        assert_eq!(again.stack, first.stack);
        assert!(again.is_same_block_as(&first));
    }
    first
}

#[test]
fn sleep() {
    let blocked = spawn(|| std::thread::sleep(Duration::from_secs(3)));
    let capture = check(&blocked, "clock_nanosleep");
    assert_eq!(capture.syscall.unwrap().to_string(), "clock_nanosleep");
}

#[test]
fn read_of_an_empty_pipe() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let blocked = spawn(move || drop(reader.read(&mut [0; 100])));
    let capture = check(&blocked, "read");
    let call = capture.syscall.unwrap();
    assert_eq!(call.bytes, Some(100));
    assert!(call.path().unwrap().to_str().unwrap().starts_with("pipe:["));
    writer.write_all(&[1]).unwrap();
    blocked.handle.join().unwrap();
}

#[test]
fn write_to_a_full_pipe() {
    let (reader, mut writer) = full_pipe();
    let blocked = spawn(move || drop(writer.write_all(&[0; 4096])));
    let capture = check(&blocked, "write");
    assert!(capture.syscall.unwrap().to_string().ends_with("]\", 4096 bytes)"));
    drop(reader);
    blocked.handle.join().unwrap();
}

#[test]
fn mutex() {
    let mutex = Arc::new(Mutex::new(0));
    let held = mutex.lock().unwrap();
    let theirs = mutex.clone();
    let blocked = spawn(move || *theirs.lock().unwrap() += 1);
    let capture = check(&blocked, "futex");
    assert_eq!(capture.syscall.unwrap().to_string(), "futex(wait)");
    let status = thread::read_status(&blocked.thread).unwrap();
    assert_eq!(status.letter, 'S');
    let voluntary = thread::read_status(&blocked.thread).unwrap().voluntary_switches;
    assert_eq!(status.voluntary_switches, voluntary, "it did not run meanwhile");
    drop(held);
    blocked.handle.join().unwrap();
    assert_eq!(*mutex.lock().unwrap(), 1);
}

#[test]
fn condition_variable() {
    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let theirs = pair.clone();
    let blocked = spawn(move || {
        let guard = theirs.0.lock().unwrap();
        drop(theirs.1.wait_while(guard, |ready| !*ready).unwrap());
    });
    check(&blocked, "futex");
    *pair.0.lock().unwrap() = true;
    pair.1.notify_all();
    blocked.handle.join().unwrap();
}

#[test]
fn channel_with_a_timeout() {
    let (tell, hear) = std::sync::mpsc::channel();
    let blocked = spawn(move || hear.recv_timeout(PATIENCE).unwrap());
    check(&blocked, "futex");
    tell.send(()).unwrap();
    blocked.handle.join().unwrap();
}

#[test]
fn accept() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let blocked = spawn(move || drop(listener.accept()));
    let capture = check(&blocked, "accept4");
    assert!(capture.syscall.unwrap().path().unwrap().to_str().unwrap().starts_with("socket:["));
    TcpStream::connect(address).unwrap();
    blocked.handle.join().unwrap();
}

#[test]
fn receive() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let blocked = spawn(move || drop(socket.recv_from(&mut [0; 10])));
    check(&blocked, "recvfrom");
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[1], address).unwrap();
    blocked.handle.join().unwrap();
}

#[test]
fn wait_for_a_child() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let input = child.stdin.take();
    let blocked = spawn(move || drop(child.wait()));
    // Which of the two it is depends on whether the kernel gave out a descriptor of the process.
    let name = wait_call(&blocked.thread);
    check(&blocked, name);
    drop(input);
    blocked.handle.join().unwrap();
}

fn wait_call(thread: &ThreadRef) -> &'static str {
    let mut capturer = Capturer::new();
    let begin = std::time::Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Some(name @ ("wait4" | "waitid")) =
            capturer.capture(thread).ok().and_then(|capture| capture.syscall).and_then(|call| call.name)
        {
            return name;
        }
    }
    panic!("never waits");
}

#[test]
fn poll() {
    use std::os::fd::AsRawFd as _;
    let (reader, writer) = std::io::pipe().unwrap();
    let fd = reader.as_raw_fd();
    let pipe = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    let blocked = spawn(move || {
        let mut file = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid `pollfd`, and the count says so.
        assert_eq!(unsafe { libc::poll(&raw mut file, 1, 30_000) }, 1);
    });
    let capture = check(&blocked, "poll");
    assert_eq!(capture.syscall.unwrap().to_string(), format!("poll(fd {fd} {pipe:?}, at most 30000 ms)"));
    drop(writer);
    blocked.handle.join().unwrap();
}

#[test]
fn a_thread_that_runs_is_not_captured() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let blocked = spawn(move || while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {});
    let error = Capturer::new().capture(&blocked.thread).unwrap_err();
    assert!(matches!(error, CaptureError::Running), "{error}");
    drop(stop);
    blocked.handle.join().unwrap();
}

#[test]
fn a_thread_cannot_capture_itself() {
    let me = ThreadRef::current();
    for thread in [me, Process::open(std::process::id()).unwrap().thread(me.tid)] {
        let error = Capturer::new().capture(&thread).unwrap_err();
        assert!(matches!(error, CaptureError::Running), "{error}");
    }
}

#[test]
fn a_thread_that_ended_is_an_error() {
    let blocked = spawn(|| ());
    blocked.handle.join().unwrap();
    // The kernel may still be busy with its end when `join` returns.
    let begin = std::time::Instant::now();
    while thread::read_state(&blocked.thread).is_ok() && begin.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    let error = Capturer::new().capture(&blocked.thread).unwrap_err();
    assert!(matches!(&error, CaptureError::State(error) if error.why == StateError::NotFound), "{error}");
}

#[test]
fn deep_recursion() {
    #[inline(never)]
    fn down(levels: u32, block: &mut dyn FnMut()) -> u32 {
        if levels == 0 {
            block();
            return 0;
        }
        down(levels - 1, block) + std::hint::black_box(1)
    }
    let (mut reader, writer) = std::io::pipe().unwrap();
    let blocked = spawn(move || assert_eq!(down(500, &mut || drop(reader.read(&mut [0]))), 500));
    let capture = capture_in(&mut Capturer::new(), &blocked.thread, "read");
    assert_true(&capture, &blocked.truth);
    assert!(capture.stack.frames.len() > 500);
    drop(writer);
    blocked.handle.join().unwrap();
}

#[test]
fn a_large_frame_is_stepped_over() {
    #[inline(never)]
    fn large(block: &mut dyn FnMut()) {
        let bytes = std::hint::black_box([7_u8; 300 << 10]);
        block();
        std::hint::black_box(bytes);
    }
    let (mut reader, writer) = std::io::pipe().unwrap();
    let blocked = spawn(move || large(&mut || drop(reader.read(&mut [0]))));
    let capture = capture_in(&mut Capturer::new(), &blocked.thread, "read");
    assert_true(&capture, &blocked.truth);
    drop(writer);
    blocked.handle.join().unwrap();
}

#[test]
fn a_frame_that_is_aligned_more_than_others() {
    #[repr(align(128))]
    struct Apart([u8; 100]);

    #[inline(never)]
    fn apart(block: &mut dyn FnMut()) {
        let bytes = std::hint::black_box(Apart([7; 100]));
        block();
        std::hint::black_box(bytes.0);
    }
    // Called from another depth each time, so that what is added to align it is another size.
    #[inline(never)]
    fn down(levels: u32, block: &mut dyn FnMut()) {
        match levels {
            0 => apart(block),
            _ => down(levels - 1, block),
        }
        std::hint::black_box(());
    }
    for levels in 0..16 {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let blocked = spawn(move || down(levels, &mut || apart(&mut || drop(reader.read(&mut [0])))));
        let capture = capture_in(&mut Capturer::new(), &blocked.thread, "read");
        assert_true(&capture, &blocked.truth);
        drop(writer);
        blocked.handle.join().unwrap();
    }
}

// A system call without an unwinding table, as C libraries have some.
std::arch::global_asm!(
    ".globl pollscope_stacks_test_read",
    "pollscope_stacks_test_read:",
    "mov eax, 0",
    "syscall",
    "ret",
);

unsafe extern "C" {
    fn pollscope_stacks_test_read(fd: i32, into: *mut u8, length: usize) -> isize;
}

#[test]
fn a_system_call_without_a_table() {
    use std::os::fd::AsRawFd as _;
    let (reader, writer) = std::io::pipe().unwrap();
    let blocked = spawn(move || {
        let mut byte = 0;
        // SAFETY: the function is the system call `read`, and there is room for the one byte that it is asked for.
        assert_eq!(unsafe { pollscope_stacks_test_read(reader.as_raw_fd(), &raw mut byte, 1) }, 0);
    });
    let capture = capture_in(&mut Capturer::new(), &blocked.thread, "read");
    assert_true(&capture, &blocked.truth);
    drop(writer);
    blocked.handle.join().unwrap();
}

#[test]
fn a_signal_handler_that_blocks() {
    use std::os::fd::AsRawFd as _;
    use std::sync::atomic::{AtomicI32, Ordering};
    static WAIT_FOR: AtomicI32 = AtomicI32::new(-1);

    extern "C" fn handler(_: i32) {
        let mut byte = 0_u8;
        // SAFETY: there is room for the one byte that it is asked for.
        unsafe { libc::read(WAIT_FOR.load(Ordering::Relaxed), (&raw mut byte).cast(), 1) };
    }
    let (reader, writer) = std::io::pipe().unwrap();
    WAIT_FOR.store(reader.as_raw_fd(), Ordering::Relaxed);
    let blocked = spawn(|| {
        // SAFETY: the handler only reads; nobody else uses this signal; it is sent to this thread, once.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as extern "C" fn(i32) as libc::sighandler_t;
            action.sa_flags = libc::SA_ONSTACK;
            // Tests beside this one sample threads, which is not done where a handler on that stack can be interrupted.
            libc::sigfillset(&raw mut action.sa_mask);
            assert_eq!(libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()), 0);
            libc::raise(libc::SIGUSR2);
        }
    });
    let capture = capture_in(&mut Capturer::new(), &blocked.thread, "read");
    assert_true(&capture, &blocked.truth);
    drop(writer);
    blocked.handle.join().unwrap();
}
