//! What was said of polls, beside what they did.

use std::collections::BTreeMap;
use std::time::Duration;

use pollscope_base::duration::to_ns;
use pollscope_base::{Evidence, Held, Place};
use pollscope_probe::{Cause, SlowPoll};

use super::cases::Case;
use super::common::quantile;
use super::shapes::{self, Shape};
use super::truth::{Spot, Truth};

pub(crate) const THRESHOLD: Duration = Duration::from_millis(20);
/// By how much of the poll the share of a place may be off.
const SHARE: f64 = 0.15;
/// Two places of which one is longer by less than that of the poll are as long as each other.
const ALIKE: f64 = 0.05;

/// The results of one case, of one shape, or of all.
#[derive(Default)]
pub(crate) struct Score {
    runs: u64,
    /// The runs that lasted the threshold, by their own clock.
    slow: u64,
    reported: u64,
    cause: u64,
    pub(crate) wrong_cause: u64,
    line: u64,
    /// The wrong lines that were named: worse than none.
    wrong_line: u64,
    /// No line, but a function of the benchmark's.
    function: u64,
    chain: u64,
    mixed: u64,
    largest_first: u64,
    shares_right: u64,
    held: u64,
    holder: u64,
    /// Why no holder was told, and how often.
    unknown: BTreeMap<String, u64>,
    wrong_holder: u64,
    errors_us: Vec<f64>,
    /// The times from the threshold to the end of the first look.
    pub(crate) detected_us: Vec<f64>,
    causes: BTreeMap<&'static str, u64>,
}

pub(crate) const HEADER: &str = "| what | runs | reported | cause told | wrong | line right | wrong | function alone | chain complete \
     | duration error p99 | detected after p50 / p99 | causes |\n|---|---|---|---|---|---|---|---|---|---|---|---|";

impl Score {
    pub(crate) fn add(&mut self, case: &Case, shape: &Shape, truth: &Truth, polls: &[SlowPoll]) {
        self.runs += 1;
        if truth.wall < THRESHOLD {
            return;
        }
        self.slow += 1;
        let [poll] = polls else { return };
        let seen = &poll.evidence;
        self.reported += 1;
        self.errors_us.push(poll.duration.abs_diff(truth.wall).as_nanos() as f64 / 1e3);
        self.detected_us.extend(detected_us(poll, THRESHOLD));
        *self.causes.entry(seen.cause.map_or("none", Cause::as_str)).or_default() += 1;
        self.cause += u64::from(seen.cause.is_some());
        self.wrong_cause += u64::from(is_wrong_cause(case, truth, poll));
        let line = seen.blocking_line.as_deref();
        self.line += u64::from(line.is_some_and(|line| spot_of(truth, line).is_some()));
        self.wrong_line += u64::from(line.is_some_and(|line| spot_of(truth, line).is_none()));
        self.function +=
            u64::from(line.is_none() && seen.function.as_deref().is_some_and(|f| f.contains("accuracy::")));
        let of_shape = |file: &str| file.ends_with(shapes::FILE);
        let ours = seen.stack.iter().filter(|frame| frame.file.as_deref().is_some_and(of_shape)).count();
        self.chain += u64::from(seen.stack_complete == Some(true) && ours >= shape.depth);
        self.add_places(truth, &seen.places);
        self.add_holder(truth, seen);
    }

    fn add_places(&mut self, truth: &Truth, places: &[Place]) {
        let Some(judged) = judge_places(truth, places) else { return };
        self.mixed += 1;
        self.largest_first += u64::from(judged.largest_first);
        self.shares_right += u64::from(judged.shares_right);
    }

    fn add_holder(&mut self, truth: &Truth, seen: &Evidence) {
        let Some(tid) = truth.did.holder else { return };
        self.held += 1;
        let told = seen.holder().map(|holder| holder.tid);
        if told.is_none() {
            let why = match seen.lock.as_ref().map(|lock| &lock.held) {
                Some(Held::Unknown(why)) => format!("{why:?}"),
                _ => "no lock told".to_owned(),
            };
            *self.unknown.entry(why).or_default() += 1;
        }
        self.holder += u64::from(told == Some(tid));
        self.wrong_holder += u64::from(told.is_some_and(|told| told != tid));
    }

    pub(crate) fn print(&self, name: &str) {
        let of = |part: u64| if self.slow == 0 { "–".to_owned() } else { format!("{part}/{}", self.slow) };
        let (p99, detected) = (quantiles_us(&self.errors_us, &[0.99]), quantiles_us(&self.detected_us, &[0.5, 0.99]));
        let causes: Vec<String> = self.causes.iter().map(|(cause, n)| format!("{cause} {n}")).collect();
        let [reported, cause, line, chain] = [self.reported, self.cause, self.line, self.chain].map(of);
        println!(
            "| {name} | {} | {reported} | {cause} | {} | {line} | {} | {} | {chain} | {p99} µs | {detected} µs | {} |",
            self.runs,
            self.wrong_cause,
            self.wrong_line,
            self.function,
            causes.join(", ")
        );
    }

    /// What only some of the cases have.
    pub(crate) fn print_more(&self, name: &str) {
        if self.mixed > 0 {
            let Score { mixed, largest_first, shares_right, .. } = self;
            println!("- {name}: largest place first {largest_first}/{mixed}, all shares right {shares_right}/{mixed}");
        }
        if self.held > 0 {
            let Score { held, holder, wrong_holder, unknown, .. } = self;
            println!("- {name}: holder right {holder}/{held}, wrong {wrong_holder}, unknown {unknown:?}");
        }
    }

    pub(crate) fn summary(&self) -> String {
        let of = |part: u64| format!("{:.2} %", part as f64 / self.slow.max(1) as f64 * 100.0);
        format!(
            "of {} slow polls: wrong causes {}, no cause {}; wrong lines {} ({}), line told {}; wrong holders {}",
            self.slow,
            self.wrong_cause,
            of(self.slow - self.cause),
            self.wrong_line,
            of(self.wrong_line),
            of(self.line + self.wrong_line),
            self.wrong_holder
        )
    }
}

/// What the places of a poll are worth that was at several.
#[derive(Clone, Copy)]
struct JudgedPlaces {
    largest_first: bool,
    shares_right: bool,
}

/// `None` for one that was at one place alone.
fn judge_places(truth: &Truth, places: &[Place]) -> Option<JudgedPlaces> {
    let part = |time: Duration| time.as_secs_f64() / truth.wall.as_secs_f64();
    let took = |spot: &Spot| spot.took.map(part);
    let largest = truth.did.spots.iter().filter_map(took).max_by(f64::total_cmp)?;
    let first = places.first().and_then(|place| spot_of(truth, place.line.as_deref()?)).and_then(took);
    let share = |spot: &Spot| {
        let there = places.iter().filter(|place| place.line.as_deref().is_some_and(|line| is_in(spot, line)));
        part(there.map(|place| place.share).sum())
    };
    let is_right = |spot: &Spot| took(spot).is_none_or(|took| (took - share(spot)).abs() <= SHARE);
    Some(JudgedPlaces {
        largest_first: first.is_some_and(|first| first >= largest - ALIKE),
        shares_right: truth.did.spots.iter().all(is_right),
    })
}

/// Says what is wrong of it, if anything is: such a thing is to be looked at.
pub(crate) fn tell_if_wrong(case: &Case, truth: &Truth, polls: &[SlowPoll]) {
    let [poll] = polls else {
        if truth.wall >= THRESHOLD {
            eprintln!("{}: {} reports; {}", case.name, polls.len(), truth.sentence());
        }
        return;
    };
    let seen = &poll.evidence;
    let wrong_line = seen.blocking_line.as_deref().is_some_and(|line| spot_of(truth, line).is_none());
    let wrong_holder = truth.did.holder.is_some_and(|tid| seen.holder().is_some_and(|holder| holder.tid != tid));
    let wrong_places =
        judge_places(truth, &seen.places).is_some_and(|places| !places.largest_first || !places.shares_right);
    if seen.cause.is_none() || is_wrong_cause(case, truth, poll) || wrong_line || wrong_holder || wrong_places {
        eprintln!("{}: {:?}; {}", case.name, seen.sentence(poll.duration), truth.sentence());
    }
}

fn is_wrong_cause(case: &Case, truth: &Truth, poll: &SlowPoll) -> bool {
    poll.evidence.cause.is_some_and(|cause| !truth.allows(cause, case.off_cpu, poll.duration))
}

fn spot_of<'a>(truth: &'a Truth, place: &str) -> Option<&'a Spot> {
    truth.did.spots.iter().find(|spot| is_in(spot, place))
}

fn is_in(spot: &Spot, place: &str) -> bool {
    let Some((file, line)) = place.rsplit_once(':') else { return false };
    file.ends_with(spot.file) && line.parse().is_ok_and(|line| (spot.lines.0..=spot.lines.1).contains(&line))
}

/// The time from the threshold to the end of the first look at a slow poll, if there was one.
pub(crate) fn detected_us(poll: &SlowPoll, threshold: Duration) -> Option<f64> {
    let after = poll.evidence.captured_after?;
    Some(to_ns(after.saturating_sub(threshold)) as f64 / 1e3)
}

/// `53 / 190`; a dash where there is nothing.
pub(crate) fn quantiles_us(values: &[f64], quantiles: &[f64]) -> String {
    if values.is_empty() {
        return "–".to_owned();
    }
    let of = |&q: &f64| format!("{:.0}", quantile(values.iter().copied(), q));
    quantiles.iter().map(of).collect::<Vec<_>>().join(" / ")
}
