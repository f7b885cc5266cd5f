//! Writes reports to stdout and to files.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use pollscope_base::reason;
use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use super::targets::is_stdout;
use super::{CmdError, excerpt, kept, summary};
use crate::answer::answer;
use crate::args::{Color, Outputs};
use crate::escape::escape_path;
use crate::pipeline::folder_of;
use crate::recording::{GateVerdict, Recording, Run};
use crate::redact::HIDDEN;
use crate::report::Style;
use crate::report::answer::{first_line, render as render_answer};
use crate::report::{Format, files, render};
use crate::stderr::{Lines, say};

/// The width of a report that goes to no terminal.
const PLAIN_WIDTH: usize = 100;
/// The style of a text report in a file.
const FILE: Style = Style { width: PLAIN_WIDTH, color: false, unicode: true };

/// What the command line says about the terminal.
#[derive(Debug, Clone)]
pub(super) struct Terminal {
    pub(super) color: Color,
    pub(super) quiet: bool,
    pub(super) typed: Vec<String>,
    /// Where code is looked for, besides the working folder.
    pub(super) source_roots: Vec<PathBuf>,
}

impl Terminal {
    /// The style of a report on stdout.
    pub(super) fn style(&self) -> Style {
        let stdout = io::stdout();
        let color = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never,
        };
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let terminal = || terminal_size::terminal_size_of(&stdout).map(|(width, _)| usize::from(width.0));
        let width = columns.or_else(terminal).unwrap_or(PLAIN_WIDTH);
        Style { width, color, unicode: takes_unicode() }
    }

    /// Writes the reports: files first, then stdout, unless a file is `-`. A report that cannot be written does not stop the
    /// others; returns the first failure. `saved_as`: what `pollscope report` knows the recording by, if anything.
    pub(super) fn report(
        &self,
        recording: &Recording,
        outputs: &Outputs,
        saved_as: Option<&str>,
    ) -> Result<(), CmdError> {
        let lacks_profile = outputs.asks(Format::Profile) && recording.runs.iter().all(|run| run.profile.is_none());
        self.write_all(outputs, |format, path, style| match path {
            _ if format == Format::Profile && lacks_profile => Ok(Vec::new()),
            Some(path) => files(recording, format, path, style),
            None if format == Format::Text && !outputs.full => {
                Ok(vec![(PathBuf::from("-"), self.answer(recording, outputs.redact, saved_as, style).into_bytes())])
            }
            None => Ok(vec![(PathBuf::from("-"), render(recording, format, style)?)]),
        })
        .and(if lacks_profile { Err(CmdError::NoProfile { of: "what was recorded" }) } else { Ok(()) })
        .and(summary::append(recording, outputs))
        .inspect(|()| {
            if self.quiet {
                say_failed(recording)
            }
        })
        .and_then(|()| if outputs.open { self.open(recording, outputs) } else { Ok(()) })
    }

    /// Reports what was just recorded, and keeps it for `pollscope report last`.
    pub(super) fn report_new(&self, recording: &Recording, outputs: &Outputs) -> Result<(), CmdError> {
        let saved_as = kept::has_place().then_some("last");
        let reported = self.report(recording, outputs, saved_as);
        if let Err(error) = kept::keep(recording)
            && !self.quiet
        {
            say(format!("note: cannot keep the run for `pollscope report last`: {error}"));
        }
        reported
    }

    /// Shows the page in a browser. What cannot be shown is written all the same: that is no failure.
    fn open(&self, recording: &Recording, outputs: &Outputs) -> Result<(), CmdError> {
        let is_file = |(format, path): &&(Format, PathBuf)| *format == Format::Html && path != Path::new("-");
        let path = match outputs.files.iter().find(is_file) {
            Some((_, path)) => path.clone(),
            None => {
                let path = kept::page().map_err(CmdError::unwritable("page.html"))?;
                let written = files(recording, Format::Html, &path, &FILE).map_err(CmdError::unwritable(&path))?;
                written.iter().try_for_each(|(path, text)| self.write(path, text))?;
                path
            }
        };
        let shown = if outputs.redact { HIDDEN.into() } else { escape_path(&path) };
        match open::that_detached(&path) {
            Ok(()) if self.quiet => {}
            Ok(()) => say(format!("the page is `{shown}`")),
            Err(error) => say(format!(
                "warning: cannot open a browser: {}; the page is `{shown}`, open it with one",
                reason(error)
            )),
        }
        Ok(())
    }

    /// The answer alone, with where more is; if it is to be quiet, its first line.
    fn answer(&self, recording: &Recording, redact: bool, saved_as: Option<&str>, style: &Style) -> String {
        let answer = answer(recording);
        if self.quiet {
            return first_line(&answer, style);
        }
        let began = recording.runs.iter().filter_map(Run::started).min();
        // Code and where it lies are more than a place says.
        let excerpt = answer.shown_place().zip(began).filter(|_| !redact);
        let excerpt = excerpt.and_then(|(place, began)| excerpt::of(place, UNIX_EPOCH + began, &self.source_roots));
        let excerpt = excerpt.map(|excerpt| if takes_links() { excerpt } else { excerpt.without_link() });
        let saved = saved_as.map(|name| format!("`pollscope report --full {name}`"));
        let all = saved.unwrap_or_else(|| "`--full` for all tables".to_owned());
        let page = if saved_as.is_some() { "with `--open` as a page" } else { "`--open` for a page" }.to_owned();
        let explain = answer.lead.code.as_ref().map(|code| format!("`pollscope explain {code}`"));
        let more: Vec<String> = [Some(all), Some(page), explain].into_iter().flatten().collect();
        render_answer(&answer, excerpt.as_ref(), &more, style)
    }

    /// Like [`Terminal::report`], of what `rendered` makes for a format and a file's path, or `None` for stdout.
    pub(super) fn write_all(
        &self,
        outputs: &Outputs,
        rendered: impl Fn(Format, Option<&Path>, &Style) -> serde_json::Result<Vec<(PathBuf, Vec<u8>)>>,
    ) -> Result<(), CmdError> {
        let dash = Path::new("-");
        let stdout = outputs.stdout.filter(|_| outputs.paths().all(|path| path != dash)).map(|format| (format, dash));
        let files = outputs.files.iter().map(|(format, path)| (*format, path.as_path()));
        let mut written = Ok(());
        for (format, path) in files.chain(stdout) {
            let done =
                if path == dash { rendered(format, None, &self.style()) } else { rendered(format, Some(path), &FILE) };
            let done = done
                .map_err(CmdError::unwritable(path))
                .and_then(|texts| texts.iter().map(|(path, text)| self.write(path, text)).fold(Ok(()), Result::and));
            written = written.and(done);
        }
        written
    }

    /// Writes a report to a file, or, for `-`, to stdout.
    pub(super) fn write(&self, path: &Path, report: impl AsRef<[u8]>) -> Result<(), CmdError> {
        let report = report.as_ref();
        let written = if path == Path::new("-") { to_stdout(report).map(drop) } else { to_file(path, report) };
        written.map_err(CmdError::unwritable(path))
    }

    pub(super) fn to_stdout(&self, text: &str) -> Result<(), CmdError> {
        self.write(Path::new("-"), text)
    }

    /// The same of one of many texts; whether somebody still reads.
    pub(super) fn next_to_stdout(&self, text: &str) -> Result<bool, CmdError> {
        to_stdout(text.as_bytes()).map_err(CmdError::unwritable("-"))
    }
}

/// The gates that fail: errors, and not in the first line of an answer.
fn say_failed(recording: &Recording) {
    let failed = recording.gates.iter().filter(|gate| gate.verdict == GateVerdict::Fail);
    let lines: Lines = failed.map(|gate| format!("error: gate failed: {}", gate.expr)).collect();
    if !lines.is_empty() {
        say(lines);
    }
}

/// Whether stdout is a terminal that does not choke on a link; one that knows none shows its text.
fn takes_links() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb" && term != "linux")
}

/// Whether the terminal is not dumb, and the locale, if set, is UTF-8.
fn takes_unicode() -> bool {
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return false;
    }
    let said = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    said.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// A closed pipe is no error: its reader has seen enough. Whether there is one that has not.
fn to_stdout(report: &[u8]) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(report).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// Writes a whole file or none: writes beside it, then renames. Writes through a link, a FIFO or a device, and never replaces it.
fn to_file(path: &Path, report: &[u8]) -> io::Result<()> {
    if is_stdout(path) {
        return to_stdout(report).map(drop);
    }
    if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return through(path, report);
    }
    let mut file = beside(path)?;
    file.write_all(report)?;
    // A temporary file is private; a report should be as readable as any new file.
    let mode = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mode);
    rustix::fs::fchmod(file.as_file(), rustix::fs::Mode::from_raw_mode(0o666 & !mode.as_raw_mode()))?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Checks that a report can be written, as far as that shows beforehand; leaves nothing behind. What a FIFO, a device or a link's
/// target takes shows only when it is written to.
fn try_path(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(rustix::io::Errno::ISDIR.into()),
        Ok(metadata) if !metadata.is_file() => Ok(()),
        _ => beside(path).map(drop),
    }
}

/// An empty file in the folder of `path`, deleted on drop.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let folder = folder_of(path);
    // First: tempfile's error would name a file that the user does not know.
    fs::metadata(folder)?;
    NamedTempFile::new_in(folder).map_err(|error| io::Error::from(error.kind()))
}

/// Refuses reports that cannot be written, before anything runs for them.
pub(super) fn refuse_unwritable<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Result<(), CmdError> {
    let files = paths.into_iter().filter(|path| *path != Path::new("-") && !is_stdout(path));
    for path in files {
        try_path(path).map_err(CmdError::unwritable(path))?;
    }
    Ok(())
}

/// Writes to the target of a link, a FIFO or a device.
fn through(path: &Path, report: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    // A FIFO without a reader is an error; one with a slow reader is waited for.
    options.write(true).create(true).truncate(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
    let mut file = options.open(path)?;
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    file.write_all(report)
}
