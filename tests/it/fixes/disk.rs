//! Programs on a disk that answers late.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use pollscope_base::Cause;
use tokio::sync::oneshot;

use super::{Around, Case};
use crate::faults::disk::Call;

/// The file of the disk whose calls are late.
pub(super) const FILE: &str = "out";
/// What is in it where it is there already.
pub(super) const CONTENT: &[u8] = b"a file with a line\n";
const LINES: usize = 3;

pub(super) fn folder(folder: &Path) -> PathBuf {
    folder.join("disk")
}

fn file(folder: &Path) -> PathBuf {
    self::folder(folder).join(FILE)
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).expect("it is there").len()
}

pub(super) const SYNC: Case = Case {
    calls: &["fsync", "fdatasync"],
    says: "sync on a thread that owns the file",
    around: Around::SlowDisk(Call::Sync),
    before: |folder| {
        let path = file(folder);
        let mut file = File::create(&path).expect("a file");
        Box::pin(async move {
            for _ in 0..LINES {
                file.write_all(b"a line\n").and_then(|()| file.sync_data()).expect("the disk works");
            }
            length(&path)
        })
    },
    afters: &[
        ("a thread that owns the file", |folder| {
            let path = file(folder);
            let mut file = File::create(&path).expect("a file");
            let (send, lines) = mpsc::channel::<&[u8]>();
            let (tell, told) = oneshot::channel();
            thread::spawn(move || {
                let mut written = lines.iter().map(|line| file.write_all(line)).collect::<Vec<_>>();
                written.push(file.sync_data());
                tell.send(written.into_iter().all(|result| result.is_ok()))
            });
            Box::pin(async move {
                (0..LINES).for_each(|_| send.send(b"a line\n").expect("the thread is there"));
                drop(send);
                assert!(told.await.expect("the thread says so"), "the disk works");
                length(&path)
            })
        }),
        ("tokio::task::spawn_blocking", |folder| Box::pin(sync_each(file(folder)))),
        ("once for many lines, not for each", |folder| Box::pin(sync_once(file(folder)))),
    ],
    ..Case::of(Cause::BlockingCall)
};

async fn sync_each(path: PathBuf) -> u64 {
    let lines = move || {
        let mut file = File::create(&path)?;
        (0..LINES).try_for_each(|_| file.write_all(b"a line\n").and_then(|()| file.sync_data()))?;
        fs::metadata(path)
    };
    tokio::task::spawn_blocking(lines).await.expect("no panic").expect("the disk works").len()
}

async fn sync_once(path: PathBuf) -> u64 {
    let mut file = File::create(&path).expect("a file");
    (0..LINES).for_each(|_| file.write_all(b"a line\n").expect("the disk works"));
    tokio::task::spawn_blocking(move || file.sync_data()).await.expect("no panic").expect("the disk works");
    length(&path)
}

pub(super) const READ: Case = Case {
    calls: &["read", "pread64"],
    says: "read with `tokio::task::spawn_blocking`",
    around: Around::SlowDisk(Call::Read),
    before: |folder| {
        let path = file(folder);
        Box::pin(async move { fs::read(path).expect("the disk works").len() as u64 })
    },
    afters: &[
        ("tokio::task::spawn_blocking", |folder| {
            let path = file(folder);
            Box::pin(async move {
                let read = tokio::task::spawn_blocking(move || fs::read(path));
                read.await.expect("no panic").expect("the disk works").len() as u64
            })
        }),
        ("tokio::fs", |folder| {
            let path = file(folder);
            Box::pin(async move { tokio::fs::read(path).await.expect("the disk works").len() as u64 })
        }),
        ("a file that is read all the time, on a thread that owns it", |folder| {
            let path = file(folder);
            let (ask, asked) = mpsc::channel::<oneshot::Sender<u64>>();
            thread::spawn(move || {
                asked.iter().try_for_each(|answer| answer.send(fs::read(&path).map_or(0, |all| all.len() as u64)))
            });
            Box::pin(async move {
                let (answer, answered) = oneshot::channel();
                ask.send(answer).expect("the thread is there");
                answered.await.expect("the thread answers")
            })
        }),
    ],
    ..Case::of(Cause::BlockingCall)
};

pub(super) const CREATE: Case = Case {
    calls: &["openat", "open"],
    says: "touch files with `tokio::fs`",
    around: Around::SlowDisk(Call::Create),
    before: |folder| {
        let path = file(folder);
        Box::pin(async move { u64::from(File::create(path).is_ok()) })
    },
    afters: &[("tokio::fs", |folder| {
        let path = file(folder);
        Box::pin(async move { u64::from(tokio::fs::File::create(path).await.is_ok()) })
    })],
    ..Case::of(Cause::BlockingCall)
};

pub(super) const CLOSE: Case = Case {
    calls: &["close"],
    says: "touch files with `tokio::fs`",
    around: Around::SlowDisk(Call::Flush),
    before: |folder| {
        let file = File::create(file(folder)).expect("a file");
        Box::pin(async move {
            drop(file);
            1
        })
    },
    afters: &[("tokio::task::spawn_blocking", |folder| {
        let file = File::create(file(folder)).expect("a file");
        Box::pin(async move {
            tokio::task::spawn_blocking(move || drop(file)).await.expect("no panic");
            1
        })
    })],
    ..Case::of(Cause::BlockingCall)
};

pub(super) const MAPPED: Case = Case {
    says: "read mapped files with",
    around: Around::SlowDisk(Call::Read),
    before: |folder| {
        let mapped = Mapped::open(&file(folder));
        Box::pin(async move { mapped.lines() })
    },
    afters: &[
        ("tokio::task::spawn_blocking", |folder| {
            let mapped = Mapped::open(&file(folder));
            Box::pin(async move { tokio::task::spawn_blocking(move || mapped.lines()).await.expect("no panic") })
        }),
        ("touch the memory before the loop needs it", |folder| {
            let mapped = Mapped::open(&file(folder));
            mapped.lines();
            Box::pin(async move { mapped.lines() })
        }),
        ("mlock", |folder| {
            let mapped = Mapped::open(&file(folder));
            mapped.lock();
            Box::pin(async move { mapped.lines() })
        }),
    ],
    ..Case::of(Cause::PageFault)
};

/// The content of a file as memory; for as long as the program runs.
struct Mapped(&'static [u8]);

impl Mapped {
    fn open(path: &Path) -> Mapped {
        use std::os::fd::AsRawFd;
        let file = File::open(path).expect("it is there");
        let (length, flags) = (CONTENT.len(), libc::MAP_PRIVATE);
        // SAFETY: a new mapping, wherever the kernel finds room; nothing that exists is touched.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, flags, file.as_raw_fd(), 0) };
        assert_ne!(at, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        // SAFETY: the mapping is as long as that, is never given back, and nobody changes the file.
        Mapped(unsafe { std::slice::from_raw_parts(at.cast(), length) })
    }

    fn lines(&self) -> u64 {
        self.0.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    fn lock(&self) {
        // SAFETY: the mapping is there, as long as that.
        let locked = unsafe { libc::mlock(self.0.as_ptr().cast(), self.0.len()) };
        assert_eq!(locked, 0, "{}", std::io::Error::last_os_error());
    }
}
