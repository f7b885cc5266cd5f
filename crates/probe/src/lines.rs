//! Which slow polls get a line of their own: at most five a minute, spawn site and function, the others counted in one line.
//!
//! The function is the one that blocked, where it is known: a web server spawns all its connections at one place, and the lines of one
//! handler must not hide another.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use pollscope_base::duration::to_ns;
use pollscope_base::escape::{Escaped, cut_name};
use pollscope_base::redact::redacted_source;

use crate::snapshot::SlowPoll;

/// Lines a minute, spawn site and function.
const PER_MINUTE: u32 = 5;
/// Places that are told apart within a minute; those beyond share one.
const MOST_PLACES: usize = 1_024;
const MINUTE_NS: u64 = 60_000_000_000;

/// A place in the source, as sites are told apart, equal content counting as equal; and the function that blocked.
type Place = (&'static str, u32, Option<String>);

#[derive(Debug, Default)]
pub(crate) struct Limiter {
    windows: BTreeMap<Place, Window>,
    /// That of the places beyond.
    others: Option<Window>,
    /// Whether the folders of spawn sites are hidden.
    redacted: bool,
}

#[derive(Debug)]
struct Window {
    since_ns: u64,
    printed: u32,
    suppressed: u64,
}

impl Limiter {
    pub(crate) fn new(redacted: bool) -> Limiter {
        Limiter { redacted, ..Limiter::default() }
    }

    /// The line for a slow poll; `None` when its site had its share of this minute.
    pub(crate) fn line(&mut self, poll: &SlowPoll) -> Option<String> {
        let at = poll.spawned_at;
        let now_ns = to_ns(poll.start.saturating_add(poll.duration));
        let window = self.window((at.file(), at.line(), poll.evidence.function.clone()), now_ns);
        if window.printed == PER_MINUTE {
            window.suppressed += 1;
            return None;
        }
        window.printed += 1;
        Some(format!("WARN slow poll: {}\n{}", poll.executing(self.redacted), details(poll)))
    }

    /// The window of a place, opened if it has none.
    fn window(&mut self, place: Place, now_ns: u64) -> &mut Window {
        let new = Window { since_ns: now_ns, printed: 0, suppressed: 0 };
        let is_full = self.windows.len() >= MOST_PLACES;
        match self.windows.entry(place) {
            Entry::Vacant(_) if is_full => self.others.get_or_insert(new),
            entry => entry.or_insert(new),
        }
    }

    /// Closes the windows that are a minute old; one line for each of them that suppressed something, or for each of all.
    /// Saying it early gives no site a new share of lines.
    pub(crate) fn close(&mut self, now_ns: u64, say_all: bool) -> Vec<String> {
        let mut lines = Vec::new();
        self.windows.retain(|(file, line, function), window| {
            let open = window.is_open(now_ns);
            if (say_all || !open) && window.suppressed > 0 {
                let file = if self.redacted { redacted_source(file) } else { (*file).into() };
                let (file, more) = (Escaped(&file), std::mem::take(&mut window.suppressed));
                let function =
                    function.as_ref().map_or(String::new(), |name| format!(", in {}", Escaped(&cut_name(name))));
                lines.push(format!(
                    "WARN slow poll: suppressed {more} more of tasks spawned at {file}:{line}{function}\n"
                ));
            }
            open
        });
        if let Some(others) = &mut self.others {
            let open = others.is_open(now_ns);
            if (say_all || !open) && others.suppressed > 0 {
                let more = std::mem::take(&mut others.suppressed);
                lines.push(format!("WARN slow poll: suppressed {more} more of tasks spawned at many other places\n"));
            }
            if !open {
                self.others = None;
            }
        }
        lines
    }
}

impl Window {
    fn is_open(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.since_ns) < MINUTE_NS
    }
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
    use std::time::Duration;

    use super::*;
    use pollscope_base::{Blame, Cause, Evidence, Missing};

    fn poll(at_ns: u64) -> SlowPoll {
        SlowPoll {
            id: 1,
            task_id: Some(7),
            task_name: Some("writer".into()),
            spawned_at: std::panic::Location::caller(),
            worker: Some(0),
            start: Duration::from_nanos(at_ns),
            duration: Duration::ZERO,
            evidence: Evidence::default(),
            blame: None,
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
        assert!(line.ends_with(", in app::often\n"), "{line}");
    }

    /// As those of generic code are.
    #[test]
    fn a_long_function_is_cut() {
        let mut limiter = Limiter::default();
        let mut long = poll(0);
        long.evidence.function = Some(format!("app::f<{}>", "T, ".repeat(20_000)));
        (0..7).for_each(|_| _ = limiter.line(&long));
        let [line] = &limiter.close(MINUTE_NS * 2, false)[..] else { panic!("two were suppressed") };
        assert!(line.len() < 500 && line.contains(", in app::f<T, T, ") && line.ends_with("…\n"), "{}", line.len());
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
        let said = format!("WARN slow poll: suppressed {suppressed} more of tasks spawned at many other places\n");
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
