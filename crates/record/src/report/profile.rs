//! The wall-clock profile of loops as folded stacks: one line a place, and its weight.
//!
//! `GROUP;STATE;future type …;outermost frame;…;innermost frame;CALL WEIGHT`, with what is known of them. The weight is in milliseconds, rounded
//! up. Looks without a place have lines of their own, such as `GROUP;parked WEIGHT`, so that the weights of a group add up to all looks.

use std::collections::BTreeMap;

use super::folded::{frame_text, name};
use crate::escape::line;
use crate::loops_time::{call_name, unplaced};
use crate::recording::{ProfilePlace, Recording};
use crate::report::slow_poll::future_type;

/// The profiles of all runs that have one, by group.
///
/// ```
/// # use pollscope_record::recording::wire;
/// use pollscope_record::recording::Profile;
/// # let json = include_bytes!("../../tests/fixtures/schema-2/process.json");
/// # let mut recording = wire::from_json(&json[..]).unwrap();
/// // Of a recording whose first run is of a process:
/// let profile = Profile { period_ns: 10_000_000, looks: 4, parked: 3, running: 1, ..Profile::default() };
/// recording.runs[0].profile = Some(Box::new(profile));
/// assert_eq!(
///     pollscope_record::report::profile::render(&recording),
///     "inventory;parked 30\ninventory;running or ready at an unknown place 10\n"
/// );
/// ```
pub fn render(recording: &Recording) -> String {
    let mut weights: BTreeMap<String, u64> = BTreeMap::new();
    for run in &recording.runs {
        let Some(profile) = &run.profile else { continue };
        let group = frame_text(&run.group);
        let mut add = |stack: String, looks: u64| {
            let weight = weights.entry(format!("{group};{stack}")).or_default();
            *weight = weight.saturating_add(profile.ns(looks));
        };
        unplaced(profile).into_iter().for_each(|(found, looks)| add(found.as_str().to_owned(), looks));
        profile.places.iter().for_each(|place| add(stack(place), place.looks));
    }
    let shown = weights.into_iter().filter(|(_, ns)| *ns > 0);
    shown.map(|(stack, ns)| format!("{} {}\n", line(&stack), ns.div_ceil(1_000_000))).collect()
}

fn stack(place: &ProfilePlace) -> String {
    let mut frames = vec![frame_text(place.state.as_str())];
    frames.extend(place.future.as_deref().map(|future| frame_text(&future_type(future))));
    if place.stack.is_empty() {
        frames.extend(place.function.as_deref().or(place.line.as_deref()).map(frame_text));
    }
    frames.extend(place.stack.iter().rev().map(|frame| frame_text(&name(frame))));
    frames.extend(place.call.as_deref().map(|call| frame_text(call_name(call))));
    frames.join(";")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::recording::{Frame, Profile, ThreadState};

    /// Each line's stack, and the sum of the weights.
    fn sum(text: &str) -> u64 {
        text.lines().map(|line| line.rsplit_once(' ').expect("a weight").1.parse::<u64>().expect("a number")).sum()
    }

    #[test]
    fn weights_add_up_to_all_looks() {
        let recording = fixture::profiled_recording();
        let text = render(&recording);
        assert_eq!(sum(&text), 40 * 1_000);
        assert_eq!(
            text,
            "api;elsewhere 400\n\
             api;in a poll, off the CPU;future type api::answer::{{closure}};api::again;api::conf::load;open64;openat 400\n\
             api;in a poll, off the CPU;future type api::answer::{{closure}};api::answer::{{closure}};api::conf::load;open64;openat 9600\n\
             api;in a poll, on the CPU;future type api::answer::{{closure}};api::answer::{{closure}};api::hash::sum 3200\n\
             api;in the scheduler, on the CPU;tokio::runtime::scheduler::multi_thread::worker::Context::run 800\n\
             api;not known 400\n\
             api;parked 24000\n\
             api;running or ready at an unknown place 1200\n"
        );
        let mut twice = recording;
        twice.runs.extend([fixture::profiled(), fixture::run("naive")]);
        assert_eq!((sum(&render(&twice)), render(&twice).lines().count()), (2 * 40 * 1_000, text.lines().count()));
    }

    #[test]
    fn names_cannot_leave_their_place() {
        let mut recording = fixture::profiled_recording();
        recording.runs[0].group = "::a;b\n".to_owned();
        let frame = Frame { function: Some("x;y\u{1b}[31m z".into()), file: None, line: None };
        let place = ProfilePlace {
            state: ThreadState::PollOffCpu,
            looks: 1,
            future: Some("##[error];\r".into()),
            call: Some("open;at\u{202e}(\"x\")".into()),
            stack: vec![frame].into(),
            ..ProfilePlace::default()
        };
        let bare =
            ProfilePlace { function: Some("f".repeat(100_000).as_str().into()), looks: 1, ..ProfilePlace::default() };
        let profile = Profile { period_ns: 1, looks: 2, places: vec![place, bare], ..Profile::default() };
        recording.runs[0].profile = Some(Box::new(profile));
        let text = render(&recording);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0].matches(';').count(), 2);
        assert_eq!(
            lines[1],
            "\\u{3a}:a:b\\n;in a poll, off the CPU;future type #\\u{23}[error]:\\r;x:y\\u{1b}[31m z;open:at\\u{202e} 1"
        );
    }

    #[test]
    fn no_look_is_no_line_and_far_too_many_overflow_nowhere() {
        let mut recording = fixture::profiled_recording();
        let mut rendered = |profile| {
            recording.runs[0].profile = Some(Box::new(profile));
            render(&recording)
        };
        assert_eq!(rendered(Profile::default()), "");
        let most = Profile { period_ns: u64::MAX, looks: u64::MAX, parked: u64::MAX, ..fixture::profile() };
        let text = rendered(most);
        assert!(text.contains(&format!("api;parked {}\n", u64::MAX.div_ceil(1_000_000))), "{text}");
    }
}
