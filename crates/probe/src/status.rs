//! What a probe says of itself: what it sees, when it begins; what it saw, once an hour and when it ends. So silence in between means
//! that nothing was slow, and not that nobody looked.

use std::time::Duration;

use pollscope_base::Source;
use pollscope_base::count::{format_count, plural};

use crate::snapshot::Snapshot;

/// How often what was seen so far is said.
const EVERY_NS: u64 = 3_600_000_000_000;

/// What is said, and when.
#[derive(Debug)]
pub(crate) struct Status {
    /// Whether late polls are looked at; if not, why.
    pub(crate) looks: Result<(), &'static str>,
    is_begun: bool,
    next_ns: u64,
}

impl Status {
    pub(crate) fn new(looks: Result<(), &'static str>) -> Status {
        Status { looks, is_begun: false, next_ns: EVERY_NS }
    }

    /// The line to begin with, once.
    pub(crate) fn begin(&mut self, source: Source, threshold: Duration) -> Option<String> {
        if std::mem::replace(&mut self.is_begun, true) {
            return None;
        }
        let (level, sees) = match source {
            Source::Wrappers if self.looks.is_ok() => (
                "WARN",
                "on, but built without tokio_unstable: polls of watched futures are seen, and of other tasks what blocks a multi-thread worker for \
                 long; build with `--cfg tokio_unstable` to see every poll, or watch those that matter",
            ),
            Source::Wrappers => (
                "WARN",
                "on, but built without tokio_unstable: only watched futures are seen; build with `--cfg tokio_unstable` to see every \
                 task, or watch those that matter",
            ),
            _ => ("INFO", "on: every poll of spawned tasks and of watched futures is seen"),
        };
        let looks = match self.looks {
            Ok(()) => "late polls are looked at for their line".to_owned(),
            Err(why) => format!("no lines, {why}"),
        };
        Some(format!("{level} pollscope: {sees}; {looks}; slow from {} ms\n", threshold.as_secs_f64() * 1e3))
    }

    /// Whether it is time to say what was seen so far.
    pub(crate) fn is_due(&mut self, now_ns: u64) -> bool {
        let is_due = self.is_begun && now_ns >= self.next_ns;
        if is_due {
            self.next_ns = now_ns.saturating_add(EVERY_NS);
        }
        is_due
    }

    /// Whether it began, and so has to end.
    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun
    }
}

/// What was seen up to this snapshot, as a line.
pub(crate) fn seen(snapshot: &Snapshot, is_last: bool) -> String {
    let when = if is_last { "ends after" } else { "so far, in" };
    let (when, polls) = (format!("{when} {}", rough(snapshot.at)), &snapshot.polls);
    let of_what = match snapshot.coverage.source {
        Source::Wrappers => " of watched futures",
        _ => "",
    };
    let late = match snapshot.late_stretches_total {
        0 => String::new(),
        late => format!(", {}", stretches(late, "late busy")),
    };
    let Some(longest) = polls.max() else {
        let busy = &snapshot.busy_stretches;
        if let (Source::Wrappers, Some(longest)) = (snapshot.coverage.source, busy.max()) {
            return format!(
                "INFO pollscope: {when}: no poll of watched futures; {}, the longest {:.1} ms{late}\n",
                stretches(busy.count(), "busy"),
                longest.as_secs_f64() * 1e3
            );
        }
        return format!(
            "WARN pollscope: {when}: no poll{of_what} was seen; if the service worked, it did so on a runtime without the probe: \
             `Snapshot::coverage` says what is seen\n"
        );
    };
    let slow = match snapshot.slow_polls_total {
        0 => "none slow".to_owned(),
        slow => format!("{} slow", format_count(slow)),
    };
    let longest_ms = longest.as_secs_f64() * 1e3;
    format!(
        "INFO pollscope: {when}: {}{of_what}, the longest {longest_ms:.1} ms, {slow}{late}\n",
        plural(polls.count(), "poll")
    )
}

/// `1 busy stretch`, `2 busy stretches`
fn stretches(count: u64, which: &str) -> String {
    format!("{} {which} stretch{}", format_count(count), if count == 1 { "" } else { "es" })
}

/// A time, to about two digits.
fn rough(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..60.0 => format!("{seconds:.1} s"),
        60.0..3_600.0 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::shared::Shared;
    use crate::tokio_api::TOKIO_UNSTABLE;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn it_begins_with_what_is_seen_and_what_to_do_about_the_rest() {
        let begin = |looks, source| Status::new(looks).begin(source, Duration::from_millis(100)).unwrap();
        assert_eq!(
            begin(Ok(()), Source::Hooks),
            "INFO pollscope: on: every poll of spawned tasks and of watched futures is seen; late polls are looked at for their \
             line; slow from 100 ms\n"
        );
        let sees_some = begin(Ok(()), Source::Wrappers);
        assert!(sees_some.contains(
            ": polls of watched futures are seen, and of other tasks what blocks a multi-thread worker for long; "
        ));
        let blind = begin(Err("as `capture(false)` says"), Source::Wrappers);
        assert!(
            blind.starts_with("WARN pollscope: on, but built without tokio_unstable: only watched futures are seen; ")
        );
        assert!(
            blind.contains("build with `--cfg tokio_unstable`")
                && blind.contains("; no lines, as `capture(false)` says; ")
        );
        let mut status = Status::new(Ok(()));
        assert!(!status.is_begun() && status.begin(Source::Hooks, HOUR).is_some());
        assert!(status.is_begun() && status.begin(Source::Hooks, HOUR).is_none());
    }

    #[test]
    fn once_an_hour_is_once_an_hour() {
        let mut status = Status::new(Ok(()));
        assert!(!status.is_due(EVERY_NS), "it did not begin");
        status.begin(Source::Hooks, HOUR);
        let due: Vec<u64> = (0..=150).filter(|minute| status.is_due(minute * EVERY_NS / 60)).collect();
        assert_eq!(due, [60, 120]);
    }

    #[test]
    fn what_was_seen_is_said_also_when_nothing_was_slow_or_nothing_was_seen() {
        let shared = Shared::new(Clock::manual(), 100_000_000, 10);
        let of_what = if TOKIO_UNSTABLE { "" } else { " of watched futures" };
        let none = seen(&shared.snapshot(), true);
        assert!(none.starts_with(&format!("WARN pollscope: ends after 0.0 s: no poll{of_what} was seen; ")), "{none}");
        let slot = shared.take_slot();
        let place = std::panic::Location::caller();
        (0..28_240).for_each(|_| slot.record(place, crate::names::UNNAMED, 4_100_000));
        shared.clock.advance(7_200_000_000_000);
        let said = seen(&shared.snapshot(), false);
        let expected =
            format!("INFO pollscope: so far, in 2.0 h: 28,240 polls{of_what}, the longest 4.1 ms, none slow\n");
        assert_eq!(said, expected);
        let mut snapshot = shared.snapshot();
        snapshot.slow_polls_total = 1_200;
        assert!(seen(&snapshot, true).ends_with(", the longest 4.1 ms, 1,200 slow\n"));
        snapshot.late_stretches_total = 2;
        assert!(seen(&snapshot, true).ends_with(", 1,200 slow, 2 late busy stretches\n"));
    }

    /// Without hooks and without watched futures there are stretches all the same.
    #[test]
    fn where_no_poll_is_seen_stretches_are() {
        let shared = Shared::new(Clock::manual(), 100_000_000, 10);
        shared.take_slot().record_stretch(30_000_000);
        let mut snapshot = shared.snapshot();
        (snapshot.coverage.source, snapshot.late_stretches_total) = (Source::Wrappers, 1);
        let said = seen(&snapshot, false);
        let words = "no poll of watched futures; 1 busy stretch, the longest 30.";
        assert!(said.starts_with("INFO pollscope: so far, in ") && said.contains(words), "{said}");
        assert!(said.ends_with(" ms, 1 late busy stretch\n"), "{said}");
    }
}
