//! Changes of a log that do not give its name to another file: copies, cuts and rewrites.

use std::fs;
use std::os::unix::fs::FileExt;

use super::{InPlace, Rotated, World, virtual_clock};

impl World {
    /// Copies the file and cuts it, with writes in between.
    pub(in crate::pipeline::input::tests) fn copytruncate(&mut self, in_between: usize, over_the_old_copy: bool) {
        let Some(file) = self.holder.filter(|_| !self.is_link) else { return };
        if over_the_old_copy && matches!(self.rotated.first(), Some(Rotated::Copy(_))) {
            self.rotated[0] = Rotated::Copy(self.next());
            self.copies_over += 1;
        } else {
            self.shift();
        }
        // In place, if a copy exists.
        fs::write(self.rotated_path(1), &self.files[file].content).unwrap();
        self.is_copied();
        let copied = (0..self.texts.len()).filter(|&text| self.is_inside(text, file)).collect();
        let len = self.files[file].content.len();
        for _ in 0..in_between {
            self.write_line(Some(file), 3);
        }
        self.cut(0);
        let changed = self.files[file].changed.as_mut().expect("it was just cut");
        changed.copied = Some((copied, self.rotated[0], len));
    }

    /// Copies the file and leaves it as it is.
    pub(in crate::pipeline::input::tests) fn back_up(&mut self) {
        let Some(file) = self.holder.filter(|_| !self.is_link) else { return };
        self.shift();
        fs::write(self.rotated_path(1), &self.files[file].content).unwrap();
        self.is_copied();
    }

    /// Gives the copy its times.
    fn is_copied(&mut self) {
        self.has_copied = true;
        let copy = self.rotated_path(1).metadata().unwrap();
        if virtual_clock::times(&copy).is_none() {
            virtual_clock::is_made(&copy);
        }
        virtual_clock::is_modified(&copy);
        self.touch_folder();
    }

    /// Empties a part of what was certainly read, long before what was read last. Returns whether there is so much.
    pub(in crate::pipeline::input::tests) fn punch(&mut self, thousandth: usize) -> bool {
        let Some(file) = self.holder else { return false };
        let of = &mut self.files[file];
        let Some(room) = of.sure.checked_sub(300).filter(|_| of.changed.is_none()) else { return false };
        let to = room * thousandth / 1_000 + 1;
        of.handle.write_all_at(&vec![0; to], 0).unwrap();
        of.content[..to].fill(0);
        self.is_written(file);
        self.is_punched = true;
        true
    }

    fn is_inside(&self, text: usize, file: usize) -> bool {
        self.texts[text].file == file && !self.texts[text].is_removed
    }

    /// Cuts the file to a length between nothing (0) and all (1,000).
    pub(in crate::pipeline::input::tests) fn cut(&mut self, thousandth: usize) {
        let Some(file) = self.holder else { return };
        let to = self.files[file].content.len() * thousandth / 1_000;
        self.remove_beyond(file, to);
        let of = &mut self.files[file];
        of.handle.set_len(to as u64).unwrap();
        of.content.truncate(to);
        self.is_written(file);
        self.note_rest(file);
    }

    fn remove_beyond(&mut self, file: usize, to: usize) {
        self.in_place += 1;
        let of = &mut self.files[file];
        of.was_changed = true;
        let sure = of.sure.min(of.content.len());
        let new = || InPlace { read: of.content[..sure].to_vec(), removed: Vec::new(), copied: None, times: 0 };
        let changed = of.changed.get_or_insert_with(new);
        changed.times += 1;
        for (index, text) in self.texts.iter_mut().enumerate().filter(|(_, text)| text.file == file) {
            if !text.is_removed && text.end > to {
                text.is_removed = true;
                changed.removed.push(index);
            } else if !text.is_removed {
                text.survived += 1;
            }
        }
    }

    /// Writes other lines over the present ones, into the same file: as many bytes, or more.
    pub(in crate::pipeline::input::tests) fn rewrite(&mut self, longer: bool) {
        let Some(file) = self.holder else { return };
        let len = self.files[file].content.len();
        if longer {
            self.cut(0);
            let line = [self.line(len), b"\n".to_vec()].concat();
            return self.write(file, &line);
        }
        let mut line = self.line(len);
        line.truncate(len.saturating_sub(1));
        if line.len() < 12 {
            return;
        }
        line.push(b'\n');
        self.remove_beyond(file, 0);
        let of = &mut self.files[file];
        of.handle.write_all_at(&line, 0).unwrap();
        of.content.clear();
        of.line_start = 0;
        self.is_written(file);
        self.hold(file, &line);
    }
}
