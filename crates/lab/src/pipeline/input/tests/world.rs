//! A log, its writer and everything that happens to it; and what its reader owes. It does not know how inputs are read.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

mod debt;
mod in_place;
mod names;

pub(super) use debt::Told;

use crate::pipeline::clock::{TICK, virtual_clock};

/// The number of files with older names that rotation keeps.
const ROTATED: usize = 3;

pub(super) struct World {
    /// The folder of all folders.
    around: PathBuf,
    folder: PathBuf,
    /// Whether the name is a link to a file.
    is_link: bool,
    max_line: usize,
    files: Vec<LogFile>,
    /// The file that has the name.
    holder: Option<usize>,
    /// The obstacle that has the name instead of a file.
    obstacle: Option<Obstacle>,
    /// The files with the names `a.log.1`, `a.log.2`, ….
    rotated: Vec<Rotated>,
    texts: Vec<Text>,
    /// Every text that was once after the last newline, in pieces of the longest line.
    tails: HashSet<Vec<u8>>,
    /// Lines whose beginning may have been handed out long before they were complete.
    split: Vec<Vec<u8>>,
    in_place: u64,
    /// How often a copy was written over an older one, which may be read just then.
    copies_over: u64,
    /// Whether nobody can know the order of lines in different files: a link was switched back, or files exchanged names within one
    /// tick of the clock, too fast to open them, and one of them was deleted.
    is_any_order_right: bool,
    /// How the reader learns which files take the name.
    watch: Watched,
    has_births: bool,
    /// What happened to the name since the reader last learned of it.
    turns: Vec<Turn>,
    /// The file that the reader last found at the name.
    last_seen: Option<usize>,
    /// Whether a copy was made since.
    has_copied: bool,
    /// Whether the reader lost events or its folder since, and may say so.
    is_blind: bool,
    /// How often files were lost of which the reader must tell.
    must_tell: u64,
    /// How often it may have told of any, at most: of each of those, and where nothing shows that there was none.
    may_tell: u64,
    is_punched: bool,
    number: u64,
    /// The history, to print after a failure.
    pub(super) actions: Vec<String>,
}

/// How a reader learns which files take the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    /// By looks.
    ByLooks,
    /// By the events of the folder.
    ByEvents,
}

/// What happened to the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Lost { file: usize, at: Option<SystemTime> },
    Took { file: usize, at: SystemTime },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rotated {
    File(usize),
    /// The number of the next copy.
    Copy(u64),
}

enum Obstacle {
    Folder,
    DanglingLink,
}

struct LogFile {
    path: Option<PathBuf>,
    /// The writer's handle.
    handle: File,
    content: Vec<u8>,
    line_start: usize,
    /// The number of bytes before the last look that found nothing more.
    sure: usize,
    /// Whether it had the name at such a look, or can be found.
    is_known: bool,
    had_name: bool,
    /// The lines that were cut off since.
    changed: Option<InPlace>,
    was_changed: bool,
    /// Whether another file took its name so long ago that the reader looks at it no more.
    is_retired: bool,
    is_left: bool,
    /// Whether the reader may have handed out a beginning of its last line as a line when it left the file.
    is_split: bool,
    written_at: Option<SystemTime>,
}

/// A change in place that no look has seen.
struct InPlace {
    /// The lines that were certainly read before.
    read: Vec<u8>,
    removed: Vec<usize>,
    /// The lines that a copy has, and the copy.
    copied: Option<(Vec<usize>, Rotated, usize)>,
    times: u64,
}

/// A line, or a piece of one too long.
struct Text {
    bytes: Vec<u8>,
    file: usize,
    /// The byte at which its line ends in the file.
    end: usize,
    is_owed: bool,
    /// Whether its file had the name at the time of the write.
    is_named: bool,
    is_removed: bool,
    /// How often the file was changed in place and kept it.
    survived: u64,
}

impl World {
    pub(super) fn new(around: &Path, is_link: bool, (watch, has_births): (Watched, bool), max_line: usize) -> World {
        let folder = around.join("logs");
        fs::create_dir(&folder).unwrap();
        virtual_clock::is_made(&folder.metadata().unwrap());
        let mut world = World {
            around: around.to_owned(),
            folder,
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
            copies_over: 0,
            is_any_order_right: false,
            watch,
            has_births,
            turns: Vec::new(),
            last_seen: None,
            has_copied: false,
            is_blind: false,
            must_tell: 0,
            may_tell: 0,
            is_punched: false,
            number: 0,
            actions: Vec::new(),
        };
        world.create();
        // The reader opens it before anything else happens.
        world.files[0].is_known = true;
        world.begin_reading();
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

    pub(super) fn has_holes(&self) -> bool {
        self.is_punched
    }

    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// A new, unique line, without its newline.
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

    // The writer's actions.

    /// A file takes the name: a new one, or one that the link now names.
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

    /// Renames a new file with content over the old one, as editors save.
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
            self.is_renamed(file);
            if let Some(old) = self.holder {
                self.files[old].path = None;
            }
        }
        self.name(file);
    }

    /// Switches the link to a file that it named before.
    pub(super) fn switch_back(&mut self, which: usize) {
        if self.is_link && self.files[which % self.files.len()].path.is_some() {
            self.clear_the_way();
            let file = which % self.files.len();
            // If it is switched on before the reader comes, nobody can tell that it led to a file that is known.
            self.may_tell += u64::from(self.watch == Watched::ByEvents || self.holder == Some(file));
            self.link_to(file);
            self.is_any_order_right = true;
            self.name(file);
        }
    }

    fn make(&mut self, path: PathBuf) -> usize {
        let handle = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        virtual_clock::is_made(&handle.metadata().unwrap());
        self.touch_folder();
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
            written_at: None,
        });
        self.files.len() - 1
    }

    fn link_to(&self, file: usize) {
        let new = self.folder.join("link");
        symlink(self.files[file].path.as_ref().unwrap(), &new).unwrap();
        fs::rename(new, self.path()).unwrap();
        self.touch_folder();
    }

    fn name(&mut self, file: usize) {
        if self.holder == Some(file) {
            return;
        }
        self.lose_name();
        self.holder = Some(file);
        self.turns.push(Turn::Took { file, at: self.changed_at(file) });
        let named = &mut self.files[file];
        // A look must see that a file that was left long ago, or will be at the next look, has the name again.
        named.is_known &= !named.is_left && !named.is_retired;
        (named.is_retired, named.is_left) = (false, false);
        if !std::mem::replace(&mut named.had_name, true) {
            // For the name, its lines are written now.
            for text in self.texts.iter_mut().filter(|text| text.file == file) {
                (text.is_owed, text.is_named) = (true, true);
            }
        }
    }

    fn clear_the_way(&mut self) {
        match self.obstacle.take() {
            Some(Obstacle::Folder) => fs::remove_dir(self.path()).unwrap(),
            Some(Obstacle::DanglingLink) => fs::remove_file(self.path()).unwrap(),
            None => return,
        }
        self.touch_folder();
    }

    /// Two files take the name in one moment.
    pub(super) fn rotate_twice(&mut self) {
        // A link that is switched twice in one moment leaves no trace of the first switch.
        for _ in 0..2 - u8::from(self.is_link) {
            self.rotate();
            self.create();
            self.write_line(None, 3);
        }
    }

    /// The file gets an older name, or none.
    pub(super) fn rotate(&mut self) {
        let Some(file) = self.holder else { return };
        if self.is_link {
            return self.delete();
        }
        self.shift();
        fs::rename(self.path(), self.rotated_path(1)).unwrap();
        self.files[file].path = Some(self.rotated_path(1));
        self.rotated[0] = Rotated::File(file);
        self.is_renamed(file);
        self.lose_name();
    }

    fn shift(&mut self) {
        if self.rotated.len() == ROTATED {
            fs::remove_file(self.rotated_path(ROTATED)).unwrap();
            if let Some(Rotated::File(file)) = self.rotated.pop() {
                self.files[file].path = None;
                self.is_renamed(file);
            }
        }
        for number in (1..=self.rotated.len()).rev() {
            fs::rename(self.rotated_path(number), self.rotated_path(number + 1)).unwrap();
            if let Rotated::File(file) = self.rotated[number - 1] {
                self.files[file].path = Some(self.rotated_path(number + 1));
                self.is_renamed(file);
            }
        }
        self.touch_folder();
        let copy = self.next();
        self.rotated.insert(0, Rotated::Copy(copy));
    }

    pub(super) fn delete(&mut self) {
        let Some(file) = self.holder else { return };
        fs::remove_file(self.path()).unwrap();
        if !self.is_link {
            self.files[file].path = None;
        }
        self.is_renamed(file);
        self.lose_name();
    }

    pub(super) fn obstruct(&mut self, by_folder: bool) {
        self.rotate();
        if self.obstacle.is_none() && by_folder {
            fs::create_dir(self.path()).unwrap();
            self.touch_folder();
            self.obstacle = Some(Obstacle::Folder);
        } else if self.obstacle.is_none() {
            symlink(self.folder.join("nowhere"), self.path()).unwrap();
            // If it is gone before it is looked at, it may have been a file.
            self.may_tell += u64::from(self.watch == Watched::ByEvents);
            self.touch_folder();
            self.obstacle = Some(Obstacle::DanglingLink);
        }
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
            // Two files of newlines alone look like a file and its copy.
            if self.files[file].content.is_empty() {
                self.write_line(None, 3);
            }
            self.write(file, &vec![b'\n'; newlines]);
        }
    }

    fn write(&mut self, file: usize, bytes: &[u8]) {
        let of = &self.files[file];
        of.handle.write_all_at(bytes, of.content.len() as u64).unwrap();
        self.is_written(file);
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

    /// Lets so much time pass that the reader looks at files without the name no more.
    pub(super) fn be_quiet(&mut self) {
        for file in 0..self.files.len() {
            if Some(file) != self.holder && self.files[file].had_name {
                self.files[file].is_retired = true;
                self.note_rest(file);
            }
        }
    }

    /// A new reader begins with the file that has the name.
    pub(super) fn begin_again(&mut self) {
        let holder = self.holder.take().expect("there is something to read");
        let holder = self.files.swap_remove(holder);
        self.files.clear();
        (self.texts, self.tails, self.split) = Default::default();
        let copies = (0..self.rotated.len()).map(|_| Rotated::Copy(self.next())).collect();
        self.rotated = copies;
        self.is_any_order_right = false;
        (self.in_place, self.copies_over, self.must_tell, self.may_tell) = (0, 0, 0, 0);
        let content = holder.content.clone();
        self.files.push(LogFile {
            content: Vec::new(),
            line_start: 0,
            sure: 0,
            is_known: true,
            had_name: true,
            changed: None,
            was_changed: false,
            written_at: None,
            ..holder
        });
        self.holder = Some(0);
        self.begin_reading();
        self.hold(0, &content);
    }
}
