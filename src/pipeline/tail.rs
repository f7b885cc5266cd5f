//! Following one growing file, line by line, until its handle is closed.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, BufRead};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::yield_now;

use super::confirm::InputEvidence;
use super::sink::{Sink, SinkError};
use crate::escape::escape_path;
use crate::tasks::Tasks;

/// How much one look at a file reads at most.
const CHUNK: usize = 32 << 10;
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

    /// The next whole line that was read already, with its newline. No system call.
    fn next_line(&mut self) -> Option<Vec<u8>> {
        // Much faster than looking at byte after byte: a long line would hold the loop.
        self.searched += (&self.ahead[self.searched..]).skip_until(b'\n').ok()?;
        let end = self.searched;
        if end == self.taken || self.ahead[end - 1] != b'\n' {
            return None;
        }
        let line = self.ahead[self.taken..end].to_vec();
        self.taken = end;
        Some(line)
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
        let wanted = usize::try_from(end.saturating_sub(self.offset)).map_or(CHUNK, |left| left.min(CHUNK));
        if wanted == 0 {
            self.ahead.shrink_to(CHUNK);
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
    /// When set, the moment from which write times are counted, one for every line.
    pub stamp_from: Option<Instant>,
}

/// Follows a file until `closed` turns true: a line is read off the loop, then written, in order, once. What was
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
        while let Some(line) = handle.next_line() {
            if let Err(error) = tailed.write(&*sink, line, &options).await {
                return tailed.end(&handle, Some(TailError::Sink(error)));
            }
            // One line, one poll, as when every line is read by a call of its own: others run in between.
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
        tailed.evidence.unterminated = true;
        rest.push(b'\n');
        if let Err(error) = tailed.write(&*sink, rest, &options).await {
            return tailed.end(&handle, Some(TailError::Sink(error)));
        }
    }
    tailed.end(&handle, None)
}

impl Tailed {
    fn new(handle: &Handle) -> Tailed {
        let (dev, ino) = handle.identity();
        Tailed {
            evidence: InputEvidence { path: handle.path.clone(), len: 0, dev, ino, unterminated: false },
            lines: 0,
            bytes: 0,
            written_ns: Vec::new(),
            error: None,
        }
    }

    async fn write<S: Sink>(&mut self, sink: &S, line: Vec<u8>, options: &TailOptions) -> Result<(), SinkError> {
        let bytes = line.len() as u64;
        sink.write(line).await?;
        self.lines += 1;
        self.bytes += bytes;
        if let Some(origin) = options.stamp_from {
            self.written_ns.push(origin.elapsed().as_nanos() as u64);
        }
        Ok(())
    }

    fn end(mut self, handle: &Handle, error: Option<TailError>) -> Tailed {
        self.evidence.len = handle.limit.unwrap_or(handle.offset);
        self.error = error;
        self
    }
}
