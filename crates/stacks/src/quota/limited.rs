//! A control group with a CPU quota, made for one process: for tests, and for programs that prove what they see. Nothing else of this
//! crate uses it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_base::reason;

use super::groups;

/// The period of a quota: the kernel's own choice.
pub const PERIOD: Duration = Duration::from_millis(100);
/// How long to wait until a group can be removed.
const PATIENCE: Duration = Duration::from_secs(2);

/// A control group whose processes have so much CPU time in each [`PERIOD`]; removed when dropped, which waits for the end of
/// processes that are in it, for a while.
#[derive(Debug)]
pub struct LimitedGroup(PathBuf);

impl LimitedGroup {
    /// Makes one within the group that this process is in, or within one around that: of the kernel's version 2, a group with
    /// processes can have no groups with a quota.
    ///
    /// # Errors
    /// Where none can be made: why not in the first place that was tried.
    pub fn make(allowed: Duration) -> Result<LimitedGroup, String> {
        let read = |file: &str| fs::read_to_string(file).map_err(cannot("read", Path::new(file)));
        let folders = groups::folders(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?);
        LimitedGroup::within(&folders, allowed)
    }

    fn within(folders: &[PathBuf], allowed: Duration) -> Result<LimitedGroup, String> {
        let mut first = None;
        for folder in folders {
            match LimitedGroup::below(folder, allowed) {
                Ok(group) => return Ok(group),
                Err(error) => _ = first.get_or_insert(error),
            }
        }
        match (first, folders.len().saturating_sub(1)) {
            (None, _) => Err("no control groups for CPU time are mounted where this process sees them".to_owned()),
            (Some(error), 0) => Err(error),
            (Some(error), others) => Err(format!("{error}; nor around it, where {others} more were tried")),
        }
    }

    fn below(folder: &Path, allowed: Duration) -> Result<LimitedGroup, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pollscope-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let group = folder.join(name);
        fs::create_dir(&group).map_err(cannot("make a group in", folder))?;
        let group = LimitedGroup(group);
        set(&group.0, Some(allowed)).map_err(cannot("limit the CPU time of a group in", folder))?;
        Ok(group)
    }

    /// The folder in which the kernel shows it.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Puts a process in it.
    ///
    /// # Errors
    /// When it may not be put there, or is gone.
    pub fn add(&self, pid: u32) -> Result<(), String> {
        let file = self.0.join("cgroup.procs");
        fs::write(&file, pid.to_string()).map_err(cannot("write", &file))
    }

    /// Takes the quota away.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn lift(&self) -> Result<(), String> {
        lift(&self.0)
    }
}

/// Takes away the quota of the group in a folder, such as [`LimitedGroup::folder`] of another process.
///
/// # Errors
/// When it cannot be written.
pub fn lift(folder: &Path) -> Result<(), String> {
    set(folder, None).map_err(cannot("lift the quota of", folder))
}

/// Gives the group in such a folder another quota.
///
/// # Errors
/// When it cannot be written.
pub fn limit(folder: &Path, allowed: Duration) -> Result<(), String> {
    set(folder, Some(allowed)).map_err(cannot("limit the CPU time of the group", folder))
}

/// Sets a group's quota; `None` is none. Only where the kernel has the file: elsewhere a folder is no control group.
fn set(folder: &Path, allowed: Option<Duration>) -> io::Result<()> {
    let us = allowed.map(|allowed| allowed.as_micros());
    let two = (folder.join("cpu.max"), us.map_or("max".to_owned(), |us| format!("{us} {}", PERIOD.as_micros())));
    let one = (folder.join("cpu.cfs_quota_us"), us.map_or("-1".to_owned(), |us| us.to_string()));
    let (file, text) = if two.0.exists() { two } else { one };
    fs::OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}

fn cannot(what: &str, path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("cannot {what} `{}`: {}", path.display(), reason(error))
}

impl Drop for LimitedGroup {
    fn drop(&mut self) {
        let start = Instant::now();
        while fs::remove_dir(&self.0).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy) {
            if start.elapsed() >= PATIENCE {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Folders that are no control groups: nothing may stay in them.
    #[test]
    fn a_folder_that_is_no_control_group_is_left_as_it_was() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = [one.path().to_owned(), two.path().to_owned(), one.path().join("none")];
        let error = LimitedGroup::within(&folders, Duration::from_millis(5)).unwrap_err();
        assert!(
            error.starts_with(&format!("cannot limit the CPU time of a group in `{}`: ", one.path().display())),
            "{error}"
        );
        assert!(error.ends_with("; nor around it, where 2 more were tried"), "{error}");
        let error = LimitedGroup::within(&folders[2..], Duration::ZERO).unwrap_err();
        assert!(
            error.starts_with("cannot make a group in `") && error.ends_with(": No such file or directory"),
            "{error}"
        );
        for folder in [one, two] {
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
        let none = LimitedGroup::within(&[], Duration::ZERO).unwrap_err();
        assert!(none.starts_with("no control groups "), "{none}");
    }

    #[test]
    fn a_quota_is_written_as_each_version_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, allowed, expected| {
            fs::write(folder.path().join(name), "").unwrap();
            set(folder.path(), allowed).unwrap();
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), expected);
        };
        let ms = Some(Duration::from_millis(5));
        check("cpu.cfs_quota_us", ms, "5000");
        check("cpu.cfs_quota_us", None, "-1");
        check("cpu.max", ms, "5000 100000");
        check("cpu.max", None, "max");
    }
}
