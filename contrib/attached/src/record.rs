//! What is told of a stall.

use std::fmt::Write as _;

/// One, as the task itself knows it.
pub struct Record {
    /// How it blocked; a name from [`ways`](crate::ways), or `preempted`.
    pub way: &'static str,
    /// The function that has the line, and the type whose method calls it.
    pub functions: [&'static str; 2],
    /// The async functions, innermost first.
    pub chain: &'static [&'static str],
    /// Which task, from 0.
    pub task: usize,
    /// Tokio's id of it, where Tokio tells.
    pub id: Option<u64>,
    /// On which thread.
    pub tid: i32,
    /// By `CLOCK_MONOTONIC`: the poll began less than some microseconds before it.
    pub begin_ns: u64,
    /// The poll ended a few microseconds after it at most, unless the thread was kept from the CPU.
    pub end_ns: u64,
    /// How often the thread gave up its CPU meanwhile, and how often it was taken.
    pub switches: [i64; 2],
}

impl Record {
    /// Adds its line.
    pub fn write(&self, told: &mut String, source: &Source, runtime: &str) {
        let Record { way, functions, task, tid, begin_ns, end_ns, switches, .. } = self;
        let id = self.id.map_or_else(|| "null".to_owned(), |id| id.to_string());
        let root = self.chain.last().map_or_else(String::new, |name| format!("attached::chain::{name}"));
        let chain: Vec<String> = self.chain.iter().map(|name| source.async_fn(name)).collect();
        let (lines, chain) = (source.lines(way), chain.join(","));
        writeln!(
            told,
            "{{\"way\":\"{way}\",\"runtime\":\"{runtime}\",\"functions\":{functions:?},\"lines\":{lines:?},\"chain\":[{chain}],\
             \"root\":\"{root}\",\"task\":{task},\"task_id\":{id},\"tid\":{tid},\"begin_ns\":{begin_ns},\"end_ns\":{end_ns},\
             \"switches\":{switches:?}}}",
        )
        .expect("a string grows");
    }
}

/// The files of the ways and of the async functions, as they were compiled.
pub struct Source {
    ways: &'static str,
    chain: &'static str,
}

impl Source {
    /// Both.
    pub fn read() -> Source {
        Source { ways: include_str!("ways.rs"), chain: include_str!("chain.rs") }
    }

    /// The lines that block, which comments mark.
    fn lines(&self, way: &str) -> Vec<usize> {
        let [at, from, to] = ["blocks", "from here", "to here"].map(|mark| format!("// {mark}: {way}"));
        let mut is_within = false;
        let mut lines = Vec::new();
        for (index, line) in self.ways.lines().enumerate() {
            is_within = (is_within || line.ends_with(&from)) && !line.ends_with(&to);
            if is_within || line.ends_with(&at) {
                lines.push(index + 1);
            }
        }
        lines
    }

    /// An async function: its name, its first line and its last one.
    fn async_fn(&self, name: &str) -> String {
        let mut lines = self.chain.lines().enumerate();
        let begins = |line: &str| {
            let rest = line.split_once("async fn ").and_then(|(_, rest)| rest.strip_prefix(name));
            rest.is_some_and(|rest| rest.starts_with(['<', '(']))
        };
        let first = lines.find(|(_, line)| begins(line)).map_or(0, |(index, _)| index + 1);
        let last = lines.find(|(_, line)| *line == "}").map_or(0, |(index, _)| index + 1);
        format!("[\"{name}\",{first},{last}]")
    }
}
