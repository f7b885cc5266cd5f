//! What a task blocks on, and the thread that lets go of it.

use std::fs::{self, File, OpenOptions};
use std::future::{Future as _, poll_fn};
use std::io::Read as _;
use std::mem;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock;
use crate::record::Record;

type Work = Box<dyn FnOnce(&Gate) + Send>;

/// Between a task and whoever it waits for.
pub struct Gate {
    is_ready: Arc<AtomicBool>,
    go: Receiver<Duration>,
}

impl Gate {
    /// Says that all is as it is to be when the task begins to wait; then waits for that, and for as long as the task is to wait.
    pub fn hold(&self) {
        self.is_ready.store(true, SeqCst);
        let stall = self.go.recv().unwrap_or_default();
        thread::sleep(stall);
    }
}

/// A task's own.
pub struct Kit {
    /// Which task.
    pub task: usize,
    /// Its async functions.
    pub chain: &'static [&'static str],
    pub mutex: Arc<Mutex<u64>>,
    pub lock: Arc<RwLock<u64>>,
    pub receiver: Receiver<u64>,
    pub sender: Sender<u64>,
    pub pipe: (File, File),
    pub thread: Option<JoinHandle<()>>,
    pub child: Arc<Mutex<Option<Child>>>,
    pub file: File,
    pub locked: [File; 2],
    pub listener: UnixListener,
    pub folder: PathBuf,
    /// What happened.
    records: Vec<Record>,
    /// The last one of them is of the poll that goes on.
    goes_on: bool,
    is_ready: Arc<AtomicBool>,
    go: Sender<Duration>,
    /// Of another thread that is the helper, once.
    go_once: Option<Sender<Duration>>,
    work: Sender<Work>,
}

impl Kit {
    /// With a folder of its own.
    pub fn new(task: usize) -> Kit {
        let folder = std::env::temp_dir().join(format!("attached-{}-{task}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let open = |name: &str| {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false).read(true).write(true).open(folder.join(name)).expect("a file")
        };
        let listener = UnixListener::bind(folder.join("socket")).expect("a socket");
        // One that was not accepted fills it.
        // SAFETY: it listens.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let (sender, receiver) = channel();
        let is_ready = Arc::new(AtomicBool::new(true));
        let (go, work) = helper(&is_ready);
        Kit {
            task,
            chain: &[],
            mutex: Arc::default(),
            lock: Arc::default(),
            receiver,
            sender,
            pipe: pipe(),
            thread: None,
            child: Arc::default(),
            file: open("file"),
            locked: [open("locked"), open("locked")],
            listener,
            folder,
            records: Vec::with_capacity(10_000),
            goes_on: false,
            is_ready,
            go,
            go_once: None,
            work,
        }
    }

    /// Of the poll that goes on: its end is not known yet.
    pub fn record(&mut self, record: Record) {
        self.records.push(record);
        self.goes_on = true;
    }

    /// Waits. Whatever else the poll does that ends with it, setting the timer too, it did before its end is noted: a thread may be kept
    /// from the CPU wherever it enters the kernel.
    pub async fn pause(&mut self, time: Duration) {
        let mut sleep = pin!(tokio::time::sleep(time));
        poll_fn(|context| {
            let polled = sleep.as_mut().poll(context);
            self.note_end();
            polled
        })
        .await;
    }

    /// All that happened. What goes away with the rest, a folder with files, goes in a poll of its own.
    pub async fn finish(mut self) -> Vec<Record> {
        self.pause(Duration::from_millis(1)).await;
        mem::take(&mut self.records)
    }

    fn note_end(&mut self) {
        if mem::take(&mut self.goes_on) {
            self.records.last_mut().expect("it was recorded").end_ns = clock::now_ns();
        }
    }

    /// Has the helper do something: it says when it is [ready](Gate::hold).
    pub fn help(&self, work: impl FnOnce(&Gate) + Send + 'static) {
        self.is_ready.store(false, SeqCst);
        self.work.send(Box::new(work)).expect("the helper lives");
    }

    /// Has another thread be the helper, once.
    pub fn spawn(&mut self) {
        let (go, wait) = channel();
        self.is_ready.store(false, SeqCst);
        self.go_once = Some(go);
        let gate = Gate { is_ready: self.is_ready.clone(), go: wait };
        self.thread = Some(thread::spawn(move || gate.hold()));
    }

    /// Whether the task may begin to wait.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(SeqCst)
    }

    /// It begins: whoever helps lets go after this time.
    pub fn go(&mut self, stall: Duration) {
        let once = self.go_once.take();
        once.as_ref().unwrap_or(&self.go).send(stall).expect("the helper lives");
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A thread that does one thing after the other.
fn helper(is_ready: &Arc<AtomicBool>) -> (Sender<Duration>, Sender<Work>) {
    let (go, wait) = channel();
    let (give, work) = channel::<Work>();
    let gate = Gate { is_ready: is_ready.clone(), go: wait };
    let run = move || work.into_iter().for_each(|work| work(&gate));
    thread::Builder::new().name("helper".to_owned()).spawn(run).expect("a thread");
    (go, give)
}

/// Of one page: it is full soon.
fn pipe() -> (File, File) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let (reader, writer): (std::os::fd::OwnedFd, std::os::fd::OwnedFd) = (reader.into(), writer.into());
    // SAFETY: it is a pipe.
    assert!(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, PAGE) } >= PAGE);
    (reader.into(), writer.into())
}

/// What a pipe holds.
pub const PAGE: i32 = 4_096;

/// Takes a page out of a pipe.
pub fn empty(mut pipe: &File) {
    pipe.read_exact(&mut [0; PAGE as usize]).expect("it has a page");
}
