//! Memory of a process while a thread of it is looked at: that thread's stack as it was, and everything else as it is, read a page at a
//! time and kept.

use std::collections::HashMap;

use super::word::Word;
use crate::memory::{self, InnerStack};
use crate::process::Process;

const PAGE: u64 = 4 << 10;

#[derive(Debug)]
pub(super) struct View<'a> {
    process: Process,
    pages: HashMap<u64, Vec<u8>>,
    pub(super) stack: Option<&'a InnerStack>,
}

impl<'a> View<'a> {
    pub(super) fn new(process: Process) -> View<'a> {
        View { process, pages: HashMap::new(), stack: None }
    }

    /// Reads as many bytes as it can; how many.
    pub(super) fn read(&mut self, address: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len() {
            let more = address.checked_add(done as u64).map_or(0, |at| self.read_some(at, &mut into[done..]));
            if more == 0 {
                break;
            }
            done += more;
        }
        done
    }

    fn read_some(&mut self, address: u64, into: &mut [u8]) -> usize {
        let from = match self.stack.and_then(|stack| stack.bytes(address)) {
            Some(copied) => copied,
            None => {
                let page = address - address % PAGE;
                let bytes = self.page(page);
                &bytes[((address - page) as usize).min(bytes.len())..]
            }
        };
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        count
    }

    fn page(&mut self, page: u64) -> &[u8] {
        let process = self.process;
        self.pages.entry(page).or_insert_with(|| {
            let mut bytes = vec![0; PAGE as usize];
            let count = memory::read(&process, page, &mut bytes);
            bytes.truncate(count);
            bytes
        })
    }

    pub(super) fn word(&mut self, address: u64, size: usize) -> Word {
        let mut bytes = [0; 8];
        let count = self.read(address, &mut bytes[..size.min(8)]);
        let byte = |index: usize| if index < count { Word::of(u64::from(bytes[index])) } else { Word::UNKNOWN };
        Word::from_bytes((0..size.min(8)).map(byte))
    }
}
