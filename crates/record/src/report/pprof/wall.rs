//! The wall-clock profile of a run, as samples of the third value.

use super::{Sample, Tables, Texts, signed};
use crate::loops_time::unplaced;
use crate::recording::{Profile, Run};
use crate::units::{format_ns, plural};

/// The samples of a run; none where nobody looked. Each has its frames from the innermost on.
pub(super) fn samples(run: &Run, tables: &mut Tables, texts: &mut Texts) -> Vec<Sample> {
    let Some(profile) = &run.profile else { return Vec::new() };
    let round = run.subject.round().map(|round| round.to_string());
    let mut samples = Vec::new();
    let mut push = |frames: &[usize], looks: u64, labels: [(&str, Option<&str>); 3], texts: &mut Texts| {
        if looks == 0 {
            return;
        }
        let known = [("group", Some(run.group.as_str())), ("run", round.as_deref())].into_iter().chain(labels);
        let label = known.filter_map(|(key, text)| texts.label(key, text)).collect();
        let location_id = frames.iter().rev().map(|frame| *frame as u64 + 1).collect();
        samples.push(Sample { location_id, value: vec![0, 0, signed(profile.ns(looks))], label });
    };
    for (found, looks) in unplaced(profile) {
        let labels = [("state", Some(found.as_str())), ("call", None), ("future", None)];
        push(&tables.alone(found.as_str()), looks, labels, texts);
    }
    for place in &profile.places {
        let labels = [
            ("state", Some(place.state.as_str())),
            ("call", place.call.as_deref()),
            ("future", place.future.as_deref()),
        ];
        push(&tables.of_place(place), place.looks, labels, texts);
    }
    samples
}

/// What they are of.
pub(super) fn comment(run: &Run, profile: &Profile) -> String {
    format!(
        "{}: wall is where loops' threads were, parked or not, at {} of {} each; it is not to be added to time",
        run.label(),
        plural(profile.looks, "look"),
        format_ns(profile.period_ns)
    )
}
