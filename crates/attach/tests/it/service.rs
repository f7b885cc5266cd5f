//! The service that is looked at: this program, started again with a variable that says how it blocks.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// The variable.
const HOW: &str = "POLLSCOPE_ATTACH_TEST";
const NAP: Duration = Duration::from_millis(250);
const REST: Duration = Duration::from_millis(60);

/// One that runs.
pub(crate) struct Service {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Service {
    pub(crate) fn start(how: &str) -> Service {
        Service::start_program(&program(), how)
    }

    /// A copy of this program.
    pub(crate) fn start_program(program: &Path, how: &str) -> Service {
        Service::start_command(Command::new(program), how)
    }

    /// One that leaves a core file in that folder, if the kernel writes those there.
    pub(crate) fn start_to_leave_a_core(program: &Path, how: &str, folder: &Path) -> Service {
        let mut command = Command::new(program);
        command.current_dir(folder);
        // SAFETY: it makes one system call.
        unsafe {
            command.pre_exec(|| {
                let all = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
                libc::setrlimit(libc::RLIMIT_CORE, &raw const all);
                Ok(())
            });
        }
        Service::start_command(command, how)
    }

    fn start_command(mut command: Command, how: &str) -> Service {
        command.args(["--exact", "service::serves", "--nocapture", "--test-threads=1"]).env(HOW, how);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        while !line.contains("it serves") {
            line.clear();
            assert!(stdout.read_line(&mut line).expect("text") > 0, "it ended early");
        }
        child.stdout = Some(stdout.into_inner());
        let stdin = child.stdin.take();
        Service { child, stdin }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(&mut self) {
        self.kill_unnoticed();
        self.child.wait().expect("it ran");
    }

    pub(crate) fn kill_unnoticed(&mut self) {
        self.child.kill().expect("it runs");
    }

    /// Ends it with a signal, and waits until it is gone.
    pub(crate) fn end_with(&mut self, signal: i32) {
        self.send(signal);
        self.child.wait().expect("it ran");
    }

    pub(crate) fn send(&self, signal: i32) {
        // SAFETY: it is a child that was not waited for: the number is its own.
        assert_eq!(unsafe { libc::kill(self.pid().cast_signed(), signal) }, 0);
    }

    /// Ends it; what it said last.
    pub(crate) fn ends(mut self) -> String {
        drop(self.stdin.take());
        let mut said = String::new();
        self.child.stdout.take().expect("it is piped").read_to_string(&mut said).expect("text");
        said.lines().find(|line| line.starts_with("interrupted")).expect("it counts").to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program.
pub(crate) fn program() -> PathBuf {
    std::env::current_exe().expect("this program")
}

/// The line of this file that has a comment.
pub(crate) fn line_of(comment: &str) -> u32 {
    let ends = format!("// {comment}");
    let line = include_str!("service.rs").lines().position(|line| line.ends_with(&ends)).expect("it is there");
    line as u32 + 1
}

#[test]
fn serves() {
    let Ok(how) = std::env::var(HOW) else { return };
    let (what, on) = how.split_once(' ').expect("two words");
    let mut builder = if on == "multi" { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
    println!("it serves");
    std::io::stdout().flush().expect("somebody reads");
    match what {
        "sleeps" if on == "root" => runtime.block_on(sleeper()),
        "sleeps" => on_a_task(&runtime, sleeper()),
        "hangs" => on_a_task(&runtime, hangs()),
        "computes" => on_a_task(&runtime, computer()),
        "pieces" => on_a_task(&runtime, pieces()),
        "hot" => on_a_task(&runtime, hot()),
        "locks" => on_a_task(&runtime, locks()),
        "pool" => on_a_task(&runtime, on_the_pool()),
        "waits" => on_a_task(&runtime, waits()),
        "keeps" => keeps_a_lock(&runtime),
        _ => on_a_task(&runtime, counts()),
    }
}

/// A task keeps a lock of the standard library's while it waits, and the only thread waits for that in a poll of another one.
fn keeps_a_lock(runtime: &Runtime) {
    let lock = Arc::new(Mutex::new(0));
    runtime.spawn(OnOneThread(Box::pin(keeps_it(lock.clone()))));
    let poll = runtime.spawn(OnOneThread(Box::pin(wants_it(lock))));
    runtime.block_on(poll).expect("it does not panic");
}

/// A future that stays on one thread, whatever it has.
struct OnOneThread(Pin<Box<dyn Future<Output = ()>>>);

// SAFETY: the runtime that it is spawned on has one thread, which does not end.
unsafe impl Send for OnOneThread {}

impl Future for OnOneThread {
    type Output = ();

    fn poll(mut self: Pin<&mut OnOneThread>, context: &mut Context) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

#[allow(clippy::await_holding_lock, reason = "that is what it shows")]
async fn keeps_it(lock: Arc<Mutex<u64>>) {
    let guard = lock.lock().expect("nobody panics");
    tokio::time::sleep(Duration::from_secs(1_000)).await; // keeps the lock
    drop(guard);
}

async fn wants_it(lock: Arc<Mutex<u64>>) {
    tokio::time::sleep(NAP).await;
    *lock.lock().expect("nobody panics") += 1; // wants the lock
}

fn on_a_task(runtime: &Runtime, future: impl Future<Output = ()> + Send + 'static) {
    runtime.block_on(async { tokio::spawn(future).await.expect("it does not panic") });
}

async fn sleeper() {
    loop {
        asks().await;
        tokio::time::sleep(REST).await;
    }
}

async fn asks() {
    nap();
    tokio::task::yield_now().await;
}

fn nap() {
    thread::sleep(NAP); // sleeps here
}

async fn hangs() {
    tokio::time::sleep(REST).await;
    thread::sleep(Duration::from_secs(3_600)); // hangs here
}

async fn computer() {
    loop {
        compute();
        tokio::time::sleep(REST).await;
    }
}

fn compute() {
    let start = Instant::now();
    let mut value = 1_u64;
    while start.elapsed() < NAP {
        value = std::hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005)); // computes here
    }
}

/// Polls of many naps, one soon after the other; says how long the longest was when there is no more to read.
async fn pieces() {
    let over = thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let mut longest = Duration::ZERO;
    while !over.is_finished() {
        let start = Instant::now();
        naps();
        longest = longest.max(start.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // What is around the naps is of the poll, too.
    println!("interrupted: task {} for {}", tokio::task::id(), (longest + REST).as_nanos());
}

fn naps() {
    for _ in 0..16 {
        thread::sleep(NAP / 16); // naps here
    }
}

/// Waits for a lock that another thread has meanwhile.
async fn locks() {
    let lock = Arc::new(Mutex::new(()));
    loop {
        let (tell, hear) = oneshot::channel();
        let theirs = Arc::clone(&lock);
        let holds = move || holds(&theirs, tell);
        thread::Builder::new().name("has-the-lock".to_owned()).spawn(holds).expect("a thread");
        hear.await.expect("it has the lock");
        drop(lock.lock().expect("nobody panics")); // waits here
        tokio::time::sleep(REST).await;
    }
}

fn holds(lock: &Mutex<()>, tell: oneshot::Sender<()>) {
    let _guard = lock.lock().expect("nobody panics");
    tell.send(()).expect("somebody hears");
    thread::sleep(NAP); // holds here
}

/// Two tasks that wake themselves, each poll some 45 µs long.
async fn hot() {
    tokio::spawn(warm());
    warm().await;
}

async fn warm() {
    loop {
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(45) {}
        tokio::task::yield_now().await;
    }
}

async fn on_the_pool() {
    loop {
        tokio::task::spawn_blocking(nap).await.expect("it does not panic");
        tokio::time::sleep(4 * REST).await;
    }
}

/// Sleeps, counts how often that was interrupted, and says so when there is no more to read.
async fn counts() {
    let over = thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let mut interrupted = 0;
    while !over.is_finished() {
        interrupted += u32::from(!sleeps_to_the_end());
        tokio::time::sleep(REST).await;
    }
    println!("interrupted {interrupted}");
}

fn sleeps_to_the_end() -> bool {
    let time = libc::timespec { tv_sec: 0, tv_nsec: NAP.subsec_nanos().into() };
    // SAFETY: the time is valid, and nothing is to be written to where the rest would go.
    unsafe { libc::nanosleep(&time, std::ptr::null_mut()) == 0 }
}

type Account = Arc<tokio::sync::Mutex<u64>>;

/// Two tasks that wait for each other's locks, one that waits for one of them, one that waits for whichever comes of two things, one whose
/// lock is waited for, and one on the blocking pool.
async fn waits() {
    let (mine, yours) = (Account::default(), Account::default());
    let (tell, hear) = oneshot::channel::<()>();
    tokio::spawn(transfer(mine.clone(), yours.clone()));
    tokio::spawn(transfer(yours.clone(), mine));
    tokio::time::sleep(2 * REST).await;
    tokio::spawn(async move { *yours.lock().await += 1 }); // waits behind them
    let purse = Account::default();
    tokio::spawn(keeps(purse.clone()));
    tokio::time::sleep(REST).await;
    tokio::spawn(chooses(purse, hear));
    tokio::task::spawn_blocking(|| thread::sleep(Duration::from_secs(3_600))); // blocks the pool
    tokio::time::sleep(Duration::from_secs(3_600)).await; // waits for all of it
    drop(tell);
}

async fn transfer(from: Account, to: Account) {
    let guard = from.lock().await;
    tokio::time::sleep(REST).await;
    *to.lock().await += *guard; // waits for the other one
}

async fn keeps(purse: Account) {
    let guard = purse.lock().await;
    std::future::pending::<()>().await; // keeps it
    drop(guard);
}

async fn chooses(purse: Account, hear: oneshot::Receiver<()>) {
    tokio::select! { // waits for either
        biased;
        _ = purse.lock() => {}
        _ = hear => {}
    }
}
