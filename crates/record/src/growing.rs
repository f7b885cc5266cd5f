//! Reading a recording that grows: lines, in one file or several, of which the last may be cut short.
//!
//! Whoever writes one may be killed at any moment, so what is there is the truth up to a moment, and is told as that: nothing that is
//! known only of the run's beginning is told of the whole run.

mod following;
mod lines;
mod short;
mod slice;

use std::io::{BufRead, Read};
use std::mem::size_of;

use crate::feed::{self, Update};
use crate::findings::findings;
use crate::recording::read::{FREE, ReadError, Saved, check, format_error};
use crate::recording::shared::sharing;
use crate::recording::wire::bounded::{self, Element};
use crate::recording::{Completeness, Ended, Interval, Recording, Run, SlowPoll};
use crate::units::{format_ns, plural};
use lines::{Line, of_one_recording};
use short::Kinds;

pub use following::{Fed, follow};
pub use lines::{Head, LineWriter};

/// No line is longer, in bytes.
const LONGEST_LINE: u64 = 16 << 20;
/// Runs that one recording may have.
const MOST_RUNS: usize = 10_000;

/// Whether a file that begins so is a recording that grows.
///
/// ```
/// use pollscope_record::growing::is_growing;
/// assert!(is_growing(b"{\"recording\":{\"schema\":"));
/// assert!(!is_growing(b"{\n  \"schema\":") && !is_growing(b""));
/// ```
pub fn is_growing(start: &[u8]) -> bool {
    start.starts_with(b"{\"recording\":")
}

/// Reads the files of a recording, the oldest first; `length` is how many bytes they have together.
///
/// # Errors
/// See [`ReadError`].
pub fn read<R: BufRead>(files: impl IntoIterator<Item = R>, length: u64) -> Result<Saved, ReadError> {
    let room = usize::try_from(FREE + length).unwrap_or(usize::MAX);
    let mut gathering = Gathering::default();
    let gather = || {
        for (index, file) in files.into_iter().enumerate() {
            gathering.file(file, index + 1)?;
        }
        Ok::<(), ReadError>(())
    };
    let (read, is_settled) = bounded::within(room, || sharing(length, || of_one_recording(gather)));
    read?;
    if !is_settled {
        return Err(ReadError::Format("a slow poll refers to a stack that is not there".to_owned()));
    }
    gathering.finish()
}

/// What was read so far.
#[derive(Default)]
struct Gathering {
    over: Vec<Open>,
    open: Option<Open>,
    /// The run that is told beside that.
    beside: Option<Open>,
    last: Option<Head>,
    /// What the slow polls of this file have in common.
    kinds: Kinds,
    /// Whether a line was cut short.
    is_cut: bool,
}

impl Gathering {
    fn file(&mut self, mut file: impl BufRead, number: usize) -> Result<(), ReadError> {
        let mut line = Vec::new();
        for at in 1_u64.. {
            line.clear();
            if (&mut file).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let is_whole = line.ends_with(b"\n");
            let wrong = |what: String| {
                let of = if number > 1 { format!(" of file {number}") } else { String::new() };
                ReadError::Format(format!("line {at}{of}: {what}"))
            };
            if !is_whole && line.len() as u64 == LONGEST_LINE {
                return Err(wrong("it is longer than 16 MiB".to_owned()));
            }
            if !is_whole {
                self.is_cut = true;
                break;
            }
            let left = bounded::left();
            let text = std::str::from_utf8(&line).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
            let read = Line::read(text).map_err(|error| match format_error(error) {
                ReadError::Format(what) => wrong(what),
                other => other,
            })?;
            self.add(read, left.saturating_sub(bounded::left())).map_err(|what| wrong(what.to_owned()))?;
        }
        Ok(())
    }

    /// A line, which took so much room.
    fn add(&mut self, line: Line, took: usize) -> Result<(), &'static str> {
        match line {
            Line::Head(head) => {
                self.kinds.forget();
                if self.open.as_ref().is_none_or(|open| !open.head.is_of_run(&head)) {
                    self.close();
                    if self.over.len() == MOST_RUNS {
                        return Err("there are more than 10000 runs");
                    }
                    self.open = Some(Open::new(*head.clone()));
                }
                self.last = Some(*head);
            }
            Line::Update(update, end_ns) => {
                let open = self.open.as_mut().ok_or("it does not begin with a `recording`")?;
                open.add(update, end_ns, took)?;
            }
            Line::Kind(kind) => self.kinds.define(*kind)?,
            Line::Poll(poll, goes_on) => {
                let update = self.kinds.update(*poll, goes_on)?;
                let open = self.open.as_mut().ok_or("it does not begin with a `recording`")?;
                open.add(update, None, took)?;
            }
            Line::Beside(line) => return self.add_beside(*line, took),
            Line::Stack => {}
            // It is no part of what happened: it was so for a moment.
            Line::Live(..) => bounded::give_back(took),
            Line::Refused(_) | Line::Other => {
                self.open.as_mut().ok_or("it does not begin with a `recording`")?.others += 1
            }
        }
        Ok(())
    }

    /// A line of the run that is told beside the one that goes on.
    fn add_beside(&mut self, line: Line, took: usize) -> Result<(), &'static str> {
        let none = "it does not begin with a `recording`";
        let update = match line {
            Line::Head(_) if self.open.is_none() => return Err(none),
            Line::Head(head) => {
                if self.beside.as_ref().is_none_or(|open| !open.head.is_of_run(&head)) {
                    self.over.extend(self.beside.take());
                    if self.over.len() + 1 >= MOST_RUNS {
                        return Err("there are more than 10000 runs");
                    }
                    self.beside = Some(Open::new(*head));
                }
                return Ok(());
            }
            Line::Update(update, end_ns) => (update, end_ns),
            Line::Poll(poll, goes_on) => (self.kinds.update_beside(*poll, goes_on)?, None),
            _ => {
                self.beside.as_mut().ok_or(none)?.others += 1;
                return Ok(());
            }
        };
        self.beside.as_mut().ok_or(none)?.add(update.0, update.1, took)
    }

    fn close(&mut self) {
        self.over.extend(self.open.take());
        self.over.extend(self.beside.take());
    }

    fn finish(mut self) -> Result<Saved, ReadError> {
        let is_torn = |open: &Option<Open>| open.as_ref().is_some_and(|open| open.run.ended == Ended::Torn);
        let is_torn = self.is_cut || is_torn(&self.open) || is_torn(&self.beside);
        self.close();
        let environment = self.last.ok_or(ReadError::Torn)?.environment;
        let (runs, tails): (Vec<Run>, Vec<Tail>) = self.over.into_iter().map(Open::finish).unzip();
        let mut recording = Recording { environment, scenario: None, runs, findings: Vec::new(), gates: Vec::new() };
        // Before anything is added up, and what that comes to.
        check(&recording).map_err(ReadError::Impossible)?;
        let mut is_any_torn = false;
        for (run, tail) in recording.runs.iter_mut().zip(&tails).filter(|(run, _)| run.ended == Ended::Torn) {
            tail.as_far_as_it_is_known(run);
            is_any_torn = true;
        }
        if is_any_torn {
            check(&recording).map_err(ReadError::Impossible)?;
        }
        recording.findings = findings(&recording.runs);
        Ok(Saved { recording, is_torn })
    }
}

/// A run that may not be whole yet.
struct Open {
    head: Head,
    run: Run,
    /// What the last of what is known took of the room.
    known_took: usize,
    tail: Tail,
    /// Lines of a later version.
    others: u64,
}

/// What came after what is known of the run as a whole.
struct Tail {
    /// Whether that is what all of it can be added to.
    is_added: bool,
    /// Which of the intervals is the first.
    from: usize,
    /// When the last interval ended.
    end_ns: u64,
}

impl Open {
    fn new(head: Head) -> Open {
        // The first file has all, from nothing on.
        let tail = Tail { is_added: head.segment == 1, from: 0, end_ns: 0 };
        Open { run: head.run(), head, known_took: 0, tail, others: 0 }
    }

    fn add(&mut self, update: Update, end_ns: Option<u64>, took: usize) -> Result<(), &'static str> {
        if self.run.ended != Ended::Torn {
            return Err("something comes after the end of the run");
        }
        let room = match &update {
            Update::Known(known) => {
                // It takes the place of the one before.
                bounded::give_back(std::mem::replace(&mut self.known_took, took));
                self.tail.is_added = known.elapsed_ns >= self.tail.end_ns;
                if self.tail.is_added {
                    self.tail.from = self.run.intervals.len();
                }
                0
            }
            Update::Interval(interval) => {
                let end_ns = end_ns.unwrap_or(interval.start_ns).max(interval.start_ns);
                self.tail.end_ns = end_ns.max(self.tail.end_ns);
                size_of::<Interval>()
            }
            Update::SlowPoll(poll) | Update::Stall(poll) => size_of::<SlowPoll>() + poll.besides(),
            // Their list took it.
            Update::Fine(_) => 0,
            Update::Note(note) => size_of::<String>() + note.besides(),
            Update::End(..) => 0,
        };
        bounded::take::<serde_json::Error>(room).map_err(|_| "it takes far more memory than its text")?;
        feed::add(&mut self.run, update);
        Ok(())
    }

    fn finish(self) -> (Run, Tail) {
        let mut run = self.run;
        let listed = run.slow_polls.len() as u64;
        run.slow_polls_total = run.slow_polls_total.max(listed);
        run.slow_polls_dropped = run.slow_polls_total - listed;
        let mut note = |note: String| run.coverage.missing.push(note);
        let are = |count: u64, one: &'static str, more: &'static str| if count == 1 { one } else { more };
        if let Some(before @ 1..) = self.head.segment.checked_sub(1) {
            let (files, are) = (plural(before, "file"), are(before, "is", "are"));
            note(format!("the oldest {files} of the recording {are} gone: what they held is not listed here"));
        }
        if self.others > 0 {
            let (lines, were) = (plural(self.others, "line"), are(self.others, "was", "were"));
            note(format!("{lines} of a later version of pollscope {were} passed over"));
        }
        (run, self.tail)
    }
}

impl Tail {
    /// Nobody said how it ended: what is told of the run as a whole is told up to its last line, or not at all.
    fn as_far_as_it_is_known(&self, run: &mut Run) {
        let known_ns = run.elapsed_ns;
        let joined = run.intervals[self.from..].iter().cloned().reduce(|mut joined, next| {
            joined.join(&next);
            joined
        });
        if let Some(tail) = joined {
            let is_first = self.from == 0 && run.polls.is_none();
            let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
            let (polls, busy_ns) = (run.polls.take(), run.loop_busy_ns);
            (run.polls, run.loop_busy_ns) = match (polls, tail.polls) {
                (None, more) if is_first && self.is_added => (more, tail.busy_ns),
                (Some(mut polls), Some(more)) if self.is_added => {
                    polls.add(&more);
                    (Some(polls), sum(busy_ns, tail.busy_ns))
                }
                _ => (None, None),
            };
            run.elapsed_ns = self.end_ns.max(known_ns);
            forget_the_beginning(run, known_ns);
        }
        let last_ns = run.slow_polls.iter().map(|poll| poll.start_ns.saturating_add(poll.duration_ns)).max();
        run.elapsed_ns = run.elapsed_ns.max(last_ns.unwrap_or(0));
        run.slow_polls_are = Completeness::AtLeast;
    }
}

/// What was counted up to `known_ns`, and not since.
fn forget_the_beginning(run: &mut Run, known_ns: u64) {
    let had_any = run.sites.is_some() || run.ledger.is_some() || run.schedule_latency.is_some();
    (run.schedule_latency, run.busy_stretches, run.pool_wait) = (None, None, None);
    (run.lag, run.lag_raw) = (None, None);
    (run.sites, run.ledger, run.pool, run.busy_share, run.profile) = (None, None, None, None, None);
    (run.cpu_user_ns, run.cpu_system_ns) = (None, None);
    (run.context_switches_voluntary, run.context_switches_involuntary) = (None, None);
    (run.slow_poll_lines, run.runtime_metrics) = (None, None);
    if had_any {
        run.coverage.missing.push(format!(
            "spawn sites, who waited and schedule latency were last written {} before the recording breaks off",
            format_ns(run.elapsed_ns.saturating_sub(known_ns))
        ));
    }
}

#[cfg(test)]
#[path = "growing/tests.rs"]
mod tests;
