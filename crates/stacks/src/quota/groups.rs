//! In which folders the kernel tells of the control groups that this process is in. Pure.

use std::path::{Component, Path, PathBuf};

/// Those that may have a CPU quota, the innermost first, up to what is mounted: of version 1 and of version 2, of which either can
/// be the one that has it. By the text of `/proc/self/cgroup` and `/proc/self/mountinfo`.
pub(super) fn folders(cgroup: &str, mountinfo: &str) -> Vec<PathBuf> {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
    let mut all = Vec::new();
    for (version, path) in cgroup.lines().filter_map(membership) {
        let found = mounts.iter().filter(|mount| mount.version == version);
        if let Some((mount, below)) = found.filter_map(|mount| Some((mount, mount.below(&path)?))).next() {
            all.extend(below.ancestors().map(|below| mount.point.join(below)).map(without_end));
        }
    }
    all
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// The hierarchy of version 1 with the controller `cpu`.
    One,
    Two,
}

/// A line `ID:CONTROLLERS:PATH`: the group in one hierarchy. Without controllers it is version 2's.
fn membership(line: &str) -> Option<(Version, PathBuf)> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let version = match controllers {
        "" => Version::Two,
        _ => controllers.split(',').any(|name| name == "cpu").then_some(Version::One)?,
    };
    Some((version, path.into()))
}

/// Where a hierarchy is mounted.
#[derive(Debug)]
struct Mount {
    version: Version,
    /// The group that is mounted, by its path in the hierarchy.
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// A line `36 35 0:30 ROOT POINT rw,… shared:1 … - TYPE SOURCE rw,cpu`.
    fn parse(line: &str) -> Option<Mount> {
        let (mount, of) = line.split_once(" - ")?;
        let mut of = of.split(' ');
        let version = match of.next()? {
            "cgroup2" => Version::Two,
            "cgroup" => of.nth(1)?.split(',').any(|name| name == "cpu").then_some(Version::One)?,
            _ => return None,
        };
        let mut fields = mount.split(' ').skip(3);
        Some(Mount { version, root: unescaped(fields.next()?), point: unescaped(fields.next()?) })
    }

    /// A group's path from the mounted one on; `None` if it is not below that, so that no folder here is its own. Both are seen from
    /// the same place, a namespace: what is outside of that begins with `/..`.
    fn below(&self, group: &Path) -> Option<PathBuf> {
        let below = group.strip_prefix(&self.root).ok()?;
        below.components().all(|part| matches!(part, Component::Normal(_))).then(|| below.to_owned())
    }
}

/// The kernel writes a space, a tab, a newline and a backslash as `\040` and its like.
fn unescaped(field: &str) -> PathBuf {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => text.extend([char::from(byte).to_string().as_str(), &part[3..]]),
            None => text.extend(["\\", part]),
        }
    }
    text.into()
}

/// Without the slash that joining nothing leaves.
fn without_end(path: PathBuf) -> PathBuf {
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cgroup: &str, mountinfo: &str, expected: &[&str]) {
        let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(folders(cgroup, mountinfo), expected);
    }

    const V1: &str = "30 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      32 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                      34 30 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n";
    const V2: &str = "25 30 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn every_group_up_to_the_mount_is_found() {
        check("0::/a/b", V2, &["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"]);
        let v1 = "5:cpuset:/x\n4:cpu,cpuacct:/docker/4f\n1:name=systemd:/y\n";
        let at = "/sys/fs/cgroup/cpu,cpuacct";
        check(v1, V1, &[&format!("{at}/docker/4f"), &format!("{at}/docker"), at]);
        // systemd's hybrid: version 2 is there, and has no controllers.
        let hybrid = format!("{V1}41 30 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        check(
            "4:cpu:/a\n0::/b\n",
            &hybrid,
            &[&format!("{at}/a"), at, "/sys/fs/cgroup/unified/b", "/sys/fs/cgroup/unified"],
        );
    }

    #[test]
    fn only_what_is_mounted_is_looked_at() {
        // A container of Docker's without a namespace of its own: its group is what is mounted.
        let docker = "32 30 0:29 /docker/4f /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
        check("4:cpu:/docker/4f\n", docker, &["/sys/fs/cgroup/cpu"]);
        check("4:cpu:/docker/4f/app\n", docker, &["/sys/fs/cgroup/cpu/app", "/sys/fs/cgroup/cpu"]);
        check("4:cpu:/docker/4f0\n", docker, &[]);
        // A namespace: its root is `/`, and what is outside of it begins with `/..`.
        check("0::/\n", V2, &["/sys/fs/cgroup"]);
        check("0::/../other\n", V2, &[]);
        let outside = "25 30 0:26 /.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        check("0::/../other\n", outside, &["/sys/fs/cgroup/other", "/sys/fs/cgroup"]);
        check("0::/\n", outside, &[]);
    }

    #[test]
    fn what_is_no_group_is_none() {
        check("", "", &[]);
        check("0::/a\n", V1, &[]);
        check("4:cpu:/a\n", V2, &[]);
        check("4:cpuset:/a\ntorn\n", V1, &[]);
        check("0::/a\n", "torn\n25 30 0:26 /\n - cgroup2\n25 30 - cgroup2 x rw\n", &[]);
        let spaced = "25 30 0:26 / /my\\040cgroup\\134x rw - cgroup2 cgroup2 rw\n";
        check("0::/\n", spaced, &["/my cgroup\\x"]);
    }
}
