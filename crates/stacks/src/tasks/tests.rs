use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pollscope_base::LeafKind;
use tokio::runtime::Builder;
use tokio::sync::{Mutex, Semaphore, oneshot};

use super::heap::{Header, REFERENCES_FROM};
use super::*;

const LONG: Duration = Duration::from_secs(3_600);

fn ends(chain: &Await) -> Vec<&Await> {
    if chain.inside.is_empty() { vec![chain] } else { chain.inside.iter().flat_map(ends).collect() }
}

/// Of this very file, outermost first.
fn lines(chain: &Await) -> Vec<u32> {
    let own = chain.file.as_ref().is_some_and(|file| file.ends_with("src/tasks/tests.rs"));
    chain.line.filter(|_| own).into_iter().chain(chain.inside.iter().flat_map(lines)).collect()
}

#[inline(never)]
async fn sleeps() {
    tokio::time::sleep(LONG).await;
}
const SLEEPS: u32 = line!() - 2;

async fn sleeps_boxed() {
    let future: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(sleeps());
    future.await;
}
const SLEEPS_BOXED: u32 = line!() - 2;

async fn several(lock: Arc<Mutex<u8>>, told: oneshot::Receiver<()>) {
    let guard = lock.lock().await;
    tokio::join!(sleeps(), async {
        let _ = told.await;
    });
    drop(guard);
}
const SEVERAL: u32 = line!() - 5;

async fn asks(lock: Arc<Mutex<u8>>) {
    drop(lock.lock().await);
}

async fn takes(semaphore: Arc<Semaphore>) {
    let _permits = semaphore.acquire_many(9).await;
}

/// Tasks of this process, of a runtime of its own: read by a thread that it does not have.
fn read_while<F: Future<Output = ()>>(spawn: impl FnOnce() -> F + Send + 'static) -> Tasks {
    let (tell, told) = std::sync::mpsc::channel();
    let (end, ended) = oneshot::channel::<()>();
    let runs = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            spawn().await;
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            tell.send(()).expect("somebody waits");
            let _ = ended.await;
        });
    });
    told.recv().expect("it runs");
    let found = read(&mut Namer::new(Process::current(), Vec::new(), false)).expect("it is this process");
    drop(end);
    runs.join().expect("it does not panic");
    found
}

fn of<'a>(tasks: &'a Tasks, future: &str) -> &'a WaitingTask {
    let mut found = tasks.tasks.iter().filter(|task| task.future.as_deref().is_some_and(|name| name.ends_with(future)));
    let only = found.next().unwrap_or_else(|| panic!("{future}: {tasks:#?}"));
    assert!(found.next().is_none(), "{tasks:#?}");
    only
}

#[test]
fn what_each_task_of_this_process_waits_for_is_read_with_its_lines() {
    let tasks = read_while(|| async {
        let lock = Arc::new(Mutex::new(1));
        let (tell, told) = oneshot::channel();
        tokio::spawn(several(lock.clone(), told));
        tokio::task::yield_now().await;
        tokio::spawn(asks(lock));
        tokio::spawn(sleeps_boxed());
        tokio::spawn(takes(Arc::new(Semaphore::new(1))));
        std::mem::forget(tell);
    });
    assert!(tasks.has_types && !tasks.is_limited);
    let boxed = of(&tasks, "tests::sleeps_boxed");
    let chain = boxed.waits.as_ref().expect("it is suspended");
    assert_eq!(lines(chain), [SLEEPS_BOXED, SLEEPS]);
    let left = ends(chain)[0].leaf.as_ref().and_then(|leaf| leaf.left_ns).expect("it has an end");
    assert!((0..=LONG.as_nanos() as i64).contains(&left), "{left}");
    assert_eq!((boxed.state, boxed.is_cancelled), (TaskState::Idle, false));
    let several = of(&tasks, "tests::several");
    let kinds: Vec<Option<LeafKind>> =
        ends(several.waits.as_ref().unwrap()).iter().map(|end| end.leaf.as_ref().map(|leaf| leaf.kind)).collect();
    assert_eq!(kinds, [Some(LeafKind::Sleep), Some(LeafKind::Oneshot)]);
    assert_eq!(lines(several.waits.as_ref().unwrap())[0], SEVERAL, "where the macro is called");
    let asks = of(&tasks, "tests::asks");
    let wanted = ends(asks.waits.as_ref().unwrap())[0].leaf.clone().expect("a lock");
    let [kept] = &several.holds[..] else { panic!("{several:#?}") };
    assert_eq!((wanted.kind, wanted.address.as_deref()), (LeafKind::Mutex, Some(kept.address.as_str())));
    assert_eq!(kept.variable, "guard");
    let takes = of(&tasks, "tests::takes");
    assert_eq!(ends(takes.waits.as_ref().unwrap())[0].leaf.as_ref().unwrap().kind, LeafKind::Semaphore);
    assert!(takes.holds.is_empty());
}

#[test]
fn what_changed_meanwhile_is_seen() {
    let memory = std::cell::RefCell::new(vec![7_u8; 1024]);
    let read = |address: u64, into: &mut [u8]| {
        let memory = memory.borrow();
        let Some(rest) = address.checked_sub(4096).and_then(|from| memory.get(from as usize..)) else { return 0 };
        let length = rest.len().min(into.len());
        into[..length].copy_from_slice(&rest[..length]);
        length
    };
    let copied = Copied::new(&read);
    assert_eq!(copied.number(4096 + 250, 8), Some(0x0707_0707_0707_0707), "across two pieces");
    assert_eq!((copied.number(4096 + 1020, 8), copied.word(0), copied.number(4096, 9)), (None, None, None));
    assert!(copied.is_unchanged());
    memory.borrow_mut()[900] = 8;
    assert_eq!(copied.number(4096 + 900, 1), Some(7), "as it was");
    assert!(!copied.is_unchanged());
    memory.borrow_mut()[900] = 7;
    memory.borrow_mut()[600] = 8;
    assert!(copied.is_unchanged(), "what was not read may change");
}

#[test]
fn a_header_that_nobody_refers_to_is_none() {
    let header = |state: u64| Header::of(128, &[state, 0, 4711, 3]);
    let expect = Header { at: 128, state: REFERENCES_FROM | 1, table: 4711, owner: 3 };
    assert_eq!(header(REFERENCES_FROM | 1), Some(expect));
    assert_eq!((header(1), header(0x7f12_3456_7890), Header::of(0, &[64, 0])), (None, None, None));
    for (word, expect) in
        [(2, TaskState::Complete), (1, TaskState::Running), (5, TaskState::Running), (4, TaskState::Ready)]
    {
        assert_eq!(state(REFERENCES_FROM | word), expect);
    }
}

#[test]
fn headers_are_found_wherever_they_begin_and_each_once() {
    const TABLE_AT: u64 = 0x5000;
    let table = Table::of(&[1, 1, 1, 1, 1, 1, 1, 160, 32, 40], 0, |_| true).expect("it is one");
    let tables = HashMap::from([(TABLE_AT, table)]);
    // Two parts of a megabyte, and a page that cannot be read.
    let (start, part) = (0x10_0000_u64, 1_u64 << 20);
    let places =
        [start, start + 48, start + part - 32, start + part - 16, start + part + 8_192 - 32, start + 2 * part - 32];
    let unreadable = start + part + 8_192..start + part + 12_288;
    let read = |address: u64, into: &mut [u8]| {
        let end = (address + into.len() as u64).min(start + 2 * part);
        let end = if address < unreadable.start { end.min(unreadable.start) } else { end };
        if unreadable.contains(&address) || address >= end {
            return 0;
        }
        let length = (end - address) as usize;
        into[..length].fill(0);
        for (index, at) in (address..end).enumerate().step_by(8) {
            let word = places.iter().find_map(|place| match at.checked_sub(*place)? {
                0 => Some(REFERENCES_FROM),
                16 => Some(TABLE_AT),
                24 => Some(1),
                _ => None,
            });
            into[index..index + 8].copy_from_slice(&word.unwrap_or(0).to_le_bytes());
        }
        length
    };
    let region =
        |start, end, can_be_written| crate::maps::Region { start, end, can_be_written, inode: 0, name: String::new() };
    let all = |range: &std::ops::Range<u64>| vec![range.clone()];
    let search = heap::Search { tables: &tables, stacks: &[], present: &all, read: &read };
    let found = search.headers(&[region(start, start + 2 * part, true)]);
    assert_eq!(found.iter().map(|header| header.at).collect::<Vec<_>>(), places);
    assert!(search.headers(&[region(start, start + 2 * part, false)]).is_empty(), "nothing is allocated there");
    let on_stack = start..start + 64;
    let search = heap::Search { stacks: &[on_stack], ..search };
    assert_eq!(
        search.headers(&[region(start, start + 2 * part, true)]).len(),
        places.len() - 2,
        "copies are left there"
    );
}

#[test]
fn pages_that_were_never_written_to_are_left_out() {
    let (there, swapped) = (1 << 63, 1 << 62);
    let of = |told: &[u64], within| heap::present(2, told, &within);
    assert_eq!(of(&[there, swapped, 7, there], 8_192..24_576), [8_192..16_384, 20_480..24_576]);
    let only = |parts: Vec<std::ops::Range<u64>>| (parts.len(), parts.first().cloned());
    assert_eq!(only(of(&[there, there], 8_200..12_304)), (1, Some(8_200..12_304)), "no more than was asked for");
    assert_eq!(only(of(&[0, 0], 8_192..16_384)), (0, None));
    let written = vec![1_u8; 1 << 20];
    let range = written.as_ptr() as u64..written.as_ptr() as u64 + (1 << 20);
    let process = Process::current();
    assert_eq!(only(heap::Pages::of(&process).present(&range)), (1, Some(range)));
}

#[test]
fn functions_are_told_that_poll_tasks() {
    for function in [
        "tokio::runtime::task::raw::poll",
        "tokio::runtime::task::raw::poll<shop::serve::{async_fn_env#0}, alloc::sync::Arc<x>>",
        "tokio::runtime::task::raw::poll::<shop::serve::{async_fn_env#0}>",
        "tokio::runtime::task::harness::poll<shop::serve, x>",
        "<tokio::runtime::task::harness::Harness<shop::serve, x>>::poll",
    ] {
        assert!(is_poll(function), "{function}");
    }
    for function in ["tokio::runtime::task::raw::poll_fn", "shop::poll", "poll<tokio::runtime::task::raw::poll>", ""] {
        assert!(!is_poll(function), "{function}");
    }
}
