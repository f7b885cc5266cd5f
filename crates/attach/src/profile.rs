//! The wall-clock profile: where loops' threads are, at every few looks, whatever they do.
//!
//! A thread that waits is looked at, unless it is known to be idle there. Where one that runs is, the next sample of it tells: so that
//! stands for as much time as a look does.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use pollscope_base::duration::to_ns;
use pollscope_record::recording::{self, ProfilePlace, Text, ThreadState};
use pollscope_stacks::look::{ClockReading, Glance, Look, NamedLook, Namer, SharedLook};
use pollscope_stacks::poll::Kind;

/// Every so many looks there is one for the profile.
const EVERY: u32 = 4;
/// So many places are told apart; looks beyond are counted.
const MOST_PLACES: usize = 4_096;
/// No more samples count than its thread was on a CPU for; for so many of them it may have been before.
const MOST_DUE: u64 = 16;

/// What was counted so far.
#[derive(Debug)]
pub(crate) struct Profile {
    period: Duration,
    /// Looks until the next.
    left: u32,
    counts: Counts,
    places: HashMap<u64, Place>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    looks: u64,
    parked: u64,
    running: u64,
    moved: u64,
    dropped: u64,
    cpu_ns: u64,
    run_delay_ns: u64,
    /// How many looks at a thread had one before them, and how much time lay between.
    pairs: u64,
    between_ns: u64,
    /// Whether the clocks of each thread were told.
    are_clocks_known: bool,
}

/// Where threads were.
#[derive(Debug, Clone)]
struct Place {
    look: Arc<SharedLook>,
    is_on_cpu: bool,
    looks: u64,
}

/// What a thread did at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Was {
    Parked,
    /// The same as at the look before, and its clocks were not read: what they say is counted when they are.
    StillParked,
    Running,
    /// It waited where it was not to be seen.
    Moved,
    /// It waited where a look shows it: that is [counted](Profile::add) for itself.
    Waiting,
}

/// What is still to be told of a thread by samples.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Due {
    last_ns: Option<u64>,
    clocks: Option<ClockReading>,
    /// Time on a CPU that they may stand for.
    ns: u64,
    /// When it ran at the last look, if there was none since.
    wanted_ns: Option<u64>,
}

/// What is told of it, to be named.
#[derive(Debug)]
pub(crate) struct Counted {
    /// Since the run's start.
    pub(crate) until_ns: u64,
    period_ns: u64,
    counts: Counts,
    places: Vec<Place>,
}

impl Profile {
    /// Of looks that come once a period.
    pub(crate) fn new(period: Duration) -> Profile {
        let counts = Counts { are_clocks_known: true, ..Counts::default() };
        Profile { period: EVERY * period, left: 0, counts, places: HashMap::new() }
    }

    /// Whether the look that begins is one for the profile.
    pub(crate) fn is_due(&mut self) -> bool {
        self.left = self.left.checked_sub(1).unwrap_or(EVERY - 1);
        self.left == 0
    }

    /// A look at a thread of a loop.
    pub(crate) fn look(&mut self, was: Was, due: &mut Due, glance: &Glance) {
        self.counts.looks += 1;
        if let Some(last_ns) = due.last_ns.replace(glance.at_ns) {
            self.counts.pairs += 1;
            self.counts.between_ns += glance.at_ns.saturating_sub(last_ns);
        }
        due.wanted_ns = (was == Was::Running).then_some(glance.at_ns);
        match was {
            Was::Parked | Was::StillParked => self.counts.parked += 1,
            Was::Running => self.counts.running += 1,
            Was::Moved => self.counts.moved += 1,
            Was::Waiting => {}
        }
        if was == Was::StillParked {
            return;
        }
        let Some(now) = glance.clocks else {
            self.counts.are_clocks_known = false;
            return;
        };
        if let Some(last) = due.clocks.replace(now) {
            let cpu_ns = now.cpu_ns.saturating_sub(last.cpu_ns);
            self.counts.cpu_ns += cpu_ns;
            self.counts.run_delay_ns += now.run_delay_ns.saturating_sub(last.run_delay_ns);
            due.ns = (due.ns + cpu_ns).min(MOST_DUE * self.stands_for_ns());
        }
    }

    /// How much time a look stands for: what lay between two, on a machine that is busy more than was asked for.
    fn stands_for_ns(&self) -> u64 {
        self.counts.between_ns.checked_div(self.counts.pairs).unwrap_or(to_ns(self.period))
    }

    /// Whether a sample counts: the first after a look at which the thread ran.
    pub(crate) fn wants(&self, due: &mut Due, at_ns: u64) -> bool {
        let left = due.ns.checked_sub(self.stands_for_ns());
        let counts = due.wanted_ns.take_if(|from_ns| at_ns >= *from_ns).is_some() && left.is_some();
        due.ns = left.filter(|_| counts).unwrap_or(due.ns);
        counts
    }

    /// A look that showed a thread of a loop wait, or a sample of one; what is to be named, if it shows what was not seen before.
    pub(crate) fn add(&mut self, look: Look, is_on_cpu: bool) -> Option<Arc<SharedLook>> {
        let key = key(&look, is_on_cpu);
        self.count(key, is_on_cpu, || Arc::new(SharedLook::new(look)))
    }

    /// The same of a look that others have as well.
    pub(crate) fn add_shared(&mut self, look: &Arc<SharedLook>) {
        self.count(key(&look.look, false), false, || Arc::clone(look));
    }

    fn count(&mut self, key: u64, is_on_cpu: bool, look: impl FnOnce() -> Arc<SharedLook>) -> Option<Arc<SharedLook>> {
        let has_room = self.places.len() < MOST_PLACES;
        match self.places.entry(key) {
            Entry::Occupied(mut place) => place.get_mut().looks += 1,
            Entry::Vacant(new) if has_room => {
                return Some(Arc::clone(&new.insert(Place { look: look(), is_on_cpu, looks: 1 }).look));
            }
            Entry::Vacant(_) => self.counts.dropped += 1,
        }
        None
    }

    /// What was counted; `None` if no thread of a loop is known yet.
    pub(crate) fn counted(&self, until_ns: u64) -> Option<Counted> {
        let Profile { counts, places, .. } = self;
        let places = places.values().cloned().collect();
        (counts.looks > 0).then(|| Counted { until_ns, period_ns: self.stands_for_ns(), counts: *counts, places })
    }
}

/// The same place, whatever a call was given.
fn key(look: &Look, is_on_cpu: bool) -> u64 {
    let mut hasher = DefaultHasher::new();
    let call = look.call.as_ref().map(|call| &call.name);
    (is_on_cpu, call, look.stack.as_ref().map(|stack| &stack.frames)).hash(&mut hasher);
    hasher.finish()
}

impl Counted {
    /// As a recording has it: with names, and what looks alike with them put together.
    pub(crate) fn named(self, namer: &mut Namer) -> recording::Profile {
        let Counted { until_ns: _, period_ns, mut counts, places } = self;
        let mut named: HashMap<ProfilePlace, u64> = HashMap::new();
        for Place { look, is_on_cpu, looks } in places {
            let shown = look.named(namer);
            if shown.kind == Some(Kind::Idle) && !is_on_cpu {
                // It was not known to be idle then.
                counts.parked += looks;
                continue;
            }
            *named.entry(place(shown, is_on_cpu)).or_default() += looks;
        }
        let mut places: Vec<ProfilePlace> =
            named.into_iter().map(|(place, looks)| ProfilePlace { looks, ..place }).collect();
        places.sort_by(|one, other| other.looks.cmp(&one.looks).then_with(|| order(one).cmp(&order(other))));
        let known = |ns: u64| counts.are_clocks_known.then_some(ns);
        recording::Profile {
            period_ns,
            looks: counts.looks,
            parked: counts.parked,
            running: counts.running,
            moved: counts.moved,
            cpu_ns: known(counts.cpu_ns),
            run_delay_ns: known(counts.run_delay_ns),
            dropped: counts.dropped,
            places,
        }
    }
}

fn order(place: &ProfilePlace) -> (&'static str, Option<&str>, Option<&str>) {
    (place.state.as_str(), place.line.as_deref(), place.function.as_deref())
}

fn place(named: &NamedLook, is_on_cpu: bool) -> ProfilePlace {
    let state = match (named.kind, is_on_cpu) {
        (Some(Kind::Task | Kind::Root | Kind::Local), true) => ThreadState::PollOnCpu,
        (Some(Kind::Task | Kind::Root | Kind::Local), false) => ThreadState::PollOffCpu,
        // On its way to where it waits, or back from there.
        (Some(Kind::Scheduler | Kind::Idle), true) => ThreadState::SchedulerOnCpu,
        (Some(Kind::Scheduler), false) => ThreadState::SchedulerOffCpu,
        _ => ThreadState::Other,
    };
    let text = |text: &Option<String>| text.as_deref().map(Text::from);
    ProfilePlace {
        state,
        looks: 0,
        future: text(&named.root_future),
        line: text(&named.blocking_line),
        function: text(&named.function),
        call: named.look.call.as_ref().map(|call| call.name.as_str().into()),
        stack: named.stack.iter().map(recording::Frame::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glance(at_ns: u64, cpu_ns: u64) -> Glance {
        Glance { at_ns, clocks: Some(ClockReading { at_ns, cpu_ns, run_delay_ns: 0, slices: 0 }), state: None }
    }

    #[test]
    fn a_sample_stands_for_as_much_time_as_a_look() {
        let (mut profile, mut due) = (Profile::new(Duration::from_nanos(10)), Due::default());
        assert_eq!((0..9).map(|_| profile.is_due()).filter(|is| *is).count(), 2);
        // Looks come every 50 ns, not every 40; the thread is on a CPU for 30 of them.
        let mut taken = 0;
        for look in 0..100 {
            profile.look(Was::Running, &mut due, &glance(50 * look, 30 * look));
            taken += u32::from(profile.wants(&mut due, 50 * look));
        }
        assert_eq!(taken, 99 * 30 / 50);
        let counted = profile.counted(7).expect("it was looked at");
        assert_eq!((counted.until_ns, counted.period_ns, counted.counts.cpu_ns), (7, 50, 99 * 30));
    }

    #[test]
    fn one_sample_counts_of_each_look_at_a_thread_that_ran() {
        let (mut profile, mut due) = (Profile::new(Duration::from_nanos(10)), Due::default());
        let mut taken = |was, at_ns: u64| {
            profile.look(was, &mut due, &glance(at_ns, at_ns));
            assert!(!profile.wants(&mut due, at_ns - 1), "that was before it");
            (0..9).filter(|after_ns| profile.wants(&mut due, at_ns + after_ns)).count()
        };
        assert_eq!(taken(Was::Running, 1), 0, "what its clock says is not known yet");
        assert_eq!((taken(Was::Running, 4_000), taken(Was::Running, 8_000)), (1, 1));
        assert_eq!((taken(Was::Parked, 12_000), taken(Was::Moved, 16_000)), (0, 0));
    }

    #[test]
    fn clocks_that_were_not_read_of_an_idle_thread_are_counted_later() {
        let (mut profile, mut due) = (Profile::new(Duration::from_nanos(10)), Due::default());
        profile.look(Was::Parked, &mut due, &glance(0, 5));
        for look in 1..4 {
            profile.look(Was::StillParked, &mut due, &Glance { clocks: None, ..glance(40 * look, 0) });
        }
        profile.look(Was::Parked, &mut due, &glance(160, 12));
        let counted = profile.counted(0).expect("it was looked at");
        assert_eq!((counted.counts.parked, counted.counts.cpu_ns), (5, 7));
        assert!(counted.counts.are_clocks_known && counted.period_ns == 40);
        profile.look(Was::Parked, &mut due, &Glance { clocks: None, ..glance(200, 0) });
        assert!(!profile.counted(0).expect("it was looked at").counts.are_clocks_known, "they cannot be read");
    }

    #[test]
    fn equal_places_are_counted_and_others_have_room_or_are_dropped() {
        let mut profile = Profile::new(Duration::from_millis(10));
        let call = |name: String| pollscope_base::Call {
            text: name.clone(),
            name,
            fd: None,
            path: None,
            peer: None,
            bytes: None,
        };
        let look = |number: usize| Look { call: Some(call(number.to_string())), ..Look::default() };
        assert!(profile.add(look(1), false).is_some() && profile.add(look(1), false).is_none());
        assert!(profile.add(look(1), true).is_some(), "on a CPU it is another place");
        profile.look(Was::Waiting, &mut Due::default(), &glance(0, 0));
        for number in 0..MOST_PLACES + 3 {
            profile.add(look(number), false);
        }
        let counted = profile.counted(0).expect("it was looked at");
        assert_eq!((counted.places.len(), counted.counts.dropped), (MOST_PLACES, 4));
        assert_eq!(counted.places.iter().map(|place| place.looks).max(), Some(3));
    }
}
