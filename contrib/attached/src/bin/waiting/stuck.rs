//! Tasks that wait for each other, and others that only seem to.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, RwLock, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::kit::Kit;
use crate::sync;

/// Nobody waits so long.
const LONG: Duration = Duration::from_secs(100_000);
/// Until then both have what they keep.
const A_MOMENT: Duration = Duration::from_millis(50);

type Lock = Arc<Mutex<u64>>;

fn lock() -> Lock {
    Arc::new(Mutex::new(0))
}

async fn a_moment() {
    tokio::time::sleep(A_MOMENT).await;
}

/// Those of one cycle, which has a name, and those of none.
struct Tasks<'a> {
    kit: &'a Kit,
    cycle: &'static str,
}

impl Tasks<'_> {
    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, future: F) -> JoinHandle<()> {
        self.kit.tells_of(self.cycle);
        self.kit.spawn(future)
    }

    /// One that waits for a cycle, and is in none.
    fn behind<F: Future<Output = ()> + Send + 'static>(&self, future: F) -> JoinHandle<()> {
        self.kit.tells_of("");
        self.kit.spawn(future)
    }
}

/// All of them.
pub fn spawn_all(kit: &Kit) {
    cycles_of_mutexes(&|cycle| Tasks { kit, cycle });
    cycles_of_other_things(&|cycle| Tasks { kit, cycle });
    cycles_through_branches(&|cycle| Tasks { kit, cycle });
    cycles_of_kept_futures(&|cycle| Tasks { kit, cycle });
    cycles_of_permits(&|cycle| Tasks { kit, cycle });
    let near = Tasks { kit, cycle: "" };
    near_misses_of_mutexes(&near);
    near_misses_of_other_things(&near);
    near_misses_of_permits(&near);
    // They have threads of their own.
    sync::spawn_all(kit);
}

type Named<'a, 'b> = &'b dyn Fn(&'static str) -> Tasks<'a>;

fn cycles_of_mutexes(cycle: Named) {
    ring(&cycle("mutexes, 2"), 2);
    ring(&cycle("mutexes, 3"), 3);
    ring(&cycle("mutexes, 6"), 6);
    let tasks = cycle("a mutex, 1");
    tasks.spawn(locks_twice(lock()));
    let tasks = cycle("owned guards");
    let (one, other) = (lock(), lock());
    tasks.spawn(locks_owned(one.clone(), other.clone()));
    tasks.spawn(locks_owned(other, one));
    let tasks = cycle("ten behind");
    let (one, other) = (lock(), lock());
    tasks.spawn(locks_both(one.clone(), other.clone()));
    tasks.spawn(locks_both(other, one.clone()));
    for _ in 0..10 {
        tasks.behind(locks_after(one.clone()));
    }
    let tasks = cycle("guards further out");
    let (one, other) = (lock(), lock());
    tasks.spawn(keeps_further_out(one.clone(), other.clone()));
    tasks.spawn(keeps_further_out(other, one));
    let tasks = cycle("guards in a structure");
    let (one, other) = (lock(), lock());
    tasks.spawn(keeps_in_structure(one.clone(), other.clone()));
    tasks.spawn(keeps_in_structure(other, one));
    let tasks = cycle("boxed");
    let (one, other) = (lock(), lock());
    tasks.spawn(boxed(Box::pin(locks_both(one.clone(), other.clone()))));
    tasks.spawn(boxed(Box::pin(locks_both(other, one))));
}

/// Each has a lock, and wants that of the next.
fn ring(tasks: &Tasks, count: usize) {
    let locks: Vec<Lock> = (0..count).map(|_| lock()).collect();
    for index in 0..count {
        tasks.spawn(locks_both(locks[index].clone(), locks[(index + 1) % count].clone()));
    }
}

async fn locks_both(one: Lock, other: Lock) {
    let mut first = one.lock().await;
    a_moment().await;
    let second = other.lock().await;
    *first += *second;
}

async fn locks_twice(lock: Lock) {
    let first = lock.lock().await;
    let second = lock.lock().await;
    drop((first, second));
}

async fn locks_owned(one: Lock, other: Lock) {
    let first = one.lock_owned().await;
    a_moment().await;
    let second = other.lock_owned().await;
    drop((first, second));
}

async fn locks_after(lock: Lock) {
    a_moment().await;
    *lock.lock().await += 1;
}

async fn keeps_further_out(one: Lock, other: Lock) {
    let guard = one.lock().await;
    further_in(3, other).await;
    drop(guard);
}

fn further_in(depth: usize, lock: Lock) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move { if depth == 0 { locks_after(lock).await } else { further_in(depth - 1, lock).await } })
}

struct Order<'a> {
    name: String,
    guard: Option<MutexGuard<'a, u64>>,
}

async fn keeps_in_structure(one: Lock, other: Lock) {
    let mut order = Order { name: String::from("an order"), guard: None };
    order.guard = Some(one.lock().await);
    a_moment().await;
    let second = other.lock().await;
    order.name.push('s');
    drop((order, second));
}

async fn boxed(future: Pin<Box<dyn Future<Output = ()> + Send>>) {
    future.await;
}

fn cycles_of_other_things(cycle: Named) {
    let tasks = cycle("upgrade, 2");
    let rwlock = Arc::new(RwLock::new(0));
    tasks.spawn(upgrades(rwlock.clone()));
    tasks.spawn(upgrades(rwlock));
    let tasks = cycle("upgrade, 1");
    tasks.spawn(upgrades(Arc::new(RwLock::new(0))));
    let tasks = cycle("writes and reads");
    tasks.spawn(writes_and_reads(Arc::new(RwLock::new(0))));
    let tasks = cycle("a mutex and an rwlock");
    let (mutex, rwlock) = (lock(), Arc::new(RwLock::new(0)));
    tasks.spawn(locks_and_writes(mutex.clone(), rwlock.clone()));
    tasks.spawn(reads_and_locks(mutex, rwlock));
    let tasks = cycle("join, 1");
    let (tell, told) = oneshot::channel();
    let handle = tasks.spawn(joins_later(told));
    let _ = tell.send(handle);
    let tasks = cycle("join, 2");
    let (tell, told) = oneshot::channel();
    let handle = tasks.spawn(joins_later(told));
    let _ = tell.send(tasks.spawn(joins(handle)));
    let tasks = cycle("join and a mutex");
    let mutex = lock();
    let handle = tasks.spawn(locks_after(mutex.clone()));
    tasks.spawn(locks_and_joins(mutex, handle));
    let tasks = cycle("full channels");
    let ((to_one, at_one), (to_other, at_other)) = (mpsc::channel(1), mpsc::channel(1));
    tasks.spawn(sends_and_receives(to_other, at_one));
    tasks.spawn(sends_and_receives(to_one, at_other));
    let tasks = cycle("a full channel and a mutex");
    let (mutex, (sender, receiver)) = (lock(), mpsc::channel(1));
    tasks.spawn(locks_and_sends(mutex.clone(), sender));
    tasks.spawn(locks_and_receives(mutex, receiver));
}

async fn upgrades(rwlock: Arc<RwLock<u64>>) {
    let read = rwlock.read().await;
    a_moment().await;
    *rwlock.write().await += 1;
    drop(read);
}

async fn writes_and_reads(rwlock: Arc<RwLock<u64>>) {
    let write = rwlock.write().await;
    let read = rwlock.read().await;
    drop((write, read));
}

async fn locks_and_writes(mutex: Lock, rwlock: Arc<RwLock<u64>>) {
    let guard = mutex.lock().await;
    a_moment().await;
    *rwlock.write().await += *guard;
}

async fn reads_and_locks(mutex: Lock, rwlock: Arc<RwLock<u64>>) {
    let read = rwlock.read().await;
    a_moment().await;
    *mutex.lock().await += *read;
}

async fn joins_later(told: oneshot::Receiver<JoinHandle<()>>) {
    if let Ok(handle) = told.await {
        let _ = handle.await;
    }
}

async fn joins(handle: JoinHandle<()>) {
    let _ = handle.await;
}

async fn locks_and_joins(mutex: Lock, handle: JoinHandle<()>) {
    let guard = mutex.lock().await;
    let _ = handle.await;
    drop(guard);
}

async fn sends_and_receives(to: mpsc::Sender<u64>, mut from: mpsc::Receiver<u64>) {
    let _ = to.send(1).await;
    let _ = to.send(2).await;
    from.recv().await;
}

async fn locks_and_sends(mutex: Lock, sender: mpsc::Sender<u64>) {
    let guard = mutex.lock().await;
    let _ = sender.send(*guard).await;
    let _ = sender.send(*guard).await;
}

async fn locks_and_receives(mutex: Lock, mut receiver: mpsc::Receiver<u64>) {
    a_moment().await;
    let mut guard = mutex.lock().await;
    *guard += receiver.recv().await.unwrap_or(0);
}

fn cycles_through_branches(cycle: Named) {
    let tasks = cycle("both branches of a join");
    let (one, other) = (lock(), lock());
    tasks.spawn(joins_locks(one.clone(), other.clone()));
    tasks.spawn(locks_both(other, one));
    let tasks = cycle("both branches of a select");
    let (one, other) = (lock(), lock());
    tasks.spawn(selects_locks(one.clone(), other.clone()));
    tasks.spawn(locks_both(other, one));
}

/// Futures that are kept, and not polled.
fn cycles_of_kept_futures(cycle: Named) {
    let tasks = cycle("futurelock");
    tasks.spawn(keeps_one_that_locks(lock()));
    let tasks = cycle("futurelock, given");
    let lock = lock();
    tasks.behind(locks_for_some_moments(lock.clone()));
    tasks.spawn(keeps_one_that_waits(lock));
}

async fn keeps_one_that_locks(lock: Lock) {
    let mut kept = Box::pin(keeps(lock.clone()));
    tokio::select! {
        biased;
        () = &mut kept => {}
        () = a_moment() => *lock.lock().await += 1,
    }
}

async fn locks_for_some_moments(lock: Lock) {
    let guard = lock.lock().await;
    for _ in 0..4 {
        a_moment().await;
    }
    drop(guard);
    tokio::time::sleep(LONG).await;
}

async fn keeps_one_that_waits(lock: Lock) {
    a_moment().await;
    let mut kept = Box::pin(locks_after(lock.clone()));
    tokio::select! {
        biased;
        () = &mut kept => {}
        () = two_moments() => *lock.lock().await += 1,
    }
}

async fn two_moments() {
    a_moment().await;
    a_moment().await;
}

async fn joins_locks(one: Lock, other: Lock) {
    let guard = one.lock().await;
    a_moment().await;
    let _both = tokio::join!(other.lock(), one.lock());
    drop(guard);
}

async fn selects_locks(one: Lock, other: Lock) {
    let guard = one.lock().await;
    a_moment().await;
    tokio::select! {
        _ = other.lock() => {}
        _ = one.lock() => {}
    }
    drop(guard);
}

fn near_misses_of_mutexes(near: &Tasks) {
    // A timeout ends it.
    let (one, other) = (lock(), lock());
    near.spawn(locks_both(one.clone(), other.clone()));
    near.spawn(locks_for_a_time(other, one));
    // Another branch may.
    let (one, other) = (lock(), lock());
    near.spawn(locks_both(one.clone(), other.clone()));
    near.spawn(locks_or_sleeps(other, one));
    // In one order.
    let (one, other) = (lock(), lock());
    near.spawn(locks_both_and_sleeps(one.clone(), other.clone()));
    near.spawn(locks_both_and_sleeps(one, other));
    // A row without an end.
    let locks: Vec<Lock> = (0..4).map(|_| lock()).collect();
    near.spawn(keeps(locks[0].clone()));
    for index in 0..3 {
        near.spawn(locks_both(locks[index + 1].clone(), locks[index].clone()));
    }
    // It let go of it before.
    let (one, other) = (lock(), lock());
    near.spawn(lets_go(one.clone(), other.clone()));
    near.spawn(keeps_both(one, other));
    let (one, other) = (lock(), lock());
    near.spawn(lets_go_maybe(one.clone(), other.clone(), true));
    near.spawn(keeps_both(one, other));
    // It gave it to another one.
    let (one, other) = (lock(), lock());
    let (give, given) = oneshot::channel();
    near.spawn(gives(one.clone(), other.clone(), give));
    near.spawn(takes(given, other));
    near.spawn(locks_after(one));
    // A future that is kept has another lock.
    let (one, other) = (lock(), lock());
    near.spawn(keeps(other.clone()));
    near.spawn(keeps_one_of_two(one, other));
    // It is kept, and polled.
    near.spawn(polls_what_it_keeps(lock()));
    // A thread has it, and will give it back.
    let one = lock();
    let held = one.clone();
    std::thread::spawn(move || {
        let guard = held.blocking_lock();
        std::thread::sleep(LONG);
        drop(guard);
    });
    let other = lock();
    near.spawn(locks_both(other.clone(), one));
    near.spawn(locks_after(other));
}

async fn keeps_one_of_two(one: Lock, other: Lock) {
    let mut kept = Box::pin(keeps(one));
    tokio::select! {
        biased;
        () = &mut kept => {}
        () = two_moments() => *other.lock().await += 1,
    }
}

async fn polls_what_it_keeps(lock: Lock) {
    let mut kept = Box::pin(keeps(lock.clone()));
    tokio::select! {
        biased;
        () = &mut kept => {}
        () = locks_after(lock) => {}
    }
}

async fn locks_for_a_time(one: Lock, other: Lock) {
    let guard = one.lock().await;
    a_moment().await;
    let _ = tokio::time::timeout(LONG, other.lock()).await;
    drop(guard);
}

async fn locks_or_sleeps(one: Lock, other: Lock) {
    let guard = one.lock().await;
    a_moment().await;
    tokio::select! {
        _ = other.lock() => {}
        () = tokio::time::sleep(LONG) => {}
    }
    drop(guard);
}

async fn locks_both_and_sleeps(one: Lock, other: Lock) {
    let first = one.lock().await;
    let second = other.lock().await;
    tokio::time::sleep(LONG).await;
    drop((first, second));
}

async fn keeps(lock: Lock) {
    let guard = lock.lock().await;
    tokio::time::sleep(LONG).await;
    drop(guard);
}

async fn lets_go(one: Lock, other: Lock) {
    let guard = one.lock().await;
    a_moment().await;
    drop(guard);
    a_moment().await;
    let second = other.lock().await;
    drop(second);
}

async fn lets_go_maybe(one: Lock, other: Lock, does: bool) {
    let guard = one.lock().await;
    a_moment().await;
    if does {
        drop(guard);
    } else {
        std::mem::forget(guard);
    }
    a_moment().await;
    let second = other.lock().await;
    drop(second);
}

async fn keeps_both(one: Lock, other: Lock) {
    let second = other.lock().await;
    let first = one.lock().await;
    tokio::time::sleep(LONG).await;
    drop((first, second));
}

type Guard = tokio::sync::OwnedMutexGuard<u64>;

async fn gives(one: Lock, other: Lock, give: oneshot::Sender<Guard>) {
    let guard = one.lock_owned().await;
    a_moment().await;
    let _ = give.send(guard);
    a_moment().await;
    let second = other.lock().await;
    drop(second);
}

async fn takes(given: oneshot::Receiver<Guard>, other: Lock) {
    let second = other.lock().await;
    let first = given.await;
    tokio::time::sleep(LONG).await;
    drop((first, second));
}

fn near_misses_of_other_things(near: &Tasks) {
    // Readers keep nobody from reading.
    let rwlock = Arc::new(RwLock::new(0));
    for _ in 0..2 {
        near.spawn(reads_twice(rwlock.clone()));
    }
    // Whoever writes waits for one that reads, and will be done.
    let rwlock = Arc::new(RwLock::new(0));
    near.spawn(reads_and_sleeps(rwlock.clone()));
    near.spawn(writes_after(rwlock));
    // The other one will end.
    let handle = near.spawn(tokio::time::sleep(LONG));
    near.spawn(joins(handle));
    // It waits for its own end, for a time.
    let (tell, told) = oneshot::channel();
    let handle = near.spawn(joins_for_a_time(told));
    let _ = tell.send(handle);
    // The channel has room.
    let ((to_one, at_one), (to_other, at_other)) = (mpsc::channel(9), mpsc::channel(1));
    near.spawn(sends_and_receives_more(to_other, at_one));
    near.spawn(sends_and_receives_more(to_one, at_other));
    // Whoever receives will go on.
    let (sender, receiver) = mpsc::channel(1);
    near.spawn(sends(sender));
    near.spawn(receives_after(receiver));
    // The receiver was given to another one.
    let (sender, receiver) = mpsc::channel(1);
    let lock = lock();
    near.spawn(keeps(lock.clone()));
    let handle = near.spawn(receives_after(receiver));
    near.spawn(locks_and_joins_after(lock, handle));
    near.spawn(sends(sender));
}

async fn reads_twice(rwlock: Arc<RwLock<u64>>) {
    let one = rwlock.read().await;
    a_moment().await;
    let other = rwlock.read().await;
    tokio::time::sleep(LONG).await;
    drop((one, other));
}

async fn reads_and_sleeps(rwlock: Arc<RwLock<u64>>) {
    let read = rwlock.read().await;
    tokio::time::sleep(LONG).await;
    drop(read);
}

async fn writes_after(rwlock: Arc<RwLock<u64>>) {
    a_moment().await;
    *rwlock.write().await += 1;
}

async fn joins_for_a_time(told: oneshot::Receiver<JoinHandle<()>>) {
    if let Ok(handle) = told.await {
        let _ = tokio::time::timeout(LONG, handle).await;
    }
}

async fn sends_and_receives_more(to: mpsc::Sender<u64>, mut from: mpsc::Receiver<u64>) {
    let _ = to.send(1).await;
    let _ = to.send(2).await;
    while from.recv().await.is_some() {}
}

async fn sends(sender: mpsc::Sender<u64>) {
    let _ = sender.send(1).await;
    let _ = sender.send(2).await;
}

async fn receives_after(mut receiver: mpsc::Receiver<u64>) {
    tokio::time::sleep(LONG).await;
    receiver.recv().await;
}

async fn locks_and_joins_after(lock: Lock, handle: JoinHandle<()>) {
    a_moment().await;
    *lock.lock().await += 1;
    let _ = handle.await;
}

type Permits = Arc<Semaphore>;

fn permits(count: usize) -> Permits {
    Arc::new(Semaphore::new(count))
}

fn cycles_of_permits(cycle: Named) {
    let tasks = cycle("permits of two");
    let (one, other) = (permits(1), permits(1));
    tasks.spawn(acquires_both(one.clone(), other.clone()));
    tasks.spawn(acquires_both(other, one));
    let tasks = cycle("permits of one");
    let both = permits(2);
    tasks.spawn(acquires_both(both.clone(), both.clone()));
    tasks.spawn(acquires_both(both.clone(), both));
    let tasks = cycle("a permit and a mutex");
    let (mutex, one) = (lock(), permits(1));
    tasks.spawn(acquires_and_locks(one.clone(), mutex.clone()));
    tasks.spawn(locks_and_acquires(mutex, one));
    let tasks = cycle("owned permits");
    let (one, other) = (permits(3), permits(3));
    tasks.spawn(acquires_owned(one.clone(), other.clone()));
    tasks.spawn(acquires_owned(other, one));
}

async fn acquires_both(one: Permits, other: Permits) {
    let first = one.acquire().await;
    a_moment().await;
    let second = other.acquire().await;
    drop((first, second));
}

async fn acquires_owned(one: Permits, other: Permits) {
    let first = one.acquire_many_owned(2).await;
    a_moment().await;
    let second = other.acquire_many_owned(2).await;
    drop((first, second));
}

async fn acquires_and_locks(one: Permits, mutex: Lock) {
    let permit = one.acquire().await;
    a_moment().await;
    *mutex.lock().await += 1;
    drop(permit);
}

async fn locks_and_acquires(mutex: Lock, one: Permits) {
    let guard = mutex.lock().await;
    a_moment().await;
    let permit = one.acquire().await;
    drop((guard, permit));
}

fn near_misses_of_permits(near: &Tasks) {
    // Another one has a permit, too, and will give it back.
    let (one, other) = (permits(2), permits(1));
    near.spawn(acquires_both(one.clone(), other.clone()));
    near.spawn(keeps_permit(one.clone()));
    near.spawn(acquires_both(other, one));
    // A timeout ends it.
    let (one, other) = (permits(1), permits(1));
    near.spawn(acquires_both(one.clone(), other.clone()));
    near.spawn(acquires_for_a_time(other, one));
    // There are enough.
    let both = permits(3);
    near.spawn(acquires_both_and_sleeps(both.clone()));
    near.spawn(acquires_both_and_sleeps(both));
    // Permits that were forgotten are given by nobody, and those who are added later by somebody else.
    let one = permits(0);
    near.spawn(acquires_both(one.clone(), one));
}

async fn keeps_permit(one: Permits) {
    let permit = one.acquire().await;
    tokio::time::sleep(LONG).await;
    drop(permit);
}

async fn acquires_for_a_time(one: Permits, other: Permits) {
    let permit = one.acquire().await;
    a_moment().await;
    let _ = tokio::time::timeout(LONG, other.acquire()).await;
    drop(permit);
}

async fn acquires_both_and_sleeps(both: Permits) {
    let first = both.acquire().await;
    a_moment().await;
    let second = both.acquire().await;
    tokio::time::sleep(LONG).await;
    drop((first, second));
}
