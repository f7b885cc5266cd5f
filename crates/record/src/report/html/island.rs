//! The recording within the page: as `--json` writes it, so that `pollscope report` reads a page as it reads a file.
//!
//! A page of many slow polls or of a long run would be too big to open, so not all of it is there: see `size_limit`. What was left out is
//! counted in the recording itself, and said on the page.

use super::size_limit::{LeftOut, fit};
use crate::recording::{Recording, Run, wire};
use crate::units::{format_count, plural};

/// The data of a page.
pub(super) struct Island {
    /// JSON that cannot end its element.
    pub(super) json: String,
    left_out: LeftOut,
}

impl Island {
    /// # Errors
    /// When a histogram cannot be encoded.
    pub(super) fn of(recording: &Recording) -> serde_json::Result<Island> {
        let left_out = fit(recording);
        let json = inert(&wire::to_compact_json(left_out.recording.as_ref().unwrap_or(recording))?);
        Ok(Island { json, left_out })
    }

    /// The runs that are in the page.
    pub(super) fn runs<'a>(&'a self, recording: &'a Recording) -> &'a [Run] {
        &self.left_out.recording.as_ref().unwrap_or(recording).runs
    }

    /// What is in the page.
    pub(super) fn sentence(&self) -> String {
        let LeftOut { stacks, slow_polls, intervals_joined, .. } = self.left_out;
        let mut text = "The recording is in this page: pollscope report reads it back.".to_owned();
        if stacks > 0 {
            text += &format!(
                " To keep the page small, the stacks of {} are left out of that data: each is the same as that of another, which is there.",
                plural(stacks, "slow poll")
            );
        }
        if slow_polls > 0 {
            text += &format!(
                " To keep the page small, {} of it are left out of that data: kept are the longest, and an even sample of the rest.",
                plural(slow_polls, "slow poll")
            );
        }
        if stacks + slow_polls > 0 {
            text += " All were counted, and the tables and drawings above are made from all; the timeline that zooms is made from that data.";
        }
        if intervals_joined > 1 {
            text += &format!(" Every {} intervals in a row became one.", format_count(intervals_joined as u64));
        }
        text
    }
}

/// JSON in which nothing means anything to HTML: such characters occur only within its texts, where `\u003c` is as good.
fn inert(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 16);
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{7f}'..='\u{9f}' => {
                out += &format!("\\u{:04x}", u32::from(c))
            }
            _ => out.push(c),
        }
    }
    out
}
