//! A file of a thread, kept open. Once the thread ended it is nobody's: a later thread of the same number has other files.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use super::{ProcFile, ReadError, StateError, ThreadRef};

#[derive(Debug)]
pub(super) struct OpenFile {
    file: ProcFile,
    opened: File,
}

impl OpenFile {
    pub(super) fn open(thread: &ThreadRef, name: &'static str) -> Result<OpenFile, ReadError> {
        Ok(OpenFile { file: thread.file(name), opened: thread.open(name)? })
    }

    /// What is in it now: the kernel gives all of it at once.
    pub(super) fn read_again<T>(
        &self,
        buffer: &mut [u8],
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ReadError> {
        let read = || {
            let length = self.read_from_start(buffer)?;
            let text = std::str::from_utf8(&buffer[..length]).ok();
            text.and_then(parse).ok_or(StateError::Unrecognised)
        };
        read().map_err(|why| ReadError { file: self.file, why })
    }

    /// One call, where it may be made.
    #[cfg(supported)]
    fn read_from_start(&self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt as _;
        if !crate::seccomp::may_call() {
            return self.seek_and_read(buffer);
        }
        match self.opened.read_at(buffer, 0) {
            // As some sandboxes answer; or as the file itself does, and then once more.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
                self.seek_and_read(buffer)
            }
            read => read,
        }
    }

    #[cfg(not(supported))]
    fn read_from_start(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.seek_and_read(buffer)
    }

    fn seek_and_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut opened = &self.opened;
        opened.seek(SeekFrom::Start(0))?;
        opened.read(buffer)
    }
}

#[cfg(all(test, supported))]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_reading_give_the_same_each_time() {
        let open = OpenFile::open(&ThreadRef::current(), "comm").unwrap();
        let (mut one, mut other) = ([0; 64], [0; 64]);
        for _ in 0..3 {
            let length = open.read_from_start(&mut one).unwrap();
            assert!(length > 1 && one[length - 1] == b'\n');
            assert_eq!(open.seek_and_read(&mut other).unwrap(), length);
            assert_eq!(one, other);
        }
    }
}
