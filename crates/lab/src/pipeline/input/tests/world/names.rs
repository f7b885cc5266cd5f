//! Who had the name, and what a reader can know of that.

use std::fs;
use std::time::{Duration, SystemTime};

use super::{TICK, Turn, Watched, World, virtual_clock};
use crate::pipeline::clock::virtual_clock::FileTimes;

impl World {
    /// Lets time pass.
    pub(in crate::pipeline::input::tests) fn wait(&mut self, time: Duration) {
        virtual_clock::passes(time);
    }

    pub(super) fn touch_folder(&self) {
        let is_dated = virtual_clock::are_folders_dated() == Some(true);
        if let Ok(metadata) = self.folder.metadata()
            && is_dated
        {
            virtual_clock::is_modified(&metadata);
        }
    }

    /// A file got or lost a name.
    pub(super) fn is_renamed(&self, file: usize) {
        // The file that a link leads to is not changed with the link.
        if !self.is_link {
            virtual_clock::is_renamed(&self.files[file].handle.metadata().unwrap());
        }
        self.touch_folder();
    }

    pub(super) fn is_written(&mut self, file: usize) {
        virtual_clock::is_modified(&self.files[file].handle.metadata().unwrap());
        self.files[file].written_at = Some(self.changed_at(file));
    }

    /// When it was created or got its last name, if it was not written since.
    pub(super) fn changed_at(&self, file: usize) -> SystemTime {
        self.times(file).changed
    }

    fn times(&self, file: usize) -> FileTimes {
        virtual_clock::times(&self.files[file].handle.metadata().unwrap()).expect("it was made here")
    }

    /// The file that has the name loses it. Its times tell when, if it was not written in the same tick.
    pub(super) fn lose_name(&mut self) {
        let Some(file) = self.holder.take() else { return };
        self.is_renamed(file);
        let times = self.times(file);
        let at = (times.changed > times.modified).then_some(times.changed);
        self.turns.push(Turn::Lost { file, at });
    }

    /// The folder is replaced by a new one.
    pub(in crate::pipeline::input::tests) fn replace_folder(&mut self) {
        self.clear_the_way();
        let number = self.next();
        let away = self.around.join(format!("logs.{number}"));
        fs::rename(&self.folder, &away).unwrap();
        fs::create_dir(&self.folder).unwrap();
        virtual_clock::is_made(&self.folder.metadata().unwrap());
        for file in &mut self.files {
            let in_folder = file.path.as_ref().and_then(|path| path.strip_prefix(&self.folder).ok());
            file.path = in_folder.map(|name| away.join(name)).or(file.path.take());
        }
        self.rotated.clear();
        if let Some(file) = self.holder.take() {
            self.turns.push(Turn::Lost { file, at: None });
        }
        self.is_blind = true;
    }

    /// Events are lost.
    pub(in crate::pipeline::input::tests) fn lose_events(&mut self) {
        self.is_blind = true;
    }

    pub(super) fn begin_reading(&mut self) {
        self.turns.clear();
        (self.last_seen, self.is_blind, self.has_copied) = (self.holder, false, false);
    }

    /// The reader has read the events of the folder.
    pub(in crate::pipeline::input::tests) fn was_drained(&mut self) {
        if self.is_blind || self.watch == Watched::ByLooks {
            return;
        }
        for file in self.unknown() {
            // What an event leads to is opened.
            let is_open = if self.is_link { self.holder == Some(file) } else { self.files[file].path.is_some() };
            self.settle(file, is_open, true);
        }
        self.turns.clear();
        self.last_seen = self.holder;
    }

    /// The files that had the name and of which the reader does not know.
    fn unknown(&self) -> Vec<usize> {
        (0..self.files.len()).filter(|file| self.is_unknown(*file)).collect()
    }

    fn is_unknown(&self, file: usize) -> bool {
        let file = &self.files[file];
        file.had_name && !file.is_known && !file.is_left
    }

    /// A file is known to the reader from now on, or is lost for it, which it must tell if it can.
    fn settle(&mut self, file: usize, is_known: bool, must_tell: bool) {
        self.files[file].is_known = is_known;
        if is_known {
            return;
        }
        let lost = &mut self.files[file];
        (lost.is_left, lost.is_retired) = (true, true);
        // What was read when it was known stays owed.
        let sure = if lost.changed.is_none() { lost.sure } else { 0 };
        let not_read = self.texts.iter_mut().filter(|text| text.file == file && text.end > sure);
        not_read.for_each(|text| text.is_owed = false);
        self.must_tell += u64::from(must_tell);
        self.may_tell += u64::from(must_tell);
    }

    /// The reader has looked at the name, and has read the events before that.
    pub(in crate::pipeline::input::tests) fn was_name_looked_at(&mut self, is_last: bool) {
        self.was_drained();
        if self.is_blind && self.watch == Watched::ByEvents {
            // Of the queue and of the folder.
            self.may_tell += 2;
        }
        let must_tell = self.is_blind || !self.is_gap_hidden();
        let waits = !self.is_blind || self.watch == Watched::ByLooks;
        if self.holder.is_none() && waits && !is_last {
            // What takes the name next shows that something was there.
            return;
        }
        if self.watch == Watched::ByLooks && (self.is_blind || !self.is_gap_excluded(is_last)) {
            self.may_tell += 1 + u64::from(is_last);
        }
        let mut has_lost = false;
        for file in self.unknown() {
            let of = &self.files[file];
            let in_folder = of.path.as_ref().is_some_and(|path| path.parent() == Some(&self.folder));
            let is_found = self.holder == Some(file) || (!self.is_link && in_folder);
            // After events were lost, a file that is found by its name may have come by an event, too.
            self.settle(file, is_found && (!self.is_blind || self.holder == Some(file)), false);
            has_lost |= !self.files[file].is_known;
        }
        self.must_tell += u64::from(has_lost && must_tell);
        let is_first_gone = self.last_seen.is_some_and(|file| self.files[file].path.is_none());
        self.is_any_order_right |= (self.is_blind && has_lost) || (!self.has_births && is_first_gone);
        self.begin_reading();
    }

    /// Whether times show that no other file had the name: it went from one file to the next, once.
    fn is_gap_excluded(&self, is_last: bool) -> bool {
        match self.turns[..] {
            _ if self.has_copied => false,
            [] => true,
            [Turn::Lost { file, at: Some(lost) }, Turn::Took { file: new, at: took }] => {
                let times = self.times(file);
                let is_as_it_was = times.changed == lost && times.modified < lost && self.files[new].path.is_some();
                is_as_it_was && is_together(lost, took) && !self.is_link && self.has_births
            }
            [Turn::Lost { .. }] => !is_last,
            _ => false,
        }
    }

    /// Whether all of it happened within a tick, so that times cannot show it.
    fn is_gap_hidden(&self) -> bool {
        if self.is_link {
            return false;
        }
        let times = self.turns.iter().filter_map(|turn| match turn {
            Turn::Lost { at, .. } => *at,
            Turn::Took { at, .. } => Some(*at),
        });
        let (first, last) = (times.clone().min(), times.max());
        first.zip(last).is_some_and(|(first, last)| is_together(first, last))
    }
}

fn is_together(one: SystemTime, other: SystemTime) -> bool {
    one <= other + TICK && other <= one + TICK
}
