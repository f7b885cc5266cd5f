//! Programs that wait: for time, a lock, a channel, another program.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Instant;

use pollscope_base::Cause;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::oneshot;

use super::program::BLOCK;
use super::{Around, Case};

pub(super) const SLEEP: Case = Case {
    calls: &["clock_nanosleep", "nanosleep"],
    says: "`tokio::time::sleep",
    leaves: &["thread::sleep"],
    before: |_| Box::pin(async { slept(|| thread::sleep(BLOCK)) }),
    afters: &[("tokio::time::sleep(…).await", |_| {
        Box::pin(async {
            let start = Instant::now();
            tokio::time::sleep(BLOCK).await;
            u64::from(start.elapsed() >= BLOCK)
        })
    })],
    ..Case::of(Cause::BlockingCall)
};

pub(super) const IN_PLACE: Case = Case {
    says: "handed to another thread",
    before: |_| Box::pin(async { tokio::task::block_in_place(|| slept(|| thread::sleep(BLOCK))) }),
    afters: &[("spawn_blocking", |_| {
        Box::pin(async { tokio::task::spawn_blocking(|| slept(|| thread::sleep(BLOCK))).await.expect("no panic") })
    })],
    ..Case::of(Cause::BlockInPlace)
};

fn slept(sleep: impl FnOnce()) -> u64 {
    let start = Instant::now();
    sleep();
    u64::from(start.elapsed() >= BLOCK)
}

pub(super) const LOCK: Case = Case {
    says: "hold the lock for less",
    leaves: &[".await"],
    before: |_| {
        let (count, ask) = held_while_it_sleeps();
        Box::pin(async move {
            ask.send(()).expect("the holder is there");
            add(&count);
            added(&count)
        })
    },
    afters: &[
        ("hold the lock for less, and never while blocking", |_| {
            let (count, ask) = held_after_it_slept();
            Box::pin(async move {
                ask.send(()).expect("the holder is there");
                add(&count);
                tokio::time::sleep(BLOCK).await;
                added_async(&count).await
            })
        }),
        ("tokio::sync::Mutex", |_| Box::pin(async_mutex())),
        ("let one task own what it guards, and send it messages", |_| Box::pin(one_owner())),
    ],
    ..Case::of(Cause::Lock)
};

pub(super) const CHANNEL: Case = Case {
    says: "await what another thread does",
    before: |_| {
        let (send, messages) = mpsc::channel();
        let sender = late(move || send.send(1).expect("somebody receives"));
        Box::pin(async move {
            let _ = sender.send(());
            messages.recv().expect("a message")
        })
    },
    afters: &[
        ("a channel of tokio::sync", |_| {
            let (send, mut messages) = tokio::sync::mpsc::channel(1);
            let sender = late(move || send.blocking_send(1).expect("somebody receives"));
            Box::pin(async move {
                let _ = sender.send(());
                messages.recv().await.expect("a message")
            })
        }),
        ("tokio::task::spawn_blocking", |_| {
            let (send, messages) = mpsc::channel();
            let sender = late(move || send.send(1).expect("somebody receives"));
            Box::pin(async move {
                let _ = sender.send(());
                tokio::task::spawn_blocking(move || messages.recv()).await.expect("no panic").expect("a message")
            })
        }),
    ],
    ..Case::of(Cause::Lock)
};

pub(super) const CONDITION: Case = Case {
    says: "await what another thread does",
    before: |_| {
        let state = Arc::new((Mutex::new(0), Condvar::new()));
        let theirs = Arc::clone(&state);
        let sets = late(move || {
            *theirs.0.lock().expect("no panic") = 1;
            theirs.1.notify_one();
        });
        Box::pin(async move {
            let _ = sets.send(());
            let value = state.0.lock().expect("no panic");
            *state.1.wait_while(value, |value| *value == 0).expect("no panic")
        })
    },
    afters: &[("Notify", |_| {
        let state = Arc::new((Mutex::new(0), tokio::sync::Notify::new()));
        let theirs = Arc::clone(&state);
        let sets = late(move || {
            *theirs.0.lock().expect("no panic") = 1;
            theirs.1.notify_one();
        });
        Box::pin(async move {
            let _ = sets.send(());
            state.1.notified().await;
            *state.0.lock().expect("no panic")
        })
    })],
    ..Case::of(Cause::Lock)
};

pub(super) const JOINED: Case = Case {
    says: "await what another thread does",
    before: |_| {
        let computes = late_thread();
        Box::pin(async move { computes.join().expect("no panic") })
    },
    afters: &[("tokio::task::spawn_blocking", |_| {
        let computes = late_thread();
        Box::pin(
            async move { tokio::task::spawn_blocking(|| computes.join()).await.expect("no panic").expect("no panic") },
        )
    })],
    ..Case::of(Cause::Lock)
};

/// A thread that does something once it was asked, late.
fn late(does: impl FnOnce() + Send + 'static) -> mpsc::Sender<()> {
    let (ask, asked) = mpsc::channel();
    thread::spawn(move || {
        asked.recv().expect("the program asks");
        thread::sleep(BLOCK);
        does();
    });
    ask
}

fn late_thread() -> thread::JoinHandle<u64> {
    thread::spawn(|| {
        thread::sleep(BLOCK * 2);
        1
    })
}

type Count = Arc<Mutex<u64>>;

fn add(count: &Count) {
    *count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
}

/// What both have added, once both have.
fn added(count: &Count) -> u64 {
    *count.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn added_async(count: &Count) -> u64 {
    while added(count) < 2 {
        tokio::time::sleep(BLOCK / 10).await;
    }
    added(count)
}

/// A lock that another thread has by now, and keeps until it was asked and slept.
fn held_while_it_sleeps() -> (Count, mpsc::Sender<()>) {
    let (count, (ask, asked), (tell, told)) = (Count::default(), mpsc::channel(), mpsc::channel());
    let theirs = Arc::clone(&count);
    thread::spawn(move || {
        let mut count = theirs.lock().unwrap_or_else(PoisonError::into_inner);
        tell.send(()).expect("the program waits");
        asked.recv().expect("the program asks");
        thread::sleep(BLOCK);
        *count += 1;
    });
    told.recv().expect("the holder has it");
    (count, ask)
}

/// The same work, with the lock for the last of it alone.
fn held_after_it_slept() -> (Count, mpsc::Sender<()>) {
    let (count, (ask, asked)) = (Count::default(), mpsc::channel());
    let theirs = Arc::clone(&count);
    thread::spawn(move || {
        asked.recv().expect("the program asks");
        thread::sleep(BLOCK);
        add(&theirs);
    });
    (count, ask)
}

async fn async_mutex() -> u64 {
    let count = Arc::new(tokio::sync::Mutex::new(0));
    let (theirs, (tell, told)) = (Arc::clone(&count), oneshot::channel());
    let holder = tokio::spawn(async move {
        let mut count = theirs.lock().await;
        tell.send(()).expect("the program waits");
        tokio::time::sleep(BLOCK).await;
        *count += 1;
    });
    told.await.expect("the holder has it");
    *count.lock().await += 1;
    holder.await.expect("no panic");
    *count.lock().await
}

async fn one_owner() -> u64 {
    let (send, mut messages) = tokio::sync::mpsc::channel(8);
    let theirs = send.clone();
    thread::spawn(move || {
        thread::sleep(BLOCK);
        theirs.blocking_send(1).expect("the owner is there");
    });
    let owner = tokio::spawn(async move {
        let mut count = 0;
        while let Some(more) = messages.recv().await {
            count += more;
        }
        count
    });
    send.send(1).await.expect("the owner is there");
    drop(send);
    owner.await.expect("no panic")
}

pub(super) const FLOCK: Case = Case {
    calls: &["flock"],
    says: "lock files with",
    before: |folder| {
        let (file, ask) = locked_by_another(folder);
        Box::pin(async move {
            ask.send(()).expect("the holder is there");
            lock_file(&file)
        })
    },
    afters: &[("tokio::task::spawn_blocking", |folder| {
        let (file, ask) = locked_by_another(folder);
        Box::pin(async move {
            ask.send(()).expect("the holder is there");
            tokio::task::spawn_blocking(move || lock_file(&file)).await.expect("no panic")
        })
    })],
    ..Case::of(Cause::BlockingCall)
};

fn lock_file(file: &File) -> u64 {
    flock(file, FlockOperation::LockExclusive).map_or(0, |()| 1)
}

/// A file that is locked by whoever opened it besides, until it was asked and slept.
fn locked_by_another(folder: &Path) -> (File, mpsc::Sender<()>) {
    let path = folder.join("locked");
    fs::write(&path, "").expect("a file");
    let open = || File::open(&path).expect("it can be opened");
    let (theirs, (ask, asked)) = (open(), mpsc::channel());
    flock(&theirs, FlockOperation::LockExclusive).expect("nobody has it");
    thread::spawn(move || {
        asked.recv().expect("the program asks");
        thread::sleep(BLOCK);
        drop(theirs);
    });
    (open(), ask)
}

pub(super) const PROCESS: Case = Case {
    calls: &["wait4", "waitid"],
    says: "start and await programs",
    before: |_| Box::pin(async { sleeper().status().map_or(0, |status| u64::from(status.success())) }),
    afters: &[("tokio::process", |_| {
        Box::pin(async {
            let status = tokio::process::Command::from(sleeper()).status().await;
            status.map_or(0, |status| u64::from(status.success()))
        })
    })],
    ..Case::of(Cause::BlockingCall)
};

fn sleeper() -> Command {
    let mut command = Command::new("sleep");
    command.arg(BLOCK.as_secs_f64().to_string());
    command
}

/// What the service asks is answered late, as names are that no cache has.
pub(super) const DNS: Case = Case {
    calls: &["poll", "ppoll", "recvfrom"],
    says: "`tokio::net::lookup_host`",
    leaves: &["ToSocketAddrs"],
    around: Around::Resolver,
    before: |_| {
        Box::pin(async {
            let addresses = std::net::ToSocketAddrs::to_socket_addrs(&HOST).expect("the name is known");
            known(addresses)
        })
    },
    afters: &[("tokio::net::lookup_host", |_| {
        Box::pin(async { known(tokio::net::lookup_host(HOST).await.expect("the name is known")) })
    })],
    ..Case::of(Cause::BlockingCall)
};

const HOST: (&str, u16) = ("slow.pollscope.test", 80);

fn known(addresses: impl Iterator<Item = std::net::SocketAddr>) -> u64 {
    addresses.filter(|address| address.ip() == super::resolver::ANSWER).count().min(1) as u64
}
