//! The clock, and the times that a file system gives to files: rounded down to the clock's tick, and without a time of creation on some.
//!
//! Tests give files times of their own.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest tick of a kernel's clock: two moments of which the times of files are further apart are certainly different ones.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// The time now, exactly. The time of a file that is changed now can be earlier by [`TICK`].
pub(super) fn now() -> SystemTime {
    #[cfg(test)]
    if let Some(now) = virtual_clock::now() {
        return now;
    }
    SystemTime::now()
}

/// The same of the clock that nobody sets.
pub(super) fn instant() -> Instant {
    #[cfg(test)]
    if let Some(now) = virtual_clock::instant() {
        return now;
    }
    Instant::now()
}

/// How long ago that was.
pub(super) fn since(moment: Instant) -> Duration {
    instant().saturating_duration_since(moment)
}

/// When it was created, if the file system knows.
pub(super) fn born(metadata: &Metadata) -> Option<SystemTime> {
    #[cfg(test)]
    if let Some(times) = virtual_clock::times(metadata) {
        return times.born;
    }
    metadata.created().ok()
}

/// When its content last changed.
pub(super) fn modified(metadata: &Metadata) -> SystemTime {
    #[cfg(test)]
    if let Some(times) = virtual_clock::times(metadata) {
        return times.modified;
    }
    time(metadata.mtime(), metadata.mtime_nsec())
}

/// When it last changed in any way: its content, its names, its rights.
pub(super) fn changed(metadata: &Metadata) -> SystemTime {
    #[cfg(test)]
    if let Some(times) = virtual_clock::times(metadata) {
        return times.changed;
    }
    time(metadata.ctime(), metadata.ctime_nsec())
}

/// The magic numbers of file systems of which a folder's time of modification moves with each name that comes or goes: ext4, XFS, Btrfs,
/// tmpfs, ramfs, overlayfs, F2FS, ZFS and bcachefs. With others it may stand still (FUSE), or be an old one that is remembered (NFS).
const DATING: [u32; 9] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x8584_58f6, 0x794c_7630, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e];

/// Whether a folder's time of modification certainly tells that no name in it came or went.
pub(super) fn is_dated(folder: &Path) -> bool {
    #[cfg(test)]
    if let Some(is_dated) = virtual_clock::are_folders_dated() {
        return is_dated;
    }
    rustix::fs::statfs(folder).is_ok_and(|system| DATING.contains(&(system.f_type as u32)))
}

fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    second.and_then(|second| second.checked_add(Duration::from_nanos(nanoseconds as u64))).unwrap_or(UNIX_EPOCH)
}

/// Whether two times of files may be the same moment.
pub(super) fn is_together(one: SystemTime, other: SystemTime) -> bool {
    one <= other + TICK && other <= one + TICK
}

#[cfg(test)]
pub(super) mod virtual_clock {
    //! A clock that ticks when a test says so, for the test's thread.

    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::fs::Metadata;
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use crate::pipeline::file::{Identity, identity};

    #[derive(Debug, Clone, Copy)]
    pub(in crate::pipeline) struct FileTimes {
        pub(in crate::pipeline) born: Option<SystemTime>,
        pub(in crate::pipeline) modified: SystemTime,
        pub(in crate::pipeline) changed: SystemTime,
    }

    #[derive(Debug)]
    struct Clock {
        begun: Instant,
        now: Duration,
        tick: Duration,
        has_births: bool,
        are_folders_dated: bool,
        files: HashMap<Identity, FileTimes>,
    }

    /// Its first time.
    const BEGINNING: Duration = Duration::from_secs(1_000_000_000);

    thread_local! {
        static CLOCK: RefCell<Option<Clock>> = const { RefCell::new(None) };
    }

    fn with<T>(of: impl FnOnce(&mut Clock) -> T) -> Option<T> {
        CLOCK.with_borrow_mut(|clock| clock.as_mut().map(of))
    }

    /// Begins, for file systems that round down to a tick, with or without times of creation and times of folders.
    pub(in crate::pipeline) fn begin(tick: Duration, has_births: bool, are_folders_dated: bool) {
        let (begun, now) = (Instant::now(), BEGINNING);
        CLOCK.set(Some(Clock { begun, now, tick, has_births, are_folders_dated, files: HashMap::new() }));
    }

    pub(in crate::pipeline) fn are_folders_dated() -> Option<bool> {
        with(|clock| clock.are_folders_dated)
    }

    pub(in crate::pipeline) fn end() {
        CLOCK.set(None);
    }

    pub(in crate::pipeline) fn now() -> Option<SystemTime> {
        with(|clock| UNIX_EPOCH + clock.now)
    }

    /// As long after the beginning as it is now: a machine that is busy makes no difference.
    pub(in crate::pipeline) fn instant() -> Option<Instant> {
        with(|clock| clock.begun + (clock.now - BEGINNING))
    }

    pub(in crate::pipeline) fn times(metadata: &Metadata) -> Option<FileTimes> {
        with(|clock| clock.files.get(&identity(metadata)).copied()).flatten()
    }

    pub(in crate::pipeline) fn passes(time: Duration) {
        with(|clock| clock.now += time);
    }

    impl Clock {
        fn of_files(&self) -> SystemTime {
            let tick = self.tick.as_nanos();
            UNIX_EPOCH + self.now - Duration::from_nanos((self.now.as_nanos() % tick) as u64)
        }
    }

    pub(in crate::pipeline) fn is_made(file: &Metadata) {
        with(|clock| {
            let now = clock.of_files();
            let born = clock.has_births.then_some(now);
            clock.files.insert(identity(file), FileTimes { born, modified: now, changed: now });
        });
    }

    /// Its content changed; of a folder, its names.
    pub(in crate::pipeline) fn is_modified(file: &Metadata) {
        with(|clock| {
            let now = clock.of_files();
            if let Some(times) = clock.files.get_mut(&identity(file)) {
                (times.modified, times.changed) = (now, now);
            }
        });
    }

    /// It got another name, or lost one.
    pub(in crate::pipeline) fn is_renamed(file: &Metadata) {
        with(|clock| {
            let now = clock.of_files();
            if let Some(times) = clock.files.get_mut(&identity(file)) {
                times.changed = now;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_takes_the_time_that_passes_in_it() {
        virtual_clock::begin(TICK, true, true);
        let begun = instant();
        assert_eq!(since(begun), Duration::ZERO);
        virtual_clock::passes(Duration::from_secs(9));
        assert_eq!(since(begun), Duration::from_secs(9));
        virtual_clock::end();
    }

    #[test]
    fn a_folder_of_a_file_system_that_nothing_is_known_of_is_not_dated() {
        assert!(!is_dated(Path::new("/proc")));
        assert!(!is_dated(Path::new("/there/is/no/such/folder")));
        let in_memory = Path::new("/dev/shm");
        assert!(!in_memory.exists() || is_dated(in_memory));
    }
}
