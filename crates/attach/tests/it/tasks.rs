//! What the tasks of a service wait for, and what is told where that is not known.

use std::process::Command;
use std::time::{Duration, Instant};

use pollscope_attach::{Obstacle, Target, Tasks};
use pollscope_base::{LeafKind, RunBy, TaskState, WaitingTask};
use pollscope_record::tasks::{TaskList, ends, place};

use crate::service::{self, Service};
use crate::{PATIENCE, STARTED_AT};

/// What is read once all of it waits: that is when the last one does.
pub(crate) fn read(service: &Service, symbols: &[std::path::PathBuf]) -> TaskList {
    let target = Target::open(service.pid(), symbols).expect("it may be looked at");
    let mut tasks = Tasks::of(target);
    let begin = Instant::now();
    loop {
        let list = tasks.read(STARTED_AT).expect("it runs");
        let is_there = |future: &str| list.tasks.iter().any(|task| is(task, future) && task.state == TaskState::Idle);
        // Before it is there, tasks are ready that were not polled yet.
        if is_there("chooses") && list.tasks.iter().all(|task| task.state != TaskState::Ready) && list.torn == 0 {
            return list;
        }
        assert!(begin.elapsed() < PATIENCE, "{list:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn futures(list: &TaskList) -> usize {
    list.tasks.iter().filter(|task| task.run_by != Some(RunBy::BlockingPool)).count()
}

fn is(task: &WaitingTask, future: &str) -> bool {
    task.future.as_deref().is_some_and(|name| name.ends_with(&format!("service::{future}")))
}

fn of<'a>(list: &'a TaskList, future: &str) -> Vec<&'a WaitingTask> {
    list.tasks.iter().filter(|task| is(task, future)).collect()
}

fn line(task: &WaitingTask) -> u32 {
    let place = place(task.waits.as_ref().expect("it is suspended")).expect("it is known where");
    crate::at(&place)
}

fn kinds(task: &WaitingTask) -> Vec<LeafKind> {
    let chain = task.waits.as_ref().expect("it is suspended");
    ends(chain).into_iter().filter_map(|end| end.leaf.as_ref()).map(|leaf| leaf.kind).collect()
}

pub(crate) fn check(list: &TaskList) {
    let [one, other] = of(list, "transfer")[..] else { panic!("{list:#?}") };
    for task in [one, other] {
        assert_eq!((line(task), kinds(task)), (service::line_of("waits for the other one"), vec![LeafKind::Mutex]));
        assert!(task.holds.iter().any(|hold| hold.variable == "guard"), "{task:#?}");
        assert!(task.runtime.is_some() && task.size_bytes > 0 && !task.is_cancelled);
    }
    let [stuck] = &list.deadlocks[..] else { panic!("{:?}", list.deadlocks) };
    assert_eq!(stuck.cycle, [one.id, other.id]);
    assert_eq!(stuck.behind.len(), 1, "{stuck:?}");
    let behind = list.task(stuck.behind[0]).expect("it is one of them");
    assert_eq!(line(behind), service::line_of("waits behind them"));
    let [keeps] = of(list, "keeps")[..] else { panic!("{list:#?}") };
    assert_eq!((line(keeps), kinds(keeps)), (service::line_of("keeps it"), vec![LeafKind::Pending]));
    let [chooses] = of(list, "chooses")[..] else { panic!("{list:#?}") };
    assert_eq!(kinds(chooses), [LeafKind::Mutex, LeafKind::Oneshot]);
    assert_eq!(line(chooses), service::line_of("waits for either"), "where the macro is called");
    let waited = ends(chooses.waits.as_ref().expect("it is suspended"));
    let address = waited.iter().find_map(|end| end.leaf.as_ref()?.address.as_deref()).expect("it is known");
    assert_eq!(list.holders(address).map(|(task, _)| task.id).collect::<Vec<_>>(), [keeps.id]);
    let is_closure = |task: &&WaitingTask| task.run_by == Some(RunBy::BlockingPool);
    let (pool, futures): (Vec<&WaitingTask>, Vec<&WaitingTask>) = list.tasks.iter().partition(is_closure);
    assert!(pool.iter().all(|task| (task.state, task.runtime) == (TaskState::Running, None)), "{pool:#?}");
    // Workers are closures as well; where Tokio has no debug information, they have no names.
    assert_eq!(pool.iter().filter(|task| task.future.is_some()).count(), 1, "{pool:#?}");
    assert_eq!(futures.len(), 6, "{futures:#?}");
    assert!(list.tasks.is_sorted_by_key(|task| task.id));
    assert_eq!((list.limited, list.torn, list.tasks_schema), (false, 0, 1));
}

#[test]
fn tasks_that_wait_for_each_other_are_told_with_their_lines_and_locks() {
    for (how, by) in [("waits multi", RunBy::MultiThread), ("waits current", RunBy::CurrentThread)] {
        let list = read(&Service::start(how), &[]);
        check(&list);
        assert!(
            list.tasks.iter().all(|task| [Some(by), Some(RunBy::BlockingPool)].contains(&task.run_by)),
            "{list:#?}"
        );
        assert!(list.missing.is_empty(), "{:?}", list.missing);
    }
}

#[test]
fn a_lock_of_the_standard_librarys_that_is_kept_across_an_await_is_told_with_who_waits_for_it() {
    let service = Service::start("keeps current");
    let mut tasks = Tasks::of(Target::open(service.pid(), &[]).expect("it may be looked at"));
    let begin = Instant::now();
    let list = loop {
        let list = tasks.read(STARTED_AT).expect("it runs");
        if !list.deadlocks.is_empty() {
            break list;
        }
        assert!(begin.elapsed() < PATIENCE, "{list:#?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let [stuck] = &list.deadlocks[..] else { panic!("{:?}", list.deadlocks) };
    let [keeps, wants] = [0, 1].map(|index| list.task(stuck.cycle[index]).expect("it is one of them"));
    assert!(stuck.probable && stuck.cycle.len() == 2, "{stuck:?}");
    assert_eq!((keeps.state, line(keeps)), (TaskState::Idle, service::line_of("keeps the lock")));
    assert_eq!(keeps.holds.iter().map(|hold| hold.variable.as_str()).collect::<Vec<_>>(), ["guard"]);
    let thread = list.blocked(wants).expect("its poll waits");
    assert_eq!(crate::at(thread.line.as_ref().expect("it is known")), service::line_of("wants the lock"));
    assert_eq!(list.keeper(thread).map(|(id, _)| id), Some(keeps.id));
}

#[test]
fn types_are_taken_from_another_copy_and_without_them_that_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let strip = |name: &str, option: &str| {
        let path = folder.path().join(name);
        let done = Command::new("strip").arg(option).arg("-o").arg(&path).arg(service::program()).status();
        done.is_ok_and(|status| status.success()).then_some(path)
    };
    let (Some(stripped), Some(symbols)) = (strip("stripped", "-s"), strip("symbols", "-g")) else {
        return eprintln!("SKIP: `strip` is not here");
    };
    let service = Service::start_program(&stripped, "waits multi");
    if matches!(Target::open(service.pid(), &[]), Err(Obstacle::NoNames { build_id: None, .. })) {
        return eprintln!("SKIP: the linker gives no build-ids here");
    }
    check(&read(&service, &[service::program()]));
    let service = Service::start_program(&symbols, "waits multi");
    let target = Target::open(service.pid(), &[]).expect("its functions have names");
    let mut tasks = Tasks::of(target);
    let begin = Instant::now();
    let list = loop {
        let list = tasks.read(STARTED_AT).expect("it runs");
        if futures(&list) == 6 || begin.elapsed() > PATIENCE {
            break list;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(futures(&list), 6, "{list:#?}");
    assert!(list.tasks.iter().all(|task| task.id > 0 && task.waits.is_none() && task.holds.is_empty()), "{list:#?}");
    assert!(list.deadlocks.is_empty(), "nobody knows");
    assert!(list.missing.iter().any(|missing| missing.contains("debug = \"full\"")), "{:?}", list.missing);
}

#[test]
fn a_process_that_ended_is_told() {
    let mut service = Service::start("waits current");
    let target = Target::open(service.pid(), &[]).expect("it may be looked at");
    let mut tasks = Tasks::of(target);
    tasks.read(STARTED_AT).expect("it runs");
    let pid = service.pid();
    service.kill();
    let ended = tasks.read(STARTED_AT).map(|_| ());
    assert!(
        matches!(ended, Err(Obstacle::NoProcess { pid: of } | Obstacle::Unreadable { pid: of, .. }) if of == pid),
        "{ended:?}"
    );
}
