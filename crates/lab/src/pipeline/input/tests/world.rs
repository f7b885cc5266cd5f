//! A log, its writer and everything that befalls it; and what its reader owes. It knows nothing of how inputs are read.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

/// How many files with older names rotation keeps.
const ROTATED: usize = 3;

pub(super) struct World {
    folder: PathBuf,
    /// Whether the name is a link to a file.
    is_link: bool,
    max_line: usize,
    files: Vec<LogFile>,
    /// Which file has the name.
    holder: Option<usize>,
    /// What stands in the way of the name.
    obstacle: Option<Obstacle>,
    /// What has the names `a.log.1`, `a.log.2`, ….
    rotated: Vec<Rotated>,
    texts: Vec<Text>,
    /// What stood after the last newline at some time, in pieces as long as a line may be.
    tails: HashSet<Vec<u8>>,
    /// Lines of which a beginning may have been handed out long before they were whole.
    split: Vec<Vec<u8>>,
    in_place: u64,
    /// Whether a file lost its last name since all was looked at.
    was_deleted: bool,
    /// Whether the order of lines in different files cannot be known: a link was switched back, or files changed names faster than
    /// they could be opened, within one tick of the clock, and one of them was deleted.
    is_any_order_right: bool,
    /// Whether every file that takes the name is seen, however short it has it.
    sees_every_name: bool,
    number: u64,
    /// What was done, to be read after a failure.
    pub(super) actions: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rotated {
    File(usize),
    /// Every copy has a number.
    Copy(u64),
}

enum Obstacle {
    Folder,
    DanglingLink,
}

struct LogFile {
    path: Option<PathBuf>,
    /// A handle of the writer.
    handle: File,
    content: Vec<u8>,
    line_start: usize,
    /// How many bytes a look that found nothing more has passed.
    sure: usize,
    /// Whether it had the name at such a look, or can be found.
    is_known: bool,
    had_name: bool,
    /// What was taken from it since.
    changed: Option<InPlace>,
    was_changed: bool,
    /// Whether another file took its place so long ago that it is not looked at any more.
    is_retired: bool,
    is_left: bool,
    /// Whether a beginning of its last line may have been handed out as a line, when it was left.
    is_split: bool,
}

/// A change in place that no look has seen yet.
struct InPlace {
    /// What was read for sure before.
    read: Vec<u8>,
    removed: Vec<usize>,
    /// What a copy has of that, and the file that it is.
    copied: Option<(Vec<usize>, Rotated, usize)>,
    times: u64,
}

/// A line, or a piece of one too long.
struct Text {
    bytes: Vec<u8>,
    file: usize,
    /// Where its line ends in the file.
    end: usize,
    is_owed: bool,
    /// Whether its file had the name when it was written.
    is_named: bool,
    is_removed: bool,
    /// How often the file was changed in place and still had it.
    survived: u64,
}

impl World {
    pub(super) fn new(folder: &Path, is_link: bool, sees_every_name: bool, max_line: usize) -> World {
        let mut world = World {
            folder: folder.to_owned(),
            is_link,
            max_line,
            files: Vec::new(),
            holder: None,
            obstacle: None,
            rotated: Vec::new(),
            texts: Vec::new(),
            tails: HashSet::new(),
            split: Vec::new(),
            in_place: 0,
            was_deleted: false,
            is_any_order_right: false,
            sees_every_name,
            number: 0,
            actions: Vec::new(),
        };
        world.create();
        world
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join("a.log")
    }

    fn rotated_path(&self, number: usize) -> PathBuf {
        self.folder.join(format!("a.log.{number}"))
    }

    pub(super) fn is_readable(&self) -> bool {
        self.holder.is_some()
    }

    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// A line that there is only once, without its newline.
    fn line(&mut self, longer_than: usize) -> Vec<u8> {
        let number = self.next();
        let mut line = format!("L{number}-").into_bytes();
        for piece in 0.. {
            if line.len() > longer_than {
                return line;
            }
            line.extend(format!("{number}.{piece},").bytes());
        }
        unreachable!("a line ends");
    }

    // What the writer does.

    /// Something takes the name: a new file, or the link names one.
    pub(super) fn create(&mut self) {
        self.clear_the_way();
        let number = self.next();
        let path = if self.is_link { self.folder.join(format!("t{number}")) } else { self.path() };
        let file = self.make(path);
        if self.is_link {
            self.link_to(file);
        }
        self.name(file);
    }

    /// As editors save: a new file with content, renamed over the old one.
    pub(super) fn replace(&mut self) {
        self.clear_the_way();
        let number = self.next();
        let file = self.make(self.folder.join(format!("new{number}")));
        for _ in 0..2 {
            let line = [self.line(3), b"\n".to_vec()].concat();
            self.write(file, &line);
        }
        if self.is_link {
            self.link_to(file);
        } else {
            fs::rename(self.files[file].path.as_ref().unwrap(), self.path()).unwrap();
            self.files[file].path = Some(self.path());
            if let Some(old) = self.holder {
                self.files[old].path = None;
                self.was_deleted = true;
            }
        }
        self.name(file);
    }

    /// The link names one of the files that it named before.
    pub(super) fn switch_back(&mut self, which: usize) {
        if self.is_link && self.files[which % self.files.len()].path.is_some() {
            self.clear_the_way();
            let file = which % self.files.len();
            self.link_to(file);
            self.is_any_order_right = true;
            self.name(file);
        }
    }

    fn make(&mut self, path: PathBuf) -> usize {
        let handle = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        self.files.push(LogFile {
            path: Some(path),
            handle,
            content: Vec::new(),
            line_start: 0,
            sure: 0,
            is_known: false,
            had_name: false,
            changed: None,
            was_changed: false,
            is_retired: false,
            is_left: false,
            is_split: false,
        });
        self.files.len() - 1
    }

    fn link_to(&self, file: usize) {
        let new = self.folder.join("link");
        symlink(self.files[file].path.as_ref().unwrap(), &new).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    fn name(&mut self, file: usize) {
        self.holder = Some(file);
        let named = &mut self.files[file];
        // One that was left long ago must be seen to have the name again.
        named.is_known &= !named.is_left;
        (named.is_retired, named.is_left) = (false, false);
        if !std::mem::replace(&mut named.had_name, true) {
            // Written now, as far as the name is concerned.
            for text in self.texts.iter_mut().filter(|text| text.file == file) {
                (text.is_owed, text.is_named) = (true, true);
            }
        }
        self.files[file].is_known |= self.sees_every_name;
    }

    fn clear_the_way(&mut self) {
        match self.obstacle.take() {
            Some(Obstacle::Folder) => fs::remove_dir(self.path()).unwrap(),
            Some(Obstacle::DanglingLink) => fs::remove_file(self.path()).unwrap(),
            None => {}
        }
    }

    /// Two files take the name at once.
    pub(super) fn rotate_twice(&mut self) {
        // A link that is switched twice at once leaves no trace of the first time.
        for _ in 0..2 - u8::from(self.is_link) {
            self.rotate();
            self.create();
            self.write_line(None, 3);
        }
        self.is_any_order_right |= self.sees_every_name;
    }

    /// The file loses its name to an older one's, or altogether.
    pub(super) fn rotate(&mut self) {
        let Some(file) = self.holder else { return };
        if self.is_link {
            return self.delete();
        }
        self.shift();
        fs::rename(self.path(), self.rotated_path(1)).unwrap();
        self.files[file].path = Some(self.rotated_path(1));
        self.rotated[0] = Rotated::File(file);
        self.holder = None;
    }

    fn shift(&mut self) {
        if self.rotated.len() == ROTATED {
            fs::remove_file(self.rotated_path(ROTATED)).unwrap();
            if let Some(Rotated::File(file)) = self.rotated.pop() {
                self.files[file].path = None;
                self.was_deleted = true;
            }
        }
        for number in (1..=self.rotated.len()).rev() {
            fs::rename(self.rotated_path(number), self.rotated_path(number + 1)).unwrap();
            if let Rotated::File(file) = self.rotated[number - 1] {
                self.files[file].path = Some(self.rotated_path(number + 1));
            }
        }
        let copy = self.next();
        self.rotated.insert(0, Rotated::Copy(copy));
    }

    pub(super) fn delete(&mut self) {
        let Some(file) = self.holder.take() else { return };
        fs::remove_file(self.path()).unwrap();
        if !self.is_link {
            self.files[file].path = None;
            self.was_deleted = true;
        }
    }

    pub(super) fn obstruct(&mut self, by_folder: bool) {
        self.rotate();
        if self.obstacle.is_none() && by_folder {
            fs::create_dir(self.path()).unwrap();
            self.obstacle = Some(Obstacle::Folder);
        } else if self.obstacle.is_none() {
            symlink(self.folder.join("nowhere"), self.path()).unwrap();
            self.obstacle = Some(Obstacle::DanglingLink);
        }
    }

    /// Copies the file and cuts it, with writes in between.
    pub(super) fn copytruncate(&mut self, in_between: usize, over_the_old_copy: bool) {
        let Some(file) = self.holder.filter(|_| !self.is_link) else { return };
        if over_the_old_copy && matches!(self.rotated.first(), Some(Rotated::Copy(_))) {
            self.rotated[0] = Rotated::Copy(self.next());
        } else {
            self.shift();
        }
        // In place, if there is one.
        fs::write(self.rotated_path(1), &self.files[file].content).unwrap();
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
    pub(super) fn back_up(&mut self) {
        let Some(file) = self.holder.filter(|_| !self.is_link) else { return };
        self.shift();
        fs::write(self.rotated_path(1), &self.files[file].content).unwrap();
    }

    fn is_inside(&self, text: usize, file: usize) -> bool {
        self.texts[text].file == file && !self.texts[text].is_removed
    }

    /// Cuts the file to a length between nothing (0) and all (1,000).
    pub(super) fn cut(&mut self, thousandth: usize) {
        let Some(file) = self.holder else { return };
        let to = self.files[file].content.len() * thousandth / 1_000;
        self.remove_beyond(file, to);
        let of = &mut self.files[file];
        of.handle.set_len(to as u64).unwrap();
        of.content.truncate(to);
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

    /// Writes other lines over those that there are, into the same file: just as many bytes, or more.
    pub(super) fn rewrite(&mut self, longer: bool) {
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
        self.hold(file, &line);
    }

    /// Writes a line into the file that has the name, or into an older one.
    pub(super) fn write_line(&mut self, file: Option<usize>, longer_than: usize) {
        let Some(file) = file.map(|file| file % self.files.len()).or(self.holder) else { return };
        let line = [self.line(longer_than), b"\n".to_vec()].concat();
        self.write(file, &line);
    }

    /// Writes a piece of a line.
    pub(super) fn write_piece(&mut self, longer_than: usize) {
        let Some(file) = self.holder else { return };
        let line = self.line(longer_than);
        self.write(file, &line);
    }

    pub(super) fn write_newlines(&mut self, newlines: usize) {
        if let Some(file) = self.holder {
            // Two files that hold newlines only cannot be told from a file and its copy.
            if self.files[file].content.is_empty() {
                self.write_line(None, 3);
            }
            self.write(file, &vec![b'\n'; newlines]);
        }
    }

    fn write(&mut self, file: usize, bytes: &[u8]) {
        let of = &self.files[file];
        of.handle.write_all_at(bytes, of.content.len() as u64).unwrap();
        self.hold(file, bytes);
    }

    fn hold(&mut self, file: usize, bytes: &[u8]) {
        for byte in bytes {
            self.files[file].content.push(*byte);
            if *byte == b'\n' {
                self.note_line(file);
            }
        }
        self.note_rest(file);
    }

    fn note_line(&mut self, file: usize) {
        let is_named = self.holder == Some(file);
        let of = &mut self.files[file];
        let end = of.content.len();
        let line = of.content[of.line_start..end - 1].to_vec();
        of.line_start = end;
        let mut pieces: Vec<Vec<u8>> = line.chunks(self.max_line).map(<[u8]>::to_vec).collect();
        if pieces.is_empty() {
            pieces.push(Vec::new());
        }
        let is_split = std::mem::take(&mut of.is_split) || of.is_retired;
        let is_owed = of.had_name && !is_split;
        for bytes in pieces {
            self.texts.push(Text { bytes, file, end, is_owed, is_named, is_removed: false, survived: 0 });
        }
        if is_split {
            self.split.push(line);
        }
    }

    fn note_rest(&mut self, file: usize) {
        let of = &mut self.files[file];
        of.line_start = of.content.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let rest = &of.content[of.line_start..];
        self.tails.extend(rest.chunks(self.max_line).map(<[u8]>::to_vec));
        of.is_split |= of.is_retired && !rest.is_empty();
        if of.is_split {
            self.split.push(rest.to_vec());
        }
    }

    /// So long passes that files without the name are not looked at any more.
    pub(super) fn be_quiet(&mut self) {
        for file in 0..self.files.len() {
            if Some(file) != self.holder && self.files[file].had_name {
                self.files[file].is_retired = true;
                self.note_rest(file);
            }
        }
    }

    /// A new reader begins with the file that has the name.
    pub(super) fn begin_anew(&mut self) {
        let holder = self.holder.take().expect("there is something to read");
        let holder = self.files.swap_remove(holder);
        self.files.clear();
        (self.texts, self.tails, self.split) = Default::default();
        let copies = (0..self.rotated.len()).map(|_| Rotated::Copy(self.next())).collect();
        self.rotated = copies;
        (self.was_deleted, self.is_any_order_right) = (false, false);
        self.in_place = 0;
        let content = holder.content.clone();
        self.files.push(LogFile {
            content: Vec::new(),
            line_start: 0,
            sure: 0,
            is_known: true,
            had_name: true,
            changed: None,
            was_changed: false,
            ..holder
        });
        self.holder = Some(0);
        self.hold(0, &content);
    }

    // What its reader owes.

    /// A look found nothing more: all files that are still looked at are read to their ends.
    pub(super) fn was_looked_at(&mut self) {
        for index in 0..self.files.len() {
            let file = &self.files[index];
            if file.is_known || !file.had_name || file.is_left {
                continue;
            }
            // It had the name between two looks: it can be found by a name that was made from it.
            let is_found = self.holder == Some(index)
                || (!self.is_link && file.path.is_some() && !self.was_deleted && self.holder.is_some());
            if is_found {
                self.files[index].is_known = true;
            } else if self.holder.is_some() || file.path.is_none() {
                // It never can be, from now on.
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
                // What was read of it is still there: nobody can tell that something stood behind it.
                changed.removed.iter().for_each(|text| self.texts[*text].is_owed = false);
            } else if let Some((copied, copy, len)) = changed.copied.filter(|_| changed.times == 1) {
                // The copy has it, if it is still there.
                let is_telling = changed.read.len() >= 16 || changed.read.contains(&b'\n');
                if len >= changed.read.len() && is_telling && self.rotated.contains(&copy) {
                    copied.iter().for_each(|text| self.texts[*text].is_removed = false);
                }
            }
        }
    }

    /// Whether a reader that handed out these lines, and told of so many possible losses, did what it should.
    pub(super) fn check(&self, handed_out: &[Vec<u8>], losses: u64, is_complete: bool) -> Result<(), String> {
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
        // A file that takes the name twice may have been another one the first time: rather one loss too many is told.
        if losses > 0 && self.in_place == 0 && !(self.sees_every_name && self.is_any_order_right) {
            return Err(format!("{losses} possible losses were told, and nothing can have been lost"));
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
            // What was taken away in place comes from a copy, if it comes, and that may be found later.
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
            // What is written late into an older file may come before what the newer one has.
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

    /// Whether it is a line without its end, or one that was completed when its beginning had been handed out long before.
    fn is_rest(&self, line: &[u8]) -> bool {
        let is_in = |of: &[u8]| line.is_empty() || of.windows(line.len()).any(|window| window == line);
        let begins = |of: &[u8]| self.in_place > 0 && of.starts_with(line);
        self.tails.contains(line)
            || self.split.iter().any(|of| is_in(of))
            || self.texts.iter().any(|text| begins(&text.bytes))
            || self.tails.iter().any(|tail| begins(tail))
    }
}
