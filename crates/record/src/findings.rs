//! Diagnoses: pure functions from runs to findings.
//!
//! A diagnosis is a [`Diagnosis`]: its code, its check, its advice. A new one is one entry in [`DIAGNOSES`] and one
//! function. A finding speaks of a mode, with all its rounds put together, never of a round.

mod verdict;

#[cfg(test)]
mod tests;

pub use verdict::verdict;

use std::borrow::Cow;

use crate::advice::advice_for;
use crate::blockers::{Blocker, blockers};
use crate::by_group::{ByGroup, by_group};
use crate::recording::{Cause, Dist, Finding, Run, Site, Verdict};
use crate::units::{format_count, format_ns, format_range, format_ratio, format_round_ns, plural};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The output cannot be trusted.
    Error,
    /// Something on the loop wants fixing.
    Warning,
    /// Something to know when reading the numbers.
    Note,
}

impl Severity {
    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// Something that can be found.
#[derive(Debug)]
pub struct Diagnosis {
    /// Stable; never used again for another meaning.
    pub code: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What to do about it.
    pub advice: &'static str,
    check: Check,
}

/// What a check looks at.
#[derive(Debug)]
enum Check {
    /// A group by itself.
    Group(fn(&ByGroup) -> Vec<Found>),
    /// A group beside another of the recording. Where there is none, there is nothing to say.
    Pair(Beside, fn(&ByGroup, &ByGroup) -> Option<Found>),
}

/// Which other group a group is looked at beside.
#[derive(Debug)]
enum Beside {
    /// The one whose clients waited least, which may be the group itself.
    ShortestResponseTime,
    /// The one with the least loop lag of the others, beside one that writes on the loop and did not hold it up.
    ShortestLag,
}

impl Beside {
    fn choose<'g, 'r>(&self, group: &ByGroup, all: &'g [ByGroup<'r>]) -> Option<&'g ByGroup<'r>> {
        let least = |of: fn(&ByGroup) -> Option<u64>, among: &dyn Fn(&ByGroup) -> bool| {
            let known =
                all.iter().filter(|other| among(other)).filter_map(|other| Some((of(other)?, other.name, other)));
            known.min_by_key(|(ns, name, _)| (*ns, *name)).map(|(.., other)| other)
        };
        match self {
            Beside::ShortestResponseTime => least(|other| p99(&other.response_time), &|_| true),
            Beside::ShortestLag => {
                let asks =
                    group.first().subject.writes_on_the_loop() && !is_unmeasured(group) && !is_harmed(group, all);
                asks.then(|| least(|other| p99(&other.lag), &|other| other.name != group.name)).flatten()
            }
        }
    }
}

impl Check {
    fn found(&self, group: &ByGroup, all: &[ByGroup]) -> Vec<Found> {
        match self {
            Check::Group(check) => check(group),
            Check::Pair(beside, check) => {
                beside.choose(group, all).and_then(|other| check(group, other)).into_iter().collect()
            }
        }
    }
}

/// What a check says: the sentence without its mode, and the line to blame.
struct Found {
    sentence: String,
    at: Option<String>,
    /// In place of the diagnosis's own.
    advice: Option<Cow<'static, str>>,
}

impl From<String> for Found {
    fn from(sentence: String) -> Found {
        Found { sentence, at: None, advice: None }
    }
}

/// Every diagnosis, in the order of codes.
pub const DIAGNOSES: [Diagnosis; 8] = [
    Diagnosis {
        code: "PS001",
        title: "slow polls",
        severity: Severity::Warning,
        advice: "move what blocks off the loop: to `tokio::task::spawn_blocking`, or a thread that owns what it works on; what \
                 computes instead of waiting goes to a thread too, or is split",
        check: Check::Group(slow_polls),
    },
    Diagnosis {
        code: "PS002",
        title: "many short polls",
        severity: Severity::Warning,
        advice: "let others in between: hand what waits to `tokio::task::spawn_blocking`, call `tokio::task::yield_now` in long \
                 loops, spread the work over time, or admit fewer tasks at once with a `tokio::sync::Semaphore`",
        check: Check::Group(many_short_polls),
    },
    Diagnosis {
        code: "PS003",
        title: "ready tasks wait",
        severity: Severity::Warning,
        advice: "shorten what runs before them: slow polls first, then bursts of short ones; if none is left, give the \
                 runtime more workers, or the urgent tasks a runtime of their own",
        check: Check::Group(ready_tasks_wait),
    },
    Diagnosis {
        code: "PS004",
        title: "merge not confirmed",
        severity: Severity::Error,
        advice: "trust neither the output nor the numbers of this mode: start at the difference named here, mend it, and run \
                 it again",
        check: Check::Group(merge_not_confirmed),
    },
    Diagnosis {
        code: "PS005",
        title: "the instrument's limits were passed",
        severity: Severity::Note,
        advice: "totals and maxima are exact all the same; to keep every slow poll, shorten the run or raise `--slow`",
        check: Check::Group(limits_passed),
    },
    Diagnosis {
        code: "PS006",
        title: "only wrapped futures were seen",
        severity: Severity::Warning,
        advice: "build with `rustflags = [\"--cfg\", \"tokio_unstable\"]` in .cargo/config.toml, or with \
                 RUSTFLAGS=\"--cfg tokio_unstable\"; a RUSTFLAGS variable replaces the list in config.toml, so it must \
                 name the cfg itself",
        check: Check::Group(only_wrappers),
    },
    Diagnosis {
        code: "PS007",
        title: "response time suffered",
        severity: Severity::Warning,
        advice: "clients pay for what holds the loop: write as the better mode does, or answer them on a runtime of \
                 their own",
        check: RESPONSE_TIME,
    },
    Diagnosis {
        code: "PS008",
        title: "blocking was harmless here",
        severity: Severity::Note,
        advice: "nothing to fix on this machine today: a write to the page cache seldom blocks; ask again with what makes \
                 it block where you deploy, such as a full pipe, synced lines or a network file system",
        check: HARMLESS,
    },
];

/// The diagnosis with that code.
pub fn diagnosis(code: &str) -> Option<&'static Diagnosis> {
    static ALL: &[Diagnosis] = &DIAGNOSES;
    ALL.iter().find(|diagnosis| diagnosis.code == code)
}

/// How much a finding matters; one of a code that this version does not know is taken for a warning.
pub(crate) fn severity(finding: &Finding) -> Severity {
    diagnosis(&finding.code).map_or(Severity::Warning, |diagnosis| diagnosis.severity)
}

/// What is wrong, or worth knowing, in these runs: by code, then by mode in the order in which they ran.
pub fn findings(runs: &[Run]) -> Vec<Finding> {
    let modes = by_group(runs);
    let mut findings = Vec::new();
    for diagnosis in &DIAGNOSES {
        for mode in &modes {
            findings.extend(diagnosis.check.found(mode, &modes).into_iter().map(|found| Finding {
                code: diagnosis.code.to_owned(),
                group: mode.name.to_owned(),
                sentence: format!("{}: {}", mode.name, found.sentence),
                advice: found.advice.unwrap_or(diagnosis.advice.into()).into_owned(),
                at: found.at,
            }));
        }
    }
    findings
}

/// The advice of [`many_short_polls`] when the loop was late but not busy.
const NOT_RUNNING: &str = "see whether the process got its CPU time: other load on the machine, a CPU limit, a suspend; \
                           then measure again";
/// Spawn sites named by [`slow_polls`] in each mode.
const SITES_NAMED: usize = 3;
/// [`response_time_suffered`] from this ratio of 99th percentiles.
const RESPONSE_RATIO: f64 = 10.0;
/// [`harmless`] up to this ratio of 99th percentiles.
const HARMLESS_RATIO: f64 = 2.0;
const RESPONSE_TIME: Check = Check::Pair(Beside::ShortestResponseTime, response_time_suffered);
const HARMLESS: Check = Check::Pair(Beside::ShortestLag, harmless);

fn one(sentence: String) -> Vec<Found> {
    vec![Found::from(sentence)]
}

fn slow_polls(mode: &ByGroup) -> Vec<Found> {
    if mode.slow_total() == 0 {
        return Vec::new();
    }
    let blockers = blockers(mode.slow_polls().map(|(_, poll)| poll));
    let has_place = |blocker: &&Blocker| blocker.line.or(blocker.function).is_some();
    let (placed, others): (Vec<&Blocker>, Vec<&Blocker>) = blockers.iter().partition(has_place);
    // Where no place is known at all, a cause that is known says what to do.
    let told = if placed.is_empty() { others } else { placed };
    let seen: Vec<Found> = told.into_iter().filter_map(|blocker| blocked_at(blocker, mode)).take(SITES_NAMED).collect();
    if !seen.is_empty() {
        return seen;
    }
    let mut sites: Vec<&Site> = mode.known_sites().iter().filter(|site| site.slow > 0).collect();
    sites.sort_by_key(|site| std::cmp::Reverse(site.slow));
    if sites.is_empty() {
        let worst = mode.worst_poll_ns().map_or(String::new(), |ns| format!(", the worst {}", format_ns(ns)));
        return one(format!("{}{worst}", mode.slow_words()));
    }
    sites
        .into_iter()
        .take(SITES_NAMED)
        .map(|site| {
            let worst = site.polls.max_ns.map_or(String::new(), |ns| format!(", the worst {}", format_ns(ns)));
            let task = site.task_name.as_ref().map_or(String::new(), |name| format!(" (`{name}`)"));
            let sentence = format!(
                "{} of {} or more{worst}, in tasks spawned at {}{task}",
                plural(site.slow, "slow poll"),
                format_round_ns(mode.threshold_ns()),
                site.spawned_at
            );
            let at = is_line(&site.spawned_at).then(|| site.spawned_at.clone());
            Found { at, ..Found::from(sentence) }
        })
        .collect()
}

/// The slow polls of one line, of one function, or of no place where their cause alone says what to do, with the fix that fits it;
/// `None` where nothing of that is known.
fn blocked_at(blocker: &Blocker, mode: &ByGroup) -> Option<Found> {
    let advice = advice_for(blocker.first);
    let place = match (blocker.line, blocker.function) {
        (Some(line), _) => format!(" at {line}"),
        (None, Some(function)) => format!(" within `{function}`"),
        (None, None) => advice.map(|_| String::new())?,
    };
    let call = blocker.call.map_or(String::new(), |call| format!(" in `{call}`"));
    let cause = blocker.cause.map_or(String::new(), |cause| format!(", cause {cause}"));
    let waited = match (blocker.waits, blocker.wait_ns, blocker.wait_most_ns) {
        (Some(waits), Some(ns), Some(most)) if waits > 0 => {
            let waited = format_range(ns, most.max(ns));
            // Each task waits for one poll once; behind several, one task may have waited as often.
            match blocker.polls {
                1 => format!("; {} waited {waited} in all", plural(waits, "task")),
                _ => format!("; {} of {waited} in all", plural(waits, "wait")),
            }
        }
        _ => String::new(),
    };
    let spawned_at = blocker.spawned_at.map_or(String::new(), |at| format!(", of tasks spawned at {at}"));
    let sentence = format!(
        "{}{} of {} or more{call}{place}{cause}, the worst {}{spawned_at}{waited}",
        if mode.slow_is_at_least() { "at least " } else { "" },
        plural(blocker.polls, "slow poll"),
        format_round_ns(mode.threshold_ns()),
        format_ns(blocker.worst_ns),
    );
    let advice = advice.map(|advice| match mode.first().subject.writes_on_the_loop() {
        true if advice.is_of_writing => format!("{} (`--mode offloaded`)", advice.fix).into(),
        _ => advice.fix.into(),
    });
    // Where the code did nothing, no place of it is to be looked at; a function is no line.
    let is_the_machines = blocker.cause.is_some_and(Cause::is_the_machines);
    let site = blocker.spawned_at.filter(|site| blocker.function.is_none() && !is_the_machines && is_line(site));
    Some(Found { at: blocker.line.or(site).map(str::to_owned), advice, sentence })
}

/// Whether a spawn site is a `file:line`, and not a row such as `other`.
fn is_line(spawned_at: &str) -> bool {
    spawned_at.rsplit_once(':').is_some_and(|(_, line)| line.parse::<u32>().is_ok())
}

/// How long the loop kept others waiting in a round without a slow poll, and what its polls say to that.
struct Delay {
    ns: u64,
    /// Whether a timer on the loop felt it; otherwise it is only known that a worker was busy.
    was_felt: bool,
    /// Whether a worker was busy for most of it; if none was, the process itself did not run.
    was_busy: bool,
    longest_poll_ns: Option<u64>,
}

impl Delay {
    /// What the loop did.
    fn phrase(&self, mode: &ByGroup) -> String {
        let how = format_ns(self.ns);
        let seen = if mode.may_miss_slow_polls() { " that could be seen" } else { "" };
        if self.was_busy {
            let what = if self.was_felt { "kept others waiting" } else { "was busy" };
            format!("{what} {how} without one slow poll{seen}")
        } else {
            format!("was late by {how} without one slow poll{seen}, and not busy that long")
        }
    }
}

/// The worst round without a slow poll, if the loop kept others waiting in it for the threshold or longer.
///
/// Loop lag speaks first: a worker that is never idle has an endless busy stretch and may still serve everyone in time.
fn delay_without_slow_poll(mode: &ByGroup) -> Option<Delay> {
    let longest = |dist: &Option<Dist>| dist.as_ref().and_then(|dist| dist.max_ns);
    let of_round = |run: &&Run| {
        let busy = longest(&run.busy_stretches);
        let lag = longest(&run.lag).max(longest(&run.lag_raw));
        let (ns, was_felt) = (lag.or(busy)?, lag.is_some());
        let was_busy = busy.is_none_or(|busy| busy >= ns / 2);
        let delay =
            Delay { ns, was_felt, was_busy, longest_poll_ns: run.polls.as_ref().and_then(|polls| polls.max_ns) };
        (run.slow_polls_total == 0 && ns >= run.slow_poll_threshold_ns).then_some(delay)
    };
    mode.rounds.iter().filter_map(of_round).max_by_key(|delay| delay.ns)
}

/// Whether the loop kept others waiting without a slow poll.
pub(crate) fn is_late_without_slow_polls(mode: &ByGroup) -> bool {
    delay_without_slow_poll(mode).is_some()
}

fn many_short_polls(mode: &ByGroup) -> Vec<Found> {
    let Some(delay) = delay_without_slow_poll(mode) else {
        return Vec::new();
    };
    let longest =
        delay.longest_poll_ns.map_or(String::new(), |ns| format!("; the longest poll took {}", format_ns(ns)));
    let sentence = format!("the loop {}{longest}", delay.phrase(mode));
    let advice = (!delay.was_busy).then_some(NOT_RUNNING.into());
    vec![Found { advice, ..Found::from(sentence) }]
}

fn ready_tasks_wait(mode: &ByGroup) -> Vec<Found> {
    let Some(p99) = p99(&mode.schedule_latency).filter(|&ns| ns >= mode.threshold_ns()) else {
        return Vec::new();
    };
    one(format!("one wake-up in a hundred waited {} or longer for the loop (schedule latency p99)", format_ns(p99)))
}

fn p99(dist: &Option<Dist>) -> Option<u64> {
    dist.as_ref().and_then(|dist| dist.shown_quantile_ns(0.99))
}

fn merge_not_confirmed(mode: &ByGroup) -> Vec<Found> {
    let failed: Vec<&Run> = mode.unconfirmed().collect();
    let Some(first) = failed.iter().find(|run| is_failed(run)).or(failed.first()) else {
        return Vec::new();
    };
    let what = if is_failed(first) { "the merge failed" } else { "the merge could not be verified" };
    let rounds = match mode.rounds.len() {
        1 => String::new(),
        all => format!(" in {} of {all} rounds", failed.len()),
    };
    let reason = first.merge.as_ref().and_then(|merge| merge.reason.as_ref());
    let sentence = format!("{what}{rounds}{}", reason.map_or(String::new(), |reason| format!(": {reason}")));
    // Of what was not looked at to its end nobody knows that it is wrong.
    let advice = (!is_failed(first)).then_some(Cow::Borrowed(NOT_VERIFIED));
    vec![Found { advice, ..Found::from(sentence) }]
}

const NOT_VERIFIED: &str = "check the output before it is used: `pollscope confirm INPUT… -o OUTPUT` compares files that are still \
                            there; a check that was ended too early has longer with `--grace`";

fn is_failed(run: &Run) -> bool {
    run.merge.as_ref().is_some_and(|merge| merge.verdict == Verdict::Failed)
}

fn limits_passed(mode: &ByGroup) -> Vec<Found> {
    let mut parts = Vec::new();
    if mode.slow_dropped() > 0 {
        let (dropped, total) = (format_count(mode.slow_dropped()), format_count(mode.slow_total()));
        parts.push(format!("{dropped} of {total} slow polls counted but not kept one by one"));
    }
    if mode.clamped() > 0 {
        parts.push(format!("{} outside 1 ns to 1 h counted at that bound", plural(mode.clamped(), "duration")));
    }
    if parts.is_empty() { Vec::new() } else { one(parts.join("; ")) }
}

fn only_wrappers(mode: &ByGroup) -> Vec<Found> {
    if !mode.only_wrappers() {
        return Vec::new();
    }
    one("this build lacks `--cfg tokio_unstable`: polls of tasks that were not wrapped are in no number here"
        .to_owned())
}

fn response_time_suffered(mode: &ByGroup, best: &ByGroup) -> Option<Found> {
    let (mine, least) = (p99(&mode.response_time)?, p99(&best.response_time)?);
    let ratio = mine as f64 / least.max(1) as f64;
    (ratio >= RESPONSE_RATIO).then(|| {
        Found::from(format!(
            "outside clients wait {} as long as in {} mode: response time p99 {} against {}",
            format_ratio(ratio),
            best.name,
            format_ns(mine),
            format_ns(least)
        ))
    })
}

fn harmless(mode: &ByGroup, reference: &ByGroup) -> Option<Found> {
    Some(Found::from(format!("blocking did no harm here ({})", proof_of_harmlessness(mode, reference)?)))
}

/// Why a mode that writes on the loop did no harm, beside another; `None` where that cannot be known.
fn proof_of_harmlessness(mode: &ByGroup, reference: &ByGroup) -> Option<String> {
    let (mine, best) = (p99(&mode.lag)?, p99(&reference.lag)?);
    let seen = if mode.may_miss_slow_polls() { " that could be seen" } else { "" };
    let lag = format!("loop lag p99 {} against {} in {} mode", format_ns(mine), format_ns(best), reference.name);
    (mine as f64 <= HARMLESS_RATIO * best as f64).then(|| format!("no slow poll{seen}, {lag}"))
}

/// The first mode that writes on the loop and did no harm, with the proof.
fn first_harmless<'g, 'r>(all: &'g [ByGroup<'r>]) -> Option<(&'g ByGroup<'r>, String)> {
    all.iter().find_map(|mode| Some((mode, proof_of_harmlessness(mode, Beside::ShortestLag.choose(mode, all)?)?)))
}

/// Whether not one poll was seen, so that silence says nothing. Where only slow ones can be seen, looking for them is a measurement.
pub(crate) fn is_unmeasured(mode: &ByGroup) -> bool {
    !mode.slow_is_at_least() && mode.polls.as_ref().is_none_or(|polls| polls.count() == 0) && mode.slow_total() == 0
}

/// Whether the mode did not keep the loop responsive.
pub(crate) fn is_harmed(mode: &ByGroup, all: &[ByGroup]) -> bool {
    const HARM: [Check; 4] =
        [Check::Group(slow_polls), Check::Group(many_short_polls), Check::Group(ready_tasks_wait), RESPONSE_TIME];
    HARM.iter().any(|check| !check.found(mode, all).is_empty())
}
