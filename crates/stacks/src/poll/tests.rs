//! Stacks put together by hand, for what the integration tests cannot make.

use super::*;
use crate::symbolize::Source;

mod versions;

const TOKIO: &str = "/c/registry/src/index-1f/tokio-1.54.1/src/runtime";

/// A stack of single frames, from `function @ file`, innermost first; their lines count from 1.
fn find_in(frames: &[&str], rules: &Rules) -> PollStack {
    find(&stack(frames), rules)
}

fn stack(frames: &[&str]) -> Vec<(CodeAddress, Arc<Symbols>)> {
    let frame = |(index, text): (usize, &&str)| {
        let (function, file) = text.split_once(" @ ").unwrap_or((text, ""));
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let file = text(&file.replace("TOKIO", TOKIO));
        let frame = Frame { function: text(function), file, line: Some(index as u32 + 1), ..Frame::default() };
        (CodeAddress::Return(index as u64), Arc::new(Symbols { frames: vec![frame], source: Source::Dwarf }))
    };
    frames.iter().enumerate().map(frame).collect()
}

const TASK: [&str; 6] = [
    "write @ /rustc/59/library/std/src/fs.rs",
    "log<shop::Entry> @ /c/registry/src/index-1f/slow-log-1.2.0/src/lib.rs",
    "{async_fn#0} @ /src/shop/api/src/main.rs",
    "poll @ /c/registry/src/index-1f/tower-0.5.2/src/util/oneshot.rs",
    "poll<shop::main::{async_fn_env#0}, alloc::sync::Arc<tokio::runtime::scheduler::current_thread::Handle>> @ TOKIO/task/raw.rs",
    "block_on<shop::main::{async_block_env#0}> @ TOKIO/scheduler/current_thread/mod.rs",
];

#[test]
fn the_line_of_the_workspace_comes_before_that_of_a_dependency() {
    let found = find_in(&TASK, &Rules::default());
    assert_eq!((found.kind, found.poll.as_ref().map(|poll| poll.index)), (Kind::Task, Some(4)));
    assert_eq!(found.user, [1, 2]);
    assert_eq!(found.blocking_line.as_ref().and_then(|frame| frame.line), Some(2));
    assert_eq!(found.line().and_then(|frame| frame.line), Some(3));
    assert_eq!(found.root_future.as_deref(), Some("shop::main"));
}

/// As the linker leaves functions that poll futures of the same shape.
#[test]
fn a_function_that_has_the_name_of_another_future_is_not_believed() {
    let poll = "tokio::runtime::task::harness::Harness<T,S>::poll<shop::buy::{async_fn_env#0}, shop::S>";
    let future = |inside: &[&str]| {
        let frames: Vec<&str> = inside.iter().copied().chain([poll]).collect();
        find_in(&frames, &Rules::default()).root_future
    };
    assert_eq!(future(&["nap", "shop::sell::{async_fn#0}"]).as_deref(), Some("shop::sell"));
    assert_eq!(future(&["nap", "shop::find::{async_fn#0}", "shop::buy::{async_fn#0}"]).as_deref(), Some("shop::buy"));
    assert_eq!(future(&["nap", "{async_fn#0}"]).as_deref(), Some("shop::buy"), "whose code that is is not known");
    assert_eq!(future(&["nap"]).as_deref(), Some("shop::buy"));
}

#[test]
fn where_symbols_have_no_types_the_outermost_code_of_the_user_tells_the_future() {
    let poll = "tokio::runtime::task::harness::Harness<T,S>::poll";
    let future = |inside: &[&str]| {
        let frames: Vec<&str> = inside.iter().copied().chain([poll]).collect();
        find_in(&frames, &Rules::default()).root_future
    };
    assert_eq!(
        future(&["shop::nap", "shop::find::{{closure}}", "shop::buy::{{closure}}"]).as_deref(),
        Some("shop::buy::{closure}")
    );
    assert_eq!(future(&["shop::nap"]), None, "its code is inlined where it is polled");
    assert_eq!(future(&[]), None);
}

#[test]
fn rules_say_whose_code_is_whose() {
    let rules = |change: fn(&mut Rules)| {
        let mut rules = Rules::default();
        change(&mut rules);
        find_in(&TASK, &rules)
    };
    assert_eq!(rules(|rules| rules.runtime_crates.push("slow_*".to_owned())).user, [2]);
    assert_eq!(rules(|rules| rules.runtime_paths.push("/shop/api/".to_owned())).user, [1]);
    assert_eq!(rules(|rules| rules.runtime_crates.clear()).user, [1, 2, 3]);
    let elsewhere = rules(|rules| rules.roots.push("/src/other".into()));
    assert_eq!((elsewhere.user.len(), elsewhere.blocking_line_workspace), (2, None));
    assert_eq!(elsewhere.blocking_line.and_then(|frame| frame.line), Some(2));
}

/// Of a stack of frames, each with its functions, innermost first: which one ends with the poll.
fn ends_in(frames: &[&[&str]]) -> Option<usize> {
    let symbols = |functions: &&[&str]| {
        let named = |function: &&str| Frame { function: Some((*function).to_owned()), ..Frame::default() };
        Arc::new(Symbols { frames: functions.iter().map(named).collect(), source: Source::Dwarf })
    };
    let stack: Vec<_> = frames.iter().map(|frame| (CodeAddress::Return(1), symbols(frame))).collect();
    find(&stack, &Rules::default()).ends
}

#[test]
fn the_frame_that_ends_with_a_poll_is_not_that_of_the_loop() {
    let (future, worker) =
        ("shop::f::{{closure}}", "tokio::runtime::scheduler::multi_thread::worker::Context::run_task");
    let (raw, calls) = ("tokio::runtime::task::raw::poll", "tokio::runtime::task::raw::RawTask::poll");
    let harness = "tokio::runtime::task::harness::Harness<T,S>::poll";
    let run = "tokio::runtime::task::LocalNotified<S>::run";
    // As without optimisation, with it, and where one function jumps to the other.
    assert_eq!(ends_in(&[&[future], &[harness], &[raw], &[calls], &[run], &[worker]]), Some(2));
    assert_eq!(ends_in(&[&["nap", future], &[harness, raw], &[calls, run, worker]]), Some(1));
    assert_eq!(ends_in(&[&["nap"], &[future, harness], &[calls, run, worker]]), Some(1));
    // With line tables only, what is inlined has no path but that of its file.
    assert_eq!(ends_in(&[&["nap"], &[future, harness], &[raw, run, worker]]), Some(1));
    let block_on = "tokio::runtime::scheduler::current_thread::CoreGuard::block_on";
    assert_eq!(ends_in(&[&["nap"], &["shop::main::{{closure}}"], &[block_on]]), Some(1));
    assert_eq!(ends_in(&[&["nap"], &["shop::main::{{closure}}", "core::pin::Pin<P>::poll"], &[block_on]]), Some(1));
    assert_eq!(ends_in(&[&["nap"], &["shop::main::{{closure}}", block_on], &["shop::main"]]), None, "in the loop");
    assert_eq!(ends_in(&[&["malloc"], &[worker], &[raw], &["tokio::runtime::blocking::pool::Inner::run"]]), None);
}

#[test]
fn names_alone_tell_the_kind() {
    let check = |frames: &[&str], kind| assert_eq!(find_in(frames, &Rules::default()).kind, kind, "{frames:?}");
    let worker = "tokio::runtime::scheduler::multi_thread::worker::Context::run_task";
    let pool = "tokio::runtime::blocking::pool::Inner::run";
    let poll = "tokio::runtime::task::harness::Harness<T,S>::poll";
    check(&["shop::f::{{closure}}", poll, worker, poll, pool], Kind::Task);
    check(&["shop::f::{{closure}}", poll, pool], Kind::BlockingPool);
    check(&["shop::f::{{closure}}", poll, "std::thread::start"], Kind::BlockingPool);
    check(&["tokio::runtime::park::Inner::park", worker, poll, pool], Kind::Idle);
    check(&["malloc", worker, poll, pool], Kind::Scheduler);
    check(&["shop::f::{{closure}}", poll, "tokio::task::local::LocalSet::tick"], Kind::Local);
    check(&["shop::f", "tokio::task::blocking::block_in_place", poll, worker], Kind::BlockInPlace);
    check(&["shop::main::{{closure}}", "tokio::runtime::park::CachedParkThread::block_on", "shop::main"], Kind::Root);
    check(&["tokio::runtime::park::Inner::park", "tokio::runtime::park::CachedParkThread::block_on"], Kind::Idle);
    check(&["shop::main"], Kind::NotTokio);
}

/// As they were up to 1.20, and partly up to 1.23.
#[test]
fn names_of_older_versions_tell_it_too() {
    let check = |frames: &[&str], kind| assert_eq!(find_in(frames, &Rules::default()).kind, kind, "{frames:?}");
    let worker = "tokio::runtime::thread_pool::worker::Context::run_task";
    let pool = "tokio::runtime::blocking::pool::Inner::run";
    let poll = "tokio::runtime::task::harness::Harness<T,S>::poll";
    let basic = "tokio::runtime::basic_scheduler::CoreGuard::block_on";
    let park = "tokio::park::thread::CachedParkThread::block_on";
    check(&["shop::f::{{closure}}", poll, worker, poll, pool], Kind::Task);
    check(&["shop::f::{{closure}}", poll, basic, "shop::main"], Kind::Task);
    check(&["tokio::runtime::thread_pool::park::Inner::park_condvar", worker, poll, pool], Kind::Idle);
    for driver in
        ["io::driver::Driver::turn", "time::driver::Driver<P>::park_internal", "signal::unix::driver::Driver::park"]
    {
        check(&[&format!("tokio::{driver}"), worker, poll, pool], Kind::Idle);
        check(&[&format!("tokio::{driver}"), basic, "shop::main"], Kind::Idle);
    }
    check(&["malloc", worker, poll, pool], Kind::Scheduler);
    check(&["shop::hook", "tokio::runtime::thread_pool::worker::Context::park", worker, poll, pool], Kind::Scheduler);
    check(&["shop::f", "tokio::runtime::enter::exit", poll, worker, poll, pool], Kind::BlockInPlace);
    check(&["shop::main::{{closure}}", park, "tokio::runtime::enter::Enter::block_on", "shop::main"], Kind::Root);
    check(&["shop::main::{{closure}}", basic, "shop::main"], Kind::Root);
    check(&["tokio::park::thread::Inner::park", park, "shop::main"], Kind::Idle);
    check(&["shop::f::{{closure}}", park, "shop::job", poll, pool], Kind::BlockingPool);
    check(&["shop::f::{{closure}}", basic, "shop::job", poll, pool], Kind::Root);
    let job = "tokio::runtime::task::raw::poll<tokio::runtime::blocking::task::BlockingTask<shop::f>, tokio::runtime::blocking::schedule::NoopSchedule>";
    check(&["shop::f", job, worker], Kind::BlockingPool);
    for scheduler in ["thread_pool::worker::Shared", "basic_scheduler::Shared"] {
        let poll = format!("tokio::runtime::task::raw::poll<shop::f, alloc::sync::Arc<tokio::runtime::{scheduler}>>");
        check(&["shop::f", &poll], Kind::Task);
    }
}

#[test]
fn a_stack_of_which_a_part_is_known_has_its_line() {
    let poll = "tokio::runtime::task::harness::Harness<T,S>::poll";
    let known = ["std::thread::sleep", "shop::f::{{closure}}", poll];
    let part = find_in_part(&stack(&known), &Rules::default());
    assert_eq!((part.kind, part.user.clone()), (Kind::Task, vec![1]), "what runs the task is not known");
    assert_eq!(
        find_in(&known, &Rules::default()).kind,
        Kind::BlockingPool,
        "nothing does but the beginning of a thread"
    );
    let part = find_in_part(&stack(&known[..2]), &Rules::default());
    assert_eq!((part.poll.clone(), part.line().and_then(|line| line.line)), (None, Some(2)), "before the poll, too");
}
