//! What was seen of a poll, as far as it is judged.

use pollscope_record::recording::{Precision, Run, SlowPoll};

use crate::truth::{AsyncFn, Stall};

/// How well a moment is known: `None` where it is exact, or within so many nanoseconds.
pub(crate) type Within = Option<u64>;

/// A frame, as far as it is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) function: String,
    /// `file:line`.
    pub(crate) place: Option<(String, u32)>,
}

/// A poll that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// In nanoseconds since looking began; by the program's clock once that is known.
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) start_is: Within,
    pub(crate) end_is: Within,
    /// Whether it had not ended.
    pub(crate) is_open: bool,
    pub(crate) line: Option<String>,
    pub(crate) function: Option<String>,
    pub(crate) future: Option<String>,
    pub(crate) task_id: Option<u64>,
    pub(crate) cause: Option<String>,
    pub(crate) call: Option<String>,
    /// Innermost first.
    pub(crate) stack: Vec<Frame>,
    pub(crate) stack_complete: Option<bool>,
}

/// All that was seen in a run.
pub(crate) fn all_of(run: &Run) -> Vec<Seen> {
    let open = run.stalls_open.iter().map(|poll| Seen { is_open: true, ..of(poll) });
    run.slow_polls.iter().map(of).chain(open).collect()
}

fn of(poll: &SlowPoll) -> Seen {
    let text = |text: &Option<pollscope_record::recording::Text>| text.as_deref().map(str::to_owned);
    let within = |precision| match precision {
        Precision::Exact => None,
        Precision::WithinNs(ns) => Some(ns),
    };
    let (start_is, end_is) = poll.detail.as_ref().map_or_else(Default::default, |at| (at.start_is, at.end_is));
    let frame = |frame: &pollscope_record::recording::Frame| Frame {
        function: text(&frame.function).unwrap_or_default(),
        place: text(&frame.file).zip(frame.line.and_then(|line| u32::try_from(line).ok())),
    };
    Seen {
        start_ns: poll.start_ns,
        end_ns: poll.start_ns.saturating_add(poll.duration_ns),
        start_is: within(start_is),
        end_is: within(end_is),
        is_open: false,
        line: text(&poll.blocking_line),
        function: text(&poll.function),
        future: text(&poll.future),
        task_id: poll.task_id.get(),
        cause: poll.cause.as_deref().map(str::to_owned),
        call: poll.syscall.as_ref().map(|call| call.text.as_str().to_owned()),
        stack: poll.stack.iter().map(frame).collect(),
        stack_complete: poll.stack_complete,
    }
}

impl Seen {
    /// This by another clock, which is ahead by so much.
    pub(crate) fn by_clock(self, offset_ns: u64) -> Seen {
        Seen { start_ns: self.start_ns + offset_ns, end_ns: self.end_ns + offset_ns, ..self }
    }

    pub(crate) fn has_line_of(&self, stall: &Stall) -> bool {
        let Some((file, line)) = self.line.as_deref().and_then(|place| place.rsplit_once(':')) else { return false };
        is_file(file, "ways.rs") && line.parse().is_ok_and(|line| stall.lines.contains(&line))
    }

    pub(crate) fn has_function_of(&self, stall: &Stall) -> bool {
        let Some(name) = self.function.as_deref() else { return false };
        let [function, caller] = &stall.functions;
        without_arguments(name).rsplit("::").next() == Some(function)
            || name.starts_with(&format!("<attached::ways::{caller} as "))
    }

    pub(crate) fn has_root_of(&self, stall: &Stall) -> bool {
        let future = self.future.as_deref().map(without_arguments);
        // By symbols alone its code is told from that of closures by nothing.
        future.is_some_and(|future| future.strip_suffix("::{closure}").unwrap_or(&future) == stall.root)
    }

    pub(crate) fn has_task_id_of(&self, stall: &Stall) -> bool {
        self.task_id.is_some() && self.task_id == stall.task_id
    }

    pub(crate) fn has_chain_of(&self, stall: &Stall) -> bool {
        let wanted: Vec<&str> = stall.chain.iter().map(|AsyncFn(name, ..)| name.as_str()).collect();
        !wanted.is_empty() && self.chain(&stall.chain) == wanted
    }

    /// The async functions on its stack, innermost first: by their lines, or by their names where there are none.
    fn chain<'a>(&'a self, all: &'a [AsyncFn]) -> Vec<&'a str> {
        let name = |frame: &'a Frame| match &frame.place {
            Some((file, line)) if is_file(file, "chain.rs") => {
                let of = all.iter().find(|AsyncFn(_, first, last)| (first..=last).contains(&line));
                // Any other one is none of the stall's.
                Some(of.map_or("another", |AsyncFn(name, ..)| name.as_str()))
            }
            Some(_) => None,
            None => {
                let (_, rest) = frame.function.split_once("attached::chain::")?;
                frame.function.ends_with('}').then(|| rest.split(['<', ':']).next()).flatten()
            }
        };
        self.stack.iter().filter_map(name).collect()
    }
}

fn is_file(path: &str, name: &str) -> bool {
    path.rsplit('/').next() == Some(name)
}

/// The path without anything in `<…>`.
fn without_arguments(path: &str) -> String {
    let (mut plain, mut depth) = (String::new(), 0usize);
    for c in path.chars() {
        match c {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    plain.trim_end_matches("::").replace("::::", "::")
}
