//! What the threads of a process do, or did when it ended, as text: those that are at work first, then how many are not.

use pollscope_base::count::plural;
use pollscope_base::{SeenThread, ThreadDoes};

use super::super::layout::{Ink, Line, hanging};
use super::super::style::Style;
use super::{kept, named, numbered};
use crate::tasks::TaskList;
use crate::units::join_and;

/// So many threads, or sets of threads that did the same, are shown.
const MOST: usize = 40;

/// The section; of a process that a signal ended, it did that to the first of them.
pub(super) fn of(list: &TaskList, style: &Style) -> Vec<Line> {
    let (threads, signal) = (&list.threads, list.signal);
    let mut at_work: Vec<(String, Vec<u64>)> = Vec::new();
    let mut others: Vec<(&str, u64)> = Vec::new();
    for (index, thread) in threads.iter().enumerate() {
        let was_ended = index == 0 && signal.is_some();
        if let Some(idle) = idle(thread, list.ended).filter(|_| !was_ended) {
            match others.iter_mut().find(|(what, _)| *what == idle) {
                Some((_, count)) => *count += 1,
                None => others.push((idle, 1)),
            }
            continue;
        }
        let ended = signal.filter(|_| was_ended).map(|signal| format!(", and was ended by {}", name(signal)));
        let kept = kept(list, thread).map(|kept| format!(", {kept}"));
        let text = does(thread, list.ended) + &kept.unwrap_or_default() + &ended.unwrap_or_default();
        match at_work.iter_mut().find(|(other, _)| *other == text) {
            Some((_, tids)) => tids.push(thread.tid.into()),
            None => at_work.push((text, vec![thread.tid.into()])),
        }
    }
    let mut lines: Vec<Line> = at_work
        .iter()
        .take(MOST)
        .flat_map(|(text, tids)| {
            hanging(Line::new().text(Ink::Bold, &numbered("thread", tids)).blank(1), 2, Ink::Plain, text, style.width)
        })
        .collect();
    let more = at_work.iter().skip(MOST).map(|(_, tids)| tids.len() as u64).sum();
    let others = others.iter().map(|(what, count)| format!("{} {what}", plural(*count, "thread")));
    let more = (more > 0).then(|| format!("{} at work elsewhere", plural(more, "more thread")));
    let others: Vec<String> = more.into_iter().chain(others).collect();
    if !others.is_empty() {
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        lines.extend(hanging(Line::new(), 2, Ink::Dim, &join_and(&others), style.width));
    }
    lines
}

/// What is told of many threads by a number alone; `None` of one that was at work.
fn idle(thread: &SeenThread, ended: bool) -> Option<&'static str> {
    let has_line = thread.line.is_some();
    match thread.does {
        Some(ThreadDoes::Parked) => Some("with nothing to poll"),
        Some(ThreadDoes::BlockingPool) if !has_line => Some("of the blocking pool without a closure"),
        Some(ThreadDoes::Other) if !has_line => Some("without anything of Tokio's or the program's own on the stack"),
        None if ended => Some("whose stack is not known"),
        None => Some("that runs, or was not to be seen"),
        _ => None,
    }
}

fn does(thread: &SeenThread, ended: bool) -> String {
    let future = named(thread.future.as_deref());
    let [polls, is, runs, has] = if ended { ["polled", "was", "ran", "had"] } else { ["polls", "is", "runs", "has"] };
    let does = match (thread.does, thread.task) {
        (Some(ThreadDoes::Poll), Some(task)) => format!("{polls} task {task}{future}"),
        (Some(ThreadDoes::Poll), None) => format!("{polls} a task{future}"),
        (Some(ThreadDoes::BlockOn), _) => format!("{polls} the future of `block_on`{future}"),
        (Some(ThreadDoes::BlockInPlace), _) => format!("{is} within `block_in_place`{future}"),
        (Some(ThreadDoes::BlockingPool), _) => format!("{runs} a closure of the blocking pool"),
        (Some(ThreadDoes::Scheduler), _) => format!("{is} in the scheduler"),
        (Some(ThreadDoes::Parked), _) => format!("{has} nothing to poll"),
        (Some(ThreadDoes::Other), _) => format!("{is} in no runtime"),
        (None, _) => format!("{has} a stack that is not known"),
    };
    let at = thread.line.as_ref().map(|line| format!(" at {line}")).unwrap_or_default();
    let within = thread.function.as_ref().map(|function| format!(" (`{function}`)")).unwrap_or_default();
    let call = thread.call.as_ref().map(|call| format!(", in {}", call.text)).unwrap_or_default();
    format!("{does}{at}{within}{call}")
}

/// What everybody calls a signal that leaves a core, as x86-64 numbers them.
pub(super) fn name(signal: u32) -> String {
    const NAMES: [(u32, &str); 10] = [
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (11, "SIGSEGV"),
        (24, "SIGXCPU"),
        (25, "SIGXFSZ"),
        (31, "SIGSYS"),
    ];
    let known = NAMES.iter().find(|(number, _)| *number == signal);
    known.map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use pollscope_base::{Call, Frame};

    use super::*;

    fn thread(tid: u32, does: Option<ThreadDoes>, line: Option<&str>) -> SeenThread {
        SeenThread {
            tid,
            does,
            task: None,
            future: None,
            call: None,
            futex: None,
            line: line.map(str::to_owned),
            function: None,
            stack: vec![Frame { function: None, file: None, line: None }],
        }
    }

    fn text(threads: &[SeenThread], signal: Option<u32>, ended: bool) -> String {
        let style = Style { width: 100, color: false, unicode: true };
        let list = TaskList { threads: threads.to_vec(), signal, ended, ..TaskList::default() };
        of(&list, &style).into_iter().map(|line| line.finish(&style) + "\n").collect()
    }

    #[test]
    fn those_at_work_are_told_with_what_they_did_and_others_are_counted() {
        let call = Call {
            name: "read".to_owned(),
            fd: Some(3),
            path: None,
            peer: None,
            bytes: None,
            text: "read(fd 3)".to_owned(),
        };
        let polls = SeenThread {
            task: Some(7),
            future: Some("shop::bake".to_owned()),
            call: Some(call),
            function: Some("shop::bake".to_owned()),
            ..thread(2, Some(ThreadDoes::Poll), Some("src/oven.rs:31"))
        };
        let threads = [
            thread(1, Some(ThreadDoes::Parked), None),
            polls.clone(),
            SeenThread { tid: 3, ..polls },
            thread(4, Some(ThreadDoes::Parked), Some("src/main.rs:3")),
            thread(5, Some(ThreadDoes::Parked), None),
            thread(6, Some(ThreadDoes::BlockingPool), None),
            thread(7, Some(ThreadDoes::BlockingPool), Some("src/pool.rs:9")),
            thread(8, Some(ThreadDoes::Other), None),
            thread(9, None, None),
        ];
        assert_eq!(
            text(&threads, Some(6), true),
            "thread 1 had nothing to poll, and was ended by SIGABRT\n\
             threads 2, 3 polled task 7 (shop::bake) at src/oven.rs:31 (`shop::bake`), in read(fd 3)\n\
             thread 7 ran a closure of the blocking pool at src/pool.rs:9\n\
             2 threads with nothing to poll, 1 thread of the blocking pool without a closure, 1 thread without\n  \
             anything of Tokio's or the program's own on the stack and 1 thread whose stack is not known\n"
        );
        let of_one_that_goes_on = text(&threads[1..2], None, false);
        assert_eq!(
            of_one_that_goes_on,
            "thread 2 polls task 7 (shop::bake) at src/oven.rs:31 (`shop::bake`), in read(fd 3)\n"
        );
        let without_signal = text(&threads[..1], None, true);
        assert_eq!(without_signal, "1 thread with nothing to poll\n");
    }

    #[test]
    fn signals_have_the_names_that_everybody_knows() {
        assert_eq!([6, 11, 40].map(name), ["SIGABRT", "SIGSEGV", "signal 40"]);
    }
}
