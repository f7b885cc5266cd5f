//! What is read of a process's memory while something is followed in it, so that it can be read again: what is the same both times was
//! so at one moment.

use std::cell::RefCell;

use crate::task::{Read, words};

/// Memory is copied in pieces of this size, each once.
const PIECE: u64 = 256;
/// So many pieces are copied for one task.
const MOST: usize = 4_096;

/// What was read so far.
pub(super) struct Copied<'a> {
    read: Read<'a>,
    pieces: RefCell<Vec<(u64, Vec<u8>)>>,
}

impl<'a> Copied<'a> {
    pub(super) fn new(read: Read<'a>) -> Copied<'a> {
        Copied { read, pieces: RefCell::default() }
    }

    /// As many bytes as can be read at an address, from the first on.
    pub(super) fn read(&self, address: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len() {
            let Some(at) = address.checked_add(done as u64) else { break };
            let (start, within) = (at - at % PIECE, (at % PIECE) as usize);
            let Some(copied) = self.copy(start, |piece| {
                let rest = piece.get(within..).unwrap_or_default();
                let length = rest.len().min(into.len() - done);
                into[done..done + length].copy_from_slice(&rest[..length]);
                length
            }) else {
                break;
            };
            if copied == 0 {
                break;
            }
            done += copied;
        }
        done
    }

    fn copy<T>(&self, start: u64, with: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let mut pieces = self.pieces.borrow_mut();
        if let Some((_, piece)) = pieces.iter().find(|(at, _)| *at == start) {
            return Some(with(piece));
        }
        if pieces.len() >= MOST {
            return None;
        }
        let mut piece = vec![0; PIECE as usize];
        let length = (self.read)(start, &mut piece);
        piece.truncate(length);
        let done = with(&piece);
        pieces.push((start, piece));
        Some(done)
    }

    /// So many bytes, lowest first, as a number; `None` where they cannot be read.
    pub(super) fn number(&self, address: u64, size: u64) -> Option<u64> {
        if !(1..=8).contains(&size) {
            return None;
        }
        let mut bytes = [0; 8];
        let wanted = &mut bytes[..size as usize];
        (self.read(address, wanted) == size as usize).then_some(u64::from_le_bytes(bytes))
    }

    pub(super) fn word(&self, address: u64) -> Option<u64> {
        let [word] = words(address, &|address, into| self.read(address, into))?;
        Some(word)
    }

    /// Whether all of it is there as it was.
    pub(super) fn is_unchanged(&self) -> bool {
        let mut again = vec![0; PIECE as usize];
        self.pieces.borrow().iter().all(|(at, piece)| {
            let length = (self.read)(*at, &mut again);
            again[..length] == piece[..]
        })
    }
}
