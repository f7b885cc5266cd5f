//! The ways to wait. Each tells the line below as the one that it is suspended at.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, future};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{
    Barrier, Mutex, Notify, OnceCell, OwnedMutexGuard, RwLock, Semaphore, broadcast, mpsc, oneshot, watch,
};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::kit::{Kit, Told};
use crate::nest;

/// Nobody waits so long.
const LONG: Duration = Duration::from_secs(100_000);

/// Tells that it comes to the `.await` below.
macro_rules! at {
    ($told:expr) => {
        $told.at(file!(), line!() + 1)
    };
}

/// Spawns one way, at some depths.
macro_rules! way {
    ($kit:expr, $way:literal, $leaves:expr, $told:ident => $future:expr) => {
        for depth in [0, 1, 2, 3, 4, 5, 6, 7, nest::DEEPEST] {
            let $told = $kit.tells($way, depth, $leaves);
            let future = $future;
            nest::spawn($kit, $told, depth, future);
        }
    };
}

/// All of them.
pub async fn spawn_all(kit: &Kit) {
    times(kit);
    locks(kit).await;
    channels(kit);
    others(kit);
    branches(kit);
    many(kit);
    held(kit);
    files(kit).await;
}

fn times(kit: &Kit) {
    way!(kit, "sleep", &["sleep"], told => sleeps(told.clone()));
    way!(kit, "sleep-until", &["sleep"], told => sleeps_until(told.clone()));
    way!(kit, "interval", &["sleep"], told => ticks(told.clone()));
    way!(kit, "timeout", &["notify", "sleep"], told => times_out(told.clone()));
    way!(kit, "pending", &["pending"], told => never(told.clone()));
}

async fn sleeps(told: Told) {
    at!(told);
    tokio::time::sleep(LONG).await;
}

async fn sleeps_until(told: Told) {
    let until = tokio::time::Instant::now() + LONG;
    at!(told);
    tokio::time::sleep_until(until).await;
}

async fn ticks(told: Told) {
    let mut interval = tokio::time::interval(LONG);
    at!(told);
    interval.tick().await;
    told.passed();
    at!(told);
    interval.tick().await;
}

async fn times_out(told: Told) {
    let notify = Notify::new();
    at!(told);
    let _ = tokio::time::timeout(LONG, notify.notified()).await;
}

async fn never(told: Told) {
    at!(told);
    std::future::pending::<()>().await;
}

async fn locks(kit: &Kit) {
    let mutex = Arc::new(Mutex::new(String::new()));
    // Forgotten, it is never given back.
    std::mem::forget(mutex.clone().lock_owned().await);
    way!(kit, "mutex", &["mutex"], told => locks_it(told.clone(), mutex.clone()));
    way!(kit, "mutex-owned", &["mutex"], told => locks_owned(told.clone(), mutex.clone()));
    let rwlock = Arc::new(RwLock::new(7_u64));
    std::mem::forget(rwlock.clone().write_owned().await);
    way!(kit, "rwlock-read", &["rw-lock-read"], told => reads(told.clone(), rwlock.clone()));
    way!(kit, "rwlock-write", &["rw-lock-write"], told => writes(told.clone(), rwlock.clone()));
    let semaphore = Arc::new(Semaphore::new(1));
    way!(kit, "semaphore", &["semaphore"], told => acquires(told.clone(), semaphore.clone()));
    way!(kit, "semaphore-owned", &["semaphore"], told => acquires_owned(told.clone(), semaphore.clone()));
    let cell = Arc::new(OnceCell::new());
    let told = kit.tells("once-cell-first", 0, &["pending"]);
    kit.spawn(fills(told, cell.clone()));
    // The others come after that.
    tokio::time::sleep(Duration::from_millis(50)).await;
    way!(kit, "once-cell", &["once-cell"], told => fills(told.clone(), cell.clone()));
}

async fn locks_it(told: Told, mutex: Arc<Mutex<String>>) {
    at!(told);
    let guard = mutex.lock().await;
    drop(guard);
}

async fn locks_owned(told: Told, mutex: Arc<Mutex<String>>) {
    at!(told);
    let _guard: OwnedMutexGuard<String> = mutex.lock_owned().await;
}

async fn reads(told: Told, rwlock: Arc<RwLock<u64>>) {
    at!(told);
    let _guard = rwlock.read().await;
}

async fn writes(told: Told, rwlock: Arc<RwLock<u64>>) {
    at!(told);
    *rwlock.write().await += 1;
}

async fn acquires(told: Told, semaphore: Arc<Semaphore>) {
    at!(told);
    let _permit = semaphore.acquire_many(3).await;
}

async fn acquires_owned(told: Told, semaphore: Arc<Semaphore>) {
    at!(told);
    let _permit = semaphore.acquire_many_owned(2).await;
}

async fn fills(told: Told, cell: Arc<OnceCell<u8>>) {
    at!(told);
    cell.get_or_init(std::future::pending).await;
}

fn channels(kit: &Kit) {
    way!(kit, "mpsc-receive", &["mpsc-receive"], told => receives(told.clone()));
    way!(kit, "mpsc-receive-unbounded", &["mpsc-receive"], told => receives_unbounded(told.clone()));
    way!(kit, "mpsc-send", &["mpsc-send"], told => sends(told.clone()));
    way!(kit, "mpsc-reserve", &["mpsc-send"], told => reserves(told.clone()));
    way!(kit, "oneshot", &["oneshot"], told => receives_once(told.clone()));
    way!(kit, "watch", &["watch"], told => watches(told.clone()));
    way!(kit, "watch-for", &["watch"], told => watches_for(told.clone()));
    way!(kit, "broadcast", &["broadcast"], told => hears(told.clone()));
}

async fn receives(told: Told) {
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(4);
    at!(told);
    receiver.recv().await;
    drop(sender);
}

async fn receives_unbounded(told: Told) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<u16>();
    at!(told);
    receiver.recv().await;
    drop(sender);
}

async fn sends(told: Told) {
    let (sender, receiver) = mpsc::channel(1);
    std::mem::forget(receiver);
    at!(told);
    let _ = sender.send(1_u8).await;
    told.passed();
    at!(told);
    let _ = sender.send(2).await;
}

async fn reserves(told: Told) {
    let (sender, receiver) = mpsc::channel::<u32>(1);
    std::mem::forget(receiver);
    let _first = sender.try_reserve();
    at!(told);
    let _ = sender.reserve().await;
}

async fn receives_once(told: Told) {
    let (sender, receiver) = oneshot::channel::<String>();
    at!(told);
    let _ = receiver.await;
    drop(sender);
}

async fn watches(told: Told) {
    let (sender, mut receiver) = watch::channel(1);
    at!(told);
    let _ = receiver.changed().await;
    drop(sender);
}

async fn watches_for(told: Told) {
    let (sender, mut receiver) = watch::channel(1);
    at!(told);
    let _ = receiver.wait_for(|value| *value == 2).await;
    drop(sender);
}

async fn hears(told: Told) {
    let (sender, mut receiver) = broadcast::channel::<u64>(2);
    at!(told);
    let _ = receiver.recv().await;
    drop(sender);
}

fn others(kit: &Kit) {
    way!(kit, "notify", &["notify"], told => is_notified(told.clone()));
    way!(kit, "barrier", &["barrier"], told => meets(told.clone()));
    let end = kit.tells("sleep", 0, &["sleep"]);
    let handle = kit.spawn(sleeps(end));
    let told = kit.tells("join-handle", 0, &["join"]);
    kit.spawn(joins(told, handle));
    for depth in [1, 3, nest::DEEPEST] {
        let end = kit.tells("sleep", 0, &["sleep"]);
        let handle = kit.spawn(sleeps(end));
        let told = kit.tells("join-handle", depth, &["join"]);
        nest::spawn(kit, told.clone(), depth, joins(told, handle));
    }
}

async fn is_notified(told: Told) {
    let notify = Arc::new(Notify::new());
    at!(told);
    notify.notified().await;
}

async fn meets(told: Told) {
    let barrier = Barrier::new(2);
    at!(told);
    barrier.wait().await;
}

async fn joins(told: Told, handle: tokio::task::JoinHandle<()>) {
    at!(told);
    let _ = handle.await;
}

fn branches(kit: &Kit) {
    way!(kit, "select", &["sleep", "notify"], told => selects(told.clone()));
    way!(kit, "select-in-turn", &["notify"], told => selects_in_turn(told.clone()));
    way!(kit, "join", &["sleep", "mpsc-receive"], told => joins_both(told.clone()));
    way!(kit, "join-one-left", &["sleep"], told => joins_one_left(told.clone()));
    way!(kit, "try-join", &["sleep", "pending"], told => tries_both(told.clone()));
    way!(kit, "select-of-futures", &["sleep", "pending"], told => selects_of_futures(told.clone()));
}

async fn selects(told: Told) {
    let notify = Notify::new();
    at!(told);
    tokio::select! {
        biased;
        () = sleeps(told.clone()) => {}
        () = notify.notified() => {}
    }
}

async fn selects_in_turn(told: Told) {
    let notify = Notify::new();
    let mut is_first = true;
    for _ in 0..2 {
        at!(told);
        tokio::select! {
            biased;
            () = std::future::ready(()), if is_first => is_first = false,
            () = is_notified_by(told.clone(), &notify) => {}
        }
        if !is_first {
            told.passed();
            is_first = false;
        }
    }
}

async fn is_notified_by(told: Told, notify: &Notify) {
    at!(told);
    notify.notified().await;
}

async fn joins_both(told: Told) {
    at!(told);
    tokio::join!(sleeps(told.clone()), receives(told.clone()));
}

async fn joins_one_left(told: Told) {
    at!(told);
    tokio::join!(std::future::ready(()), sleeps(told.clone()));
}

async fn tries_both(told: Told) {
    at!(told);
    let _ = tokio::try_join!(tries(told.clone()), tries_never(told.clone()));
}

async fn tries(told: Told) -> Result<(), ()> {
    at!(told);
    sleeps(told.clone()).await;
    Ok(())
}

async fn tries_never(told: Told) -> Result<(), ()> {
    at!(told);
    std::future::pending().await
}

async fn selects_of_futures(told: Told) {
    let one = pin!(sleeps(told.clone()));
    let other = pin!(never(told.clone()));
    at!(told);
    future::select(one, other).await;
}

fn many(kit: &Kit) {
    way!(kit, "boxed", &["sleep"], told => is_boxed(told.clone()));
    way!(kit, "dyn", &["notify"], told => is_dyn(told.clone()));
    way!(kit, "recursive", &["sleep"], told => recurses(told.clone(), 4));
    way!(kit, "join-all", &["sleep", "pending"], told => joins_all(told.clone()));
    way!(kit, "unordered", &["sleep"], told => is_unordered(told.clone()));
    way!(kit, "instrumented", &["sleep"], told => is_instrumented(told.clone()));
    way!(kit, "by-reference", &["sleep"], told => by_reference(told.clone()));
    for depth in [0, 1, nest::DEEPEST] {
        let mut set = JoinSet::new();
        let end = kit.tells("sleep", 0, &["sleep"]);
        kit.spawn_in(&mut set, sleeps(end));
        let told = kit.tells("join-set", depth, &["join-set"]);
        nest::spawn(kit, told.clone(), depth, joins_set(told, set));
    }
}

async fn is_boxed(told: Told) {
    at!(told);
    Box::pin(sleeps(told.clone())).await;
}

async fn is_dyn(told: Told) {
    let future: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(is_notified(told.clone()));
    at!(told);
    future.await;
}

fn recurses(told: Told, depth: usize) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if depth == 0 {
            at!(told);
            sleeps(told.clone()).await;
        } else {
            at!(told);
            recurses(told.clone(), depth - 1).await;
        }
    })
}

async fn joins_all(told: Told) {
    let all: [Pin<Box<dyn Future<Output = ()> + Send>>; 2] =
        [Box::pin(sleeps(told.clone())), Box::pin(never(told.clone()))];
    at!(told);
    future::join_all(all).await;
}

async fn is_unordered(told: Told) {
    let mut all: FuturesUnordered<_> = std::iter::once(sleeps(told.clone())).collect();
    at!(told);
    all.next().await;
}

async fn is_instrumented(told: Told) {
    let future = sleeps(told.clone()).instrument(tracing::Span::none());
    at!(told);
    future.await;
}

async fn by_reference(told: Told) {
    let mut future = pin!(sleeps(told.clone()));
    at!(told);
    future.as_mut().await;
}

async fn joins_set(told: Told, mut set: JoinSet<()>) {
    at!(told);
    set.join_next().await;
}

fn held(kit: &Kit) {
    let mutex = Arc::new(Mutex::new(String::new()));
    let told = kit.tells("holder", 0, &["sleep"]);
    kit.spawn(keeps(told, mutex.clone()));
    let told = kit.tells("mutex", 0, &["mutex"]);
    kit.spawn(async move {
        tokio::task::yield_now().await;
        at!(told);
        locks_it_late(told.clone(), mutex).await;
    });
}

async fn keeps(told: Told, mutex: Arc<Mutex<String>>) {
    let mut guard = mutex.lock().await;
    at!(told);
    sleeps(told.clone()).await;
    guard.push('x');
}

async fn locks_it_late(told: Told, mutex: Arc<Mutex<String>>) {
    at!(told);
    let _guard = mutex.lock().await;
}

async fn files(kit: &Kit) {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
    let address = listener.local_addr().expect("it has one");
    way!(kit, "read", &["io"], told => {
        let connected = connected(&listener, address).await;
        reads_from(told.clone(), connected)
    });
    way!(kit, "write", &["io"], told => writes_to(told.clone()));
    way!(kit, "accept", &["io"], told => accepts(told.clone()));
}

async fn connected(listener: &TcpListener, address: std::net::SocketAddr) -> (TcpStream, TcpStream) {
    let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
    (one.expect("it connects"), other.expect("it accepts").0)
}

async fn reads_from(told: Told, (mut one, _other): (TcpStream, TcpStream)) {
    let mut byte = [0];
    at!(told);
    let _ = one.read(&mut byte).await;
}

async fn writes_to(told: Told) {
    let (mut one, _other) = UnixStream::pair().expect("two ends");
    at!(told);
    let _ = one.write_all(&vec![0; 16 << 20]).await;
}

async fn accepts(told: Told) {
    at!(told);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    told.passed();
    at!(told);
    let _ = listener.accept().await;
}
