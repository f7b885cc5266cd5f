//! The track of a wall-clock profile: samples without times, each as heavy as its looks.

use super::{IDLE, Markers, Samples, Shared, Thread};
use crate::escape::escape;
use crate::loops_time::{Found, NOT_SAMPLED, unplaced};
use crate::recording::{Profile, Run, ThreadState};

/// Says that there is nothing to be read off its time line.
const NAME: &str = "wall-clock profile (no times)";

/// The track, at the run's start.
pub(super) fn thread(run: &Run, profile: &Profile, pid: u64, start_ns: u64, shared: &mut Shared) -> Thread {
    let mut samples = Samples::default();
    for (found, looks) in unplaced(profile).into_iter().filter(|(_, looks)| *looks > 0) {
        let category = match found {
            Found::Parked => IDLE,
            _ => shared.named_category(found.as_str()),
        };
        let frames = shared.tables.alone(found.as_str());
        samples.push(shared.new_stack(&frames, category), start_ns, profile.ns(looks));
    }
    for place in profile.places.iter().filter(|place| place.looks > 0) {
        let category = shared.named_category(place.state.as_str());
        let frames = shared.tables.of_place(place);
        samples.push(shared.new_stack(&frames, category), start_ns, profile.ns(place.looks));
    }
    Thread {
        name: NAME.to_owned(),
        process: escape(&run.label()).into_owned(),
        pid,
        tid: format!("{pid}.profile"),
        start_ns,
        end_ns: start_ns.saturating_add(run.elapsed_ns),
        samples,
        markers: Markers::default(),
    }
}

/// The colour of what a thread did; `None` of anything else.
pub(super) fn color(name: &str) -> Option<&'static str> {
    let of_state = |state: ThreadState| match state {
        ThreadState::PollOffCpu => "red",
        ThreadState::PollOnCpu => "orange",
        ThreadState::SchedulerOnCpu => "blue",
        ThreadState::SchedulerOffCpu => "purple",
        ThreadState::Other => "grey",
    };
    let state = ThreadState::ALL.into_iter().find(|state| state.as_str() == name);
    let unplaced = || (name == NOT_SAMPLED).then_some("yellow").or((name == Found::Unknown.as_str()).then_some("grey"));
    state.map(of_state).or_else(unplaced)
}
