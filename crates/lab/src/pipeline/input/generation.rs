//! One of the files that have an input's name, one after the other.

use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use memchr::memchr;
use pollscope_base::reason;
use rustix::io::Errno;

use super::buffer::LineBuffer;
use crate::pipeline::clock::{self, TICK};
use crate::pipeline::confirm::PartFile;
use crate::pipeline::file::{Identity, Times, Version, identity, times};

/// The number of bytes before the end of what was read that each read compares with the file.
const ANCHOR: usize = 256;
/// The number of first bytes that are compared to tell whether one file is a copy of another.
const COMPARED: usize = 64 << 10;
/// The number of bytes that tell a line from others.
pub(super) const TELLING: usize = 16;
/// The most bytes from a FIFO that are kept to confirm the merge with.
const SPOOLED: u64 = 256 << 20;

/// The place up to which a file was read, and the last bytes before it.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

impl Mark {
    /// Whether a file has these bytes at that place.
    pub(super) fn is_in(&self, file: &File) -> bool {
        let mut there = vec![0; self.bytes.len()];
        file.read_exact_at(&mut there, self.offset - self.bytes.len() as u64).is_ok() && there == self.bytes
    }

    /// Whether it tells a file from others: a part of a line can begin any.
    pub(super) fn is_telling(&self) -> bool {
        self.bytes.len() >= TELLING || memchr(b'\n', &self.bytes).is_some()
    }

    /// Whether a file has these bytes at that place, but false if nothing was read: that fits every file.
    pub(super) fn identifies(&self, file: &File) -> bool {
        self.offset > 0 && self.is_in(file)
    }
}

/// The result of a look at a file's length and times.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileLook {
    /// Nothing contradicts what was read.
    Same,
    /// It is shorter than what was read of it.
    Cut { len: u64 },
    /// Its content differs from what was read of it.
    Rewritten,
}

/// The result of a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileRead {
    /// The number of bytes that came.
    Bytes(usize),
    /// Nothing new for now.
    Nothing,
    /// The end: all writers closed the FIFO.
    End,
    /// The content differs from what was read before.
    Rewritten,
}

/// An open file, and how far it was read.
#[derive(Debug)]
pub(super) struct Generation {
    /// Its number among all files of the input.
    pub(super) number: usize,
    file: Arc<File>,
    pub(super) identity: Identity,
    pub(super) buffer: LineBuffer,
    /// The byte up to which it was read.
    offset: u64,
    /// The byte up to which it may be read: its length at the last look.
    len: u64,
    /// The last bytes before `offset`.
    anchor: Vec<u8>,
    /// Its own times of the last change.
    changed: Times,
    /// When it was last looked at. A change in the tick of that look does not show in its times.
    looked_at: SystemTime,
    /// When it last had new data, or was opened.
    pub(super) grew_at: Instant,
    /// How often it was cut or rewritten; each time what was read before is gone.
    pub(super) epoch: u32,
    /// Whether it is a copy of a file that was cut then: complete.
    pub(super) is_copy: bool,
    stream: Option<Stream>,
}

/// What only a FIFO needs.
#[derive(Debug)]
struct Stream {
    /// A copy of what came, to confirm the merge with; or the reason why it is missing.
    spool: Result<Arc<File>, String>,
    /// Whether it had a writer.
    had_writer: bool,
}

impl Generation {
    /// Takes an open regular file or FIFO, to read it from its beginning.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(super) fn new(file: File, number: usize, max_line: usize) -> io::Result<Generation> {
        let metadata = file.metadata()?;
        let stream = metadata.file_type().is_fifo().then(|| Stream {
            spool: tempfile::tempfile()
                .map(Arc::new)
                .map_err(|error| format!("its copy cannot be made: {}", reason(&error))),
            had_writer: false,
        });
        Ok(Generation {
            number,
            identity: identity(&metadata),
            file: Arc::new(file),
            buffer: LineBuffer::new(0, max_line),
            offset: 0,
            len: 0,
            anchor: Vec::new(),
            changed: times(&metadata),
            looked_at: clock::now(),
            grew_at: clock::instant(),
            epoch: 0,
            is_copy: false,
            stream,
        })
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Its version at the last look.
    pub(super) fn version(&self) -> Version {
        Version::new(self.identity, self.len, self.changed)
    }

    /// Its length at the last look.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Its length now, if it can be looked at.
    pub(super) fn len_now(&self) -> Option<u64> {
        self.file.metadata().ok().map(|metadata| metadata.len())
    }

    pub(super) fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether a look saw something that is not yet read.
    pub(super) fn has_unread(&self) -> bool {
        self.offset < self.len
    }

    /// Whether a file is a copy of this one, as it is or as it was: it has what was read of this one, or a part of this one's content.
    pub(super) fn is_copied_in(&self, file: &File) -> bool {
        let mark = self.mark();
        // A copy of so little that it tells nothing has no more than that.
        let is_enough = || mark.is_telling() || file.metadata().is_ok_and(|metadata| metadata.len() == mark.offset);
        (mark.identifies(file) && is_enough()) || is_copy_of(file, &self.file)
    }

    /// The place up to which it was read, and the bytes before it.
    pub(super) fn mark(&self) -> Mark {
        Mark { offset: self.offset, bytes: self.anchor.clone() }
    }

    /// Goes on at a mark; only if [`Mark::is_in`] the file.
    pub(super) fn go_on_at(&mut self, mark: Mark) {
        self.buffer = LineBuffer::new(mark.offset, self.buffer.max_line());
        (self.offset, self.anchor) = (mark.offset, mark.bytes);
    }

    /// The same, with the part of the last line that was read.
    pub(super) fn go_on_with(&mut self, mark: Mark, buffer: LineBuffer) {
        self.go_on_at(mark);
        self.buffer = buffer;
    }

    /// Looks at its length; reads may go up to it. With `closely`, also compares what was read last with the file, even if its
    /// times did not change.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn look(&mut self, closely: bool) -> Result<FileLook, (&'static str, io::Error)> {
        if self.is_stream() {
            // So many bytes wait in it. If there are none, only a read tells whether it has writers.
            let waiting = rustix::io::ioctl_fionread(&*self.file).map_err(|error| ("look at", error.into()))?;
            self.len = self.offset + waiting.max(u64::from(!closely));
            return Ok(FileLook::Same);
        }
        let now = clock::now();
        let metadata = self.file.metadata().map_err(|error| ("look at", error))?;
        let len = metadata.len();
        if len < self.offset {
            return Ok(FileLook::Cut { len });
        }
        let changed = times(&metadata);
        let is_in_one_tick = self.looked_at <= self.changed.1 + TICK;
        self.looked_at = now;
        let is_touched = std::mem::replace(&mut self.changed, changed) != changed || is_in_one_tick;
        // The read of new data compares anyway.
        if len == self.offset && (is_touched || closely) && !self.mark().is_in(&self.file) {
            return Ok(FileLook::Rewritten);
        }
        self.len = len;
        Ok(FileLook::Same)
    }

    /// Reads the next bytes, at most `most`, and no further than the last look saw. Never waits.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn read(&mut self, most: usize) -> io::Result<FileRead> {
        let most = usize::try_from(self.len - self.offset).map_or(most, |left| left.min(most));
        if self.is_stream() {
            return self.read_stream(most);
        }
        let mut there = [0; ANCHOR];
        let there = &mut there[..self.anchor.len()];
        let room = self.buffer.room(most);
        let start = self.offset - there.len() as u64;
        let read =
            retry(|| rustix::io::preadv(&*self.file, &mut [IoSliceMut::new(there), IoSliceMut::new(room)], start));
        let is_whole = read.as_ref().is_ok_and(|read| *read > there.len());
        // A file system may give fewer bytes than asked for, and so perhaps no new one: a second read asks for the new ones alone.
        let read = match read {
            Ok(_) if !is_whole && most > 0 => match self.file.read_exact_at(there, start) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                Err(error) => Err(error),
                Ok(()) => read_at(&self.file, room, self.offset).map(|new| there.len() + new),
            },
            read => read,
        };
        let new = read.as_ref().map_or(0, |read| read.saturating_sub(there.len()));
        let is_same = read.as_ref().is_ok_and(|read| *read >= there.len()) && *there == *self.anchor;
        let is_new = read.is_ok() && is_same;
        if is_new {
            remember(&mut self.anchor, &room[..new]);
        }
        self.buffer.filled(most, if is_new { new } else { 0 });
        read?;
        if !is_same {
            return Ok(FileRead::Rewritten);
        }
        self.offset += new as u64;
        if new == 0 {
            // It was truncated after the look; the next look notices.
            self.len = self.offset;
            return Ok(FileRead::Nothing);
        }
        self.grew_at = clock::instant();
        Ok(FileRead::Bytes(new))
    }

    fn read_stream(&mut self, most: usize) -> io::Result<FileRead> {
        let stream = self.stream.as_mut().expect("asked by the caller");
        let room = self.buffer.room(most);
        let read = loop {
            match (&*self.file).read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let new = *read.as_ref().unwrap_or(&0);
        if new > 0 {
            stream.keep(self.offset, &room[..new]);
        }
        self.buffer.filled(most, new);
        match read {
            Ok(0) => {
                self.len = self.offset;
                Ok(if stream.had_writer { FileRead::End } else { FileRead::Nothing })
            }
            Ok(_) => {
                stream.had_writer = true;
                self.offset += new as u64;
                self.grew_at = clock::instant();
                Ok(FileRead::Bytes(new))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.had_writer = true;
                self.len = self.offset;
                Ok(FileRead::Nothing)
            }
            Err(error) => Err(error),
        }
    }

    /// Begins it again after it was cut or rewritten. Returns what was read and not handed out.
    pub(super) fn restart(&mut self) -> LineBuffer {
        (self.offset, self.len, self.epoch) = (0, 0, self.epoch + 1);
        self.anchor.clear();
        let new = LineBuffer::new(0, self.buffer.max_line());
        std::mem::replace(&mut self.buffer, new)
    }

    /// How a confirmation reads it again, even if `path` is another file by then.
    pub(super) fn evidence(&self, path: &Path) -> PartFile {
        match &self.stream {
            Some(Stream { spool: Ok(spool), .. }) => PartFile::Kept(Arc::clone(spool)),
            Some(Stream { spool: Err(why), .. }) => PartFile::Gone(format!("it is a FIFO, and {why}")),
            None => PartFile::Named(path.to_owned()),
        }
    }
}

impl Stream {
    fn keep(&mut self, offset: u64, bytes: &[u8]) {
        let Ok(spool) = &self.spool else { return };
        if offset + bytes.len() as u64 > SPOOLED {
            self.spool = Err(format!("only {} MiB of a FIFO are kept", SPOOLED >> 20));
        } else if let Err(error) = (&**spool).write_all(bytes) {
            self.spool = Err(format!("its copy cannot be written: {}", reason(&error)));
        }
    }
}

/// Whether their beginnings agree, in a line or more, so that one may be a copy of the other.
pub(super) fn begin_alike(one: &File, other: &File) -> bool {
    let (mut of_one, mut of_other) = (vec![0; COMPARED], vec![0; COMPARED]);
    match (one.read_at(&mut of_one, 0), other.read_at(&mut of_other, 0)) {
        (Ok(one), Ok(other)) => {
            let both = one.min(other);
            memchr(b'\n', &of_one[..both]).is_some() && of_one[..both] == of_other[..both]
        }
        _ => false,
    }
}

/// Whether the other file has all of a file's content.
pub(super) fn is_copy_of(file: &File, of: &File) -> bool {
    let len = |file: &File| file.metadata().map_or(0, |metadata| metadata.len());
    len(file) <= len(of) && begin_alike(file, of)
}

fn remember(anchor: &mut Vec<u8>, new: &[u8]) {
    let kept = ANCHOR.saturating_sub(new.len()).min(anchor.len());
    anchor.drain(..anchor.len() - kept);
    anchor.extend_from_slice(&new[new.len().saturating_sub(ANCHOR)..]);
}

fn read_at(file: &File, room: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(room, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result.map_err(io::Error::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(generation: &mut Generation) -> (String, FileRead) {
        let mut all = Vec::new();
        loop {
            let found = if generation.has_unread() { generation.read(5).unwrap() } else { FileRead::Nothing };
            while let Some(lines) = generation.buffer.next_lines(1) {
                all.extend(lines.bytes);
            }
            if !matches!(found, FileRead::Bytes(_)) {
                return (String::from_utf8(all).unwrap(), found);
            }
        }
    }

    #[test]
    fn what_was_read_is_noticed_to_have_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let opened = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let mut generation = Generation::new(File::open(&path).unwrap(), 0, 1 << 10).unwrap();
            assert_eq!(generation.look(false).unwrap(), FileLook::Same);
            assert_eq!(read_all(&mut generation), (text.to_owned(), FileRead::Nothing));
            generation
        };

        let mut grown = opened("one\ntwo\n");
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(grown.look(false).unwrap(), FileLook::Same);
        assert_eq!(read_all(&mut grown), ("three\n".to_owned(), FileRead::Nothing));

        let mut cut = opened("one\ntwo\n");
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(cut.look(false).unwrap(), FileLook::Cut { len: 4 });

        let mut replaced = opened("one\ntwo\n");
        std::fs::write(&path, "ONE\nTWO\n").unwrap();
        assert_eq!(replaced.look(true).unwrap(), FileLook::Rewritten);

        let mut longer = opened("one\ntwo\n");
        std::fs::write(&path, "ONE\nTWO\nTHREE\n").unwrap();
        assert_eq!(longer.look(false).unwrap(), FileLook::Same);
        assert_eq!(read_all(&mut longer), (String::new(), FileRead::Rewritten));
        longer.restart();
        assert_eq!(longer.look(false).unwrap(), FileLook::Same);
        assert_eq!(read_all(&mut longer).0, "ONE\nTWO\nTHREE\n");
    }

    #[test]
    fn a_copy_of_what_tells_nothing_has_no_more_than_that() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            File::open(path).unwrap()
        };
        let is_copied = |read: &str, other: &str| {
            let mut generation = Generation::new(file("a", read), 0, 1 << 10).unwrap();
            generation.look(false).unwrap();
            read_all(&mut generation);
            generation.is_copied_in(&file("b", other))
        };
        assert!(is_copied("L", "L"));
        assert!(!is_copied("L", "L16-1,\nL17-1,\n"), "the first letter of a line begins every line");
        assert!(is_copied("L16-1,\n", "L16-1,\nL17-1,\n"), "a line tells");
        assert!(is_copied(&"L".repeat(TELLING), &"L".repeat(TELLING + 1)), "so does so much of one");
        assert!(!is_copied("", "L16-1,\n"), "nothing was read");
    }

    #[test]
    fn the_anchor_is_the_end_of_what_was_read() {
        let mut anchor = Vec::new();
        let mut all = Vec::new();
        for size in [0, 1, 100, 155, 1, 255, 256, 257, 1_000, 3] {
            let new: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            remember(&mut anchor, &new);
            all.extend(new);
            assert_eq!(anchor, all[all.len().saturating_sub(ANCHOR)..]);
        }
    }
}
