//! Tasks that keep a lock of the standard library's while they wait, and those whose polls wait for it.
//!
//! A guard of such a lock cannot go to another thread: these tasks are in a `LocalSet`, or are futures that were said to be able to.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, RwLock};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::kit::Kit;

/// Nobody waits so long.
const LONG: Duration = Duration::from_secs(100_000);

type Local = Pin<Box<dyn Future<Output = ()>>>;
type Made = Box<dyn FnOnce() -> Vec<Local> + Send>;

/// All of them.
pub fn spawn_all(kit: &Kit) {
    let lock = Arc::new(Mutex::new(0));
    tell(kit, "a lock across an await", 2);
    on_its_thread({
        let lock = lock.clone();
        Box::new(move || vec![Box::pin(keeps(lock.clone())), Box::pin(locks(lock))])
    });
    let rwlock = Arc::new(RwLock::new(0));
    tell(kit, "a lock to write across an await", 2);
    on_its_thread(Box::new(move || vec![Box::pin(reads(rwlock.clone())), Box::pin(writes(rwlock))]));
    tell(kit, "a lock across an await, in a runtime", 2);
    in_its_runtime();
    // The thread that is blocked is another one: who has the lock will give it back.
    let lock = Arc::new(Mutex::new(0));
    tell(kit, "", 2);
    on_its_thread({
        let lock = lock.clone();
        Box::new(move || vec![Box::pin(keeps(lock))])
    });
    on_its_thread(Box::new(move || vec![Box::pin(locks(lock))]));
    // A thread has it.
    let lock = Arc::new(Mutex::new(0));
    let held = lock.clone();
    let (tell_it, told) = channel();
    thread::spawn(move || {
        let guard = held.lock();
        let _ = tell_it.send(());
        thread::sleep(LONG);
        drop(guard);
    });
    let _ = told.recv();
    tell(kit, "", 2);
    on_its_thread(Box::new(move || vec![Box::pin(locks(lock)), Box::pin(std::future::pending())]));
}

fn tell(kit: &Kit, cycle: &'static str, count: usize) {
    for _ in 0..count {
        kit.tells_of(cycle);
    }
}

/// In a `LocalSet` of a thread, once they are spawned.
fn on_its_thread(made: Made) {
    let (tell, told) = channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let set = LocalSet::new();
        for future in made() {
            set.spawn_local(future);
        }
        let _ = tell.send(());
        set.block_on(&runtime, std::future::pending::<()>());
    });
    let _ = told.recv();
}

/// In a current-thread runtime without a `LocalSet`.
fn in_its_runtime() {
    let (tell, told) = channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let lock = Arc::new(Mutex::new(0));
        runtime.spawn(Here(Box::pin(keeps(lock.clone()))));
        runtime.spawn(Here(Box::pin(locks(lock))));
        let _ = tell.send(());
        runtime.block_on(std::future::pending::<()>());
    });
    let _ = told.recv();
}

/// Whoever wrote it says that it stays on one thread.
struct Here(Local);

// SAFETY: the runtime that it is spawned on has one thread, which does not end.
unsafe impl Send for Here {}

impl Future for Here {
    type Output = ();

    fn poll(mut self: Pin<&mut Here>, context: &mut Context) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

#[allow(clippy::await_holding_lock, reason = "that is what it shows")]
async fn keeps(lock: Arc<Mutex<u64>>) {
    let guard = lock.lock().expect("nobody panics");
    tokio::time::sleep(LONG).await;
    drop(guard);
}

async fn locks(lock: Arc<Mutex<u64>>) {
    tokio::time::sleep(Duration::from_millis(50)).await;
    *lock.lock().expect("nobody panics") += 1;
}

#[allow(clippy::await_holding_lock, reason = "that is what it shows")]
async fn reads(lock: Arc<RwLock<u64>>) {
    let guard = lock.read();
    tokio::time::sleep(LONG).await;
    drop(guard);
}

async fn writes(lock: Arc<RwLock<u64>>) {
    tokio::time::sleep(Duration::from_millis(50)).await;
    *lock.write().expect("nobody panics") += 1;
}
