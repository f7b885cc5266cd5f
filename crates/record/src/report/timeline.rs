//! When runs were: one clock for all of them, for formats that show time.

use crate::recording::Run;

/// The runs one after the other, as they ran.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Timeline {
    /// When the first run started, in milliseconds since 1970; `None` where its text is not a time.
    pub(super) epoch_ms: Option<u64>,
    /// Of each run, when it started: nanoseconds since the first one did.
    pub(super) starts_ns: Vec<u64>,
}

impl Timeline {
    /// Wall clocks can be set back, and a saved recording may say anything: no run starts before the one before it ended.
    pub(super) fn of(runs: &[Run]) -> Timeline {
        let epoch_ms = runs.first().and_then(started_ms);
        let mut end_ns = 0u64;
        let starts_ns = runs.iter().map(|run| {
            let since_first = || started_ms(run)?.checked_sub(epoch_ms?)?.checked_mul(1_000_000);
            let start_ns = since_first().map_or(end_ns, |start| start.max(end_ns));
            end_ns = start_ns.saturating_add(run.elapsed_ns);
            start_ns
        });
        Timeline { starts_ns: starts_ns.collect(), epoch_ms }
    }

    /// The same, but services and processes can run beside each other, as those of many machines do: they start when their clocks say,
    /// if all of them say it.
    pub(super) fn beside_each_other(runs: &[Run]) -> Timeline {
        let one_by_one = Timeline::of(runs);
        let Some(epoch_ms) = one_by_one.epoch_ms else { return one_by_one };
        let start_ns = |run: &Run| {
            let target = run.subject.target();
            target.and_then(|_| started_ms(run)?.checked_sub(epoch_ms)?.checked_mul(1_000_000))
        };
        match runs.iter().map(start_ns).collect() {
            Some(starts_ns) => Timeline { starts_ns, epoch_ms: Some(epoch_ms) },
            None => one_by_one,
        }
    }
}

fn started_ms(run: &Run) -> Option<u64> {
    u64::try_from(run.started()?.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{MS, run};
    use crate::recording::{Subject, Target};

    fn runs(started: &[&str]) -> Vec<Run> {
        let at = |started: &&str| Run { started_at: (*started).to_owned(), elapsed_ns: 3_000 * MS, ..run("naive") };
        started.iter().map(at).collect()
    }

    #[test]
    fn runs_start_when_their_clock_says_and_never_overlap() {
        let starts = |started: &[&str]| Timeline::of(&runs(started)).starts_ns;
        assert_eq!(starts(&["1970-01-01T00:00:02Z", "1970-01-01T00:00:07.5Z"]), [0, 5_500 * MS]);
        assert_eq!(starts(&["2026-01-01T00:00:02Z", "2026-01-01T00:00:01Z"]), [0, 3_000 * MS], "a clock set back");
        assert_eq!(starts(&["2026-01-01T00:00:02Z", "yesterday"]), [0, 3_000 * MS]);
        assert_eq!(starts(&["yesterday", "2026-01-01T00:00:02Z"]), [0, 3_000 * MS]);
        assert_eq!(starts(&["1970-01-01T00:00:00Z", "9999-01-01T00:00:00Z"]), [0, 3_000 * MS], "beyond 584 years");
        assert_eq!(Timeline::of(&runs(&["1970-01-01T00:00:02.5Z"])).epoch_ms, Some(2_500));
        assert_eq!(Timeline::of(&[]), Timeline { epoch_ms: None, starts_ns: Vec::new() });
    }

    #[test]
    fn services_run_beside_each_other_and_rounds_do_not() {
        let two = runs(&["2026-01-01T00:00:02Z", "2026-01-01T00:00:03Z"]);
        assert_eq!(Timeline::beside_each_other(&two), Timeline::of(&two), "rounds of a scenario");
        let service = |mut run: Run| {
            run.subject = Subject::Service(Target::default());
            run
        };
        let two: Vec<Run> = two.into_iter().map(service).collect();
        assert_eq!(Timeline::beside_each_other(&two).starts_ns, [0, 1_000 * MS]);
        let odd: Vec<Run> = runs(&["2026-01-01T00:00:02Z", "yesterday"]).into_iter().map(service).collect();
        assert_eq!(Timeline::beside_each_other(&odd), Timeline::of(&odd));
    }
}
