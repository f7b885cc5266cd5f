//! How far a run is, and how long all that were asked for still take. Pure.

use std::time::Duration;

use crate::scenario::Settings;

/// Follows runs by the time since the start of each.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How long one lasts at least, where its settings say.
    least: Option<Duration>,
    /// Those that are still to begin.
    left: u32,
    /// How long the last one that ended took.
    last: Option<Duration>,
    /// How far the one is that goes on.
    elapsed: Duration,
}

impl Pace {
    pub(super) fn of(settings: &Settings) -> Pace {
        let rounds = settings.rounds.saturating_add(settings.warmup);
        let modes = u32::try_from(settings.modes.len()).unwrap_or(u32::MAX);
        Pace { least: settings.least_duration(), left: rounds.saturating_mul(modes), ..Pace::default() }
    }

    /// A run begins, so the one before it is over.
    pub(super) fn begin(&mut self) {
        self.left = self.left.saturating_sub(1);
        self.last = Some(self.elapsed).filter(|elapsed| !elapsed.is_zero()).or(self.last);
        self.elapsed = Duration::ZERO;
    }

    /// How far it is, of how much, and when all are done: as far as any of that is known.
    pub(super) fn words(&mut self, elapsed: Duration) -> (String, Option<String>) {
        self.elapsed = elapsed;
        let whole = self.last.or(self.least);
        // One that takes longer than it was thought to is not "4 s of 3 s".
        let of =
            whole.filter(|whole| *whole >= elapsed).map_or_else(String::new, |whole| format!(" of {}", seconds(whole)));
        let to_come = whole.filter(|_| self.left > 0).map(|whole| {
            let left = whole.saturating_sub(elapsed) + whole * self.left;
            format!("all done in about {:.0} s", left.as_secs_f64())
        });
        (format!("{}{of}", seconds(elapsed)), to_come)
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pace: &mut Pace, seconds: f64) -> String {
        let (far, left) = pace.words(Duration::from_secs_f64(seconds));
        far + &left.map_or_else(String::new, |left| format!(", {left}"))
    }

    #[test]
    fn what_is_left_follows_from_what_the_last_one_took() {
        let mut pace = Pace { least: Some(Duration::from_secs(3)), left: 4, ..Pace::default() };
        pace.begin();
        assert_eq!(words(&mut pace, 1.0), "1.0 s of 3.0 s, all done in about 11 s");
        assert_eq!(words(&mut pace, 3.2), "3.2 s, all done in about 9 s", "it takes longer than it must");
        pace.begin();
        assert_eq!(words(&mut pace, 1.0), "1.0 s of 3.2 s, all done in about 9 s");
        pace.begin();
        pace.begin();
        assert_eq!(words(&mut pace, 1.0), "1.0 s of 1.0 s", "of the last one nothing is to come");
    }

    #[test]
    fn what_nobody_knows_is_not_said() {
        let mut pace = Pace { left: 1, ..Pace::default() };
        pace.begin();
        assert_eq!(words(&mut pace, 61.0), "61.0 s");
    }
}
