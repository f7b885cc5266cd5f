//! Who has the lock that a slow poll waits for: a task on another worker, a thread of the pool, any other thread; and when nobody is told.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard};
use std::thread;

use pollscope_probe::{Cause, Evidence};
use pollscope_stacks::thread::current_tid;
use tokio::sync::oneshot;

use super::{BLOCK, must, run, watching};
use crate::support::{current_thread, eventually, multi_thread, slow_polls, spawn, spin};

/// What was seen of the poll that waited for a lock, which is to have a line.
fn waited(polls: Vec<pollscope_probe::SlowPoll>) -> Result<Evidence, String> {
    let found = polls.iter().find(|poll| poll.evidence.cause == Some(Cause::Lock));
    let evidence = found.map(|poll| poll.evidence.clone());
    evidence.filter(|seen| seen.captures > 0).ok_or_else(|| format!("no poll that waited for a lock: {polls:#?}"))
}

#[test]
fn a_task_on_another_worker_that_computes() {
    eventually(|| {
        static MUTEX: Mutex<u64> = Mutex::new(1);
        let (runtime, probe) = multi_thread(2, watching());
        let id = runtime.block_on(async {
            let (tell, told) = oneshot::channel();
            let heavy = spawn(&probe, async move {
                let guard = MUTEX.lock().unwrap();
                tell.send(tokio::task::id()).unwrap();
                spin(300_000);
                drop(guard);
            });
            let id = told.await.unwrap();
            spawn(&probe, async { drop(MUTEX.lock()) }).await.unwrap();
            heavy.await.unwrap();
            id
        });
        drop(runtime);
        let evidence = waited(slow_polls(&probe))?;
        let holder = evidence.holder().ok_or_else(|| format!("no holder: {evidence:#?}"))?;
        must(holder.task_id.map(|id| id.to_string()) == Some(id.to_string()), "the task that has it", holder)?;
        assert!(!holder.sure && holder.tid != 0, "{holder:?}");
        must(holder.doing == "computes", "what it does", holder)?;
        let line = holder.line.as_deref().unwrap_or_default();
        must(line.starts_with("tests/it/support.rs:"), "its line", holder)?;
        let sentence = evidence.sentence(BLOCK).unwrap_or_default();
        let told = format!(", held by task {id} on thread `{}` (probably), which computes at tests/it/", holder.thread);
        must(sentence.contains(&told), "the sentence", sentence)
    });
}

#[test]
fn a_thread_of_the_pool() {
    static HOLDER: AtomicU32 = AtomicU32::new(0);
    eventually(|| {
        static MUTEX: Mutex<u64> = Mutex::new(1);
        let (runtime, probe) = current_thread(watching());
        let task = async {
            let (tell, told) = oneshot::channel();
            let pool = tokio::task::spawn_blocking(|| {
                let _guard = MUTEX.lock().unwrap();
                HOLDER.store(current_tid(), SeqCst);
                tell.send(()).unwrap();
                thread::sleep(BLOCK);
            });
            told.await.unwrap();
            drop(MUTEX.lock());
            pool.await.unwrap();
        };
        let ((), poll) = run(&runtime, &probe, task)?;
        let holder = poll.evidence.holder();
        let is_it = holder.is_some_and(|holder| {
            let (line, doing) = (holder.line.as_deref(), holder.doing.as_str());
            let is_here = line.is_some_and(|line| line.starts_with("tests/it/watchdog/holder.rs:"));
            (holder.tid, holder.task_id, doing) == (HOLDER.load(SeqCst), None, "sleeps in clock_nanosleep") && is_here
        });
        must(is_it, "the thread of the pool", &poll.evidence)
    });
}

#[test]
fn a_thread_of_the_program_by_its_name() {
    eventually(|| {
        static MUTEX: Mutex<u64> = Mutex::new(1);
        let (runtime, probe) = current_thread(watching());
        let task = async {
            let (tell, told) = channel();
            let (go_on, stay) = channel::<()>();
            let its = thread::Builder::new().name("backup".to_owned());
            let holder = its.spawn(move || {
                let _guard = MUTEX.lock().unwrap();
                tell.send(()).unwrap();
                let _ = stay.recv_timeout(BLOCK);
            });
            told.recv().unwrap();
            drop(MUTEX.lock());
            drop(go_on);
            holder.unwrap().join().unwrap();
        };
        let ((), poll) = run(&runtime, &probe, task)?;
        let sentence = poll.evidence.sentence(poll.duration).unwrap_or_default();
        let told =
            ", held by thread `backup` (probably), which is blocked in futex(wait) at tests/it/watchdog/holder.rs:";
        must(sentence.contains(told), "the sentence", sentence)
    });
}

#[test]
fn a_thread_whose_end_is_awaited() {
    eventually(|| {
        let (runtime, probe) = current_thread(watching());
        let task = async {
            let its = thread::Builder::new().name("import".to_owned());
            its.spawn(|| thread::sleep(BLOCK)).unwrap().join().unwrap();
        };
        let ((), poll) = run(&runtime, &probe, task)?;
        let holder = poll.evidence.holder();
        let is_it = holder.is_some_and(|holder| holder.sure && holder.thread == "import");
        must(is_it, "the thread", &poll.evidence)
    });
}

/// What it waits for is no lock: there is nobody to be named, and nobody missing.
#[test]
fn a_message_has_no_holder() {
    eventually(|| {
        let (runtime, probe) = current_thread(watching());
        let task = async {
            let (tell, told) = channel::<()>();
            let sender = thread::spawn(move || (thread::sleep(BLOCK), drop(tell)));
            told.recv().unwrap_err();
            sender.join().unwrap();
        };
        let ((), poll) = run(&runtime, &probe, task)?;
        must(poll.evidence.cause == Some(Cause::Lock), "cause", &poll)?;
        must(poll.evidence.stack_complete == Some(true), "a complete stack", &poll)?;
        assert_eq!(poll.evidence.lock, None, "{poll:#?}");
        Ok(())
    });
}

/// Its guard is where no code says that the thread has it.
#[test]
fn a_lock_that_no_thread_is_seen_to_have_has_an_unknown_holder() {
    thread_local! {
        static HELD: RefCell<Option<MutexGuard<'static, u64>>> = const { RefCell::new(None) };
    }
    eventually(|| {
        static MUTEX: Mutex<u64> = Mutex::new(1);
        let (runtime, probe) = current_thread(watching());
        let task = async {
            let (tell, told) = channel();
            let holder = thread::spawn(move || {
                HELD.set(Some(MUTEX.lock().unwrap()));
                tell.send(()).unwrap();
                thread::sleep(BLOCK);
                HELD.take();
            });
            told.recv().unwrap();
            drop(MUTEX.lock());
            holder.join().unwrap();
        };
        let ((), poll) = run(&runtime, &probe, task)?;
        let sentence = poll.evidence.sentence(poll.duration).unwrap_or_default();
        assert_eq!(poll.evidence.holder(), None, "{poll:#?}");
        must(sentence.contains(", holder unknown") && !sentence.contains("unknown:"), "the sentence", sentence)
    });
}
