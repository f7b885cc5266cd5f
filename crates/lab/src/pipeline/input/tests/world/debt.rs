//! What the reader of a log owes.

use std::collections::HashMap;

use super::{Text, World};

impl World {
    /// Notes a look that found nothing more: the reader has read all files that it looks at to their ends.
    pub(in crate::pipeline::input::tests) fn was_looked_at(&mut self) {
        for index in 0..self.files.len() {
            let file = &self.files[index];
            if file.is_known || !file.had_name || file.is_left {
                continue;
            }
            // It had the name between two looks: the reader can find it by a name that was made from the input's.
            let is_found = self.holder == Some(index)
                || (!self.is_link && file.path.is_some() && !self.was_deleted && self.holder.is_some());
            if is_found {
                self.files[index].is_known = true;
            } else if self.holder.is_some() || file.path.is_none() {
                // From now on the reader cannot find it.
                self.files[index].is_left = true;
                self.files[index].is_retired = true;
                self.texts.iter_mut().filter(|text| text.file == index).for_each(|text| text.is_owed = false);
            }
        }
        if self.holder.is_some() {
            self.was_deleted = false;
        }
        for index in 0..self.files.len() {
            let file = &mut self.files[index];
            if file.is_left || !file.is_known {
                continue;
            }
            file.sure = file.content.len();
            file.is_left = file.is_retired;
            let Some(changed) = file.changed.take() else { continue };
            if file.content.starts_with(&changed.read) {
                // What was read of it is still there, so nobody can tell that there was more.
                changed.removed.iter().for_each(|text| self.texts[*text].is_owed = false);
            } else if let Some((copied, copy, len)) = changed.copied.filter(|_| changed.times == 1) {
                // The copy has it, if the copy still exists.
                let is_telling = changed.read.len() >= 16 || changed.read.contains(&b'\n');
                if len >= changed.read.len() && is_telling && self.rotated.contains(&copy) {
                    copied.iter().for_each(|text| self.texts[*text].is_removed = false);
                }
            }
        }
    }

    /// Judges a reader that handed out these lines and recorded so many possible losses.
    pub(in crate::pipeline::input::tests) fn check(
        &self,
        handed_out: &[Vec<u8>],
        losses: u64,
        is_complete: bool,
    ) -> Result<(), String> {
        let mut counts: HashMap<&[u8], u64> = HashMap::new();
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        for (place, line) in handed_out.iter().enumerate() {
            *counts.entry(line).or_default() += 1;
            places.insert(line, place);
        }
        let mut texts: HashMap<&[u8], Vec<&Text>> = HashMap::new();
        for text in &self.texts {
            texts.entry(&text.bytes).or_default().push(text);
        }
        let show = |line: &[u8]| line.escape_ascii().to_string();
        for (line, count) in &counts {
            let of = texts.get(line).map_or(&[][..], Vec::as_slice);
            // A file that was changed in place is read again from its beginning.
            let most: u64 = of.iter().map(|text| 1 + if losses > 0 { text.survived } else { 0 }).sum();
            if *count > most && !self.is_rest(line) {
                return Err(format!("`{}` was handed out {count} times, and {most} at most are right", show(line)));
            }
        }
        for (line, of) in &texts {
            let count = counts.get(line).copied().unwrap_or(0);
            let is_owed = |text: &&&Text| text.is_owed && self.files[text.file].is_known;
            let owed = of.iter().filter(is_owed).filter(|text| !text.is_removed).count() as u64;
            if is_complete && count < owed {
                return Err(format!(
                    "`{}` was handed out {count} times, not {owed}, and no loss explains it",
                    show(line)
                ));
            }
            let with_removed = of.iter().filter(is_owed).count() as u64;
            if is_complete && count < with_removed && losses == 0 {
                return Err(format!("`{}` was handed out {count} times, not {with_removed}, silently", show(line)));
            }
        }
        // A file that takes the name twice may have been another one the first time: the input records one loss too many.
        if losses > 0 && self.in_place == 0 && !(self.sees_every_name && self.is_any_order_right) {
            return Err(format!("{losses} possible losses were recorded, and nothing can be lost"));
        }
        self.check_order(&counts, &places, &texts)
    }

    fn check_order(
        &self,
        counts: &HashMap<&[u8], u64>,
        places: &HashMap<&[u8], usize>,
        texts: &HashMap<&[u8], Vec<&Text>>,
    ) -> Result<(), String> {
        let mut last_of: HashMap<usize, usize> = HashMap::new();
        let mut last = None;
        for text in &self.texts {
            let bytes = text.bytes.as_slice();
            // Lines that were cut off come from a copy, if they come, and the reader may find it later.
            if text.is_removed
                || texts[bytes].len() > 1
                || counts.get(bytes) != Some(&1)
                || self.tails.contains(bytes) && text.survived > 0
            {
                continue;
            }
            let place = places[bytes];
            let show = || bytes.escape_ascii().to_string();
            if last_of.get(&text.file).is_some_and(|before| *before > place) {
                return Err(format!("`{}` came before a line that stood before it in its file", show()));
            }
            // Late lines of an older file may come before lines of the newer one.
            if text.is_named && last.is_some_and(|last| last > place) && !self.is_any_order_right {
                return Err(format!("`{}` came before a line that was written before it", show()));
            }
            last_of.insert(text.file, place);
            let file = &self.files[text.file];
            if text.is_named && !file.was_changed && text.is_owed && !file.is_retired {
                last = last.max(Some(place));
            }
        }
        Ok(())
    }

    /// Whether it is a line without its end, or a line that was completed long after its beginning was handed out.
    fn is_rest(&self, line: &[u8]) -> bool {
        let is_in = |of: &[u8]| line.is_empty() || of.windows(line.len()).any(|window| window == line);
        let begins = |of: &[u8]| self.in_place > 0 && of.starts_with(line);
        self.tails.contains(line)
            || self.split.iter().any(|of| is_in(of))
            || self.texts.iter().any(|text| begins(&text.bytes))
            || self.tails.iter().any(|tail| begins(tail))
    }
}
