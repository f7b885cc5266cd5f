//! The runs of a group, put together: what findings and reports speak of.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::loops_time::LoopsTime;
use crate::recording::{Completeness, Dist, Ledger, Profile, Run, Site, SlowPoll, Verdict};
use crate::units::{format_count, plural};

/// All runs of one group as if they had been one.
#[derive(Debug, Clone)]
pub struct ByGroup<'a> {
    /// The group's name.
    pub name: &'a str,
    /// Its runs, in the order in which they ran; never empty.
    pub rounds: Vec<&'a Run>,
    /// Poll durations of all rounds; like all that follow, of the rounds that measured it, and `None` when none did.
    pub polls: Option<Dist>,
    /// Wake to poll start.
    pub schedule_latency: Option<Dist>,
    /// How late a periodic timer fired, corrected for coordinated omission.
    pub lag: Option<Dist>,
    /// The same without the correction.
    pub lag_raw: Option<Dist>,
    /// What an outside client saw.
    pub response_time: Option<Dist>,
    /// From a line's appearance to the end of its write.
    pub write_latency: Option<Dist>,
    /// From a worker's unpark to its next park.
    pub busy_stretches: Option<Dist>,
    /// From a call of `spawn_blocking` to its closure's start; empty where the pool was not used.
    pub pool_wait: Option<Dist>,
    /// Polls by spawn site, most time first.
    pub sites: Option<Vec<Site>>,
    /// Who waited for whom, the longest waits first.
    pub ledger: Option<Ledger>,
}

/// Puts runs together by group, in the order in which groups first ran.
pub fn by_group(runs: &[Run]) -> Vec<ByGroup<'_>> {
    let mut names: Vec<&str> = Vec::new();
    for run in runs {
        if !names.contains(&run.group.as_str()) {
            names.push(&run.group);
        }
    }
    names.into_iter().map(|name| ByGroup::of(name, runs.iter().filter(|run| run.group == name).collect())).collect()
}

impl<'a> ByGroup<'a> {
    fn of(name: &'a str, rounds: Vec<&'a Run>) -> ByGroup<'a> {
        let sum = |of: fn(&Run) -> Option<&Dist>| sum(rounds.iter().filter_map(|run| of(run)));
        ByGroup {
            name,
            polls: sum(|run| run.polls.as_ref()),
            schedule_latency: sum(|run| run.schedule_latency.as_ref()),
            lag: sum(|run| run.lag.as_ref()),
            lag_raw: sum(|run| run.lag_raw.as_ref()),
            response_time: sum(|run| run.response_time.as_ref()),
            write_latency: sum(|run| run.write_latency.as_ref()),
            busy_stretches: sum(|run| run.busy_stretches.as_ref()),
            pool_wait: sum(|run| run.pool_wait.as_ref()),
            sites: pool_sites(&rounds),
            ledger: pool_ledgers(rounds.iter().filter_map(|run| run.ledger.as_ref())),
            rounds,
        }
    }

    /// Its spawn sites; none where they are not known.
    pub fn known_sites(&self) -> &[Site] {
        self.sites.as_deref().unwrap_or_default()
    }

    /// Its first run: what reports say of the subject.
    pub fn first(&self) -> &'a Run {
        self.rounds[0]
    }

    /// What counted as slow, in nanoseconds; all rounds of a scenario share it.
    pub fn threshold_ns(&self) -> u64 {
        self.rounds[0].slow_poll_threshold_ns
    }

    /// All slow polls that were counted: see [`ByGroup::slow_is_at_least`].
    pub fn slow_total(&self) -> u64 {
        self.rounds.iter().map(|run| run.slow_polls_total).sum()
    }

    /// Slow polls that were counted but not kept.
    pub fn slow_dropped(&self) -> u64 {
        self.rounds.iter().map(|run| run.slow_polls_dropped).sum()
    }

    /// Slow-poll lines that were held back.
    pub fn lines_suppressed(&self) -> u64 {
        self.rounds.iter().map(|run| run.slow_poll_lines.map_or(0, |lines| lines.suppressed)).sum()
    }

    /// The slow polls that were kept, each with its round, from 1.
    pub fn slow_polls(&self) -> impl Iterator<Item = (u32, &'a SlowPoll)> + '_ {
        (1..).zip(&self.rounds).flat_map(|(nth, run)| {
            let round = run.subject.round().unwrap_or(nth);
            run.slow_polls.iter().map(move |slow| (round, slow))
        })
    }

    /// Whether there may have been more slow polls than those that were counted.
    pub fn slow_is_at_least(&self) -> bool {
        self.rounds.iter().any(|run| run.slow_polls_are == Completeness::AtLeast)
    }

    /// How many polls were slow: `7 slow polls`, `at least 3 slow polls seen`.
    pub(crate) fn slow_words(&self) -> String {
        let polls = plural(self.slow_total(), "slow poll");
        if self.slow_is_at_least() { format!("at least {polls} seen") } else { polls }
    }

    /// The same as a number for a table: `7`, `≥ 3`, `none seen`.
    pub(crate) fn slow_number(&self) -> String {
        slow_number(self.slow_total(), self.slow_is_at_least())
    }

    /// The longest poll that is known, in nanoseconds: of those that were seen, where polls are not seen one by one.
    pub(crate) fn worst_poll_ns(&self) -> Option<u64> {
        let seen = || self.slow_polls().map(|(_, poll)| poll.duration_ns).max();
        self.longest_poll_ns().or_else(seen)
    }

    /// The longest poll, in nanoseconds: exact, and `None` when there was no poll, or polls are not seen one by one.
    pub fn longest_poll_ns(&self) -> Option<u64> {
        self.polls.as_ref()?.max_ns
    }

    /// The part of all workers' time that polls took, 0 to 1; `None` when no time passed, or it is not known of a round.
    pub fn busy_fraction(&self) -> Option<f64> {
        let available: Option<f64> = self.rounds.iter().map(|run| run.available_ns()).sum();
        match (self.busy_ns(), available) {
            (Some(busy), Some(available)) => Some(busy as f64 / available),
            _ => {
                let weighted =
                    |run: &&Run| Some((run.busy_share?.value * run.elapsed_ns as f64, run.elapsed_ns as f64));
                let shares: Vec<(f64, f64)> = self.rounds.iter().map(weighted).collect::<Option<_>>()?;
                let (busy, elapsed) = shares.iter().fold((0.0, 0.0), |sum, share| (sum.0 + share.0, sum.1 + share.1));
                (elapsed > 0.0).then_some(busy / elapsed)
            }
        }
    }

    /// The wall-clock profiles of its rounds; none where nobody looked from outside.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = &'a Profile> + Clone + '_ {
        self.rounds.iter().filter_map(|run| run.profile.as_deref())
    }

    /// Where the time of its loops went, by looks; `None` where nobody looked.
    pub(crate) fn loops_time(&self) -> Option<LoopsTime> {
        LoopsTime::of(self.profiles())
    }

    /// The sum of all poll durations, in nanoseconds; `None` where it is not known of a round.
    pub fn busy_ns(&self) -> Option<u64> {
        self.rounds.iter().map(|run| run.loop_busy_ns).sum()
    }

    /// The mean of the rounds' durations, in nanoseconds.
    pub fn elapsed_ns(&self) -> u64 {
        mean(self.rounds.iter().map(|run| run.elapsed_ns).collect()).expect("a mode has at least one round")
    }

    /// The mean of the rounds' throughputs, in bytes a second; `None` where nothing was merged.
    pub fn throughput_bytes_per_s(&self) -> Option<u64> {
        mean(self.rounds.iter().filter_map(|run| run.throughput_bytes_per_s).collect())
    }

    /// The mean of the CPU times of the rounds, in nanoseconds; like the next three, `None` where no round could ask.
    pub fn cpu_ns(&self) -> Option<u64> {
        mean(self.rounds.iter().filter_map(|run| run.cpu_ns()).collect())
    }

    /// The mean of the CPU times in the kernel.
    pub fn cpu_system_ns(&self) -> Option<u64> {
        mean(self.rounds.iter().filter_map(|run| run.cpu_system_ns).collect())
    }

    /// The mean of the context switches.
    pub fn context_switches(&self) -> Option<u64> {
        mean(self.rounds.iter().filter_map(|run| run.context_switches()).collect())
    }

    /// The mean of those of them in which the CPU was taken away.
    pub fn involuntary_switches(&self) -> Option<u64> {
        mean(self.rounds.iter().filter_map(|run| run.context_switches_involuntary).collect())
    }

    /// Requests without an answer; `None` where there was no client.
    pub fn unanswered(&self) -> Option<u64> {
        self.rounds.iter().filter_map(|run| run.unanswered).reduce(|a, b| a + b)
    }

    /// Values beyond what histograms hold, over all that the mode measured.
    pub fn clamped(&self) -> u64 {
        self.rounds.iter().flat_map(|run| run.dists()).map(|dist| dist.clamped).sum()
    }

    /// Rounds whose merge is not ok; empty where nothing was merged.
    pub fn unconfirmed(&self) -> impl Iterator<Item = &'a Run> + '_ {
        self.rounds.iter().copied().filter(|run| run.merge.as_ref().is_some_and(|merge| merge.verdict != Verdict::Ok))
    }

    /// Whether the instrument saw only futures that were wrapped.
    pub fn only_wrappers(&self) -> bool {
        self.rounds.iter().any(|run| run.coverage.source == "wrappers")
    }

    /// Whether there may have been slow polls that nobody saw.
    pub(crate) fn may_miss_slow_polls(&self) -> bool {
        self.only_wrappers() || self.slow_is_at_least()
    }
}

/// How many polls were slow, for a table: `7`, `≥ 3`, `none seen`.
pub(crate) fn slow_number(total: u64, is_at_least: bool) -> String {
    match (total, is_at_least) {
        (0, true) => "none seen".to_owned(),
        (total, true) => format!("≥ {}", format_count(total)),
        (total, false) => format_count(total),
    }
}

fn sum<'d>(dists: impl Iterator<Item = &'d Dist>) -> Option<Dist> {
    dists.fold(None, |sum, dist| match sum {
        None => Some(dist.clone()),
        Some(mut sum) => {
            sum.add(dist);
            Some(sum)
        }
    })
}

/// Sites of the same place become one; its name survives where all rounds agree on it. `None` where no round knows its sites.
fn pool_sites(rounds: &[&Run]) -> Option<Vec<Site>> {
    rounds.iter().find(|run| run.sites.is_some())?;
    let mut group: Vec<Site> = Vec::new();
    let mut places = HashMap::new();
    for site in rounds.iter().flat_map(|run| run.known_sites()) {
        match places.entry(&site.spawned_at) {
            Entry::Vacant(place) => {
                place.insert(group.len());
                group.push(site.clone());
            }
            Entry::Occupied(place) => {
                let known = &mut group[*place.get()];
                known.polls.add(&site.polls);
                known.slow += site.slow;
                if known.task_name != site.task_name {
                    known.task_name = None;
                }
            }
        }
    }
    group.sort_by_key(|site| std::cmp::Reverse(site.polls.sum_ns));
    Some(group)
}

/// The same culprits and waiters become one charge.
fn pool_ledgers<'l>(ledgers: impl Iterator<Item = &'l Ledger>) -> Option<Ledger> {
    let mut ledgers = ledgers.peekable();
    ledgers.peek()?;
    let mut group = Ledger { charges: Vec::new(), unattributed_ns: 0 };
    let mut places = HashMap::new();
    let mut rounds = 0;
    for ledger in ledgers {
        rounds += 1;
        group.unattributed_ns += ledger.unattributed_ns;
        for charge in &ledger.charges {
            match places.entry((&charge.culprit, &charge.waiter)) {
                Entry::Vacant(place) => {
                    place.insert(group.charges.len());
                    group.charges.push(charge.clone());
                }
                Entry::Occupied(place) => {
                    let known = &mut group.charges[*place.get()];
                    known.tasks += charge.tasks;
                    known.wait_ns += charge.wait_ns;
                    known.late_tasks += charge.late_tasks;
                    known.wait_most_ns += charge.wait_most_ns;
                }
            }
        }
    }
    // One round's are in their order.
    if rounds > 1 {
        group.charges.sort_by_key(|charge| std::cmp::Reverse(charge.wait_most_ns));
    }
    Some(group)
}

/// The mean, as comparisons and gates take it.
fn mean(values: Vec<u64>) -> Option<u64> {
    let sum: f64 = values.iter().map(|value| *value as f64).sum();
    (!values.is_empty()).then(|| (sum / values.len() as f64).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn rounds_become_one_mode_in_the_order_of_their_first_run() {
        let runs = [fixture::run("naive"), fixture::run("offloaded"), fixture::run("naive")];
        let group = by_group(&runs);
        assert_eq!(
            group.iter().map(|mode| (mode.name, mode.rounds.len())).collect::<Vec<_>>(),
            [("naive", 2), ("offloaded", 1)]
        );
        let count = |polls: &Option<Dist>| polls.as_ref().unwrap().count();
        assert_eq!(count(&group[0].polls), 2 * count(&runs[0].polls));
        assert_eq!(group[0].known_sites().len(), runs[0].known_sites().len());
        assert_eq!(group[0].known_sites()[0].polls.count(), 2 * runs[0].known_sites()[0].polls.count());
    }

    #[test]
    fn what_one_round_measured_is_known_and_what_none_did_is_not() {
        let mut blind = fixture::run("naive");
        blind.lag = None;
        blind.unanswered = None;
        assert!(by_group(&[blind.clone()])[0].lag.is_none());
        assert_eq!(by_group(&[blind.clone()])[0].unanswered(), None);
        let runs = [blind, fixture::run("naive")];
        assert_eq!(by_group(&runs)[0].lag.as_ref().map(Dist::count), runs[1].lag.as_ref().map(Dist::count));
    }

    #[test]
    fn what_threads_used_is_known_as_a_whole_or_not_at_all() {
        let mut half = fixture::run("naive");
        half.cpu_user_ns = None;
        assert_eq!((half.cpu_ns(), by_group(&[half.clone()])[0].cpu_ns()), (None, None));
        let whole = fixture::run("naive");
        let all = whole.cpu_user_ns.zip(whole.cpu_system_ns).map(|(user, system)| user + system);
        let runs = [half, whole];
        assert_eq!(by_group(&runs)[0].cpu_ns(), all);
        assert_eq!(by_group(&runs)[0].context_switches(), runs[1].context_switches());
    }

    #[test]
    fn the_mean_of_rounds() {
        assert_eq!(mean(vec![]), None);
        assert_eq!(mean(vec![3, 1, 3]), Some(2));
        assert_eq!(mean(vec![4, 1, 2, 3]), Some(3));
    }
}
