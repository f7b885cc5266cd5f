//! What a page has beside what it shows: the recording, which `pollscope report` reads from it as from a file, and what its scripts draw.
//!
//! A page of many slow polls or of a long run would be too big to open, so not all of the recording is there: see `size_limit`. What
//! was left out is counted in the recording itself, and said on the page.

use super::drawn::Drawn;
use super::size_limit::{Histograms, LeftOut, fit};
use crate::recording::{Recording, paged};
use crate::units::{format_count, plural};

/// The data of a page.
pub(super) struct Island {
    /// The recording, in letters that cannot end its element.
    pub(super) recording: String,
    pub(super) drawn: Drawn,
    left_out: LeftOut,
}

impl Island {
    /// # Errors
    /// When it cannot be written as JSON.
    pub(super) fn of(recording: &Recording) -> serde_json::Result<Island> {
        let left_out = fit(recording);
        let drawn = Drawn::of(&recording.runs)?;
        Ok(Island { recording: paged::write(left_out.recording.as_ref().unwrap_or(recording))?, drawn, left_out })
    }

    /// What is in the page.
    pub(super) fn sentence(&self) -> String {
        let LeftOut { stacks, slow_polls, places, ref intervals, .. } = self.left_out;
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
        if places > 0 {
            text += &format!(
                " To keep the page small, {} of the loops' time with few looks are left out of that data, their looks counted.",
                plural(places, "place")
            );
        }
        if stacks + slow_polls > 0 {
            text += " All were counted, and the tables and drawings above are made from all.";
        }
        if self.drawn.slow_polls_left_out > 0 {
            let left_out = plural(self.drawn.slow_polls_left_out, "shorter slow poll");
            text += &format!(" The timeline that zooms is without {left_out}.");
        }
        let histograms = match intervals.histograms {
            Histograms::Whole => None,
            Histograms::Digits(digits) => Some(format!("have {} at most", plural(digits.into(), "significant digit"))),
            Histograms::Rough => Some("are rough, with two buckets for each doubling".to_owned()),
        };
        if let Some(histograms) = histograms {
            text += &format!(" To keep the page small, the histograms of intervals {histograms} in that data.");
        }
        if intervals.joined > 1 {
            text += &format!(" Every {} intervals in a row became one.", format_count(intervals.joined as u64));
        }
        text
    }
}
