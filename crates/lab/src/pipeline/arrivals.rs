//! Which files had a name, one after the other, as the events of its folder tell. Pure but for opening the files.
//!
//! Each event that a file took the name begins a *holder* of the name. Later events say where that file is now, so a holder that could
//! not be opened under the name is opened under the next one. If two holders turn out to be one file, the earlier one was opened too
//! late, and its own file is missed. So no file that was opened can hide one that was not.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;

use super::file::{Found, Identity};
use super::planted::{Planted, is_planted};

/// The most files that wait for an input after they took its name. Later ones are opened when the first are taken.
const MOST_OPEN: usize = 64;
/// The most files to follow by their names after they were taken.
const MOST_FOLLOWED: usize = 256;

/// What happened to a name in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameEvent {
    /// It was made, or an older file got it as one more name.
    Created {
        is_folder: bool,
    },
    Deleted,
    /// It lost the name by the renaming with this cookie.
    MovedFrom {
        cookie: u32,
    },
    /// It got the name so.
    MovedTo {
        cookie: u32,
        is_folder: bool,
    },
}

/// Opens what is at a name in the folder.
pub(super) type Opener<'a> = dyn Fn(&OsStr) -> Found + 'a;

/// The files that took a name since the last [`Arrivals::take`].
#[derive(Debug, Default)]
pub(super) struct NewFiles {
    /// Opened, in the order in which they took the name.
    pub(super) files: Vec<File>,
    /// The number of files that were gone before they could be opened.
    pub(super) missed: u64,
}

/// The files that take a name.
#[derive(Debug)]
pub(super) struct Arrivals {
    name: OsString,
    /// In the order in which they took the name.
    holders: VecDeque<Holder>,
    /// How often files were taken.
    takes: u64,
    /// How many holders were opened by another name than this.
    by_other_names: u64,
}

/// A file that took the name.
#[derive(Debug)]
struct Holder {
    place: Place,
    state: State,
    is_link: bool,
    /// Whether it was opened when there were events that nobody had read: the name may have been another file's by then.
    is_doubtful: bool,
    /// Whether it was opened by another name than the one that is watched, which files may get that never had this one.
    is_by_other_name: bool,
}

/// Where a holder's file is in the folder.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Name(OsString),
    /// Between the two events of a renaming; the second does not come if it left the folder. With the number of takes then.
    Moving {
        cookie: u32,
        since: u64,
    },
    /// It was deleted, replaced, or moved to another folder.
    Gone,
}

#[derive(Debug)]
enum State {
    /// It is still to be opened.
    Wanted,
    Opened(File, Identity),
    /// By the take of that number.
    Taken(Identity, u64),
    NoLines(Identity),
}

impl Holder {
    fn new(name: &OsStr, state: State, is_link: bool) -> Holder {
        Holder { place: Place::Name(name.to_owned()), state, is_link, is_doubtful: false, is_by_other_name: false }
    }

    fn identity(&self) -> Option<Identity> {
        match self.state {
            State::Wanted => None,
            State::Opened(_, identity) | State::Taken(identity, _) | State::NoLines(identity) => Some(identity),
        }
    }

    fn name(&self) -> Option<&OsStr> {
        match &self.place {
            Place::Name(name) => Some(name),
            Place::Moving { .. } | Place::Gone => None,
        }
    }

    fn is_wanted(&self) -> bool {
        matches!(self.state, State::Wanted)
    }

    fn is_opened(&self) -> bool {
        matches!(self.state, State::Opened(..))
    }
}

impl Arrivals {
    /// Nothing took the name so far.
    pub(super) fn new(name: &OsStr) -> Arrivals {
        Arrivals { name: name.to_owned(), holders: VecDeque::new(), takes: 0, by_other_names: 0 }
    }

    /// A file has the name, perhaps by a link, of which no event tells, and is known.
    pub(super) fn begin_with(&mut self, known: Identity, is_link: bool) {
        if !self.knows(known) {
            let state = State::Taken(known, self.takes);
            self.holders.push_back(Holder::new(&self.name, state, is_link));
        }
    }

    /// The names at which its files are.
    pub(super) fn places(&self) -> impl Iterator<Item = &OsStr> {
        self.holders.iter().filter_map(Holder::name)
    }

    /// Whether an event told of this file.
    pub(super) fn knows(&self, identity: Identity) -> bool {
        self.holders.iter().any(|holder| holder.identity() == Some(identity))
    }

    /// Whether this file has the name, as far as events tell.
    pub(super) fn is_at_name(&self, identity: Identity) -> bool {
        let is_it = |holder: &Holder| holder.name() == Some(&self.name) && holder.identity() == Some(identity);
        self.holders.iter().any(is_it)
    }

    /// Whether something was opened that may be another file.
    pub(super) fn is_doubtful(&self) -> bool {
        self.holders.iter().any(|holder| holder.is_wanted() || (holder.is_doubtful && holder.is_by_other_name))
    }

    /// Whether it waits for the second event of a renaming.
    pub(super) fn waits_for(&self, cookie: u32) -> bool {
        self.moving(cookie).is_some()
    }

    fn moving(&self, cookie: u32) -> Option<usize> {
        let is_it = |holder: &Holder| matches!(holder.place, Place::Moving { cookie: of, .. } if of == cookie);
        self.holders.iter().position(is_it)
    }

    /// Takes an event of any name in the folder.
    pub(super) fn happened(&mut self, name: &OsStr, event: NameEvent, open: &Opener) {
        let at = self.holders.iter().rposition(|holder| holder.name() == Some(name));
        if let Some(at) = at {
            self.holders[at].place = match event {
                NameEvent::MovedFrom { cookie } => Place::Moving { cookie, since: self.takes },
                _ => Place::Gone,
            };
        }
        let is_arrival = match event {
            NameEvent::Deleted | NameEvent::MovedFrom { .. } => return,
            NameEvent::Created { is_folder } => !is_folder,
            NameEvent::MovedTo { cookie, is_folder } => match self.moving(cookie) {
                Some(moved) => return self.moves(moved, name, open),
                None => !is_folder,
            },
        };
        if is_arrival && name == self.name {
            self.holders.push_back(Holder::new(&self.name, State::Wanted, false));
            self.open(self.holders.len() - 1, open);
        }
    }

    /// A holder's file has another name now, or the name again.
    fn moves(&mut self, mut index: usize, to: &OsStr, open: &Opener) {
        self.holders[index].place = Place::Name(to.to_owned());
        if to == self.name
            && let Some(mut back) = self.holders.remove(index)
        {
            if matches!(back.state, State::Taken(..)) {
                // It may have been left meanwhile.
                back.state = State::Wanted;
            }
            self.holders.push_back(back);
            index = self.holders.len() - 1;
        }
        self.open(index, open);
    }

    /// Opens a holder's file, if it is still to be opened.
    fn open(&mut self, index: usize, open: &Opener) {
        let opened = self.holders.iter().filter(|holder| holder.is_opened()).count();
        let holder = &self.holders[index];
        let Some(name) = holder.name().filter(|_| holder.is_wanted() && opened < MOST_OPEN) else { return };
        let is_other = name != self.name;
        let (state, is_link, is_current) = match open(name) {
            Found::File { file, identity, is_link, is_current } => (State::Opened(file, identity), is_link, is_current),
            Found::NoLines(identity) => (State::NoLines(identity), false, true),
            Found::Nothing => return,
        };
        let holder = &mut self.holders[index];
        (holder.state, holder.is_link) = (state, is_link);
        (holder.is_doubtful, holder.is_by_other_name) = (!is_current, is_other);
        self.by_other_names += u64::from(is_other);
        self.undo_mistakes(index, open);
    }

    /// A holder's file was just opened. An earlier one that was opened as the same file was opened too late, unless both names lead to
    /// the file. What was taken long ago may have been this file, before it left the folder; and links may lead to one file.
    fn undo_mistakes(&mut self, index: usize, open: &Opener) {
        let identity = self.holders[index].identity();
        for earlier in (0..self.holders.len()).filter(|other| *other != index) {
            let of = &self.holders[earlier];
            let may_be_wrong = match of.state {
                State::Taken(_, take) => take == self.takes && !of.is_link,
                _ => of.is_doubtful || !of.is_link,
            };
            if of.identity() == identity && may_be_wrong && !self.is_there(earlier, open) {
                self.holders[earlier].state = State::Wanted;
                self.open(earlier, open);
            }
        }
    }

    /// Whether a holder's name leads to the file that was opened for it.
    fn is_there(&self, index: usize, open: &Opener) -> bool {
        let holder = &self.holders[index];
        holder.name().is_some_and(|name| match open(name) {
            Found::File { identity, .. } | Found::NoLines(identity) => holder.identity() == Some(identity),
            Found::Nothing => false,
        })
    }

    /// All events that there are were taken, so names lead to the files that are held now: opens again what was opened too late.
    pub(super) fn check(&mut self, open: &Opener) {
        for index in 0..self.holders.len() {
            let holder = &self.holders[index];
            let is_doubtful = holder.is_opened() && holder.is_doubtful && holder.is_by_other_name;
            let is_wrong = is_doubtful && !self.is_there(index, open);
            if is_wrong {
                self.holders[index].state = State::Wanted;
            } else if is_doubtful {
                self.holders[index].is_doubtful = false;
            }
        }
        for index in 0..self.holders.len() {
            self.open(index, open);
            if self.holders[index].is_opened() {
                self.undo_mistakes(index, open);
            }
        }
    }

    /// Any event may have been lost: nothing is known of where the files are.
    pub(super) fn lose_track(&mut self) {
        self.holders.iter_mut().for_each(|holder| holder.place = Place::Gone);
    }

    /// Takes the opened files, and counts those that were gone before.
    pub(super) fn take(&mut self, open: &Opener) -> NewFiles {
        let mut new = NewFiles::default();
        loop {
            self.check(open);
            let before = new.files.len();
            for holder in &mut self.holders {
                if let State::Opened(_, identity) = holder.state
                    && let State::Opened(file, _) =
                        std::mem::replace(&mut holder.state, State::Taken(identity, self.takes + 1))
                {
                    new.files.push(file);
                }
            }
            if new.files.len() - before < MOST_OPEN {
                break;
            }
        }
        self.takes += 1;
        self.forget(&mut new.missed);
        new
    }

    /// Forgets holders of which nothing more is to be known; counts those that were not opened.
    fn forget(&mut self, missed: &mut u64) {
        let takes = self.takes;
        let mut left = self.holders.len();
        self.holders.retain(|holder| {
            let is_gone = match holder.place {
                Place::Gone => true,
                // The second event may be under way.
                Place::Moving { since, .. } => since + 1 < takes,
                Place::Name(_) => false,
            };
            let is_old = matches!(holder.state, State::Taken(_, take) if take < takes) || holder.is_wanted();
            let is_forgotten = (is_gone && is_old) || (left > MOST_FOLLOWED && !holder.is_wanted());
            left -= usize::from(is_forgotten);
            *missed += u64::from(is_forgotten && holder.is_wanted());
            !is_forgotten
        });
        if is_planted(Planted::MaskedArrival) {
            *missed = missed.saturating_sub(std::mem::take(&mut self.by_other_names));
        }
    }
}
