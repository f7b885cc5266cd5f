//! Programs that read, write and open what comes late: pipes, sockets, standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pollscope_base::Cause;
use rustix::fs::Mode;
use rustix::pipe::SpliceFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::program::BLOCK;
use super::{Around, Case};

/// More than a pipe holds, so that whoever writes it waits for a reader.
const MUCH: usize = 256 << 10;

pub(super) const WRITE: Case = Case {
    calls: &["write"],
    says: "hand the write to a thread that owns the file",
    before: |folder| {
        let (mut file, read) = slow_fifo(folder);
        Box::pin(async move {
            file.write_all(&vec![b'x'; MUCH]).expect("somebody reads");
            drop(file);
            read.await.expect("the reader says how much")
        })
    },
    afters: &[
        ("a thread that owns the file", |folder| {
            let (mut file, read) = slow_fifo(folder);
            let (send, writes) = mpsc::channel::<Vec<u8>>();
            thread::spawn(move || writes.iter().try_for_each(|bytes| file.write_all(&bytes)));
            Box::pin(async move {
                send.send(vec![b'x'; MUCH]).expect("the thread is there");
                drop(send);
                read.await.expect("the reader says how much")
            })
        }),
        ("tokio::task::spawn_blocking", |folder| {
            let (mut file, read) = slow_fifo(folder);
            Box::pin(async move {
                let write = move || file.write_all(&vec![b'x'; MUCH]);
                tokio::task::spawn_blocking(write).await.expect("no panic").expect("somebody reads");
                read.await.expect("the reader says how much")
            })
        }),
    ],
    ..Case::of(Cause::BlockingCall)
};

fn fifo(folder: &Path) -> PathBuf {
    let path = folder.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).expect("a FIFO");
    path
}

/// A pipe whose reader pauses once when it is full, and says at the end how much it read.
fn slow_fifo(folder: &Path) -> (File, oneshot::Receiver<u64>) {
    let path = fifo(folder);
    let (tell, told) = oneshot::channel();
    let theirs = path.clone();
    thread::spawn(move || {
        let reader = File::open(theirs).expect("it can be opened");
        tell.send(read_slowly(reader).len() as u64)
    });
    (OpenOptions::new().write(true).open(path).expect("it can be opened"), told)
}

/// Reads a pipe to its end, but only a while after half of it was full: who has more to write than fits waits.
pub(super) fn read_slowly(mut reader: impl Read + AsFd) -> Vec<u8> {
    let size = rustix::pipe::fcntl_getpipe_size(&reader).expect("it is a pipe") as u64;
    while rustix::io::ioctl_fionread(&reader).expect("it is a pipe") < size / 2 {
        thread::sleep(Duration::from_millis(2));
    }
    thread::sleep(BLOCK);
    let mut all = Vec::new();
    reader.read_to_end(&mut all).expect("it can be read");
    all
}

pub(super) const STDOUT: Case = Case {
    calls: &["write"],
    says: "write to stdout and stderr from a thread of its own",
    around: Around::SlowReader,
    before: |_| {
        Box::pin(async {
            io::stdout().write_all(&log()).expect("somebody reads");
            super::LOGGED
        })
    },
    afters: &[("a thread of its own, as non-blocking log writers do", |_| {
        let (send, writes) = mpsc::channel::<Vec<u8>>();
        let (tell, told) = oneshot::channel();
        thread::spawn(move || {
            let written = writes.iter().try_for_each(|bytes| io::stdout().write_all(&bytes));
            tell.send(written)
        });
        Box::pin(async move {
            send.send(log()).expect("the thread is there");
            drop(send);
            told.await.expect("the thread ends").expect("somebody reads");
            super::LOGGED
        })
    })],
    ..Case::of(Cause::BlockingCall)
};

/// So many lines that no pipe holds them.
fn log() -> Vec<u8> {
    (0..super::LOGGED).flat_map(|line| format!("{}{line:0100}\n", super::LOG).into_bytes()).collect()
}

pub(super) const READ: Case = Case {
    calls: &["read"],
    says: "read with `tokio::task::spawn_blocking`",
    before: |_| {
        let (mut reader, ask) = late_pipe();
        Box::pin(async move {
            ask.send(()).expect("the writer is there");
            read_all(&mut reader)
        })
    },
    afters: &[
        ("a pipe or a terminal, with Tokio's own", |_| {
            let (reader, ask) = late_pipe();
            Box::pin(async move {
                let mut reader = tokio::net::unix::pipe::Receiver::from_file(reader).expect("it is a pipe");
                ask.send(()).expect("the writer is there");
                let mut all = Vec::new();
                reader.read_to_end(&mut all).await.expect("it can be read") as u64
            })
        }),
        ("tokio::task::spawn_blocking", |_| {
            let (mut reader, ask) = late_pipe();
            Box::pin(async move {
                ask.send(()).expect("the writer is there");
                tokio::task::spawn_blocking(move || read_all(&mut reader)).await.expect("no panic")
            })
        }),
    ],
    ..Case::of(Cause::BlockingCall)
};

fn read_all(reader: &mut impl Read) -> u64 {
    let mut all = Vec::new();
    reader.read_to_end(&mut all).expect("it can be read") as u64
}

/// A pipe into which somebody writes late, once asked.
fn late_pipe() -> (File, mpsc::Sender<()>) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    (File::from(read), write_late(write))
}

fn write_late(write: OwnedFd) -> mpsc::Sender<()> {
    let (ask, asked) = mpsc::channel();
    thread::spawn(move || {
        asked.recv().expect("the program asks");
        thread::sleep(BLOCK);
        File::from(write).write_all(b"a line\n")
    });
    ask
}

pub(super) const OPEN: Case = Case {
    calls: &["openat", "open"],
    says: "touch files with `tokio::fs`",
    before: |folder| {
        let (path, ask) = fifo_without_reader(folder);
        Box::pin(async move {
            ask.send(()).expect("the reader is there");
            u64::from(OpenOptions::new().write(true).open(path).is_ok())
        })
    },
    afters: &[
        ("tokio::fs", |folder| {
            let (path, ask) = fifo_without_reader(folder);
            Box::pin(async move {
                ask.send(()).expect("the reader is there");
                u64::from(tokio::fs::OpenOptions::new().write(true).open(path).await.is_ok())
            })
        }),
        ("tokio::task::spawn_blocking", |folder| {
            let (path, ask) = fifo_without_reader(folder);
            Box::pin(async move {
                ask.send(()).expect("the reader is there");
                let open = move || u64::from(OpenOptions::new().write(true).open(path).is_ok());
                tokio::task::spawn_blocking(open).await.expect("no panic")
            })
        }),
        ("open them once and keep them on a thread that owns", |folder| {
            let (path, ask) = fifo_without_reader(folder);
            let (tell, told) = oneshot::channel();
            Box::pin(async move {
                ask.send(()).expect("the reader is there");
                thread::spawn(move || tell.send(u64::from(OpenOptions::new().write(true).open(path).is_ok())));
                told.await.expect("the thread says so")
            })
        }),
    ],
    ..Case::of(Cause::BlockingCall)
};

/// A FIFO that nobody reads, so that who opens it to write waits, until somebody is asked to, and late.
fn fifo_without_reader(folder: &Path) -> (PathBuf, mpsc::Sender<()>) {
    let (path, (ask, asked)) = (fifo(folder), mpsc::channel());
    let theirs = path.clone();
    thread::spawn(move || {
        asked.recv().expect("the program asks");
        thread::sleep(BLOCK);
        File::open(theirs)
    });
    (path, ask)
}

pub(super) const SOCKET: Case = Case {
    calls: &["recvfrom"],
    says: "use `tokio::net`",
    before: |_| {
        let server = late_server();
        Box::pin(async move { ask_server(server) })
    },
    afters: &[
        ("tokio::net", |_| {
            let server = late_server();
            Box::pin(async move {
                let mut stream = tokio::net::TcpStream::connect(server).await.expect("it listens");
                stream.write_all(b"?").await.expect("it reads");
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.expect("it answers") as u64
            })
        }),
        ("tokio::task::spawn_blocking", |_| {
            let server = late_server();
            Box::pin(async move { tokio::task::spawn_blocking(move || ask_server(server)).await.expect("no panic") })
        }),
    ],
    ..Case::of(Cause::BlockingCall)
};

fn ask_server(server: SocketAddr) -> u64 {
    let mut stream = TcpStream::connect(server).expect("it listens");
    stream.write_all(b"?").expect("it reads");
    read_all(&mut stream)
}

/// A server that answers one client, late.
fn late_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    thread::spawn(move || {
        let (mut client, _) = listener.accept()?;
        client.read_exact(&mut [0])?;
        thread::sleep(BLOCK);
        client.write_all(b"an answer")
    });
    address
}

/// A call that no other row has: bytes of a pipe that go on into another and stay.
pub(super) const OTHER: Case = Case {
    calls: &["tee"],
    says: "move the call off the loop",
    before: |_| {
        let (pipes, ask) = late_tee();
        Box::pin(async move {
            ask.send(()).expect("the writer is there");
            tee(&pipes)
        })
    },
    afters: &[
        ("tokio::task::spawn_blocking", |_| {
            let (pipes, ask) = late_tee();
            Box::pin(async move {
                ask.send(()).expect("the writer is there");
                tokio::task::spawn_blocking(move || tee(&pipes)).await.expect("no panic")
            })
        }),
        ("Tokio's own async counterpart", |_| {
            let (Tee { from, to, other_end }, ask) = late_tee();
            Box::pin(async move {
                let _other_end = other_end;
                let reader = tokio::net::unix::pipe::Receiver::from_file(from).expect("it is a pipe");
                ask.send(()).expect("the writer is there");
                reader.readable().await.expect("it is written to");
                rustix::pipe::tee(&reader, &to, 100, SpliceFlags::NONBLOCK).expect("there is something") as u64
            })
        }),
        ("a thread that owns what it works on", |_| {
            let (pipes, ask) = late_tee();
            let (tell, told) = oneshot::channel();
            thread::spawn(move || tell.send(tee(&pipes)));
            Box::pin(async move {
                ask.send(()).expect("the writer is there");
                told.await.expect("the thread says so")
            })
        }),
    ],
    ..Case::of(Cause::BlockingCall)
};

struct Tee {
    from: File,
    to: OwnedFd,
    other_end: OwnedFd,
}

fn late_tee() -> (Tee, mpsc::Sender<()>) {
    let (from, ask) = late_pipe();
    let (other_end, to) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    (Tee { from, to, other_end }, ask)
}

fn tee(pipes: &Tee) -> u64 {
    assert!(rustix::io::fcntl_getfd(&pipes.other_end).is_ok(), "somebody could read");
    rustix::pipe::tee(&pipes.from, &pipes.to, 100, SpliceFlags::empty()).expect("both are pipes") as u64
}
