//! System calls in which threads really block: which file, folder or peer they are told with.

use std::ffi::{CStr, CString};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use pollscope_stacks::capture::Capturer;
use pollscope_stacks::look::SyscallSamples;
use pollscope_stacks::process::Process;
use pollscope_stacks::syscall::Syscall;
use pollscope_stacks::thread::read_state;

use crate::support::{Blocked, capture_in, spawn};

/// The call that a thread blocks in, and what it looks like when it is glanced at.
#[track_caller]
fn told(blocked: &Blocked, name: &str) -> Syscall {
    let call = capture_in(&mut Capturer::new(), &blocked.thread, name).syscall.expect("it is in a call");
    let mut samples = SyscallSamples::default();
    samples.count(&blocked.thread, &read_state(&blocked.thread).unwrap());
    let (_, glanced) = samples.mostly().expect("it is blocked");
    let glanced = glanced.expect("in a call");
    assert_eq!((glanced.name.as_str(), glanced.fd), (name, call.fd()));
    // What an epoll watches, and what only tables tell, is not looked up for each glance.
    if call.waited.is_none() || name == "poll" {
        assert_eq!(glanced.text, call.to_string());
        assert_eq!(glanced.path, call.path().map(|path| path.display().to_string()));
    }
    call
}

fn fifo(path: &Path) -> CString {
    use std::os::unix::ffi::OsStrExt as _;
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the name ends as it should.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    name
}

/// Lets go who waits for this FIFO to be opened for writing.
fn let_go(path: &Path, blocked: Blocked) {
    drop(std::fs::File::create(path).unwrap());
    blocked.handle.join().unwrap();
}

#[test]
fn a_file_that_is_opened_is_named_whatever_the_current_folder_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a fifo");
    fifo(&path);
    let theirs = path.clone();
    let blocked = spawn(move || drop(std::fs::read_to_string(theirs)));
    let call = told(&blocked, "openat");
    assert_eq!(call.to_string(), format!("openat({path:?})"));
    assert_eq!((call.path().as_ref(), call.fd()), (Some(&path), None));
    let_go(&path, blocked);
}

#[test]
fn a_relative_path_is_told_with_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    fifo(&path);
    let opened = std::fs::File::open(folder.path()).unwrap();
    let fd = opened.as_raw_fd();
    let open = move |name: &CStr| {
        // SAFETY: the name ends as it should; what is opened is closed again.
        unsafe { libc::close(libc::openat(fd, name.as_ptr(), libc::O_RDONLY)) };
    };
    let blocked = spawn(move || open(c"./fifo"));
    let call = told(&blocked, "openat");
    assert_eq!(call.to_string(), format!("openat(\"./fifo\" in fd {fd} {:?})", folder.path()));
    assert_eq!((call.path(), call.fd()), (Some(folder.path().join("./fifo")), Some(fd)));
    let_go(&path, blocked);

    let here = std::env::current_dir().unwrap();
    let up = "../".repeat(here.components().count()) + path.strip_prefix("/").unwrap().to_str().unwrap();
    let theirs = up.clone();
    let blocked = spawn(move || drop(std::fs::read(theirs)));
    let call = told(&blocked, "openat");
    assert_eq!(call.to_string(), format!("openat({up:?} in current folder {here:?})"));
    assert_eq!((call.path(), call.fd()), (Some(here.join(up)), None));
    let_go(&path, blocked);
}

#[test]
fn who_waits_for_a_silent_server_is_told_with_its_address() {
    let (silent, socket) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    socket.connect(silent.local_addr().unwrap()).unwrap();
    let (fd, peer) = (socket.as_raw_fd(), silent.local_addr().unwrap().to_string());
    let wait = |files: Vec<libc::pollfd>| {
        spawn(move || {
            let mut files = files;
            // SAFETY: as many as the count says.
            assert!(unsafe { libc::poll(files.as_mut_ptr(), files.len() as u64, 30_000) } > 0);
        })
    };
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let (one, two) = (wait(vec![entry(-1), entry(fd)]), wait(vec![entry(fd), entry(fd)]));
    let call = told(&one, "poll");
    assert_eq!(call.to_string(), format!("poll(socket fd {fd} to {peer}, at most 30000 ms)"));
    assert_eq!((call.fd(), call.peer().map(|peer| peer.plain())), (Some(fd), Some(peer.clone())));
    let call = told(&two, "poll");
    assert_eq!(call.to_string(), format!("poll(2 files, the first socket fd {fd} to {peer}, at most 30000 ms)"));
    silent.send_to(&[1], socket.local_addr().unwrap()).unwrap();
    [one, two].into_iter().for_each(|blocked| blocked.handle.join().unwrap());
}

#[test]
fn who_selects_or_waits_for_an_epoll_is_told_with_what_it_waits_for() {
    let (reader, writer) = std::io::pipe().unwrap();
    let fd = reader.as_raw_fd();
    let select = spawn(move || {
        // SAFETY: the set is all zeros at first, and has room for this descriptor.
        unsafe {
            let mut set: libc::fd_set = std::mem::zeroed();
            libc::FD_SET(fd, &raw mut set);
            let none = std::ptr::null_mut();
            let time = libc::timespec { tv_sec: 30, tv_nsec: 0 };
            assert_eq!(libc::pselect(fd + 1, &raw mut set, none, none, &raw const time, std::ptr::null()), 1);
        }
    });
    let epoll = spawn(move || {
        // SAFETY: one event is asked for, and there is room for it.
        unsafe {
            let epoll = libc::epoll_create1(0);
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
            assert_eq!(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event), 0);
            assert_eq!(libc::epoll_wait(epoll, &raw mut event, 1, 30_000), 1);
            libc::close(epoll);
        }
    });
    let pipe = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    let call = told(&select, "pselect6");
    assert_eq!(call.to_string(), format!("pselect6(fd {fd} {pipe:?}, at most 30000 ms)"));
    assert_eq!((call.fd(), call.path().as_ref()), (Some(fd), Some(&pipe)));
    let call = told(&epoll, "epoll_wait");
    let own = call.fd().unwrap();
    let expected = format!("epoll_wait(fd {own} \"anon_inode:[eventpoll]\", fd {fd} {pipe:?}, at most 30000 ms)");
    assert_eq!(call.to_string(), expected);
    drop(writer);
    [select, epoll].into_iter().for_each(|blocked| blocked.handle.join().unwrap());
}

#[test]
fn who_reads_from_a_socket_is_told_with_its_peer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, fd) = (listener.accept().unwrap().0, client.as_raw_fd());
    let blocked = spawn(move || drop(client.read(&mut [0; 100])));
    let call = told(&blocked, "recvfrom");
    let peer = listener.local_addr().unwrap();
    assert_eq!(call.to_string(), format!("recvfrom(socket fd {fd} to {peer}, 100 bytes)"));
    drop(server);
    blocked.handle.join().unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    let (server, fd) = (listener.accept().unwrap().0, client.as_raw_fd());
    let blocked = spawn(move || drop(client.read(&mut [0; 100])));
    let call = told(&blocked, "recvfrom");
    assert_eq!(call.to_string(), format!("recvfrom(socket fd {fd} to {path:?}, 100 bytes)"));
    assert_eq!(call.peer().map(|peer| peer.plain()), Some(path.display().to_string()));
    drop(server);
    blocked.handle.join().unwrap();
}

/// The server has no room for another connection, and drops what asks for one.
#[test]
fn who_connects_is_told_with_the_address_though_there_is_no_connection() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // SAFETY: it takes and gives numbers only.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = listener.local_addr().unwrap();
    let _only = TcpStream::connect(address).unwrap();
    let blocked = spawn(move || drop(TcpStream::connect(address)));
    let call = told(&blocked, "connect");
    assert_eq!(call.to_string(), format!("connect(socket fd {} to {address})", call.fd().unwrap()));
    drop(listener);
    // It is refused, or tries again and is.
    blocked.handle.join().unwrap();
}

/// Its memory and its network's tables are read, as no call of ours can ask for its sockets.
#[test]
fn another_process_is_told_with_its_file_and_its_peer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    fifo(&path);
    let mut child = Command::new("cat").arg(&path).stdout(Stdio::null()).spawn().unwrap();
    let process = Process::open(child.id()).unwrap();
    let call = capture_in(&mut Capturer::new(), &process.thread(child.id()), "openat").syscall.unwrap();
    assert_eq!(call.to_string(), format!("openat({path:?})"));
    std::fs::File::create(&path).unwrap().write_all(b"end").unwrap();
    assert!(child.wait().unwrap().success());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let input: std::os::fd::OwnedFd = client.into();
    let mut child = Command::new("cat").stdin(Stdio::from(input)).stdout(Stdio::null()).spawn().unwrap();
    let process = Process::open(child.id()).unwrap();
    let call = capture_in(&mut Capturer::new(), &process.thread(child.id()), "read").syscall.unwrap();
    assert_eq!(
        (call.fd(), call.peer().map(|peer| peer.plain())),
        (Some(0), Some(listener.local_addr().unwrap().to_string()))
    );
    drop(listener.accept().unwrap());
    assert!(child.wait().unwrap().success());
}
