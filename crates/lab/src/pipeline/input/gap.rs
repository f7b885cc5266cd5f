//! What the times of files prove: that a name was always a file's that is known.

use std::fs::File;
use std::time::SystemTime;

use crate::pipeline::clock;

/// Whether each file took the name when the one before lost it, but for a tick of the clock. Then no other file had it in between.
pub(super) fn are_without_gap(files: &[&File]) -> bool {
    files.windows(2).all(|pair| {
        let (lost, took) = (renamed(pair[0]), [created(pair[1]), renamed(pair[1])]);
        lost.is_some_and(|lost| took.into_iter().flatten().any(|took| clock::is_together(lost, took)))
    })
}

/// Whether no name in a folder that was last changed then came or went after a file lost its name.
pub(super) fn was_nothing_after(file: &File, folder: SystemTime) -> bool {
    renamed(file).is_some_and(|lost| clock::is_together(lost, folder))
}

fn created(file: &File) -> Option<SystemTime> {
    file.metadata().ok().and_then(|metadata| clock::born(&metadata))
}

/// When it last got or lost a name, if that is the last that happened to it. A write in the same tick hides it.
fn renamed(file: &File) -> Option<SystemTime> {
    let metadata = file.metadata().ok()?;
    Some(clock::changed(&metadata)).filter(|changed| *changed > clock::modified(&metadata))
}
