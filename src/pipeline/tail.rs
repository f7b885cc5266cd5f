//! Following one growing file, line by line, until its handle is closed.

use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memchr_iter;
use tokio::sync::watch;
use tokio::task::yield_now;

use super::confirm::InputEvidence;
use super::sink::{Lines, Sink, SinkError};
use crate::escape::escape_path;
use crate::tasks::Tasks;

/// How much one look at a file reads at most, and what all inputs together read ahead at most, unless they are very many.
const CHUNK: usize = 256 << 10;
const SMALLEST_CHUNK: usize = 16 << 10;
const AHEAD: usize = 16 << 20;
/// The longest line that is kept whole, in bytes.
pub const MAX_LINE: usize = 16 << 20;

/// Why an input could not be followed to its end.
#[derive(Debug, Clone)]
pub enum InputError {
    /// It could not be opened, looked at or read.
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        error: Arc<io::Error>,
    },
    /// It is not a regular file.
    NotAFile {
        /// What was named.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// It became shorter than what was read of it.
    Truncated {
        /// The file.
        path: PathBuf,
        /// How far it was read.
        offset: u64,
        /// Its length now.
        len: u64,
    },
    /// A line is longer than [`MAX_LINE`].
    LineTooLong {
        /// The file.
        path: PathBuf,
        /// Where the line begins.
        offset: u64,
    },
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputError::Io { operation, path, error } => {
                write!(f, "cannot {operation} input `{}`: {error}", escape_path(path))?;
                match error.kind() {
                    io::ErrorKind::NotFound => f.write_str("; name a file that exists, even if it is still empty"),
                    io::ErrorKind::PermissionDenied => f.write_str("; make it readable for this user"),
                    _ => Ok(()),
                }
            }
            InputError::NotAFile { path, kind } => write!(
                f,
                "cannot follow input `{}`: it is a {kind}, and only a regular file can be confirmed; name regular files",
                escape_path(path)
            ),
            InputError::Truncated { path, offset, len } => write!(
                f,
                "cannot go on with input `{}`: it was cut to {len} bytes after {offset} were read; lines may be lost",
                escape_path(path)
            ),
            InputError::LineTooLong { path, offset } => write!(
                f,
                "cannot merge the line at byte {offset} of input `{}`: it is longer than {MAX_LINE} bytes",
                escape_path(path)
            ),
        }
    }
}

impl std::error::Error for InputError {}

/// An open input and how far it was read.
#[derive(Debug)]
pub struct Handle {
    path: PathBuf,
    file: File,
    dev: u64,
    ino: u64,
    /// How far the file was read into `ahead`.
    offset: u64,
    /// Where the file ends for this merge; set when the handle is closed.
    limit: Option<u64>,
    /// How much one look reads at most.
    chunk: usize,
    /// Read, but not yet handed out; lines begin at `taken`.
    ahead: Vec<u8>,
    taken: usize,
    /// How much of `ahead` holds no newline that was not handed out.
    searched: usize,
}

impl Handle {
    /// Opens an input. Blocking, but never on a FIFO.
    ///
    /// # Errors
    /// When it cannot be opened, or is not a regular file.
    pub fn open(path: &Path) -> Result<Handle, InputError> {
        let failed = |operation, error| InputError::Io { operation, path: path.to_owned(), error: Arc::new(error) };
        // Asked twice: opening a socket fails without saying that it is one, opening a device may have effects, and what was
        // asked about may be gone at the open.
        refuse_special(path, &path.metadata().map_err(|error| failed("open", error))?)?;
        let mut options = File::options();
        options.read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
        let file = options.open(path).map_err(|error| failed("open", error))?;
        let metadata = file.metadata().map_err(|error| failed("look at", error))?;
        refuse_special(path, &metadata)?;
        if metadata.len() == 0 && hides_its_length(&file).map_err(|error| failed("read", error))? {
            let kind = "file whose length the kernel does not tell, as in /proc";
            return Err(InputError::NotAFile { path: path.to_owned(), kind });
        }
        Ok(Handle {
            path: path.to_owned(),
            file,
            dev: metadata.dev(),
            ino: metadata.ino(),
            offset: 0,
            limit: None,
            chunk: SMALLEST_CHUNK,
            ahead: Vec::new(),
            taken: 0,
            searched: 0,
        })
    }

    /// Which file it is: device and inode.
    pub fn identity(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }

    /// The input's path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, operation: &'static str, error: io::Error) -> InputError {
        InputError::Io { operation, path: self.path.clone(), error: Arc::new(error) }
    }

    /// One of so many inputs: what all of them read ahead stays bounded.
    pub fn among(self, inputs: usize) -> Handle {
        Handle { chunk: (AHEAD / inputs.max(1)).clamp(SMALLEST_CHUNK, CHUNK), ..self }
    }

    /// The next whole lines that were read already, with their newlines; so many at most. No system call.
    fn next_lines(&mut self, most: usize) -> Option<Lines> {
        let (from, mut count) = (self.searched, 0);
        // Much faster than looking at byte after byte: a long line would hold the loop.
        for newline in memchr_iter(b'\n', &self.ahead[from..]).take(most) {
            self.searched = from + newline + 1;
            count += 1;
        }
        if count == 0 {
            self.searched = self.ahead.len();
            return None;
        }
        let bytes = if self.taken == 0 && self.searched > self.ahead.len() / 2 {
            // Most of it goes: what stays is copied, rather than what goes.
            let rest = self.ahead.split_off(self.searched);
            (self.taken, self.searched) = (0, 0);
            std::mem::replace(&mut self.ahead, rest)
        } else {
            let bytes = self.ahead[self.taken..self.searched].to_vec();
            self.taken = self.searched;
            bytes
        };
        Some(Lines { bytes, count })
    }

    /// Reads on, up to a chunk. Blocking. How many bytes there were: 0 is no new data.
    fn fill(&mut self, closing: bool) -> Result<usize, InputError> {
        let len = self.file.metadata().map_err(|error| self.failed("look at", error))?.len();
        if len < self.offset {
            return Err(InputError::Truncated { path: self.path.clone(), offset: self.offset, len });
        }
        if closing {
            // A file that never stops growing must not keep the close waiting.
            self.limit.get_or_insert(len);
        }
        self.ahead.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        let end = self.limit.map_or(len, |limit| limit.min(len));
        let wanted = usize::try_from(end.saturating_sub(self.offset)).map_or(self.chunk, |left| left.min(self.chunk));
        if wanted == 0 {
            self.ahead.shrink_to(SMALLEST_CHUNK);
            return Ok(0);
        }
        let kept = self.ahead.len();
        if kept + wanted > MAX_LINE {
            return Err(InputError::LineTooLong { path: self.path.clone(), offset: self.offset - kept as u64 });
        }
        self.ahead.resize(kept + wanted, 0);
        let read = loop {
            match self.file.read_at(&mut self.ahead[kept..], self.offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.ahead.truncate(kept + *read.as_ref().unwrap_or(&0));
        let read = read.map_err(|error| self.failed("read", error))?;
        self.offset += read as u64;
        Ok(read)
    }

    /// What is left after the last newline.
    fn take_rest(&mut self) -> Vec<u8> {
        self.searched = 0;
        let rest = self.ahead.split_off(self.taken);
        self.ahead.clear();
        self.taken = 0;
        rest
    }
}

/// Refuses what is no regular file.
fn refuse_special(path: &Path, metadata: &Metadata) -> Result<(), InputError> {
    let kind = match metadata.file_type() {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "directory",
        kind if kind.is_fifo() => "FIFO",
        kind if kind.is_socket() => "socket",
        _ => "device",
    };
    Err(InputError::NotAFile { path: path.to_owned(), kind })
}

/// Whether a file that says it is empty is not. It would be taken for one without new data, for ever.
fn hides_its_length(file: &File) -> io::Result<bool> {
    let read = file.read_at(&mut [0], 0)?;
    // It may have grown since it was asked.
    Ok(read > 0 && file.metadata()?.len() == 0)
}

/// What became of one input.
#[derive(Debug)]
pub struct Tailed {
    /// What a confirmation compares the output with.
    pub evidence: InputEvidence,
    /// Lines whose write was answered.
    pub lines: u64,
    /// Bytes of those lines, as written.
    pub bytes: u64,
    /// When each write was answered, in nanoseconds since the origin; empty when nobody asked.
    pub written_ns: Vec<u64>,
    /// Why it ended early.
    pub error: Option<TailError>,
}

/// Why a tail ended early.
#[derive(Debug, Clone)]
pub enum TailError {
    /// The input's fault.
    Input(InputError),
    /// The output's fault.
    Sink(SinkError),
    /// The runtime went away in the middle.
    Aborted,
}

/// How a tail works.
#[derive(Debug, Clone)]
pub struct TailOptions {
    /// How long to sleep when there is no new data.
    pub interval: Duration,
    /// How many lines are written at once, at most, if they were read at once; 1: line by line.
    pub batch: usize,
    /// When set, the moment from which write times are counted, one for every line.
    pub stamp_from: Option<Instant>,
}

/// Follows a file until `closed` turns true: lines are read off the loop, then written, in order, once. What was
/// appended before the close is still read; an unterminated last line is delivered then, with a newline.
pub async fn tail<S: Sink>(
    tasks: Tasks,
    mut handle: Handle,
    options: TailOptions,
    sink: Arc<S>,
    mut closed: watch::Receiver<bool>,
) -> Tailed {
    let mut tailed = Tailed::new(&handle);
    loop {
        while let Some(lines) = handle.next_lines(options.batch) {
            if let Err(error) = tailed.write(&*sink, lines, &options).await {
                return tailed.end(&handle, Some(TailError::Sink(error)));
            }
            // One write, one poll, as when every line is read by a call of its own: others run in between.
            yield_now().await;
        }
        // Looked at before the file: what was appended before the close is then seen for certain.
        let closing = *closed.borrow_and_update();
        let filled = tasks.spawn_blocking(move || {
            let filled = handle.fill(closing);
            (handle, filled)
        });
        let Ok((returned, filled)) = filled.await else {
            tailed.error = Some(TailError::Aborted);
            return tailed;
        };
        handle = returned;
        match filled {
            Err(error) => return tailed.end(&handle, Some(TailError::Input(error))),
            Ok(0) if closing => break,
            Ok(0) => {
                // An error means that nobody is left who could close it: that is a close.
                let _ = tokio::time::timeout(options.interval, closed.wait_for(|&closed| closed)).await;
            }
            Ok(_) => {}
        }
    }
    let mut rest = handle.take_rest();
    if !rest.is_empty() {
        tailed.evidence.parts[0].unterminated = true;
        rest.push(b'\n');
        if let Err(error) = tailed.write(&*sink, Lines::one(rest), &options).await {
            return tailed.end(&handle, Some(TailError::Sink(error)));
        }
    }
    tailed.end(&handle, None)
}

impl Tailed {
    fn new(handle: &Handle) -> Tailed {
        let (dev, ino) = handle.identity();
        Tailed {
            evidence: InputEvidence::whole(handle.path.clone(), 0, dev, ino, false),
            lines: 0,
            bytes: 0,
            written_ns: Vec::new(),
            error: None,
        }
    }

    async fn write<S: Sink>(&mut self, sink: &S, lines: Lines, options: &TailOptions) -> Result<(), SinkError> {
        let (bytes, count) = (lines.bytes.len() as u64, lines.count);
        sink.write(lines).await?;
        self.lines += count;
        self.bytes += bytes;
        if let Some(origin) = options.stamp_from {
            let at_ns = origin.elapsed().as_nanos() as u64;
            self.written_ns.extend((0..count).map(|_| at_ns));
        }
        Ok(())
    }

    fn end(mut self, handle: &Handle, error: Option<TailError>) -> Tailed {
        self.evidence.parts[0].to = handle.limit.unwrap_or(handle.offset);
        self.error = error;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is handed out, read in chunks of so many bytes.
    fn handed_out(content: &[u8], chunk: usize, most: usize) -> (Vec<Lines>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        std::fs::write(&path, content).unwrap();
        let mut handle = Handle { chunk, ..Handle::open(&path).unwrap() };
        let mut lines = Vec::new();
        while handle.fill(true).unwrap() > 0 {
            while let Some(next) = handle.next_lines(most) {
                lines.push(next);
            }
        }
        (lines, handle.take_rest())
    }

    #[test]
    fn lines_are_handed_out_whole_in_order_and_no_more_than_asked_for() {
        let mut content: Vec<u8> =
            (0..400).flat_map(|i| [vec![b'a' + (i % 26) as u8; i % 37], vec![b'\n']].concat()).collect();
        content.extend_from_slice(b"the rest");
        for chunk in [1, 7, 100, 1 << 20] {
            for most in [1, 2, 5, usize::MAX] {
                let (lines, rest) = handed_out(&content, chunk, most);
                let all: Vec<u8> = lines.iter().flat_map(|lines| lines.bytes.clone()).chain(rest.clone()).collect();
                assert!(all == content && rest == b"the rest", "chunks of {chunk}, {most} at most");
                for lines in &lines {
                    assert_eq!(memchr_iter(b'\n', &lines.bytes).count() as u64, lines.count);
                    assert!(lines.bytes.ends_with(b"\n") && (1..=most as u64).contains(&lines.count));
                }
                assert_eq!(lines.iter().map(|lines| lines.count).sum::<u64>(), 400);
            }
        }
        let (lines, _) = handed_out(&content, 1 << 20, usize::MAX);
        assert_eq!(lines.len(), 1, "what was read at once is handed out at once");
    }
}
