//! The CPU quota of the control group that this process is in: how much it is, and how often and for how long it was used up.
//!
//! A quota on any group above counts as well, as far as this process can see them. Quotas come, go and change while a process runs:
//! whether there is one is found out anew when it matters.

mod counts;
mod groups;
pub mod limited;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pollscope_base::Quota;

pub use counts::{Count, Counts};

use crate::process::Process;

/// No more groups are followed, the innermost first.
const MOST: usize = 8;
/// `cpu.stat` is shorter.
const LONGEST: usize = 4096;

/// What a group's scheduler counted since the group was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Periods that ended while it had something to run.
    pub nr_periods: u64,
    /// Those in which it was throttled.
    pub nr_throttled: u64,
    /// For how long, in nanoseconds, added up over CPUs. It is counted when the group goes on.
    pub throttled_ns: u64,
}

impl Reading {
    /// Reads `cpu.stat`: `throttled_usec` of version 2, `throttled_time` of version 1.
    fn parse(stat: &str) -> Option<Reading> {
        let value =
            |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
        let throttled_ns = match value("throttled_usec") {
            Some(us) => u64::checked_mul(us, 1_000)?,
            None => value("throttled_time")?,
        };
        Some(Reading { nr_periods: value("nr_periods")?, nr_throttled: value("nr_throttled")?, throttled_ns })
    }

    /// What was counted since an earlier reading; `None` if that is not earlier.
    fn since(self, earlier: Reading) -> Option<Reading> {
        Some(Reading {
            nr_periods: self.nr_periods.checked_sub(earlier.nr_periods)?,
            nr_throttled: self.nr_throttled.checked_sub(earlier.nr_throttled)?,
            throttled_ns: self.throttled_ns.checked_sub(earlier.throttled_ns)?,
        })
    }
}

/// How much CPU time a group may use in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    allowed: Duration,
    period: Duration,
}

impl Limit {
    /// By microseconds as text; `None` where there is no quota: `max`, or -1.
    fn parse(allowed: &str, period: &str) -> Option<Limit> {
        let us = |text: &str| text.trim().parse().ok().filter(|us| *us > 0).map(Duration::from_micros);
        Some(Limit { allowed: us(allowed)?, period: us(period)? })
    }

    /// Of the group in this folder, of version 2 or 1.
    fn read(folder: &Path) -> Option<Limit> {
        let file = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        match file("cpu.max") {
            Some(both) => both.split_once(' ').and_then(|(allowed, period)| Limit::parse(allowed, period)),
            None => Limit::parse(&file("cpu.cfs_quota_us")?, &file("cpu.cfs_period_us")?),
        }
    }
}

/// A group, with its quota if it has one.
#[derive(Debug)]
struct Group {
    folder: PathBuf,
    limit: Option<Limit>,
    stat: File,
}

/// What all groups with a quota had counted at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Readings {
    /// The moment, by the clock of the one who asked.
    pub at_ns: u64,
    groups: [Option<Reading>; MOST],
}

/// The groups that this process is in. Their files stay open: reading those that have a quota takes microseconds.
#[derive(Debug)]
pub struct Quotas(Vec<Group>);

impl Quotas {
    /// Finds this process's; `None` where there are none, or none can be seen.
    pub fn open() -> Option<Quotas> {
        Quotas::of_file(Path::new("/proc/self/cgroup"))
    }

    /// Finds those of another process, as they are seen from here; `None` where there are none, or none can be seen.
    ///
    /// ```
    /// use pollscope_stacks::{process::Process, quota::Quotas};
    /// assert_eq!(Quotas::of(&Process::current()).is_some(), Quotas::open().is_some());
    /// ```
    pub fn of(process: &Process) -> Option<Quotas> {
        Quotas::of_file(Path::new(&process.file("cgroup").to_string()))
    }

    fn of_file(cgroup: &Path) -> Option<Quotas> {
        let read = |file: &Path| std::fs::read_to_string(file).ok();
        Quotas::among(&groups::folders(&read(cgroup)?, &read(Path::new("/proc/self/mountinfo"))?))
    }

    /// Whether one of them had a quota when that was last [found out](Quotas::refresh).
    pub fn is_limited(&self) -> bool {
        self.0.iter().any(|group| group.limit.is_some())
    }

    fn among(folders: &[PathBuf]) -> Option<Quotas> {
        let open = |folder: &PathBuf| {
            let stat = File::open(folder.join("cpu.stat")).ok()?;
            Some(Group { folder: folder.clone(), limit: Limit::read(folder), stat })
        };
        let groups: Vec<Group> = folders.iter().filter_map(open).take(MOST).collect();
        (!groups.is_empty()).then_some(Quotas(groups))
    }

    /// Finds out anew which of them have a quota; whether that changed.
    pub fn refresh(&mut self) -> bool {
        let mut has_changed = false;
        for group in &mut self.0 {
            let limit = Limit::read(&group.folder);
            has_changed |= std::mem::replace(&mut group.limit, limit) != limit;
        }
        has_changed
    }

    /// What they counted up to now, which is `at_ns` by the clock of the one who asks.
    pub fn read(&self, at_ns: u64) -> Readings {
        let mut groups = [None; MOST];
        for (reading, group) in groups.iter_mut().zip(&self.0) {
            *reading = group.read();
        }
        Readings { at_ns, groups }
    }

    /// For how long they were throttled by now, also by a quota that is gone, added up over groups and CPUs, in nanoseconds. It takes a
    /// read for each.
    pub fn throttled_ns(&self) -> u64 {
        self.0.iter().filter_map(Group::count).map(|counted| counted.throttled_ns).fold(0, u64::saturating_add)
    }

    /// What the quota did to a poll, of which so much was between the two readings and so much of the time between them was not:
    /// `outside_ns`. Of several quotas the one that held it up most; `None` where no reading is known.
    pub fn between(&self, from: &Readings, to: &Readings, outside_ns: u64) -> Option<Quota> {
        let each = self.0.iter().zip(from.groups.iter().zip(&to.groups));
        let all = each.filter_map(|(group, (from, to))| Some(quota(group.limit?, (*to)?.since((*from)?)?, outside_ns)));
        // The innermost of several that are alike.
        all.rev().max_by_key(|quota| quota.throttled)
    }
}

impl Group {
    fn read(&self) -> Option<Reading> {
        self.limit?;
        self.count()
    }

    fn count(&self) -> Option<Reading> {
        let (mut copy, mut stat) = ([0; LONGEST], &self.stat);
        // Not by `pread`, which some sandboxes forbid.
        stat.seek(SeekFrom::Start(0)).ok()?;
        let length = stat.read(&mut copy).ok()?;
        Reading::parse(std::str::from_utf8(&copy[..length]).ok()?)
    }
}

/// What was counted, as something about the poll: as much of the time as cannot have been outside of it.
fn quota(limit: Limit, counted: Reading, outside_ns: u64) -> Quota {
    let Limit { allowed, period } = limit;
    // Added up over CPUs it can be more than the time that went by; a throttled period lasts one period.
    let most = period.saturating_mul(u32::try_from(counted.nr_throttled).unwrap_or(u32::MAX));
    let inside = Duration::from_nanos(counted.throttled_ns.saturating_sub(outside_ns));
    Quota {
        allowed,
        period,
        periods: counted.nr_periods,
        throttled_periods: counted.nr_throttled,
        throttled: inside.min(most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str =
        "usage_usec 9\nuser_usec 8\nsystem_usec 1\nnr_periods 12\nnr_throttled 7\nthrottled_usec 410\nnr_bursts 0\n";
    const V1: &str = "nr_periods 12\nnr_throttled 7\nthrottled_time 410000\nnr_bursts 0\nburst_time 0\n";
    const READ: Reading = Reading { nr_periods: 12, nr_throttled: 7, throttled_ns: 410_000 };

    fn limit(allowed_ms: u64) -> Limit {
        Limit { allowed: Duration::from_millis(allowed_ms), period: Duration::from_millis(100) }
    }

    #[test]
    fn both_versions_of_the_counters_are_read() {
        for text in [V2, V1] {
            assert_eq!(Reading::parse(text), Some(READ), "{text}");
        }
        for torn in
            ["", "usage_usec 9\nuser_usec 8\n", "nr_periods 12\nnr_throttled 7\n", "nr_periods 1\nthrottled_usec 3\n"]
        {
            assert_eq!(Reading::parse(torn), None, "{torn}");
        }
        assert_eq!(Reading::parse(&format!("throttled_usec {}\nnr_periods 1\nnr_throttled 1", u64::MAX)), None);
    }

    #[test]
    fn without_a_limit_there_is_no_quota() {
        assert_eq!(Limit::parse("20000", "100000\n"), Some(limit(20)));
        for (allowed, period) in [("max", "100000"), ("-1\n", "100000\n"), ("0", "100000"), ("20000", "0"), ("", "")] {
            assert_eq!(Limit::parse(allowed, period), None, "{allowed} {period}");
        }
    }

    #[test]
    fn what_a_quota_did_is_what_cannot_have_been_outside_of_the_poll() {
        const MS: u64 = 1_000_000;
        let counted = Reading { nr_periods: 5, nr_throttled: 2, throttled_ns: 150 * MS };
        let throttled = |counted, outside_ns| quota(limit(20), counted, outside_ns).throttled;
        assert_eq!(throttled(counted, 0), Duration::from_millis(150));
        assert_eq!(throttled(counted, 30 * MS), Duration::from_millis(120));
        assert_eq!(throttled(counted, 200 * MS), Duration::ZERO);
        let on_many_cpus = Reading { throttled_ns: 900 * MS, ..counted };
        assert_eq!(throttled(on_many_cpus, 0), Duration::from_millis(200), "two periods");
        assert_eq!(READ.since(Reading { nr_periods: 13, ..READ }), None);
    }

    /// Folders as the kernel's, with one group in the other.
    #[test]
    fn the_quota_that_held_up_most_is_told_and_groups_without_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        let (outer, inner) = (root.path().join("a"), root.path().join("a/b"));
        std::fs::create_dir_all(&inner).unwrap();
        let stat = |folder: &Path, throttled_us: u64| {
            let text =
                format!("nr_periods {throttled_us}\nnr_throttled {throttled_us}\nthrottled_usec {throttled_us}\n");
            std::fs::write(folder.join("cpu.stat"), text).unwrap();
        };
        for folder in [root.path(), &outer, &inner] {
            stat(folder, 0);
        }
        let all = [inner.clone(), outer.clone(), root.path().to_owned()];
        assert!(Quotas::among(&[root.path().join("c")]).is_none());
        let mut quotas = Quotas::among(&all).unwrap();
        let without = quotas.read(0);
        assert_eq!((without.groups, quotas.throttled_ns()), ([None; MOST], 0));
        stat(&outer, 3);
        assert_eq!(quotas.throttled_ns(), 3_000, "by a quota that is gone");
        stat(&outer, 0);
        std::fs::write(inner.join("cpu.max"), "max 100000\n").unwrap();
        assert!(!quotas.refresh());
        std::fs::write(inner.join("cpu.max"), "50000 100000\n").unwrap();
        std::fs::write(outer.join("cpu.cfs_quota_us"), "20000\n").unwrap();
        std::fs::write(outer.join("cpu.cfs_period_us"), "100000\n").unwrap();
        assert!(quotas.refresh() && !quotas.refresh());
        let before = quotas.read(1);
        assert_eq!(quotas.between(&without, &before, 0), None, "there was none then");
        let same = quotas.between(&before, &quotas.read(2), 0).unwrap();
        assert_eq!((same.cpus(), same.throttled), (0.5, Duration::ZERO), "the innermost");
        stat(&outer, 90);
        stat(&inner, 80);
        let told = quotas.between(&before, &quotas.read(3), 0).unwrap();
        assert_eq!((told.cpus(), told.throttled, told.periods), (0.2, Duration::from_micros(90), 90));
        std::fs::write(inner.join("cpu.stat"), "").unwrap();
        std::fs::write(outer.join("cpu.stat"), "").unwrap();
        assert_eq!(quotas.between(&before, &quotas.read(4), 0), None, "nothing is known");
    }
}
