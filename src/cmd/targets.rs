//! Where outputs go: none may replace another, or a file that the command uses, under whatever name.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::output::refuse_unwritable;
use super::{CmdError, summary};
use crate::args::Outputs;
use crate::report::Format;

/// No more links lead from one to the next: Linux follows no more.
const MOST_LINKS: u32 = 40;

/// Refuses reports that would replace another one or one of the files that the command uses, or that cannot be written.
pub(super) fn check_reports<'f>(outputs: &Outputs, used: impl IntoIterator<Item = &'f Path>) -> Result<(), CmdError> {
    refuse_same(outputs)?;
    refuse_used(outputs, used)?;
    refuse_unwritable(outputs.paths())
}

/// Refuses a report of the loops' time, which what is recorded by hooks does not have.
pub(super) fn refuse_profile(outputs: &Outputs, of: &'static str) -> Result<(), CmdError> {
    if outputs.asks(Format::Profile) { Err(CmdError::NoProfile { of }) } else { Ok(()) }
}

/// Refuses two outputs that go to one place: one would be lost, or both be mixed. The report on stdout, which nobody asked for, may
/// come after another one there.
fn refuse_same(outputs: &Outputs) -> Result<(), CmdError> {
    let named = outputs.files.iter().map(|(format, path)| (format.as_str(), path.clone()));
    let mut all: Vec<(&str, PathBuf)> = named.collect();
    all.extend(summary::path(outputs).map(|path| ("step summary", path)));
    for (index, (second, path)) in all.iter().enumerate() {
        let is_same = |(_, other): &&(&str, PathBuf)| same_target(other, path);
        if let Some((first, other)) = all[..index].iter().find(is_same) {
            let (formats, paths) = ([*first, *second].map(str::to_owned), [other.clone(), path.clone()]);
            return Err(CmdError::SameOutput { formats, paths });
        }
    }
    refuse_beside(&all)
}

/// Distributions of several modes are in files of their own, beside the one that is named.
fn refuse_beside(all: &[(&str, PathBuf)]) -> Result<(), CmdError> {
    for (format, path) in all.iter().filter(|(format, path)| *format == Format::Hgrm.as_str() && !is_on_stdout(path)) {
        let is_beside = |other: &Path| {
            let ours = resolved(path).zip(path.file_stem());
            ours.zip(resolved(other)).is_some_and(|((ours, stem), other)| {
                let between = other.file_stem().is_some_and(|name| {
                    let (name, stem) = (name.as_encoded_bytes(), stem.as_encoded_bytes());
                    name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(b"."))
                });
                between && ours.parent() == other.parent() && ours.extension() == other.extension()
            })
        };
        if let Some((second, other)) = all.iter().find(|(_, other)| !is_on_stdout(other) && is_beside(other)) {
            let (formats, paths) = ([*format, *second].map(str::to_owned), [other.clone(), other.clone()]);
            return Err(CmdError::SameOutput { formats, paths });
        }
    }
    Ok(())
}

/// Refuses a report that would replace one of `files`, under any name or link.
pub(super) fn refuse_used<'f>(outputs: &Outputs, files: impl IntoIterator<Item = &'f Path>) -> Result<(), CmdError> {
    let reports: Vec<&Path> = outputs.paths().filter(|path| *path != Path::new("-")).collect();
    for file in files {
        if let Some(report) = reports.iter().find(|report| same_file(report, file)) {
            return Err(CmdError::ReportIsUsed { report: report.to_path_buf(), file: file.to_owned() });
        }
    }
    Ok(())
}

/// Refuses a report that goes where another file is written.
pub(super) fn refuse_written(outputs: &Outputs, what: &str, path: &Path) -> Result<(), CmdError> {
    match outputs.files.iter().find(|(_, report)| same_target(report, path)) {
        None => Ok(()),
        Some((format, report)) => Err(CmdError::SameOutput {
            formats: [format.as_str(), what].map(str::to_owned),
            paths: [report.clone(), path.to_owned()],
        }),
    }
}

/// Whether stdout goes to this file, as it does to `/dev/stdout`.
pub(super) fn is_stdout(path: &Path) -> bool {
    let stdout = rustix::fs::fstat(io::stdout());
    fs::metadata(path).is_ok_and(|file| stdout.is_ok_and(|out| (file.dev(), file.ino()) == (out.st_dev, out.st_ino)))
}

fn is_on_stdout(path: &Path) -> bool {
    path == Path::new("-") || is_stdout(path)
}

/// Whether what is written to both paths ends up in one place, and matters there.
fn same_target(a: &Path, b: &Path) -> bool {
    if is_on_stdout(a) && is_on_stdout(b) {
        return ![a, b].into_iter().any(is_null);
    }
    let of = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    match (of(a), of(b)) {
        (Some(one), Some(other)) => one == other && !is_null(a),
        (None, None) => resolved(a).is_some_and(|a| Some(a) == resolved(b)),
        _ => false,
    }
}

/// Whether it is `/dev/null`, which takes everything and keeps nothing.
fn is_null(path: &Path) -> bool {
    let is = |null: fs::Metadata, file: fs::Metadata| file.file_type().is_char_device() && file.rdev() == null.rdev();
    fs::metadata("/dev/null").is_ok_and(|null| fs::metadata(path).is_ok_and(|file| is(null, file)))
}

/// Whether both paths name one regular file, or would once it exists.
fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino()),
        (Err(_), Err(_)) => resolved(a).is_some_and(|a| Some(a) == resolved(b)),
        _ => false,
    }
}

/// Where a file is, or will be: by no link. `None` where its folder is not there.
fn resolved(path: &Path) -> Option<PathBuf> {
    let mut path = std::path::absolute(path).ok()?;
    for _ in 0..MOST_LINKS {
        let folder = path.parent()?.canonicalize().ok()?;
        let file = folder.join(path.file_name()?);
        match fs::read_link(&file) {
            Ok(target) => path = folder.join(target),
            Err(_) => return Some(file),
        }
    }
    None
}
