//! Where loops' threads were, look by look: the wall-clock profile of a process that is looked at from outside.

use std::collections::HashMap;

use serde::de::{Deserializer, Error};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::wire::bounded::{self, Element};
use super::{Frame, Shared, Text};

/// Where the threads of loops were at looks that come as time passes, whatever they did: parked, in a poll, or in the scheduler.
///
/// A look that found a thread on a CPU does not show where: samples do, one each time that a thread was on a CPU for as long as lies between two
/// looks, so that each stands for as much time as a look. Time on a CPU within the kernel has none.
///
/// ```
/// use pollscope_record::recording::{Profile, ProfilePlace, ThreadState};
/// let place = |state, looks| ProfilePlace { state, looks, ..ProfilePlace::default() };
/// let places = vec![place(ThreadState::PollOffCpu, 30), place(ThreadState::PollOnCpu, 8), place(ThreadState::SchedulerOnCpu, 1)];
/// let profile = Profile { period_ns: 40_000_000, looks: 100, parked: 60, running: 10, places, ..Profile::default() };
/// assert_eq!((profile.in_polls(), profile.not_sampled()), (38, 1));
/// assert_eq!(profile.share(profile.in_polls()), Some(0.38));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// How much time a look stands for, in nanoseconds: what lay between two.
    pub period_ns: u64,
    /// Looks at threads of loops: each time as many as there were threads.
    pub looks: u64,
    /// Those that found one with nothing to poll.
    pub parked: u64,
    /// Those that found one on a CPU, or ready for one.
    pub running: u64,
    /// Those of which nothing is known: it had moved on while its stack was copied.
    pub moved: u64,
    /// How long these threads were on a CPU, by their own clocks; `None` where the kernel does not tell.
    pub cpu_ns: Option<u64>,
    /// How long they were ready, without a CPU.
    pub run_delay_ns: Option<u64>,
    /// Looks and samples for whose place there was no room any more.
    pub dropped: u64,
    /// Where they were when they were not parked, most looks first.
    pub places: Vec<ProfilePlace>,
}

impl Profile {
    /// Looks and samples that found a thread in a poll.
    pub fn in_polls(&self) -> u64 {
        self.count(|state| matches!(state, ThreadState::PollOnCpu | ThreadState::PollOffCpu))
    }

    /// Looks and samples that found one in such a state.
    pub fn count(&self, is: impl Fn(ThreadState) -> bool) -> u64 {
        self.places.iter().filter(|place| is(place.state)).fold(0, |sum, place| sum.saturating_add(place.looks))
    }

    /// Looks that found a thread on a CPU, or ready for one, and have no sample that says where: in the kernel, or waiting for a CPU.
    pub fn not_sampled(&self) -> u64 {
        self.running.saturating_sub(self.count(ThreadState::is_on_cpu))
    }

    /// Which part of all looks so many are; `None` if there were none.
    pub fn share(&self, looks: u64) -> Option<f64> {
        (self.looks > 0).then(|| looks as f64 / self.looks as f64)
    }

    /// How much time so many looks stand for, in nanoseconds.
    pub fn ns(&self, looks: u64) -> u64 {
        looks.saturating_mul(self.period_ns)
    }
}

/// One place of a [`Profile`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ProfilePlace {
    /// What the thread did there.
    pub state: ThreadState,
    /// How many looks, or samples, found one there.
    pub looks: u64,
    /// The type of the future that was polled.
    pub future: Option<Text>,
    /// `file:line` of the innermost frame of the user's code.
    pub line: Option<Text>,
    /// The line's function.
    pub function: Option<Text>,
    /// The system call that it was in, in one line.
    pub call: Option<Text>,
    /// Innermost first, up to the poll.
    pub stack: Shared<[Frame]>,
}

/// What a loop's thread did that was not parked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThreadState {
    /// It polled, on a CPU.
    PollOnCpu,
    /// It polled, and the poll blocked.
    PollOffCpu,
    /// It was in the scheduler, on a CPU.
    SchedulerOnCpu,
    /// It waited in the scheduler, but not for work: for a lock, say.
    SchedulerOffCpu,
    /// Elsewhere, or its stack could not be followed as far as that; also what a later version tells apart.
    #[default]
    #[serde(other)]
    Other,
}

impl ThreadState {
    /// All of them.
    pub const ALL: [ThreadState; 5] = [
        ThreadState::PollOnCpu,
        ThreadState::PollOffCpu,
        ThreadState::SchedulerOnCpu,
        ThreadState::SchedulerOffCpu,
        ThreadState::Other,
    ];

    /// Whether it was on a CPU.
    pub fn is_on_cpu(self) -> bool {
        matches!(self, ThreadState::PollOnCpu | ThreadState::SchedulerOnCpu)
    }

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            ThreadState::PollOnCpu => "in a poll, on the CPU",
            ThreadState::PollOffCpu => "in a poll, off the CPU",
            ThreadState::SchedulerOnCpu => "in the scheduler, on the CPU",
            ThreadState::SchedulerOffCpu => "in the scheduler, off the CPU",
            ThreadState::Other => "elsewhere",
        }
    }
}

/// As it is written: each frame once, and stacks as numbers of frames.
#[derive(Serialize)]
struct Written<'a> {
    period_ns: u64,
    looks: u64,
    parked: u64,
    running: u64,
    moved: u64,
    cpu_ns: Option<u64>,
    run_delay_ns: Option<u64>,
    dropped: u64,
    frames: Vec<&'a Frame>,
    places: Vec<WrittenPlace<'a>>,
}

#[derive(Serialize)]
struct WrittenPlace<'a> {
    state: ThreadState,
    looks: u64,
    future: &'a Option<Text>,
    line: &'a Option<Text>,
    function: &'a Option<Text>,
    call: &'a Option<Text>,
    stack: Vec<usize>,
}

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Profile { period_ns, looks, parked, running, moved, cpu_ns, run_delay_ns, dropped, .. } = *self;
        let (mut frames, mut numbers) = (Vec::new(), HashMap::new());
        let mut number = |frame| {
            *numbers.entry(frame).or_insert_with(|| {
                frames.push(frame);
                frames.len() - 1
            })
        };
        let stacks: Vec<Vec<usize>> =
            self.places.iter().map(|place| place.stack.iter().map(&mut number).collect()).collect();
        let places = self.places.iter().zip(stacks).map(|(place, stack)| {
            let ProfilePlace { state, looks, future, line, function, call, stack: _ } = place;
            WrittenPlace { state: *state, looks: *looks, future, line, function, call, stack }
        });
        let places = places.collect();
        Written { period_ns, looks, parked, running, moved, cpu_ns, run_delay_ns, dropped, frames, places }
            .serialize(serializer)
    }
}

#[derive(Deserialize)]
struct Read {
    period_ns: u64,
    looks: u64,
    parked: u64,
    running: u64,
    moved: u64,
    cpu_ns: Option<u64>,
    run_delay_ns: Option<u64>,
    dropped: u64,
    #[serde(deserialize_with = "bounded::list::<_, _, 100_000>")]
    frames: Vec<Frame>,
    #[serde(deserialize_with = "bounded::list::<_, _, 100_000>")]
    places: Vec<ReadPlace>,
}

#[derive(Deserialize)]
struct ReadPlace {
    state: ThreadState,
    looks: u64,
    future: Option<Text>,
    line: Option<Text>,
    function: Option<Text>,
    call: Option<Text>,
    #[serde(deserialize_with = "bounded::list::<_, _, 4_096>")]
    stack: Vec<u32>,
}

impl Element for u32 {
    /// The frame that it becomes.
    fn besides(&self) -> usize {
        size_of::<Frame>()
    }
}

impl Element for ReadPlace {
    fn besides(&self) -> usize {
        size_of::<ProfilePlace>()
    }
}

impl<'de> Deserialize<'de> for Profile {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Profile, D::Error> {
        let Read { period_ns, looks, parked, running, moved, cpu_ns, run_delay_ns, dropped, frames, places } =
            Read::deserialize(from)?;
        let place = |read: ReadPlace| {
            let ReadPlace { state, looks, future, line, function, call, stack } = read;
            let stack = stack.iter().map(|frame| frames.get(*frame as usize).cloned()).collect::<Option<Vec<Frame>>>();
            let stack = stack.ok_or_else(|| D::Error::custom("a profile's stack has a frame that is not there"))?;
            Ok(ProfilePlace { state, looks, future, line, function, call, stack: stack.into() })
        };
        let places = places.into_iter().map(place).collect::<Result<Vec<ProfilePlace>, D::Error>>()?;
        Ok(Profile { period_ns, looks, parked, running, moved, cpu_ns, run_delay_ns, dropped, places })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_frames_are_written_once_and_stacks_read_again() {
        let frame = |line| Frame { function: Some("f".into()), file: None, line: Some(line) };
        let place = |state, looks, lines: &[u64]| ProfilePlace {
            state,
            looks,
            line: Some("a.rs:1".into()),
            stack: lines.iter().map(|line| frame(*line)).collect(),
            ..ProfilePlace::default()
        };
        let places = vec![place(ThreadState::PollOffCpu, 9, &[3, 2, 1]), place(ThreadState::Other, 1, &[2, 1])];
        let profile = Profile { period_ns: 7, looks: 12, parked: 2, cpu_ns: Some(1), places, ..Profile::default() };
        let json = serde_json::to_value(&profile).unwrap();
        assert_eq!(json["frames"].as_array().map(Vec::len), Some(3));
        assert_eq!(
            (&json["places"][1]["stack"], &json["places"][0]["state"]),
            (&serde_json::json!([1, 2]), &"poll_off_cpu".into())
        );
        assert_eq!(serde_json::from_value::<Profile>(json.clone()).unwrap(), profile);
        let mut beyond = json;
        beyond["places"][1]["stack"][0] = 3.into();
        let error = serde_json::from_value::<Profile>(beyond).unwrap_err();
        assert!(error.to_string().contains("a frame that is not there"), "{error}");
    }
}
