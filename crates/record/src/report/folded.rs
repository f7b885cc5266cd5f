//! Folded stacks, as flame-graph tools read them: one line a stack, its frames from the outermost on, and its weight.

use std::collections::BTreeMap;

use crate::escape::{escape, line};
use crate::recording::{Frame, Recording, SlowPoll};
use crate::report::slow_poll::root;

/// All slow polls' stacks, by mode, weighted by the milliseconds that they lasted, rounded up. A slow poll without a stack
/// is its spawn site alone, or the type of its future, so that the weights add up to all the time that was blocked.
pub fn render(recording: &Recording) -> String {
    let mut weights: BTreeMap<String, u64> = BTreeMap::new();
    for run in &recording.runs {
        for poll in &run.slow_polls {
            *weights.entry(format!("{};{}", frame_text(&run.group), stack(poll))).or_default() += poll.duration_ns;
        }
    }
    weights.into_iter().map(|(stack, ns)| format!("{} {}\n", line(&stack), ns.div_ceil(1_000_000))).collect()
}

fn stack(poll: &SlowPoll) -> String {
    let mut frames: Vec<String> = root(poll).iter().map(|root| frame_text(root)).collect();
    frames.extend(poll.stack.iter().rev().map(|frame| frame_text(&name(frame))));
    frames.extend(poll.syscall.as_ref().map(|call| frame_text(&call.name)));
    if frames.is_empty() {
        frames.push("not known".to_owned());
    }
    frames.join(";")
}

pub(super) fn name(frame: &Frame) -> String {
    let place = || Some(format!("{}:{}", frame.file.as_ref()?, frame.line?));
    let function = frame.function.as_deref().map(str::to_owned);
    function.or_else(place).unwrap_or_else(|| "?".to_owned())
}

/// A semicolon separates frames, and a line's last blank its weight.
pub(super) fn frame_text(text: &str) -> String {
    escape(text).replace(';', ":").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::recording::Kind;

    #[test]
    fn equal_stacks_are_one_line_and_weights_add_up() {
        let mut recording = fixture::recording();
        recording.runs.truncate(1);
        let frame = |function: &str| Frame { function: Some(function.into()), file: None, line: None };
        let poll = |ns, stack: Vec<Frame>| {
            let kind = Kind { spawned_at: Some("a.rs:1".into()), stack: stack.into(), ..Kind::default() };
            SlowPoll { duration_ns: ns, ..SlowPoll::of(kind) }
        };
        recording.runs[0].slow_polls = vec![
            poll(1_500_000, vec![frame("write"), frame("main;x")]),
            poll(2_500_000, vec![frame("write"), frame("main;x")]),
            poll(1, Vec::new()),
        ];
        let mode = &recording.runs[0].group;
        assert_eq!(
            render(&recording),
            format!("{mode};spawned at a.rs:1 1\n{mode};spawned at a.rs:1;main:x;write 4\n")
        );
    }
}
