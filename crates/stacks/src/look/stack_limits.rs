//! What is kept of a stack: all of it, unless it is out of proportion.
//!
//! A recursion can be thousands of frames deep, and the name of a generic function, written out, longer than its code. The
//! innermost frames say what blocks and the outermost ones what was polled: what is left out is between them, and said.

use pollscope_base::Frame as StackFrame;

use crate::unwind::Obstacle;

/// A stack takes no more than this, its names included, but for the one frame that says what was left out.
pub(super) const MOST_BYTES: usize = 64 << 10;
/// A name's longest part that is kept.
pub(super) const MOST_NAME: usize = 1 << 10;

/// A function's name; cut short if it is out of proportion.
pub(super) fn name(name: &str) -> String {
    if name.len() <= MOST_NAME {
        return name.to_owned();
    }
    let end = (0..=MOST_NAME).rev().find(|end| name.is_char_boundary(*end)).map_or("", |end| &name[..end]);
    format!("{end}…")
}

/// The bytes that a frame takes.
fn bytes(frame: &StackFrame) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    size_of::<StackFrame>() + text(&frame.function) + text(&frame.file)
}

/// How many of the first of these frames fit in so many bytes.
fn fitting<'a>(frames: impl Iterator<Item = &'a StackFrame>, most: usize) -> usize {
    let ends = frames.scan(0, |end, frame| {
        *end += bytes(frame);
        Some(*end)
    });
    ends.take_while(|end| *end <= most).count()
}

/// Frames that were followed and have no names: so many, after so many that have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub(super) after: usize,
    pub(super) count: usize,
}

/// The frames, innermost first; of too many, a frame stands for those between the inner and the outer ones, with those of a gap.
pub(super) fn stack(mut frames: Vec<StackFrame>, gap: Option<Gap>) -> Vec<StackFrame> {
    let fits = fitting(frames.iter(), MOST_BYTES) == frames.len();
    let left_out = match (fits, gap) {
        (true, None) => return frames,
        (true, Some(gap)) => gap.after..gap.after,
        (false, gap) => {
            let inner = fitting(frames.iter(), MOST_BYTES / 4 * 3);
            let outer = frames.len() - fitting(frames.iter().rev(), MOST_BYTES / 4);
            gap.map_or(inner..outer, |gap| inner.min(gap.after)..outer.max(gap.after))
        }
    };
    let function = match gap {
        None => format!("[{} frames left out]", left_out.len()),
        // What was inlined into them is not known.
        Some(gap) => format!("[at least {} frames left out]", left_out.len() + gap.count),
    };
    frames.splice(left_out, [note(function)]);
    frames
}

/// Stands for the frames further out of a stack that could not be followed.
pub(super) fn unknown(why: Obstacle) -> StackFrame {
    note(format!("[what is further out is not known: {why}]"))
}

/// What is said in the place of frames.
fn note(text: String) -> StackFrame {
    StackFrame { function: Some(text), file: None, line: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(count: usize, length: usize) -> Vec<StackFrame> {
        let frame =
            |n| StackFrame { function: Some(format!("{n:0length$}")), file: Some("a.rs".into()), line: Some(1) };
        (0..count).map(frame).collect()
    }

    #[test]
    fn a_stack_in_proportion_stays_as_it_is() {
        for stack_of in [frames(0, 1), frames(1, 1), frames(200, 200)] {
            assert_eq!(stack(stack_of.clone(), None), stack_of);
        }
    }

    #[test]
    fn of_a_deep_stack_both_ends_are_kept_and_the_rest_is_counted() {
        let all = frames(4_096, 100);
        let kept = stack(all.clone(), None);
        let gap = kept.iter().position(|frame| frame.file.is_none()).unwrap();
        let outer = kept.len() - gap - 1;
        assert!(gap > 100 && outer > 50, "{gap} {outer}");
        assert_eq!(kept[..gap], all[..gap]);
        assert_eq!(kept[gap + 1..], all[all.len() - outer..]);
        let left_out = all.len() - gap - outer;
        assert_eq!(kept[gap].function, Some(format!("[{left_out} frames left out]")));
        let size: usize = kept.iter().map(bytes).sum();
        assert!((MOST_BYTES / 2..MOST_BYTES + 200).contains(&size), "{size}");
    }

    #[test]
    fn frames_without_names_are_counted_where_they_were() {
        let small = frames(9, 20);
        let kept = stack(small.clone(), Some(Gap { after: 5, count: 7_000 }));
        assert_eq!((&kept[..5], &kept[6..]), (&small[..5], &small[5..]));
        assert_eq!(kept[5].function.as_deref(), Some("[at least 7000 frames left out]"));

        let all = frames(4_096, 100);
        for after in [0, 100, 3_000, 4_000, 4_096] {
            let kept = stack(all.clone(), Some(Gap { after, count: 7_000 }));
            let gap = kept.iter().position(|frame| frame.file.is_none()).unwrap();
            assert!(gap <= after, "what is further in is not moved");
            assert_eq!(kept[..gap], all[..gap]);
            let outer = kept.len() - gap - 1;
            assert_eq!(kept[gap + 1..], all[all.len() - outer..]);
            let left_out = all.len() - gap - outer + 7_000;
            assert_eq!(kept[gap].function, Some(format!("[at least {left_out} frames left out]")));
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(name("app::main"), "app::main");
        let long = "é".repeat(MOST_NAME);
        let cut = name(&format!("x{long}"));
        assert!(cut.len() <= MOST_NAME + "…".len() && cut.starts_with("xéé") && cut.ends_with("é…"), "{cut}");
    }
}
