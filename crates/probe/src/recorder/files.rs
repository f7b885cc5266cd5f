//! The files that a recording is written to: one, or in a folder one after the other, of which the oldest go.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// What all files in the folder that are of the same program may take together, in bytes; one file alone as well.
pub(super) const MOST_BYTES: u64 = 256 << 20;
/// How old they get.
pub(super) const OLDEST: Duration = Duration::from_secs(7 * 24 * 3_600);
/// A folder has about so many.
const PARTS: u32 = 8;
/// So many names are tried.
const NAMES: u32 = 1_000;

/// Where a recording goes.
#[derive(Debug)]
pub(super) enum Place {
    /// One file.
    File(PathBuf),
    /// A folder, in which names of files begin so.
    Folder(PathBuf, String),
}

impl Place {
    /// A folder unless its name ends as that of a file does. `program` and `started` tell the files of a folder apart.
    pub(super) fn of(path: PathBuf, program: &str, started: &str) -> Place {
        let is_file = path.extension().is_some_and(|extension| extension == "pollscope") && !path.is_dir();
        if is_file {
            Place::File(path)
        } else {
            Place::Folder(path, format!("{program}-{started}-{}", std::process::id()))
        }
    }

    fn path(&self, segment: u64, again: u32) -> PathBuf {
        let again = if again == 0 { String::new() } else { format!("-{again}") };
        match self {
            Place::File(path) => {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                path.with_file_name(format!("{name}{again}.pollscope"))
            }
            Place::Folder(folder, name) => folder.join(format!("{name}{again}-{segment:06}.pollscope")),
        }
    }

    fn folder(&self) -> &Path {
        match self {
            Place::File(path) => {
                path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
            }
            Place::Folder(folder, _) => folder,
        }
    }
}

/// Writes whole lines, or nothing.
#[derive(Debug)]
pub(super) struct Files {
    place: Place,
    /// How many names of this recording were taken already.
    again: u32,
    most_bytes: u64,
    open: Option<Open>,
    /// Which file is the next.
    next_segment: u64,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    length: u64,
    since: Instant,
}

impl Files {
    pub(super) fn new(place: Place, most_bytes: u64) -> Files {
        Files { place, again: 0, most_bytes, open: None, next_segment: 1 }
    }

    /// Whether a file is there to write to; one that was removed is not. When it is time for another, it is closed.
    pub(super) fn is_open(&mut self) -> bool {
        let part = self.most_bytes / u64::from(PARTS);
        let is_folder = matches!(self.place, Place::Folder(..));
        let is_over = |open: &mut Open| {
            is_folder && (open.length >= part || open.since.elapsed() >= OLDEST / PARTS) || is_removed(&open.file)
        };
        self.open.take_if(is_over);
        self.open.is_some()
    }

    /// The number of the file that [`Files::begin`] begins.
    pub(super) fn next_segment(&self) -> u64 {
        self.next_segment
    }

    /// Begins a file, whose first line is that, where none is open; and makes room for it.
    pub(super) fn begin(&mut self, first: &str) -> io::Result<()> {
        fs::create_dir_all(self.place.folder())?;
        self.make_room();
        for again in self.again..NAMES {
            let path = self.place.path(self.next_segment, again);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    self.again = again;
                    self.open = Some(Open { path, file, length: 0, since: Instant::now() });
                    self.write(first)?;
                    self.next_segment += 1;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Writes lines at the end of the open file, all of them or none.
    pub(super) fn write(&mut self, lines: &str) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
        if open.length + lines.len() as u64 > self.most_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let written = open.file.write_all(lines.as_bytes());
        match written {
            Ok(()) => open.length += lines.len() as u64,
            Err(_) => {
                // Half a line would spoil those after it: without it, or in another file.
                let is_whole =
                    open.file.set_len(open.length).and_then(|()| open.file.seek(io::SeekFrom::Start(open.length)));
                let is_empty = open.length == 0;
                if is_whole.is_err() || is_empty {
                    let path = open.path.clone();
                    self.open = None;
                    if is_empty {
                        let _ = fs::remove_file(path);
                    }
                }
            }
        }
        written
    }

    /// Removes the oldest files of the program in the folder, as far as all of them take too much or are too old.
    fn make_room(&self) {
        let Place::Folder(folder, name) = &self.place else { return };
        let Some((program, _)) = name.rsplit_once('-').and_then(|(rest, _)| rest.rsplit_once('-')) else { return };
        // Behind its name comes the day: what begins with its name may be another program.
        let is_day = |text: &str| text.len() > 8 && text.bytes().take(8).all(|byte| byte.is_ascii_digit());
        let is_ours = |name: &str| {
            let rest = name.strip_prefix(program).and_then(|rest| rest.strip_prefix('-'));
            rest.is_some_and(is_day) && name.ends_with(".pollscope")
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<(SystemTime, PathBuf, u64)> = entries
            .filter(|entry| entry.file_name().to_str().is_some_and(is_ours))
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, entry.path(), metadata.len()))
            })
            .collect();
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, _, length)| length).sum();
        for (modified, path, length) in files {
            let is_old = modified.elapsed().is_ok_and(|age| age > OLDEST);
            if !is_old && bytes + self.most_bytes / u64::from(PARTS) <= self.most_bytes {
                break;
            }
            if fs::remove_file(path).is_ok() {
                bytes -= length;
            }
        }
    }
}

/// Whether its name is gone.
#[cfg(unix)]
fn is_removed(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

#[cfg(not(unix))]
fn is_removed(_file: &File) -> bool {
    false
}

#[cfg(test)]
#[path = "files/tests.rs"]
mod tests;
