//! Files that have the debug information of another: the unstripped copy of a program that somebody offers, what a distribution
//! installs for each build-id, and what a stripped file names in its `.gnu_debuglink`.
//!
//! A file counts only if it is of the same build: both have the same build-id, or, where one of them has none, the file has the checksum
//! that `.gnu_debuglink` says.

use std::fs;
use std::path::{Path, PathBuf};

use pollscope_base::escape::escape;

use super::checksum::crc32;
use super::open::{Image, hex, in_root};
use crate::process::Process;

/// So many files of a folder are looked at whose names say nothing.
const MOST_FILES: usize = 1_000;
/// No file is larger, in bytes, of which a checksum is made: that takes seconds.
const MOST_SUMMED: usize = 2 << 30;
/// So many refusals are told.
const MOST_REFUSED: usize = 4;

/// A file whose debug information is looked for.
pub(super) struct Wanted<'a> {
    /// Whose file systems are looked at, before those of this process.
    pub(super) process: &'a Process,
    /// Where it is, as that process sees it.
    pub(super) path: Option<&'a Path>,
    pub(super) build_id: Option<&'a [u8]>,
    /// The name of the separate file and its checksum, as it has them itself.
    pub(super) link: Option<(&'a [u8], u32)>,
    /// Whether its own table of symbols is complete: then a file without debug information tells nothing more.
    pub(super) has_symbols: bool,
}

/// What was found.
#[derive(Default)]
pub(super) struct Separate {
    pub(super) file: Option<(PathBuf, Image)>,
    /// A sentence for each file that was offered, or is where it should be, and was not taken.
    pub(super) refused: Vec<String>,
}

/// A file to try.
struct Candidate {
    path: PathBuf,
    /// Whether to say why it is not taken.
    is_told: bool,
}

impl Wanted<'_> {
    /// The first file that counts: of those offered (files, and folders with files), then of the system's.
    pub(super) fn find(&self, offered: &[PathBuf]) -> Separate {
        let mut found = Separate::default();
        if self.build_id.is_none() && self.link.is_none() {
            found.refused.extend(offered.first().map(|path| {
                format!("{} cannot be told to be of the same build: the program has no build-id", shown(path))
            }));
            return found;
        }
        let offered = offered.iter().flat_map(|path| self.in_offered(path));
        for Candidate { path, is_told } in offered.chain(self.installed()) {
            match self.checked(&path) {
                Ok(image) => {
                    found.file = Some((path, image));
                    break;
                }
                Err(why) if is_told && found.refused.len() < MOST_REFUSED => {
                    found.refused.push(format!("{} {why}", shown(&path)));
                }
                Err(_) => {}
            }
        }
        found
    }

    /// The file, if it counts.
    ///
    /// # Errors
    /// A sentence without its subject: why it does not.
    fn checked(&self, path: &Path) -> Result<Image, String> {
        let image = Image::open(path).map_err(|why| format!("cannot be used: {why}"))?;
        match (self.build_id, image.build_id(), self.link) {
            (Some(wanted), Some(id), _) if wanted == id => {}
            (Some(wanted), Some(id), _) => {
                return Err(format!("is of another build: its build-id is {}, and {} is wanted", hex(id), hex(wanted)));
            }
            (_, _, Some(_)) if image.elf.data().len() > MOST_SUMMED => {
                return Err("cannot be used: it has no build-id, and is too large for a checksum".to_owned());
            }
            (_, _, Some((_, wanted))) => {
                let sum = crc32(image.elf.data());
                if sum != wanted {
                    return Err(format!("is of another build: its checksum is {sum:08x}, and {wanted:08x} is wanted"));
                }
            }
            (Some(wanted), None, None) => {
                return Err(format!("has no build-id, and {} is wanted", hex(wanted)));
            }
            (None, _, None) => {
                return Err("cannot be told to be of the same build: the program has no build-id".to_owned());
            }
        }
        match image.has_dwarf() || (!self.has_symbols && image.has_symbols()) {
            true => Ok(image),
            false => Err("is of the same build, and has no debug information either".to_owned()),
        }
    }

    /// What an offered path can lead to: it is a file, or a folder of files, or one that has a folder `.build-id`.
    fn in_offered(&self, offered: &Path) -> Vec<Candidate> {
        if !offered.is_dir() {
            return vec![Candidate { path: offered.to_owned(), is_told: true }];
        }
        let mut candidates = Vec::new();
        if let Some(by_id) = self.by_build_id() {
            for folder in [offered.join(".build-id"), offered.to_owned()] {
                candidates.push(Candidate { path: folder.join(&by_id), is_told: false });
            }
        }
        let named = self.names().into_iter().map(|name| offered.join(name)).filter(|path| path.is_file());
        candidates.extend(named.map(|path| Candidate { path, is_told: true }));
        let entries = fs::read_dir(offered).into_iter().flatten().flatten().take(MOST_FILES).map(|entry| entry.path());
        let mut others: Vec<PathBuf> =
            entries.filter(|path| path.is_file() && candidates.iter().all(|known| known.path != *path)).collect();
        others.sort();
        candidates.extend(others.into_iter().map(|path| Candidate { path, is_told: false }));
        candidates
    }

    /// What a file with its debug information may be called.
    fn names(&self) -> Vec<PathBuf> {
        let own = self.path.and_then(Path::file_name);
        let with_ending = own.map(|name| {
            let mut name = name.to_owned();
            name.push(".debug");
            name
        });
        let linked = self.link_name().map(PathBuf::from);
        let mut names: Vec<PathBuf> =
            [own.map(PathBuf::from), with_ending.map(PathBuf::from), linked].into_iter().flatten().collect();
        names.dedup();
        names
    }

    /// Where a system keeps them, and the link leads to.
    fn installed(&self) -> Vec<Candidate> {
        const SYSTEM: &str = "/usr/lib/debug";
        let mut paths: Vec<(PathBuf, bool)> = Vec::new();
        paths.extend(self.by_build_id().map(|by_id| (Path::new(SYSTEM).join(".build-id").join(by_id), false)));
        if let (Some(name), Some(folder)) = (self.link_name(), self.path.and_then(Path::parent)) {
            let in_system = Path::new(SYSTEM).join(folder.strip_prefix("/").unwrap_or(folder));
            paths.extend([folder.to_owned(), folder.join(".debug"), in_system].map(|folder| (folder.join(name), true)));
        }
        let mut candidates = Vec::new();
        for (path, is_told) in paths {
            // The link of a file in a folder `.debug` has the file's own name, as a rule.
            if self.path == Some(&path) {
                continue;
            }
            let all = in_root(self.process, &path).into_iter().chain([path]).filter(|path| path.exists());
            candidates.extend(all.map(|path| Candidate { path, is_told }));
        }
        candidates
    }

    /// `xx/yyyy.debug` for the build-id `xxyyyy`.
    fn by_build_id(&self) -> Option<PathBuf> {
        let hex = hex(self.build_id?);
        let (folder, name) = hex.split_at_checked(2)?;
        Some(PathBuf::from(folder).join(format!("{name}.debug")))
    }

    /// The link's name, if it is that of a file and leads nowhere else.
    fn link_name(&self) -> Option<&str> {
        let name = std::str::from_utf8(self.link?.0).ok()?;
        (Path::new(name).file_name()? == name).then_some(name)
    }
}

/// A path in a sentence: it may be the other process's that names it.
fn shown(path: &Path) -> String {
    format!("`{}`", escape(&path.to_string_lossy()))
}
