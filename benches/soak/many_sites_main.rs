//! The program that `many_sites.rs` generates calls for: it spawns a task at each of very many places, and prints what it has in
//! memory as it goes.

mod calls;
mod heap;
mod reading;

use std::cell::RefCell;

use pollscope_probe::Probe;
use reading::Reading;
use tokio::runtime::Builder;
use tokio::task::JoinHandle;

thread_local! {
    static TASKS: RefCell<Vec<JoinHandle<()>>> = RefCell::new(Vec::with_capacity(4_096));
}

/// Spawns a task whose place is the caller's.
#[track_caller]
#[inline(never)]
pub(crate) fn s() {
    let task = tokio::spawn(async {});
    TASKS.with_borrow_mut(|tasks| tasks.push(task));
}

fn main() {
    let mut builder = Builder::new_current_thread();
    let probe = Probe::builder().install(&mut builder).expect("threads can be started");
    let runtime = builder.build().expect("a runtime can be built");
    let every = (calls::ALL.len() / calls::READINGS).max(1);
    let mut done = 0;
    for (index, calls) in calls::ALL.iter().enumerate() {
        runtime.block_on(async {
            calls();
            let mut tasks = TASKS.take();
            for task in tasks.drain(..) {
                task.await.expect("it does not panic");
            }
            TASKS.set(tasks);
        });
        done += calls::EACH;
        if (index + 1) % every == 0 {
            Reading::now(done).print();
        }
    }
    let snapshot = probe.snapshot();
    let by_site: u64 = snapshot.sites.iter().map(|site| site.polls.count()).sum();
    assert_eq!((snapshot.polls.count(), by_site), (done, done), "every poll is counted, in all and by site");
}
