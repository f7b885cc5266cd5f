//! What is kept of a stack: all of it, unless it is out of proportion.
//!
//! A recursion can be thousands of frames deep, and the name of a generic function, written out, longer than its code. The
//! innermost frames say what blocks and the outermost ones what was polled: what is left out is between them, and said.

use pollscope_base::Frame as StackFrame;

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

/// The frames, innermost first; of too many, a frame stands for those between the inner and the outer ones.
pub(super) fn stack(mut frames: Vec<StackFrame>) -> Vec<StackFrame> {
    if fitting(frames.iter(), MOST_BYTES) == frames.len() {
        return frames;
    }
    let inner = fitting(frames.iter(), MOST_BYTES / 4 * 3);
    let outer = fitting(frames.iter().rev(), MOST_BYTES / 4);
    let left_out = inner..frames.len() - outer;
    let function = Some(format!("[{} frames left out]", left_out.len()));
    frames.splice(left_out, [StackFrame { function, file: None, line: None }]);
    frames
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
            assert_eq!(stack(stack_of.clone()), stack_of);
        }
    }

    #[test]
    fn of_a_deep_stack_both_ends_are_kept_and_the_rest_is_counted() {
        let all = frames(4_096, 100);
        let kept = stack(all.clone());
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
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(name("app::main"), "app::main");
        let long = "é".repeat(MOST_NAME);
        let cut = name(&format!("x{long}"));
        assert!(cut.len() <= MOST_NAME + "…".len() && cut.starts_with("xéé") && cut.ends_with("é…"), "{cut}");
    }
}
