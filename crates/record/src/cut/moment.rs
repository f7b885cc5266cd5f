//! A moment as people type it: a time of day, a date and a time, or so long before the end.

use std::time::{Duration, UNIX_EPOCH};

use super::Span;
use crate::units::parse_duration;

/// A day, in seconds. Wall clocks know no leap seconds.
const DAY: u64 = 86_400;

/// A moment, in UTC unless it says another zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A time of day; of which day, the recording says.
    OfDay(Duration),
    /// A date and a time, from 1970 on.
    At(Duration),
    /// So long before the recording's end.
    BeforeEnd(Duration),
}

impl Moment {
    /// Reads `03:12`, `03:12:30`, `2026-03-01T03:12`, `2026-03-01T03:12:30.5Z`, `2026-03-01T04:12:30+01:00`, or `-10m`.
    ///
    /// # Errors
    /// What to write instead, in words.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pollscope_record::cut::Moment;
    /// assert_eq!(Moment::parse("00:01:30"), Ok(Moment::OfDay(Duration::from_secs(90))));
    /// assert_eq!(Moment::parse("1970-01-02T01:00+01:00"), Ok(Moment::At(Duration::from_secs(86_400))));
    /// assert_eq!(Moment::parse("-10m"), Ok(Moment::BeforeEnd(Duration::from_secs(600))));
    /// assert!(Moment::parse("25:00").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Moment, String> {
        let wrong = || {
            "write a time such as `03:12` or `03:12:30`, a date and a time such as `2026-03-01T03:12`, or a time before the end such \
             as `-10m`; they are UTC unless one ends in an offset such as `+01:00`"
                .to_owned()
        };
        let text = text.trim();
        if let Some(before) = text.strip_prefix('-') {
            return parse_duration(before).map(Moment::BeforeEnd).map_err(|_| wrong());
        }
        match text.split_once(['T', 't', ' ']) {
            Some((date, time)) => date_and_time(date, time).map(Moment::At),
            None => time_of_day(text).map(Moment::OfDay),
        }
        .ok_or_else(wrong)
    }

    /// When it was; a time of day is that of the last day on which the recording has it, or goes on to within `beyond` of it. If it has
    /// it on no day, it is the nearest one.
    pub(super) fn latest(self, recorded: Span, beyond: Duration) -> Duration {
        let time = match self {
            Moment::At(at) => return at,
            Moment::BeforeEnd(before) => return recorded.to.saturating_sub(before),
            Moment::OfDay(time) => time,
        };
        let last = recorded.to.saturating_add(beyond);
        let today = midnight(last) + time;
        match today.checked_sub(Duration::from_secs(DAY)) {
            Some(yesterday) if today > last => {
                let is_nearer = recorded.from.saturating_sub(yesterday) <= today - recorded.to;
                if is_nearer { yesterday } else { today }
            }
            _ => today,
        }
    }

    /// The first one from `from` on.
    pub(super) fn first_from(self, from: Duration, recorded: Span) -> Duration {
        match self {
            Moment::OfDay(time) => {
                let today = midnight(from) + time;
                if today >= from { today } else { today + Duration::from_secs(DAY) }
            }
            other => other.latest(recorded, Duration::ZERO),
        }
    }
}

fn midnight(at: Duration) -> Duration {
    Duration::from_secs(at.as_secs() / DAY * DAY)
}

/// `03:12`, `03:12:30` or `03:12:30.5`.
fn time_of_day(text: &str) -> Option<Duration> {
    let two = |text: &str, most: u64| {
        let is_two = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| is_two && *number <= most)
    };
    let mut parts = text.split(':');
    let (hours, minutes) = (two(parts.next()?, 23)?, two(parts.next()?, 59)?);
    let (seconds, nanos) = match parts.next() {
        None => (0, 0),
        Some(text) => {
            let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
            let is_fraction = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
            let nanos = format!("{fraction:0<9}").parse().ok().filter(|_| is_fraction)?;
            (two(seconds, 59)?, nanos)
        }
    };
    let whole = Duration::from_secs(hours * 3_600 + minutes * 60 + seconds);
    parts.next().is_none().then_some(whole + Duration::from_nanos(nanos))
}

/// The time may end in `Z` or an offset from UTC.
fn date_and_time(date: &str, time: &str) -> Option<Duration> {
    let midnight = humantime::parse_rfc3339_weak(&format!("{date} 00:00:00")).ok()?;
    let midnight = midnight.duration_since(UNIX_EPOCH).ok()?;
    let (time, zone) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, "Z"),
    };
    let local = midnight + time_of_day(time)?;
    match zone.split_at(1) {
        ("Z" | "z", "") => Some(local),
        ("+", offset) => local.checked_sub(time_of_day(offset)?),
        ("-", offset) => Some(local + time_of_day(offset)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Duration {
        match Moment::parse(text) {
            Ok(Moment::At(at)) => at,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_form_is_read() {
        let noon = at("2026-03-01T12:00");
        for text in
            ["2026-03-01T12:00:00Z", "2026-03-01 12:00:00.000", "2026-03-01T13:30+01:30", "2026-03-01t07:00-05:00"]
        {
            assert_eq!(at(text), noon, "{text}");
        }
        assert_eq!(at("2026-03-01T12:00:00.25Z") - noon, Duration::from_millis(250));
        assert_eq!(Moment::parse("23:59:59.5"), Ok(Moment::OfDay(Duration::from_millis(86_399_500))));
        assert_eq!(Moment::parse("-1.5h"), Ok(Moment::BeforeEnd(Duration::from_secs(5_400))));
    }

    #[test]
    fn what_is_no_moment_is_told_what_to_write() {
        for text in [
            "",
            "3:12",
            "03",
            "03:60",
            "24:00",
            "03:12:60",
            "03:12:00:00",
            "03:12.5",
            "+03:12",
            "-",
            "-10",
            "-x",
            "2026-03-01",
            "2026-02-30T00:00",
            "2026-03-01T",
            "2026-03-01T3:00",
            "2026-03-01T03:00+1",
            "2026-03-01T03:00ZZ",
            "1969-01-01T00:00",
            "1970-01-01T00:00+01:00",
            "03:12:00.",
            "03:12:00.1234567890",
            "٠٣:١٢",
            "2026-03-01T03:00é",
            "yesterday",
        ] {
            let why = Moment::parse(text).expect_err(text);
            assert!(why.starts_with("write a time such as `03:12`"), "{text}: {why}");
        }
    }

    #[test]
    fn a_time_of_day_is_of_the_last_day_that_the_recording_has_it() {
        let recorded = Span { from: at("2026-03-01T22:00"), to: at("2026-03-03T03:05") };
        let of =
            |text: &str, beyond| Moment::parse(text).expect("a moment").latest(recorded, Duration::from_secs(beyond));
        assert_eq!(of("03:00", 0), at("2026-03-03T03:00"));
        assert_eq!(of("03:10", 0), at("2026-03-02T03:10"));
        assert_eq!(of("03:10", 600), at("2026-03-03T03:10"), "the part around it has something");
        assert_eq!(of("-5m", 0), at("2026-03-03T03:00"));
        let night = Span { from: at("2026-03-01T23:00"), to: at("2026-03-02T01:00") };
        let of = |text: &str| Moment::parse(text).expect("a moment").latest(night, Duration::ZERO);
        assert_eq!((of("22:50"), of("01:10")), (at("2026-03-01T22:50"), at("2026-03-02T01:10")), "the nearest");
        let to = |text: &str| Moment::parse(text).expect("a moment").first_from(at("2026-03-02T23:50"), recorded);
        assert_eq!((to("00:10"), to("23:50")), (at("2026-03-03T00:10"), at("2026-03-02T23:50")));
    }
}
