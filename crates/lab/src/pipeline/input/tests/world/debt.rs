//! What the reader of a log owes.

use std::collections::HashMap;

use super::{Text, World};

/// How many possible losses a reader recorded.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline::input::tests) struct Told {
    /// Of files that had the name.
    pub(in crate::pipeline::input::tests) of_names: u64,
    /// Of what was in a file that was cut or rewritten.
    pub(in crate::pipeline::input::tests) in_place: u64,
}

impl World {
    /// Notes a look that found nothing more: the reader has read all files that it looks at to their ends.
    pub(in crate::pipeline::input::tests) fn was_looked_at(&mut self) {
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
        told: Told,
        is_complete: bool,
    ) -> Result<(), String> {
        let losses = told.in_place;
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
            // The same of a line whose beginning was handed out as one that its writer did not end.
            let is_gone_on_with = |handed_out: &&[u8]| !handed_out.is_empty() && line.ends_with(handed_out);
            let is_split = self.is_link && self.in_place > 0 && counts.keys().any(is_gone_on_with);
            if is_complete && count < owed && !is_split {
                return Err(format!(
                    "`{}` was handed out {count} times, not {owed}, and no loss explains it",
                    show(line)
                ));
            }
            let with_removed = of.iter().filter(is_owed).count() as u64;
            if is_complete && count < with_removed && losses == 0 && !is_split {
                return Err(format!("`{}` was handed out {count} times, not {with_removed}, silently", show(line)));
            }
        }
        let most = if self.in_place > 0 { self.in_place + self.copies_over } else { 0 };
        if losses > most {
            return Err(format!("{losses} possible losses in place were recorded, and {most} at most can be"));
        }
        if told.of_names > self.may_tell {
            let (told, most) = (told.of_names, self.may_tell);
            return Err(format!("{told} possible losses of files were recorded, and {most} at most can be"));
        }
        if is_complete && told.of_names < self.must_tell {
            return Err(format!("{} losses of files were recorded, and there are {}", told.of_names, self.must_tell));
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
        // A file that was rewritten while nobody looked, and begins as before, goes on within its first line.
        let goes_on = |of: &Text| self.in_place > 0 && self.is_link && of.bytes.ends_with(line);
        self.tails.contains(line)
            || self.texts.iter().any(goes_on)
            || self.split.iter().any(|of| is_in(of))
            || self.texts.iter().any(|text| begins(&text.bytes))
            || self.tails.iter().any(|tail| begins(tail))
    }
}
