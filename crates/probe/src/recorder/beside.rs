//! The run of the process's other threads, in the recording of its service: what is written of it, and beside what.

use std::io;

use pollscope_base::duration::to_ns;
use pollscope_record::feed::Update;
use pollscope_record::growing::{Head, LineWriter};
use pollscope_record::recording::{Ended, Run, other_threads};

use super::Recording;

/// What is told of other threads. Its times are those of the probe.
#[derive(Debug)]
#[cfg_attr(not(feature = "whole-process"), expect(dead_code, reason = "nobody looks at other threads"))]
pub(super) enum OfOthers {
    /// They are looked at from now on, so often a second.
    Begins(Box<Head>, u32),
    /// Something became known of them.
    Update(Update),
    /// Nobody looks at them, and why: a sentence about the service.
    Nobody(String),
}

/// Their run.
#[derive(Debug)]
pub(super) struct Beside {
    head: Head,
    /// What is known of the whole of it.
    known: Run,
    /// How many slow polls were told.
    listed: u64,
    /// How the service is called, and how often others are looked at in a second.
    note: String,
}

impl Beside {
    /// Theirs beside the one that begins with `own`.
    pub(super) fn of(head: &Head, hz: u32, own: &Head) -> Beside {
        let group = other_threads(&own.group);
        let note = format!(
            "other threads of this process are sampled, {hz} looks a second, and told as `{group}`: a slow poll of theirs may be missed"
        );
        let mut head = Head { group, started_at: own.started_at.clone(), ..head.clone() };
        head.coverage.blind_to.push(format!("threads whose polls the probe sees: they are told as `{}`", own.group));
        Beside { known: head.run(), head, listed: 0, note }
    }

    /// What is said of it in the service's own run.
    pub(super) fn note(&self) -> Update {
        Update::Note(self.note.clone())
    }

    /// Its first line in a file of the recording.
    pub(super) fn head(&self, writer: &mut LineWriter, segment: u64) -> io::Result<String> {
        Ok(writer.head_beside(&Head { segment, ..self.head.clone() })?)
    }

    /// What is written of what became known, if anything: when it ends is known here.
    pub(super) fn take(&mut self, update: &Update) -> Option<Update> {
        match update {
            Update::End(..) => None,
            Update::Known(known) => {
                let Head { group, subject, started_at, .. } = self.head.clone();
                let mut known = Run { group, subject, started_at, ..(**known).clone() };
                known.coverage.blind_to.clone_from(&self.head.coverage.blind_to);
                self.known = known;
                None
            }
            Update::SlowPoll(_) => {
                self.listed += 1;
                Some(update.clone())
            }
            other => Some(other.clone()),
        }
    }

    /// All that is known of it, so long after it began.
    pub(super) fn known(&self, elapsed_ns: u64) -> Update {
        let slow_polls_total = self.known.slow_polls_total.max(self.listed);
        Update::Known(Box::new(Run { elapsed_ns, slow_polls_total, ..self.known.clone() }))
    }

    /// Its last lines.
    pub(super) fn end(&self, writer: &mut LineWriter, elapsed_ns: u64) -> io::Result<String> {
        let known = writer.beside(&self.known(elapsed_ns), 0)?;
        Ok(known + &writer.beside(&Update::End(Ended::Done, None), 0)?)
    }
}

impl Recording {
    /// Writes what is told of other threads.
    pub(super) fn of_others(&mut self, told: &OfOthers) {
        match told {
            OfOthers::Nobody(why) => _ = self.write(&Update::Note(why.clone()), 0),
            OfOthers::Begins(head, hz) => {
                let beside = Beside::of(head, *hz, &self.head);
                // The file is there after it, if it can be.
                self.write(&beside.note(), 0);
                let segment = self.head.segment;
                self.put(|writer| beside.head(writer, segment));
                self.beside = Some(beside);
            }
            OfOthers::Update(update) => {
                if let Some(update) = self.beside.as_mut().and_then(|beside| beside.take(update)) {
                    self.put(|writer| Ok(writer.beside(&update, 0)?));
                }
            }
        }
    }

    /// Writes what is known of their whole run, up to the last interval.
    pub(super) fn write_known_of_others(&mut self) {
        let elapsed_ns = to_ns(self.last.at);
        if let Some(known) = self.beside.as_ref().map(|beside| beside.known(elapsed_ns)) {
            self.put(|writer| Ok(writer.beside(&known, 0)?));
        }
    }

    /// Writes that it ends.
    pub(super) fn end_of_others(&mut self) {
        let elapsed_ns = to_ns(self.last.at);
        if let Some(beside) = self.beside.take() {
            self.put(|writer| beside.end(writer, elapsed_ns));
        }
    }
}
