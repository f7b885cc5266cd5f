//! What `seen.rs` of the benchmark promises.

use crate::seen::*;
use crate::truth::{AsyncFn, Stall};

fn stall() -> Stall {
    let chain = [("leaf", 3, 9), ("asks", 11, 13), ("task_of_3", 20, 27)];
    Stall {
        way: "sleep".to_owned(),
        functions: ["sleeps", "Sleep"].map(str::to_owned),
        lines: vec![7, 9],
        chain: chain.map(|(name, first, last)| AsyncFn(name.to_owned(), first, last)).into(),
        root: "attached::chain::task_of_3".to_owned(),
        task: 1,
        task_id: Some(5),
        tid: 12,
        begin_ns: 0,
        end_ns: 1,
        switches: [1, 0],
    }
}

fn at(file: &str, line: u32) -> Frame {
    Frame { function: "{async_fn#0}".to_owned(), place: Some((file.to_owned(), line)) }
}

fn named(function: &str) -> Frame {
    Frame { function: function.to_owned(), place: None }
}

fn has_chain(stack: Vec<Frame>) -> bool {
    Seen { stack, ..Seen::default() }.has_chain_of(&stall())
}

#[test]
fn any_of_its_lines_is_right_and_no_other() {
    let line = |line: &str| Seen { line: Some(line.to_owned()), ..Seen::default() }.has_line_of(&stall());
    assert!(line("contrib/attached/src/ways.rs:7") && line("ways.rs:9"));
    assert!(!line("src/ways.rs:8") && !line("src/chain.rs:7") && !line("sideways.rs:7") && !line("ways.rs"));
    assert!(!Seen::default().has_line_of(&stall()));
}

#[test]
fn a_function_and_a_type_are_right_without_their_arguments() {
    let function = |name: &str| Seen { function: Some(name.to_owned()), ..Seen::default() }.has_function_of(&stall());
    assert!(function("attached::ways::sleeps") && function("sleeps") && function("attached::ways::sleeps::<u8>"));
    assert!(function("<attached::ways::Sleep as attached::ways::Way>::block"), "it is inlined there");
    assert!(!function("<attached::ways::SleepPieces as attached::ways::Way>::block"));
    assert!(!function("attached::ways::sleeps_in_pieces") && !function("leaf<attached::ways::sleeps>"));
    let root = |name: &str| Seen { future: Some(name.to_owned()), ..Seen::default() }.has_root_of(&stall());
    assert!(root("attached::chain::task_of_3") && !root("attached::chain::task_of_2"));
    assert!(!root("tokio::task::Unconstrained<attached::chain::task_of_3>") && !Seen::default().has_root_of(&stall()));
}

#[test]
fn a_task_id_that_nobody_knows_is_not_right() {
    let id = |task_id| Seen { task_id, ..Seen::default() }.has_task_id_of(&stall());
    assert!(id(Some(5)) && !id(Some(6)) && !id(None));
    assert!(!Seen::default().has_task_id_of(&Stall { task_id: None, ..stall() }));
}

#[test]
fn a_chain_is_right_when_it_is_whole_and_in_order() {
    let [leaf, asks, task] = [at("src/chain.rs", 5), at("src/chain.rs", 12), at("src/chain.rs", 21)];
    let [other, none] = [at("src/chain.rs", 30), at("tokio/src/task/raw.rs", 5)];
    assert!(has_chain(vec![none.clone(), leaf.clone(), none, asks.clone(), task.clone()]));
    assert!(!has_chain(vec![leaf.clone(), task.clone()]), "one is missing");
    assert!(!has_chain(vec![asks.clone(), leaf.clone(), task.clone()]));
    assert!(!has_chain(vec![leaf, asks, other, task]), "that one was not there");
    assert!(!has_chain(vec![]));
}

#[test]
fn without_lines_the_names_make_the_chain() {
    let names = ["leaf<attached::ways::Sleep>::{closure#0}", "asks::{{closure}}", "task_of_3::{async_fn#0}"];
    let mut stack: Vec<Frame> = names.iter().map(|name| named(&format!("attached::chain::{name}"))).collect();
    stack.insert(1, named("<core::pin::Pin<P> as core::future::future::Future>::poll"));
    stack.push(named("tokio::runtime::task::raw::poll<attached::chain::task_of_3::{async_fn_env#0}, S>"));
    assert!(has_chain(stack.clone()));
    stack.remove(0);
    assert!(!has_chain(stack));
}
