//! Where the time of loops went, by looks: what the wall-clock profiles of a group come to.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::recording::{Profile, ThreadState};
use crate::units::{format_ns, format_percent, plural};

/// What looks found, in the order in which it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// With nothing to poll.
    Parked,
    /// In a poll that blocked.
    OffCpu,
    /// In a poll, on a CPU.
    OnCpu,
    /// In the scheduler.
    Scheduler,
    /// Elsewhere, or the stack could not be followed so far.
    Elsewhere,
    /// On a CPU or ready for one, and no sample says where.
    NotSampled,
    /// Nothing is known.
    Unknown,
}

impl Found {
    pub(crate) const ALL: [Found; 7] = [
        Found::Parked,
        Found::OffCpu,
        Found::OnCpu,
        Found::Scheduler,
        Found::Elsewhere,
        Found::NotSampled,
        Found::Unknown,
    ];

    fn of(state: ThreadState) -> Found {
        match state {
            ThreadState::PollOffCpu => Found::OffCpu,
            ThreadState::PollOnCpu => Found::OnCpu,
            ThreadState::SchedulerOnCpu | ThreadState::SchedulerOffCpu => Found::Scheduler,
            ThreadState::Other => Found::Elsewhere,
        }
    }

    /// In words, as a part of the time.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Found::Parked => "parked",
            Found::OffCpu => "in polls off the CPU",
            Found::OnCpu => "in polls on the CPU",
            Found::Scheduler => "in the scheduler",
            Found::Elsewhere => "elsewhere",
            Found::NotSampled => NOT_SAMPLED,
            Found::Unknown => "not known",
        }
    }
}

/// What is said of looks at a thread that ran, of which no sample says where.
pub(crate) const NOT_SAMPLED: &str = "running or ready at an unknown place";

/// How much time looks found what for, in nanoseconds that they stand for. Together, that of all looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoopsTime {
    parts: [u64; Found::ALL.len()],
    looks: u64,
}

impl LoopsTime {
    /// `None` where nobody looked.
    pub(crate) fn of<'p>(profiles: impl Iterator<Item = &'p Profile>) -> Option<LoopsTime> {
        let mut sum = LoopsTime { parts: [0; Found::ALL.len()], looks: 0 };
        for profile in profiles {
            let looks = unplaced(profile);
            let placed = profile.places.iter().map(|place| (Found::of(place.state), place.looks));
            for (found, looks) in looks.into_iter().chain(placed) {
                let part = &mut sum.parts[found as usize];
                *part = part.saturating_add(profile.ns(looks));
            }
            sum.looks = sum.looks.saturating_add(profile.looks);
        }
        (sum.looks > 0).then_some(sum)
    }

    /// The parts that are not 0.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Found, u64)> + '_ {
        Found::ALL.into_iter().zip(self.parts).filter(|(_, ns)| *ns > 0)
    }

    /// All looks, also those that stand for no time.
    pub(crate) fn looks(&self) -> u64 {
        self.looks
    }

    /// Which part of all that so much is; `None` where looks stand for no time.
    pub(crate) fn share(&self, ns: u64) -> Option<f64> {
        let all: f64 = self.parts.iter().map(|ns| *ns as f64).sum();
        (all > 0.0).then(|| ns as f64 / all)
    }

    /// `60.0 % parked, 30.0 % in polls off the CPU, 8.0 % on it, 2.0 % in the scheduler (1,000 looks)`; `None` where looks stand for
    /// no time.
    pub(crate) fn words(&self) -> Option<String> {
        let mut before = None;
        let part = |(found, ns)| {
            let words = match (before.replace(found), found) {
                (Some(Found::OffCpu), Found::OnCpu) => "on it",
                (_, found) => found.as_str(),
            };
            Some(format!("{} {words}", format_percent(self.share(ns)?)))
        };
        let parts: Vec<String> = self.parts().map(part).collect::<Option<_>>()?;
        (!parts.is_empty()).then(|| format!("{} ({})", parts.join(", "), plural(self.looks, "look")))
    }
}

/// Looks that have no place: with those that have one, all of them, or more where there were more samples than looks at what ran.
pub(crate) fn unplaced(profile: &Profile) -> [(Found, u64); 3] {
    let placed = profile.count(|_| true).saturating_add(profile.parked);
    let left = profile.looks.saturating_sub(placed);
    // A sample may be of a place of which it is not known whose it is.
    let not_sampled = profile.not_sampled().min(left);
    [(Found::Parked, profile.parked), (Found::NotSampled, not_sampled), (Found::Unknown, left - not_sampled)]
}

/// The name of a call that is told in one line: `openat` of `openat("/etc/hosts")`.
pub(crate) fn call_name(text: &str) -> &str {
    text.split('(').next().unwrap_or(text).trim_end()
}

/// Places of a group that tables show.
pub(crate) const SPOTS: usize = 10;

/// Where a group's loops were, whatever led there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot<'p> {
    pub(crate) state: ThreadState,
    /// The line, or the function where that is not known.
    pub(crate) at: Option<&'p str>,
    pub(crate) is_line: bool,
    pub(crate) call: Option<&'p str>,
    pub(crate) future: Option<&'p str>,
    /// What its looks stand for.
    pub(crate) ns: u64,
}

impl Spot<'_> {
    /// What the thread did, in few words.
    pub(crate) fn did(&self) -> &'static str {
        match self.state {
            ThreadState::PollOffCpu => "off the CPU",
            ThreadState::PollOnCpu => "on the CPU",
            ThreadState::SchedulerOnCpu => "scheduler",
            ThreadState::SchedulerOffCpu => "scheduler, blocked",
            ThreadState::Other => "elsewhere",
        }
    }
}

/// How long these threads were on a CPU, and ready for one, by their own clocks: `4.90 s on a CPU, 310 ms ready for one`; `None` where
/// the kernel does not tell of all of them.
pub(crate) fn by_clocks<'p>(profiles: impl Iterator<Item = &'p Profile> + Clone) -> Option<String> {
    let sum = |of: fn(&Profile) -> Option<u64>| {
        profiles.clone().map(of).reduce(|a, b| Some(a?.saturating_add(b?))).flatten().map(format_ns)
    };
    let on = sum(|profile| profile.cpu_ns).map(|ns| format!("{ns} on a CPU"));
    let ready = sum(|profile| profile.run_delay_ns).map(|ns| format!("{ns} ready for one"));
    let parts: Vec<String> = on.into_iter().chain(ready).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The places of profiles, most time first: those are one that differ in what led there alone.
pub(crate) fn spots<'p>(profiles: impl Iterator<Item = &'p Profile>) -> Vec<Spot<'p>> {
    let mut spots: Vec<Spot> = Vec::new();
    let mut known = HashMap::new();
    for (profile, place) in profiles.flat_map(|profile| profile.places.iter().map(move |place| (profile, place))) {
        let (call, future) = (place.call.as_deref(), place.future.as_deref());
        let at = place.line.as_deref().or(place.function.as_deref());
        let next = spots.len();
        let index = *known.entry((place.state, at, call, future)).or_insert(next);
        if index == next {
            spots.push(Spot { state: place.state, at, is_line: place.line.is_some(), call, future, ns: 0 });
        }
        spots[index].ns = spots[index].ns.saturating_add(profile.ns(place.looks));
    }
    spots.sort_by_key(|spot| Reverse(spot.ns));
    spots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::recording::ProfilePlace;

    fn words(profile: &Profile) -> Option<String> {
        LoopsTime::of(std::iter::once(profile))?.words()
    }

    #[test]
    fn parts_add_up_to_all_looks() {
        let profile = fixture::profile();
        let time = LoopsTime::of(std::iter::once(&profile)).expect("looks");
        assert_eq!(time.parts.iter().sum::<u64>(), profile.ns(profile.looks));
        assert_eq!(
            words(&profile).as_deref(),
            Some(
                "60.0 % parked, 25.0 % in polls off the CPU, 8.0 % on it, 2.0 % in the scheduler, 1.0 % elsewhere, \
                 3.0 % running or ready at an unknown place, 1.0 % not known (1,000 looks)"
            )
        );
        let spots = spots([&profile, &profile].into_iter());
        let placed: u64 = profile.places.iter().map(|place| place.looks).sum();
        assert_eq!(spots.iter().map(|spot| spot.ns).sum::<u64>(), 2 * profile.ns(placed));
        assert!(spots.len() < profile.places.len(), "one place is there with two stacks");
    }

    #[test]
    fn on_the_cpu_is_told_whole_where_nothing_stands_before_it() {
        let places = vec![ProfilePlace { state: ThreadState::PollOnCpu, looks: 1, ..ProfilePlace::default() }];
        let profile = Profile { period_ns: 1, looks: 2, parked: 1, running: 1, places, ..Profile::default() };
        assert_eq!(words(&profile).as_deref(), Some("50.0 % parked, 50.0 % in polls on the CPU (2 looks)"));
    }

    #[test]
    fn no_look_and_far_too_many_divide_by_nothing_and_overflow_nowhere() {
        assert_eq!(words(&Profile::default()), None);
        assert_eq!(words(&Profile { looks: 3, parked: 3, ..Profile::default() }), None, "looks that stand for no time");
        let (most, state) = (u64::MAX, ThreadState::PollOffCpu);
        let places = vec![ProfilePlace { state, looks: most, ..ProfilePlace::default() }; 3];
        let profile = Profile {
            period_ns: most,
            looks: most,
            parked: most,
            running: most,
            moved: most,
            dropped: most,
            places,
            ..Profile::default()
        };
        let said = words(&profile).expect("looks");
        assert!(said.starts_with("50.0 % parked, 50.0 % in polls off the CPU ("), "{said}");
        assert_eq!(spots(std::iter::once(&profile))[0].ns, most);
    }

    #[test]
    fn more_samples_than_looks_that_ran_take_nothing_from_others() {
        let places = vec![ProfilePlace { state: ThreadState::PollOnCpu, looks: 6, ..ProfilePlace::default() }];
        let profile = Profile { period_ns: 10, looks: 8, parked: 4, running: 4, places, ..Profile::default() };
        assert_eq!(words(&profile).as_deref(), Some("40.0 % parked, 60.0 % in polls on the CPU (8 looks)"));
        let places = vec![ProfilePlace { looks: 3, ..ProfilePlace::default() }];
        let profile = Profile { looks: 8, parked: 4, running: 4, places, ..profile };
        assert_eq!(
            words(&profile).as_deref(),
            Some("50.0 % parked, 37.5 % elsewhere, 12.5 % running or ready at an unknown place (8 looks)")
        );
    }

    #[test]
    fn clocks_that_one_kernel_does_not_tell_are_not_told() {
        let (known, unknown) = (fixture::profile(), Profile { cpu_ns: None, ..fixture::profile() });
        assert_eq!(by_clocks([&known].into_iter()).as_deref(), Some("4.90 s on a CPU, 310 ms ready for one"));
        assert_eq!(by_clocks([&known, &unknown].into_iter()).as_deref(), Some("620 ms ready for one"));
        assert_eq!(by_clocks(std::iter::empty()), None);
    }

    #[test]
    fn a_call_has_its_name_before_the_bracket() {
        assert_eq!((call_name("openat(\"/a(b\")"), call_name("futex"), call_name("")), ("openat", "futex", ""));
    }
}
