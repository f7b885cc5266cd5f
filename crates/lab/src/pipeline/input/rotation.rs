//! Finds the files that take an input's name: those that become the newest generation, and those that had the name in between.
//!
//! The events of the name's folder tell of each file (`inotify`). Where they do not, two looks show a file before and a file after; what
//! was in between is found by other names (`series`), and a loss is possible unless times prove that there was nothing else (`gap`).

use std::fs::File;
use std::time::SystemTime;

use pollscope_base::reason;

use super::error::InputError;
use super::events::{EventKind, Unseen};
use super::gap;
use super::generations::Generations;
use super::name::Name;
use super::series::Listing;
use crate::pipeline::clock::{self, TICK};
use crate::pipeline::file::{Identity, folder_of, identity, open_file, special_kind};
use crate::pipeline::inotify::{NameNews, NameWatch};
use crate::pipeline::planted::{Planted, is_planted};

/// What is known of the name.
#[derive(Debug)]
pub(super) struct Rotation {
    name: Name,
    /// The watch that opens files that take the name, if any.
    pub(super) watch: Option<NameWatch>,
    /// Whether to watch the files as well, so that a tail is woken when they grow.
    pub(super) watches_files: bool,
    /// The output's identity: it must not become an input.
    pub(super) output: Option<Identity>,
    /// The folder at the last look.
    folder: Option<Folder>,
    /// The same when the newest file last had the name.
    home: Option<Identity>,
    /// The link that has the name, if it is one.
    link: Option<Identity>,
    /// The files of that folder with names made from the input's.
    listing: Listing,
    unexplained: Option<Unexplained>,
    /// How often it was looked at.
    #[cfg(test)]
    pub(super) looks: u64,
}

/// A folder that was looked at.
#[derive(Debug, Clone, Copy)]
struct Folder {
    identity: Identity,
    /// When a name in it last came or went, if its file system tells.
    modified: Option<SystemTime>,
    at: SystemTime,
}

/// A file that a look found at the name, of which no event told so far.
#[derive(Debug)]
struct Unexplained {
    identity: Identity,
    is_certain: bool,
}

fn link(files: &Generations) -> Option<Identity> {
    let metadata = files.path().symlink_metadata().ok()?;
    metadata.is_symlink().then(|| identity(&metadata))
}

/// Whether no name came or went between two looks, but in the tick of the first.
fn is_same_folder(before: Option<Folder>, now: Option<Folder>) -> bool {
    before.zip(now).is_some_and(|(before, now)| {
        let is_same = (before.identity, before.modified) == (now.identity, now.modified);
        is_same && before.modified.is_some_and(|modified| modified + TICK < before.at)
    })
}

impl Rotation {
    /// The newest file has the name.
    pub(super) fn new() -> Rotation {
        Rotation {
            name: Name::Fine,
            watch: None,
            watches_files: false,
            output: None,
            folder: None,
            home: None,
            link: None,
            listing: Listing::default(),
            unexplained: None,
            #[cfg(test)]
            looks: 0,
        }
    }

    pub(super) fn is_name_fine(&self) -> bool {
        self.name == Name::Fine
    }

    /// Takes note of what is in the folder before anything takes the name.
    pub(super) fn begin(&mut self, files: &Generations) {
        self.folder = self.look_at_folder(files);
        self.home = self.folder.map(|folder| folder.identity);
        self.link = link(files);
        self.listing = Listing::of(files.path());
    }

    /// Looks which file has the name now, and adds those that took it. With `is_last`, there is no later look.
    ///
    /// # Errors
    /// When one of them cannot be looked at.
    pub(super) fn look(&mut self, files: &mut Generations, is_last: bool) -> Result<(), InputError> {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        let before = self.folder;
        let news = self.take(files)?;
        let folder = self.look_at_folder(files);
        // Before the look at the name: what takes the name later is not in it.
        let listing = (!is_same_folder(before, folder)).then(|| Listing::of(files.path()));
        let is_told = self.tell_lost_events(&news, (before, folder), files);
        self.explain(files);
        let now = clock::now();
        let newest = files.newest().identity;
        let name = self.look_at_name(files)?;
        if name == Name::Fine {
            files.named_at = now;
            self.look_at_link(files.newest().identity == newest, files);
        }
        if is_told {
            self.unexplained = None;
            self.begin_with_newest(&name, files);
        }
        if let Some(event) = self.name.becomes(name) {
            files.record(event);
        }
        if is_last {
            self.end(folder, files)?;
        }
        if self.is_name_fine() {
            self.home = folder.map(|folder| folder.identity);
            self.listing = listing.unwrap_or_else(|| std::mem::take(&mut self.listing));
        }
        self.folder = folder;
        Ok(())
    }

    fn look_at_folder(&self, files: &Generations) -> Option<Folder> {
        let at = clock::now();
        let path = folder_of(files.path());
        let metadata = path.metadata().ok()?;
        let is_dated = clock::is_dated(path) || is_planted(Planted::StillFolder);
        let modified = is_dated.then(|| clock::modified(&metadata));
        Some(Folder { identity: identity(&metadata), modified, at })
    }

    /// Adds the files of which events told.
    fn take(&mut self, files: &mut Generations) -> Result<NameNews, InputError> {
        let Some(watch) = &self.watch else { return Ok(NameNews::default()) };
        let mut news = watch.take();
        for file in std::mem::take(&mut news.new.files) {
            self.adopt(file, false, files)?;
        }
        (0..news.new.missed).for_each(|_| files.record(EventKind::Missed));
        if let Some(why) = news.broken.take() {
            files.record(EventKind::NotWatched { why });
            self.watch = None;
        }
        Ok(news)
    }

    /// Says what events may not have told: those that were lost, and those of a folder that was not watched yet.
    fn tell_lost_events(
        &mut self,
        news: &NameNews,
        (before, now): (Option<Folder>, Option<Folder>),
        files: &Generations,
    ) -> bool {
        let mut is_told = false;
        let mut tell = |why| {
            files.record(EventKind::Unseen { why });
            is_told = true;
        };
        if news.has_overflowed && !is_same_folder(before, now) && !is_planted(Planted::Overflow) {
            tell(Unseen::Overflow);
        }
        let is_replaced = |watch: &NameWatch| now.is_some_and(|folder| !watch.is_watching(folder.identity));
        if let Some(watch) = &self.watch
            && (news.folder_moved || is_replaced(watch))
            && !is_planted(Planted::FolderReplaced)
        {
            tell(Unseen::Folder);
            if is_replaced(watch)
                && let Err(error) = watch.watch_folder(files.newest().identity)
            {
                files.record(EventKind::NotWatched { why: reason(&error) });
                self.watch = None;
            }
        }
        is_told
    }

    /// A file that a look found is explained by events, if one came meanwhile. Otherwise nothing tells what was between two looks.
    fn explain(&mut self, files: &Generations) {
        let Some(Unexplained { identity, is_certain }) = self.unexplained.take() else { return };
        let is_explained = is_certain || self.watch.as_ref().is_some_and(|watch| watch.knows(identity));
        if !is_explained || is_planted(Planted::NeedlessLoss) {
            self.tell_unseen(files);
        }
    }

    fn tell_unseen(&self, files: &Generations) {
        if !is_planted(Planted::GoneBetweenLooks) {
            files.record(EventKind::Unseen { why: Unseen::Looks });
        }
    }

    /// A new link to the same file tells that links were switched, and only events tell what was in between.
    fn look_at_link(&mut self, is_same_file: bool, files: &Generations) {
        let now = link(files);
        if std::mem::replace(&mut self.link, now) != now && is_same_file && self.watch.is_none() {
            self.tell_unseen(files);
        }
    }

    fn begin_with_newest(&self, name: &Name, files: &Generations) {
        if let Some(watch) = self.watch.as_ref().filter(|_| *name == Name::Fine) {
            watch.begin_with(files.newest().identity);
        }
    }

    fn look_at_name(&mut self, files: &mut Generations) -> Result<Name, InputError> {
        let has_name = |files: &Generations| {
            files.path().metadata().map(|metadata| (identity(&metadata) == files.newest().identity, metadata))
        };
        let metadata = match has_name(files) {
            Ok((true, _)) => return Ok(Name::Fine),
            Ok((false, metadata)) => metadata,
            Err(error) => return Ok(Name::of(&error)),
        };
        if let Some(kind) = special_kind(&metadata) {
            return Ok(Name::Obstructed(format!("it is a {kind}")));
        }
        if Some(identity(&metadata)) == self.output {
            return Ok(Name::Obstructed("it is the output".to_owned()));
        }
        // The events of what the look found may have come just now.
        if self.watch.is_some() {
            let news = self.take(files)?;
            self.tell_lost_events(&news, (None, None), files);
            if has_name(files).is_ok_and(|(has_name, _)| has_name) {
                return Ok(Name::Fine);
            }
        }
        match open_file(files.path()) {
            Ok(file) => self.adopt(file, true, files).map(|()| Name::Fine),
            Err(error) => Ok(Name::of(&error)),
        }
    }

    /// Adds a file that has or had the name, unless it is known. With `has_name`, it has the name now, and no event told of it.
    fn adopt(&mut self, file: File, has_name: bool, files: &mut Generations) -> Result<(), InputError> {
        let Ok(metadata) = file.metadata() else { return Ok(()) };
        let found = identity(&metadata);
        if special_kind(&metadata).is_some() || Some(found) == self.output {
            return Ok(());
        }
        if let Some(known) = files.position(found) {
            // It had the name until a moment ago.
            files.linger(known);
            if known + 1 < files.open.len() {
                // A link was switched back, or a file renamed.
                files.linger_at_newest();
                files.make_newest(known);
                files.record(EventKind::Replaced);
                if has_name && self.watch.is_none() {
                    // Looks do not show what was before it came back.
                    self.tell_unseen(files);
                }
            }
            return Ok(());
        }
        files.linger_at_newest();
        if has_name {
            self.adopt_between(Some(&file), files)?;
        }
        files.add(file)?;
        files.record(EventKind::Replaced);
        if let Some(watch) = self.watch.as_ref().filter(|_| self.watches_files) {
            // Without it, its tail notices new data by looking.
            let _ = watch.watch_file();
        }
        Ok(())
    }

    /// Adds the files that other names show to have had the name before `file`, or before now. Returns whether there was nothing else.
    fn adopt_between(&mut self, file: Option<&File>, files: &mut Generations) -> Result<bool, InputError> {
        let between = files.before(file, &self.listing);
        let mut chain = vec![files.newest().file().as_ref()];
        chain.extend(between.found.iter().map(|(_, file)| file));
        chain.extend(file);
        // With a file in between, the first was perhaps renamed again, and its times say no more when it lost the name.
        let is_simple = !between.is_doubtful && between.found.is_empty();
        let is_certain = is_simple && self.has_folder(files) && gap::are_without_gap(&chain);
        if let Some(metadata) = file.and_then(|file| file.metadata().ok()) {
            self.unexplained = Some(Unexplained { identity: identity(&metadata), is_certain });
        }
        if self.watch.is_none() {
            self.explain(files);
        }
        for (path, between) in between.found {
            files.record(EventKind::FoundBetween { path });
            files.add(between)?;
        }
        Ok(is_certain)
    }

    /// Whether the folder is the one in which the newest file had the name.
    fn has_folder(&self, files: &Generations) -> bool {
        self.look_at_folder(files).is_some_and(|now| Some(now.identity) == self.home)
    }

    /// There is no later look: says what stays unknown.
    fn end(&mut self, folder: Option<Folder>, files: &mut Generations) -> Result<(), InputError> {
        // What lost a name may have got another one meanwhile.
        self.take(files)?;
        self.explain(files);
        match &self.name {
            Name::Fine => {}
            Name::Unreadable(_) => files.record(EventKind::Unseen { why: Unseen::Unreadable }),
            Name::Missing { .. } | Name::Obstructed(_) => {
                let newest = files.newest().identity;
                if self.watch.as_ref().is_some_and(|watch| !watch.is_at_name(newest)) {
                    return Ok(());
                }
                let is_certain = self.adopt_between(None, files)?;
                let last = files.newest().file();
                if !is_certain
                    || !folder.and_then(|folder| folder.modified).is_some_and(|at| gap::was_nothing_after(last, at))
                {
                    self.tell_unseen(files);
                }
            }
        }
        Ok(())
    }
}
