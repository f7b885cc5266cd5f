//! Finds the files that take an input's name: those that become the newest generation, and those that had the name in between.

use std::fs::File;
use std::time::SystemTime;

use super::error::InputError;
use super::events::EventKind;
use super::generation;
use super::generations::Generations;
use super::name::Name;
use crate::pipeline::file::{Identity, identity, open_file, special_kind};
use crate::pipeline::inotify::{NameWatch, NewFiles};

/// What is known of the name.
#[derive(Debug)]
pub(super) struct Rotation {
    name: Name,
    /// The watch that opens files that take the name, if any.
    pub(super) watch: Option<NameWatch>,
    /// The output's identity: it must not become an input.
    pub(super) output: Option<Identity>,
}

impl Rotation {
    /// The newest file has the name.
    pub(super) fn new() -> Rotation {
        Rotation { name: Name::Fine, watch: None, output: None }
    }

    pub(super) fn is_name_fine(&self) -> bool {
        self.name == Name::Fine
    }

    /// Looks which file has the name now, and adds those that took it.
    ///
    /// # Errors
    /// When one of them cannot be looked at.
    pub(super) fn look(&mut self, files: &mut Generations) -> Result<(), InputError> {
        let new = self.watch.as_ref().map(NameWatch::take).unwrap_or_default();
        self.adopt_new(new, files)?;
        let now = SystemTime::now();
        let name = self.look_at_name(files)?;
        if name == Name::Fine {
            files.named_at = now;
        }
        if let Some(event) = self.name.becomes(name) {
            files.record(event);
        }
        Ok(())
    }

    fn look_at_name(&self, files: &mut Generations) -> Result<Name, InputError> {
        let metadata = match files.path().metadata() {
            Ok(metadata) => metadata,
            Err(error) => return Ok(Name::of(&error)),
        };
        let found = identity(&metadata);
        if found == files.newest().identity {
            return Ok(Name::Fine);
        }
        if let Some(kind) = special_kind(&metadata) {
            return Ok(Name::Unreadable(format!("it is a {kind}")));
        }
        if Some(found) == self.output {
            return Ok(Name::Unreadable("it is the output".to_owned()));
        }
        match open_file(files.path()) {
            Ok(file) => self.adopt(file, true, files).map(|()| Name::Fine),
            Err(error) => Ok(Name::of(&error)),
        }
    }

    /// Adds the files that inotify saw take the name. Their order is not certain, and some may have been opened too late; other names
    /// lead to these.
    fn adopt_new(&self, new: NewFiles, files: &mut Generations) -> Result<(), InputError> {
        let NewFiles { files: mut new, mut missed } = new;
        if new.len() as u64 + missed > 1
            && let Ok(newest) = open_file(files.path())
        {
            new.sort_by_key(|file| file.metadata().and_then(|metadata| metadata.created()).ok());
            let which = |file: &File| file.metadata().ok().map(|metadata| identity(&metadata));
            // From the newest on, each before its successor.
            let mut next = new.len();
            for (path, file) in files.before(&newest).into_iter().rev() {
                if let Some(place) = new.iter().position(|known| which(known) == which(&file)) {
                    next = place;
                } else if !new.iter().any(|known| generation::is_copy_of(&file, known)) {
                    files.record(EventKind::FoundBetween { path });
                    missed = missed.saturating_sub(1);
                    new.insert(next, file);
                }
            }
        }
        for file in new {
            self.adopt(file, false, files)?;
        }
        (0..missed).for_each(|_| files.record(EventKind::Missed));
        Ok(())
    }

    /// Adds a file that has or had the name, unless it is known. With `has_name`, it has the name now.
    fn adopt(&self, file: File, has_name: bool, files: &mut Generations) -> Result<(), InputError> {
        let Ok(metadata) = file.metadata() else { return Ok(()) };
        let found = identity(&metadata);
        if special_kind(&metadata).is_some() || Some(found) == self.output {
            return Ok(());
        }
        if let Some(known) = files.position(found) {
            // It had the name until a moment ago.
            files.linger(known);
            if has_name && known + 1 < files.open.len() {
                // A link was switched back.
                files.linger_at_newest();
                files.make_newest(known);
                files.record(EventKind::Replaced);
            }
            return Ok(());
        }
        files.linger_at_newest();
        if has_name {
            for (path, between) in files.before(&file) {
                files.record(EventKind::FoundBetween { path });
                files.add(between)?;
            }
        }
        files.add(file)?;
        files.record(EventKind::Replaced);
        if let Some(watch) = &self.watch {
            watch.watch_file();
        }
        Ok(())
    }
}
