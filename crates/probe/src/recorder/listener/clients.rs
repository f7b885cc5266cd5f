//! Who reads the feed: each from the time on that it came, with a run of its own. None of them is waited for.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pollscope_base::duration::to_ns;
use pollscope_record::feed::Update;
use pollscope_record::growing::{Head, LineWriter};
use pollscope_record::live::Live;
use pollscope_record::recording::{Ended, Run, SlowPoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use super::super::beside::{Beside, OfOthers};
use super::super::{hidden, interval_of, record_of};
use crate::snapshot::Snapshot;

/// What waits for a client at most, in bytes; what is known of a service with many spawn sites is a quarter of a megabyte.
const MOST_PENDING: usize = 8 << 20;
/// How long a client may take nothing, while something waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often everything that is known of the run as a whole is told: once in so many intervals.
const KNOWN_EVERY: u32 = 60;

/// One who reads.
pub(super) struct Client {
    stream: UnixStream,
    writer: LineWriter,
    head: Head,
    /// What was counted when its run began.
    base: Arc<Snapshot>,
    redacted: bool,
    intervals: u32,
    /// Slow polls that it was told.
    listed: u64,
    /// Its run of other threads, if they are looked at.
    beside: Option<Beside>,
    /// It wants no more than was there by then.
    last: Option<Last>,
    pending: Vec<u8>,
    /// How much of that is written already.
    written: usize,
    /// Since when it takes nothing.
    stuck_since: Option<Instant>,
    state: State,
}

/// What a client's run ends with.
struct Last {
    now: Arc<Snapshot>,
    /// How long slow polls that have ended by then are waited for, while it is found out what they did.
    until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Its run has ended: when all is written, it goes.
    Ended,
    Gone,
}

impl Client {
    /// One whose run begins with `head`, and whose counts begin after `base`.
    pub(super) fn new(stream: UnixStream, head: Head, base: Arc<Snapshot>, redacted: bool) -> Client {
        let mut client = Client {
            stream,
            writer: LineWriter::default(),
            head,
            base,
            redacted,
            intervals: 0,
            listed: 0,
            beside: None,
            last: None,
            pending: Vec::new(),
            written: 0,
            stuck_since: None,
            state: State::Open,
        };
        let head = client.writer.head(&client.head);
        client.push(head);
        let base = Arc::clone(&client.base);
        client.known(&base);
        client
    }

    /// Whether it still reads.
    pub(super) fn is_here(&self) -> bool {
        self.state != State::Gone
    }

    /// Whether its run goes on.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open && self.last.is_none()
    }

    /// Until when it waits for its last slow polls.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        self.last.as_ref().filter(|_| self.state == State::Open).map(|last| last.until)
    }

    pub(super) fn has_pending(&self) -> bool {
        self.is_here() && self.written < self.pending.len()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// A poll ended that was slow, unless that was before its run.
    pub(super) fn slow_poll(&mut self, poll: &SlowPoll) {
        let end_ns = poll.start_ns.saturating_add(poll.duration_ns);
        let is_later = self.last.as_ref().is_some_and(|last| end_ns > to_ns(last.now.at));
        if end_ns > self.began_ns() && !is_later {
            let poll = self.moved(poll);
            self.listed += 1;
            self.update(&Update::SlowPoll(Box::new(poll)), 0);
        }
    }

    pub(super) fn stall(&mut self, stall: &SlowPoll) {
        if !self.is_open() {
            return;
        }
        let stall = self.moved(stall);
        self.update(&Update::Stall(Box::new(stall)), 0);
    }

    pub(super) fn note(&mut self, note: &str) {
        if !self.is_open() {
            return;
        }
        self.update(&Update::Note(note.to_owned()), 0);
    }

    /// From now on other threads are looked at.
    pub(super) fn begin_others(&mut self, head: &Head, hz: u32) {
        let beside = Beside::of(head, hz, &self.head);
        self.update(&beside.note(), 0);
        let head = beside.head(&mut self.writer, self.head.segment);
        self.push(head);
        self.beside = Some(beside);
    }

    /// What is told of other threads.
    pub(super) fn of_others(&mut self, told: &OfOthers) {
        if self.state != State::Open {
            return;
        }
        match told {
            OfOthers::Nobody(why) => self.note(why),
            OfOthers::Begins(head, hz) => self.begin_others(head, *hz),
            OfOthers::Update(update) => {
                // One that was over before its run began is not of it.
                let began_ns = self.began_ns();
                let is_later = |poll: &SlowPoll| poll.start_ns.saturating_add(poll.duration_ns) > began_ns;
                let update = match update {
                    Update::SlowPoll(poll) | Update::Stall(poll) if !is_later(poll) => return,
                    Update::SlowPoll(poll) => Update::SlowPoll(Box::new(self.moved(poll))),
                    Update::Stall(poll) => Update::Stall(Box::new(self.moved(poll))),
                    // What was counted since the looking began is not of its run alone.
                    Update::Known(run) => Update::Known(Box::new(Run {
                        profile: None,
                        busy_share: None,
                        slow_polls_total: 0,
                        ..(**run).clone()
                    })),
                    other => other.clone(),
                };
                let Some(update) = self.beside.as_mut().and_then(|beside| beside.take(&update)) else { return };
                let lines = self.writer.beside(&update, 0);
                self.push(lines);
            }
        }
    }

    /// An interval is over.
    pub(super) fn interval(&mut self, before: &Snapshot, now: &Snapshot) {
        if !self.is_open() {
            return;
        }
        let mut interval = interval_of(before, now);
        interval.start_ns = interval.start_ns.saturating_sub(self.began_ns());
        let end_ns = to_ns(now.at).saturating_sub(self.began_ns());
        self.update(&Update::Interval(Box::new(interval)), end_ns);
        self.intervals += 1;
        if self.intervals.is_multiple_of(KNOWN_EVERY) {
            self.known(now);
        }
    }

    pub(super) fn live(&mut self, live: &Live) {
        if !self.is_open() {
            return;
        }
        let stalls = live.stalls.iter().map(|stall| self.moved(stall)).collect();
        let live = Live { at_ns: live.at_ns.saturating_sub(self.began_ns()), stalls, ..live.clone() };
        let lines = self.writer.live(&live);
        self.push(lines);
    }

    /// Its run ends: with the interval since `before`, and, once its slow polls are told, all that is known.
    pub(super) fn end(&mut self, before: &Snapshot, now: &Arc<Snapshot>, patience: Duration) {
        if self.is_open() {
            self.interval(before, now);
            self.last = Some(Last { now: Arc::clone(now), until: Instant::now() + patience });
        }
        self.close();
    }

    /// Tells what is known at the end, if it is time to.
    pub(super) fn close(&mut self) {
        let Some(last) = self.last.as_ref().filter(|_| self.state == State::Open) else { return };
        let total = last.now.slow_polls_total.saturating_sub(self.base.slow_polls_total);
        if self.listed < total && Instant::now() < last.until {
            return;
        }
        let now = Arc::clone(&last.now);
        self.known(&now);
        if let Some(beside) = self.beside.take() {
            let elapsed_ns = to_ns(now.at).saturating_sub(self.began_ns());
            let end = beside.end(&mut self.writer, elapsed_ns);
            self.push(end);
        }
        self.update(&Update::End(Ended::Done, None), 0);
        if self.state == State::Open {
            self.state = State::Ended;
        }
    }

    fn known(&mut self, now: &Snapshot) {
        let mut run = record_of(&now.since(&self.base), self.head.run());
        run.elapsed_ns = to_ns(now.at).saturating_sub(self.began_ns());
        self.update(&Update::Known(Box::new(hidden::run(run, self.redacted))), 0);
    }

    /// When its run began, after the probe's installation.
    fn began_ns(&self) -> u64 {
        to_ns(self.base.at)
    }

    /// A slow poll as its run has it: one that began earlier begins with the run.
    fn moved(&self, poll: &SlowPoll) -> SlowPoll {
        let began_ns = self.began_ns();
        let mut poll = poll.clone();
        poll.start_ns = poll.start_ns.saturating_sub(began_ns);
        if let Some(waiter) = poll.detail.as_mut().and_then(|detail| detail.worst_waiter.as_mut()) {
            waiter.ready_ns = waiter.ready_ns.saturating_sub(began_ns);
            waiter.polled_ns = waiter.polled_ns.saturating_sub(began_ns);
        }
        hidden::poll(poll, self.redacted)
    }

    fn update(&mut self, update: &Update, now_ns: u64) {
        if self.state == State::Open {
            let lines = self.writer.lines(update, now_ns);
            self.push(lines);
        }
    }

    fn push<E>(&mut self, lines: Result<String, E>) {
        let waits = self.pending.len() - self.written;
        match lines {
            Ok(lines) if waits + lines.len() <= MOST_PENDING => {
                self.pending.drain(..std::mem::take(&mut self.written));
                self.pending.extend_from_slice(lines.as_bytes());
            }
            _ => self.state = State::Gone,
        }
    }

    /// Writes what it takes now.
    pub(super) fn flush(&mut self) {
        while self.has_pending() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(&self.stream, &self.pending[self.written..], flags) {
                Ok(count) => {
                    self.written += count;
                    self.stuck_since = None;
                }
                Err(Errno::AGAIN) => {
                    let since = *self.stuck_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= PATIENCE {
                        self.state = State::Gone;
                    }
                    return;
                }
                Err(Errno::INTR) => {}
                Err(_) => self.state = State::Gone,
            }
        }
        self.pending = Vec::new();
        self.written = 0;
        if self.state == State::Ended {
            let _ = rustix::net::shutdown(&self.stream, Shutdown::Write);
            self.forget_written();
            self.state = State::Gone;
        }
    }

    /// Takes what the client wrote, if it is not very much: what is left then would cost it our last lines.
    fn forget_written(&self) {
        let mut bytes = [0; 4096];
        for _ in 0..16 {
            match rustix::net::recv(&self.stream, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((count, _)) if count > 0 => {}
                _ => return,
            }
        }
    }
}
