//! What is known of a slow poll beyond its duration: what it did, and where.

use std::sync::Arc;
use std::time::Duration;

use crate::escape::Escaped;
use crate::{Call, Cause, Frame, Held, Holder, LockWait, Missing, Place, Quota, Span};

/// What was seen of a slow poll while it ran. An instrument starts from the default, where all is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Evidence {
    /// Where more than half of its time went; `None` where nothing is known to have taken so much.
    pub cause: Option<Cause>,
    /// Time on the CPU: what it was at least, by the thread's clocks; `None` where they leave more open than a tenth of the poll.
    pub cpu_time: Option<Duration>,
    /// Time ready to run without a CPU, likewise.
    pub run_delay: Option<Duration>,
    /// What the CPU quota of its control group did meanwhile; `None` where there is none, or it is not known.
    pub quota: Option<Box<Quota>>,
    /// All places that it was seen at, those that the cause is about first, then most time first; at most 8.
    pub places: Vec<Place>,
    /// The system call of the first place, where the cause is being off the CPU, or not known; like the next three, of one look.
    pub call: Option<Call>,
    /// `file:line` of the innermost frame of the user's code.
    pub blocking_line: Option<String>,
    /// That frame's function.
    pub function: Option<String>,
    /// The frames from the blocking thread's innermost up to the poll, inlined ones included. Shared, as every snapshot has it.
    /// Of one that takes more than 64 KiB, a frame in the middle says how many were left out; of one that could not be followed to
    /// the poll, the last frame says why.
    pub stack: Arc<[Frame]>,
    /// The deepest frame of the user's code that all looks show, where it was seen at several places: the loop around them. Its line
    /// is `None` where it went on from one look to another.
    pub shared_frame: Option<Box<Frame>>,
    /// Whether the stack was followed to the thread's first frame; `None` when there is no stack.
    pub stack_complete: Option<bool>,
    /// How many looks showed something.
    pub captures: u32,
    /// How old the poll was when the first look that showed a stack or a system call was complete, less the time of polls within it
    /// until then. A poll is looked at from half the threshold on; before the threshold counts as at it. By how much it is more is
    /// how late the watchdog was. `None` when nothing was seen.
    pub captured_after: Option<Duration>,
    /// Why it has no line, where that is for want of time; `None` also while it is being found out.
    pub missing: Option<Missing>,
    /// What is known of the lock that it waited for, or of the thread whose end it waited for; `None` also where it waited for something
    /// that nobody has, such as a message, and where it is not known what it waited for. In a box, as few slow polls have one.
    pub lock: Option<Box<LockWait>>,
    /// The span that it was in: the one that its thread was in at more than half of the looks at that, or, where the spans within one
    /// changed, the outermost. Where there was no look, the outermost span that it entered, if there was one alone. `None` where that
    /// is not so, or nobody keeps spans.
    pub span: Option<Arc<Span>>,
    /// How many looks at its span there were.
    pub span_looks: u32,
}

impl Evidence {
    /// How long a poll that lasted `duration` was off the CPU and not ready to run: what is neither [`Evidence::cpu_time`] nor
    /// [`Evidence::run_delay`]. `None` where those are not known.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_base::Evidence;
    /// let ms = Duration::from_millis;
    /// let mut evidence = Evidence::default();
    /// assert_eq!(evidence.off_cpu(ms(100)), None);
    /// (evidence.cpu_time, evidence.run_delay) = (Some(ms(20)), Some(ms(10)));
    /// assert_eq!(evidence.off_cpu(ms(100)), Some(ms(70)));
    /// ```
    pub fn off_cpu(&self, duration: Duration) -> Option<Duration> {
        Some(duration.saturating_sub(self.cpu_time?).saturating_sub(self.run_delay?))
    }

    /// `blocked in write(…) for 0.501 s at src/main.rs:41 (cpu 0.001 s)`, or `… in shop::db::query (…)` where the line is not
    /// known and the function is; and the other places that took a tenth of it or more. `None` when nothing is known.
    pub fn sentence(&self, duration: Duration) -> Option<String> {
        let first = self.places.first();
        let blocked_for =
            || first.map(|place| place.share).or_else(|| self.off_cpu(duration)).map_or(String::new(), for_seconds);
        let what = match (&self.cause, &self.call) {
            (Some(Cause::BlockingCall | Cause::Lock), Some(call)) => {
                format!("blocked in {}{}", Escaped(&call.text), blocked_for())
            }
            (Some(Cause::Throttled), _) => {
                let cpus = |quota: Quota| format!(" by its CPU quota of {:.2} CPUs", quota.cpus());
                format!("throttled{}", self.quota.as_deref().copied().map_or(String::new(), cpus))
            }
            (Some(cause), _) => cause.as_str().replace('-', " "),
            (None, Some(call)) => format!("seen in {}{}", Escaped(&call.text), blocked_for()),
            (None, None) => self.blocking_line.as_ref().or(self.function.as_ref()).map(|_| "seen".to_owned())?,
        };
        let at = match (first.filter(|place| place.line == self.blocking_line), &self.blocking_line, &self.function) {
            (Some(place), Some(_), _) => place.at(),
            (_, Some(line), _) => format!(" at {}", Escaped(line)),
            (_, None, Some(function)) => format!(" in {}", Escaped(function)),
            (_, None, None) => String::new(),
        };
        let lock = self.lock.as_ref().filter(|_| self.cause == Some(Cause::Lock));
        let held = lock.map_or(String::new(), |lock| format!(", {lock}"));
        let split = self.split(duration);
        let others: String = self.others(duration).map(other).collect();
        let shared = self.shared_frame.as_deref().map_or(String::new(), within);
        Some(format!("{what}{at}{held}{split}{others}{shared}"))
    }

    /// `(3 of 5 looks, cpu 0.001 s)`; nothing where there is nothing to say.
    fn split(&self, duration: Duration) -> String {
        let looks = self.places.first().filter(|place| self.places.len() > 1 && place.looks > 0);
        let looks = looks.map(|place| format!("{} of {} looks", place.looks, self.captures));
        let times =
            [("cpu", self.cpu_time), ("waiting for a CPU", self.run_delay.filter(|time| is_notable(*time, duration)))];
        let times = times.iter().filter_map(|(what, time)| Some(format!("{what} {}", seconds((*time)?))));
        let quota = self.quota.as_deref().filter(|_| self.cause == Some(Cause::Throttled)).map(|quota| {
            let Quota { throttled, throttled_periods, periods, .. } = *quota;
            format!("throttled {} in {throttled_periods} of {periods} periods", seconds(throttled))
        });
        let parts: Vec<String> = looks.into_iter().chain(times).chain(quota).collect();
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    }

    /// The places but the first, as far as they are worth a word.
    fn others(&self, duration: Duration) -> impl Iterator<Item = &Place> {
        const MOST: usize = 3;
        self.places.iter().skip(1).filter(move |place| place.share >= duration / 10).take(MOST)
    }

    /// Who had the lock that it waited for, or was the thread whose end it waited for; `None` where that is not known.
    pub fn holder(&self) -> Option<&Holder> {
        match &self.lock.as_ref()?.held {
            Held::By(holder) => Some(holder),
            Held::Unknown(_) => None,
        }
    }

    /// The sentence, the span, and why it has no line: what stands below a slow poll's own line. `None` when none of it is known.
    pub fn account(&self, duration: Duration) -> Option<String> {
        let span = self.span.as_ref().map(|span| format!("in span {span}"));
        let missing = self.missing.map(|missing| missing.to_string());
        let known: Vec<String> = [self.sentence(duration), span, missing].into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.join("; "))
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

fn for_seconds(time: Duration) -> String {
    format!(" for {}", seconds(time))
}

/// `; also clock_nanosleep(80 ms) for 0.080 s at src/main.rs:43`
fn other(place: &Place) -> String {
    let call = place.call.as_ref().map_or(String::new(), |call| format!(" {}", Escaped(&call.text)));
    format!("; also{call}{}{}", for_seconds(place.share), place.at())
}

/// `; all of it in shop::import (src/import.rs:30)`
fn within(frame: &Frame) -> String {
    let Some(function) = &frame.function else { return String::new() };
    let line = frame.line.map_or(String::new(), |line| format!(":{line}"));
    let file = frame.file.as_ref().map_or(String::new(), |file| format!(" ({}{line})", Escaped(file)));
    format!("; all looks are in {}{file}", Escaped(function))
}

/// Whether a part of a poll is worth a word: a twentieth of it.
fn is_notable(time: Duration, duration: Duration) -> bool {
    time >= duration / 20
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HolderUnknown;

    #[test]
    fn the_sentence_says_what_where_and_at_what_cost() {
        let ms = Duration::from_millis;
        let evidence = Evidence {
            cause: Some(Cause::BlockingCall),
            cpu_time: Some(ms(1)),
            run_delay: Some(Duration::ZERO),
            call: Some(Call {
                name: "write".to_owned(),
                fd: Some(9),
                path: Some("/var/log/merged.log".to_owned()),
                peer: None,
                bytes: Some(64),
                text: r#"write(fd 9 "/var/log/merged.log", 64 bytes)"#.to_owned(),
            }),
            blocking_line: Some("src/sink.rs:41".to_owned()),
            ..Evidence::default()
        };
        assert_eq!(
            evidence.sentence(ms(502)).unwrap(),
            r#"blocked in write(fd 9 "/var/log/merged.log", 64 bytes) for 0.501 s at src/sink.rs:41 (cpu 0.001 s)"#
        );
        let busy = Evidence { cause: Some(Cause::Cpu), call: None, ..evidence };
        assert_eq!(busy.sentence(ms(502)).unwrap(), "cpu at src/sink.rs:41 (cpu 0.001 s)");
        let mixed = Evidence { cpu_time: Some(ms(300)), run_delay: Some(ms(200)), ..busy };
        assert_eq!(mixed.sentence(ms(502)).unwrap(), "cpu at src/sink.rs:41 (cpu 0.300 s, waiting for a CPU 0.200 s)");
        let quota = Quota { allowed: ms(20), period: ms(100), periods: 5, throttled_periods: 4, throttled: ms(410) };
        let throttled = Evidence {
            cause: Some(Cause::Throttled),
            cpu_time: Some(ms(71)),
            run_delay: Some(ms(431)),
            quota: Some(Box::new(quota)),
            ..mixed
        };
        assert_eq!(
            throttled.sentence(ms(502)).unwrap(),
            "throttled by its CPU quota of 0.20 CPUs at src/sink.rs:41 (cpu 0.071 s, waiting for a CPU 0.431 s, throttled \
             0.410 s in 4 of 5 periods)"
        );
        let unknown = Evidence { quota: None, ..throttled };
        assert!(unknown.sentence(ms(502)).unwrap().starts_with("throttled at src/sink.rs:41 (cpu"));
        assert_eq!(Evidence::default().sentence(ms(1)), None);
    }

    #[test]
    fn a_lock_has_a_holder_or_none_is_known() {
        let ms = Duration::from_millis;
        let text = "futex(wait)".to_owned();
        let call = Call { name: "futex".to_owned(), fd: None, path: None, peer: None, bytes: None, text };
        let holder = Holder {
            thread: "a\x1bb".to_owned(),
            tid: 7,
            task_id: None,
            line: Some("src/a.rs:12".to_owned()),
            function: None,
            doing: "computes".to_owned(),
            sure: false,
        };
        let mut lock = Evidence::default();
        (lock.cause, lock.call, lock.blocking_line) = (Some(Cause::Lock), Some(call), Some("src/b.rs:3".to_owned()));
        let plain = "blocked in futex(wait) at src/b.rs:3";
        assert_eq!(lock.sentence(ms(9)).unwrap(), plain, "it waits for what nobody has");
        let unknown = Held::Unknown(HolderUnknown::Several { threads: 3 });
        lock.lock = Some(Box::new(LockWait { waits_in: None, held: unknown }));
        assert_eq!(lock.sentence(ms(9)).unwrap(), format!("{plain}, holder unknown: 3 threads have it"));
        assert_eq!(lock.holder(), None);
        lock.lock.as_mut().unwrap().waits_in = Some("tokio::Spawner::spawn_task".to_owned());
        let waits = ", waiting for a lock in `tokio::Spawner::spawn_task`, holder unknown: 3 threads have it";
        assert_eq!(lock.sentence(ms(9)).unwrap(), format!("{plain}{waits}"));
        lock.lock = Some(Box::new(LockWait { waits_in: None, held: Held::By(holder.clone()) }));
        assert_eq!(lock.holder(), Some(&holder));
        let held = format!("{plain}, held by thread `a\\u{{1b}}b` (probably), which computes at src/a.rs:12");
        assert_eq!(lock.sentence(ms(9)).unwrap(), held);
        let sure = Holder { sure: true, task_id: Some(5), line: None, ..holder };
        lock.lock = Some(Box::new(LockWait { waits_in: None, held: Held::By(sure) }));
        let held = format!("{plain}, held by task 5 on thread `a\\u{{1b}}b`, which computes");
        assert_eq!(lock.sentence(ms(9)).unwrap(), held);
        lock.cause = Some(Cause::Cpu);
        assert_eq!(lock.sentence(ms(9)).unwrap(), "cpu at src/b.rs:3", "the lock was not what took long");
    }

    #[test]
    fn the_span_stands_between_what_was_seen_and_what_is_missing() {
        let ms = Duration::from_millis;
        let span = Some(Arc::new(Span::new("a\nb")));
        let of = Evidence { cause: Some(Cause::Cpu), span, missing: Some(Missing::Unanswered), ..Evidence::default() };
        let account = of.account(ms(500)).unwrap();
        assert!(account.starts_with(r"cpu; in span `a\nb`; no line: "), "{account}");
        let alone = Evidence { cause: None, missing: None, ..of };
        assert_eq!(alone.account(ms(500)).unwrap(), r"in span `a\nb`");
    }

    #[test]
    fn where_the_line_is_not_known_the_function_is_said() {
        let ms = Duration::from_millis;
        let query = || Some("shop::db::query\n".to_owned());
        let busy = Evidence { cause: Some(Cause::Cpu), function: query(), ..Evidence::default() };
        assert_eq!(busy.sentence(ms(500)).unwrap(), "cpu in shop::db::query\\n");
        let known = Evidence { blocking_line: Some("src/db.rs:7".to_owned()), ..busy };
        assert_eq!(known.sentence(ms(500)).unwrap(), "cpu at src/db.rs:7");
        let seen = Evidence { function: query(), ..Evidence::default() };
        assert_eq!(seen.sentence(ms(500)).unwrap(), "seen in shop::db::query\\n");
    }
}
