//! What gets a line of its own: at most five a minute of slow polls of one spawn site, function and caller, and any that is longer than
//! all before it; and of other subjects five each. The others are counted in one line, with the longest.
//!
//! The function is the one that blocked, where it is known, and the caller what called it: a web server spawns all its connections at
//! one place, and the lines of one handler must not hide another, nor those of a helper that many of them call.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pollscope_base::duration::to_ns;
use pollscope_base::escape::{Escaped, cut_name};

use crate::snapshot::{Polling, SlowPoll};
use crate::sources::Sources;

/// Lines a minute and subject.
const PER_MINUTE: u32 = 5;
/// Subjects that are told apart within a minute; those beyond share one.
const MOST_PLACES: usize = 1_024;
const MINUTE_NS: u64 = 60_000_000_000;

/// What a line is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Slow polls: a place in the source, as sites are told apart, equal content counting as equal; the function that blocked, and its
    /// caller.
    SlowPolls(&'static str, u32, Option<String>, Option<String>),
    BlockingPool,
    /// Busy stretches, mostly of tasks spawned there.
    BusyStretches(Option<(&'static str, u32)>),
    /// Busy stretches of polls that nobody sees, by the function that most of one was in.
    UnseenPolls(Option<String>),
}

impl Subject {
    /// The line for what got none; `longest` is what is said of the longest of them.
    fn suppressed(&self, more: u64, longest: &str, sources: &Sources) -> String {
        match self {
            Subject::SlowPolls(file, line, function, _) => {
                let file = sources.shown(file);
                let function =
                    function.as_ref().map_or(String::new(), |name| format!(", in {}", Escaped(&cut_name(name))));
                let file = Escaped(&file);
                format!("WARN slow poll: suppressed {more} more of tasks spawned at {file}:{line}{function}{longest}\n")
            }
            Subject::BusyStretches(place) => {
                let place = place.map_or("many other places".to_owned(), |(file, line)| {
                    format!("{}:{line}", Escaped(&sources.shown(file)))
                });
                format!("WARN busy stretch: suppressed {more} more, most of tasks spawned at {place}\n")
            }
            Subject::UnseenPolls(function) => {
                let function =
                    function.as_ref().map_or(String::new(), |name| format!(", in {}", Escaped(&cut_name(name))));
                format!("WARN busy stretch: suppressed {more} more{function}\n")
            }
            Subject::BlockingPool => format!("WARN blocking pool: it was saturated {more} more times\n"),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Limiter {
    windows: BTreeMap<Subject, Window>,
    /// That of the subjects beyond.
    others: Option<Window>,
    sources: Arc<Sources>,
}

#[derive(Debug, Default)]
struct Window {
    since_ns: u64,
    printed: u32,
    suppressed: u64,
    /// Of all.
    longest: Duration,
    /// Of those that were suppressed and not told since, and where it was.
    longest_suppressed: Option<(Duration, String)>,
}

impl Limiter {
    pub(crate) fn new(sources: Arc<Sources>) -> Limiter {
        Limiter { sources, ..Limiter::default() }
    }

    /// The line for a slow poll; `None` when its site had its share of this minute.
    pub(crate) fn line(&mut self, poll: &SlowPoll) -> Option<String> {
        let at = poll.spawned_at;
        let now_ns = to_ns(poll.start.saturating_add(poll.duration));
        let caller = poll.evidence.places.first().and_then(|place| place.caller.clone());
        let subject = Subject::SlowPolls(at.file(), at.line(), poll.evidence.function.clone(), caller);
        let window = self.window(subject, now_ns);
        let is_longest = poll.duration > window.longest;
        window.longest = window.longest.max(poll.duration);
        if window.printed >= PER_MINUTE && !is_longest {
            window.suppress(poll);
            return None;
        }
        window.printed += 1;
        Some(format!("WARN slow poll: {}\n{}", poll.executing(self.sources.shown(at.file())), details(poll)))
    }

    /// Whether there may be one more line of the subject; if not, it is counted.
    pub(crate) fn admits(&mut self, subject: Subject, now_ns: u64) -> bool {
        let window = self.window(subject, now_ns);
        let is_admitted = window.printed < PER_MINUTE;
        window.printed += u32::from(is_admitted);
        window.suppressed += u64::from(!is_admitted);
        is_admitted
    }

    /// The window of a subject, opened if it has none.
    fn window(&mut self, subject: Subject, now_ns: u64) -> &mut Window {
        let new = Window { since_ns: now_ns, ..Window::default() };
        let is_full = self.windows.len() >= MOST_PLACES;
        match self.windows.entry(subject) {
            Entry::Vacant(_) if is_full => self.others.get_or_insert(new),
            entry => entry.or_insert(new),
        }
    }

    /// Closes the windows that are a minute old; one line for each of them that suppressed something, or for each of all.
    /// Saying it early gives no site a new share of lines.
    pub(crate) fn close(&mut self, now_ns: u64, say_all: bool) -> Vec<String> {
        let mut lines = Vec::new();
        self.windows.retain(|subject, window| {
            let open = window.is_open(now_ns);
            if (say_all || !open) && window.suppressed > 0 {
                let (more, longest) = window.take_suppressed();
                lines.push(subject.suppressed(more, &longest, &self.sources));
            }
            open
        });
        if let Some(others) = &mut self.others {
            let open = others.is_open(now_ns);
            if (say_all || !open) && others.suppressed > 0 {
                let (more, longest) = others.take_suppressed();
                lines.push(format!(
                    "WARN slow poll: suppressed {more} more of tasks spawned at many other places{longest}\n"
                ));
            }
            if !open {
                self.others = None;
            }
        }
        lines
    }
}

impl Window {
    fn suppress(&mut self, poll: &SlowPoll) {
        self.suppressed += 1;
        if self.longest_suppressed.as_ref().is_none_or(|(longest, _)| poll.duration > *longest) {
            let at = poll.evidence.places.first().map_or(String::new(), pollscope_base::Place::at);
            self.longest_suppressed = Some((poll.duration, at));
        }
    }

    /// How many were suppressed, and what is to be said of the longest.
    fn take_suppressed(&mut self) -> (u64, String) {
        let longest = self.longest_suppressed.take();
        let longest = longest.map(|(time, at)| format!(", the longest {:.3} s{at}", time.as_secs_f64()));
        (std::mem::take(&mut self.suppressed), longest.unwrap_or_default())
    }

    fn is_open(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.since_ns) < MINUTE_NS
    }
}

/// What begins gets a line or none; its end has one if it had.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    /// The numbers of those that began with one.
    begun: BTreeSet<u64>,
}

impl Pairs {
    /// Whether to write the line of that number: of its end, or of its beginning, which the limit may refuse.
    pub(crate) fn admit(&mut self, number: u64, is_over: bool, may_begin: impl FnOnce() -> bool) -> bool {
        if is_over {
            return self.begun.remove(&number);
        }
        let is_admitted = may_begin();
        self.begun.extend(is_admitted.then_some(number));
        is_admitted
    }
}

/// The lines about a poll that still goes on.
pub(crate) fn still(stall: &Polling, sources: &Sources) -> String {
    let details = stall.evidence.account(stall.elapsed);
    let details = details.map_or(String::new(), |details| format!("     {details}\n"));
    format!("WARN slow poll: {}\n{details}", stall.executing(sources.shown(stall.spawned_at.file())))
}

/// What the watchdog saw, or why it did not, and who paid, in a line below; nothing where nothing is known.
pub(crate) fn details(poll: &SlowPoll) -> String {
    let seen = poll.evidence.account(poll.duration);
    let paid = poll.blame.filter(|blame| blame.tasks > 0).map(|blame| blame.to_string());
    let known: Vec<String> = [seen, paid].into_iter().flatten().collect();
    if known.is_empty() { String::new() } else { format!("     {}\n", known.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollscope_base::{Blame, Cause, Evidence, Missing, Place};

    fn poll(at_ns: u64) -> SlowPoll {
        SlowPoll {
            id: 1,
            task_id: Some(7),
            task_name: Some("writer".into()),
            spawned_at: std::panic::Location::caller(),
            worker: Some(0),
            thread_name: None,
            start: Duration::from_nanos(at_ns),
            duration: Duration::ZERO,
            evidence: Evidence::default(),
            blame: None,
            waiter_span: None,
        }
    }

    #[test]
    fn what_is_known_stands_below_the_line() {
        let mut known = poll(0);
        (known.duration, known.evidence.cause) = (Duration::from_secs(2), Some(Cause::Cpu));
        let mut blame = Blame::default();
        (blame.tasks, blame.wait) = (1, Duration::from_millis(1_500));
        known.blame = Some(blame);
        let line = Limiter::default().line(&known).unwrap();
        let details = line.lines().nth(1).unwrap();
        assert_eq!(details, "     cpu; made 1 task wait 1.500 s in all");
    }

    #[test]
    fn what_was_not_seen_is_told_with_the_reason() {
        let mut unseen = poll(0);
        unseen.duration = Duration::from_secs(2);
        let below = |poll: &SlowPoll| Limiter::default().line(poll).unwrap().lines().nth(1).map(str::to_owned);
        assert_eq!(below(&unseen), None);
        unseen.evidence.missing = Some(Missing::NamesLate { after: Duration::from_secs(10) });
        let why = "no line: names were still being read 10.0 s after the poll's end";
        assert_eq!(below(&unseen), Some(format!("     {why}")));
        unseen.evidence.cause = Some(Cause::Cpu);
        assert_eq!(below(&unseen), Some(format!("     cpu; {why}")));
    }

    #[test]
    fn a_site_gets_five_lines_a_minute_and_the_rest_is_counted() {
        let mut limiter = Limiter::default();
        let at = |ms: u64| poll(ms * 1_000_000);
        let printed = (0..12).filter_map(|ms| limiter.line(&at(ms))).count();
        assert_eq!(printed, 5);
        assert_eq!(limiter.close(30_000_000_000, false), [""; 0]);
        let closed = limiter.close(61_000_000_000, false);
        assert!(closed[0].starts_with("WARN slow poll: suppressed 7 more of tasks spawned at "), "{closed:?}");
        assert!(limiter.line(&at(61_000)).is_some(), "a new minute");
        assert!(limiter.close(0, true).is_empty(), "nothing was suppressed since");
    }

    /// As handlers of one web server.
    #[test]
    fn one_function_does_not_hide_another_of_the_same_site() {
        let mut limiter = Limiter::default();
        let in_function = |function: &str, ms: u64| {
            let mut poll = poll(ms * 1_000_000);
            poll.evidence.function = Some(function.to_owned());
            poll
        };
        assert_eq!((0..7).filter_map(|ms| limiter.line(&in_function("app::often", ms))).count(), 5);
        assert_eq!((7..9).filter_map(|ms| limiter.line(&in_function("app::seldom", ms))).count(), 2);
        let [line] = &limiter.close(MINUTE_NS * 2, false)[..] else { panic!("one was suppressed") };
        assert!(line.starts_with("WARN slow poll: suppressed 2 more of tasks spawned at "), "{line}");
        assert!(line.ends_with(", in app::often, the longest 0.000 s\n"), "{line}");
    }

    /// A poll of 400 ms was in "suppressed 4 more" behind five of 25 ms.
    #[test]
    fn no_poll_hides_a_longer_one_nor_a_helper_its_callers() {
        let mut limiter = Limiter::default();
        let mut line = |ms: u64, caller: &str| {
            let mut poll = poll(0);
            poll.duration = Duration::from_millis(ms);
            let place = Place { line: Some("a.rs:1".into()), caller: Some(caller.to_owned()), ..Place::default() };
            poll.evidence.function = Some("app::query".to_owned());
            poll.evidence.places.push(place);
            limiter.line(&poll)
        };
        assert_eq!((0..9).filter_map(|_| line(25, "b.rs:2")).count(), 5);
        assert!(line(400, "b.rs:2").is_some(), "longer than any before");
        assert!(line(300, "b.rs:2").is_none());
        assert!(line(25, "c.rs:3").is_some(), "of another handler");
        let [said] = &limiter.close(MINUTE_NS * 2, false)[..] else { panic!("five were suppressed") };
        assert!(said.contains("suppressed 5 more of tasks spawned at "), "{said}");
        assert!(said.ends_with(", in app::query, the longest 0.300 s at a.rs:1, called from b.rs:2\n"), "{said}");
    }

    /// As those of generic code are.
    #[test]
    fn a_long_function_is_cut() {
        let mut limiter = Limiter::default();
        let mut long = poll(0);
        long.evidence.function = Some(format!("app::f<{}>", "T, ".repeat(20_000)));
        (0..7).for_each(|_| _ = limiter.line(&long));
        let [line] = &limiter.close(MINUTE_NS * 2, false)[..] else { panic!("two were suppressed") };
        assert!(
            line.len() < 500 && line.contains(", in app::f<T, T, ") && line.contains("…, the longest "),
            "{}",
            line.len()
        );
    }

    #[test]
    fn places_beyond_the_table_share_their_lines_and_none_is_lost() {
        let mut limiter = Limiter::default();
        let beyond = 100;
        let at = |place: usize| {
            let mut poll = poll(0);
            poll.evidence.function = Some(format!("app::f{place}"));
            poll
        };
        let printed = (0..MOST_PLACES + beyond).filter_map(|place| limiter.line(&at(place))).count();
        assert_eq!((printed, limiter.windows.len()), (MOST_PLACES + PER_MINUTE as usize, MOST_PLACES));
        assert!(limiter.line(&at(0)).is_some(), "who has a place keeps its lines");
        assert_eq!(limiter.close(MINUTE_NS - 1, false), [""; 0]);
        let suppressed = beyond - PER_MINUTE as usize;
        let said = format!(
            "WARN slow poll: suppressed {suppressed} more of tasks spawned at many other places, the longest 0.000 s\n"
        );
        assert_eq!(limiter.close(MINUTE_NS, false), [said]);
        assert!(limiter.windows.is_empty() && limiter.others.is_none());
    }

    #[test]
    fn saying_what_was_suppressed_gives_no_site_more_lines() {
        let mut limiter = Limiter::default();
        let mut printed = 0;
        for _ in 0..3 {
            printed += (0..4).filter_map(|ms| limiter.line(&poll(ms))).count();
            limiter.close(10, true);
        }
        assert_eq!(printed, 5);
        assert_eq!(limiter.close(MINUTE_NS, true), [""; 0], "all of it was said");
    }
}
