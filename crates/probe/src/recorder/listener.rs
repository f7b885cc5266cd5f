//! The feed of a service: what becomes known, told at once to those who connect to a socket.
//!
//! One thread listens, takes intervals and writes. It waits for nobody: a client that does not read gets what fits into a buffer, and
//! then it goes. What clients write is not read. Nothing of this runs on a runtime, and no file is written here, so that the feed goes on
//! while a disk hangs.

mod clients;
mod socket;

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_record::growing::{Head, LineWriter};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::beside::OfOthers;
use super::numbers::Numbers;
use super::{INTERVAL, QUEUE, Told, head, now, seen};
use crate::shared::Shared;
use crate::snapshot::{Polling, SlowPoll, Snapshot};
use clients::Client;
pub(crate) use socket::Listen;
use socket::{Socket, may_read};

/// Clients at one time.
const MOST_CLIENTS: usize = 4;
/// How long no client is accepted when one could not be, for want of descriptors say.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a client that wants no more waits for slow polls of which it is still being found out what they did.
const LAST_EVIDENCE: Duration = Duration::from_secs(2);
/// How long the last lines may take.
const LAST_LINES: Duration = Duration::from_millis(300);

/// What is told to clients when slow polls were lost on the way to them.
const LOST: &str = "some slow polls are not listed: there were more than could be told";

/// The reporter's side.
pub(crate) struct Listening {
    queue: SyncSender<Told>,
    wake: UnixStream,
    lost: Arc<AtomicU64>,
    ended: Receiver<()>,
}

/// A socket on which nobody is answered yet.
pub(super) struct Bound(UnixListener, Socket);

impl Bound {
    /// The one of the probe with this number. An error says why not, and what to do.
    pub(super) fn to(place: &Listen, number: u64) -> Result<Bound, String> {
        socket::listen(place, number).map(|(listener, socket)| Bound(listener, socket))
    }
}

impl Listening {
    /// Starts the thread, which passes on what it counts to the one that writes a file.
    pub(super) fn spawn(
        shared: Arc<Shared>,
        Bound(listener, socket): Bound,
        file: Option<SyncSender<Told>>,
    ) -> io::Result<Listening> {
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let (queue, told) = mpsc::sync_channel(QUEUE);
        let (end, ended) = mpsc::channel();
        let lost = Arc::default();
        let mut feed = Feed {
            listener,
            _socket: socket,
            told,
            woken,
            lost: Arc::clone(&lost),
            lost_told: 0,
            file,
            clients: Vec::new(),
            last: Arc::new(shared.totals()),
            next: Instant::now() + INTERVAL,
            deaf_until: None,
            numbers: Numbers::default(),
            others: None,
            shared,
        };
        let run = move || {
            feed.run();
            // First the socket, then word that it is gone.
            drop(feed);
            let _ = end.send(());
        };
        thread::Builder::new().name("pollscope-listen".to_owned()).spawn(run)?;
        Ok(Listening { queue, wake, lost, ended })
    }

    pub(crate) fn slow_poll(&self, poll: &SlowPoll) {
        self.tell(Told::SlowPoll(Box::new(poll.clone())));
    }

    pub(crate) fn stall(&self, stall: &Polling, now_ns: u64) {
        self.tell(Told::Stall(Box::new(stall.clone()), now_ns));
    }

    /// Passes on what is told of other threads.
    #[cfg(feature = "whole-process")]
    pub(super) fn of_others(&self) -> io::Result<super::others::Tell> {
        let (queue, wake, lost) = (self.queue.clone(), self.wake.try_clone()?, Arc::clone(&self.lost));
        Ok(Box::new(move |told| tell(&queue, &wake, &lost, Told::OfOthers(Arc::clone(told)))))
    }

    /// Ends it, and waits for so long that last lines are written.
    pub(crate) fn end(&self, patience: Duration) {
        // If there is no room, it is not told: the thread ends with the queue.
        self.tell(Told::End);
        let _ = self.ended.recv_timeout(patience);
    }

    fn tell(&self, told: Told) {
        tell(&self.queue, &self.wake, &self.lost, told);
    }
}

fn tell(queue: &SyncSender<Told>, mut wake: &UnixStream, lost: &AtomicU64, told: Told) {
    if queue.try_send(told).is_err() {
        lost.fetch_add(1, Relaxed);
    }
    // One that is full wakes as well.
    let _ = wake.write(&[0]);
}

/// The thread's side.
struct Feed {
    shared: Arc<Shared>,
    listener: UnixListener,
    _socket: Socket,
    told: Receiver<Told>,
    woken: UnixStream,
    lost: Arc<AtomicU64>,
    /// How many of them clients know of.
    lost_told: u64,
    file: Option<SyncSender<Told>>,
    clients: Vec<Client>,
    /// What was counted at the end of the last interval.
    last: Arc<Snapshot>,
    /// When the next one ends.
    next: Instant,
    /// Until when nobody is accepted.
    deaf_until: Option<Instant>,
    numbers: Numbers,
    /// What the run of other threads begins with, and how often they are looked at in a second.
    others: Option<(Head, u32)>,
}

impl Feed {
    fn run(&mut self) {
        loop {
            self.wait();
            if !self.hear() {
                return self.end();
            }
            self.tick();
            self.accept();
            self.clients.iter_mut().for_each(Client::close);
            self.clients.iter_mut().for_each(Client::flush);
            self.clients.retain(Client::is_here);
        }
    }

    /// Whether somebody wants to know what is counted.
    fn is_ticking(&self) -> bool {
        self.file.is_some() || !self.clients.is_empty()
    }

    /// Waits until there is something to do; ends the runs of those who want no more.
    fn wait(&mut self) {
        let now = Instant::now();
        self.deaf_until = self.deaf_until.filter(|until| *until > now);
        let last = self.clients.iter().filter_map(Client::waits_until);
        let until = self.is_ticking().then_some(self.next).into_iter().chain(self.deaf_until).chain(last).min();
        let accepts = if self.deaf_until.is_some() { PollFlags::empty() } else { PollFlags::IN };
        let mut all = vec![
            PollFd::from_borrowed_fd(self.woken.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.listener.as_fd(), accepts),
        ];
        all.extend(self.clients.iter().map(|client| {
            // What it writes is not looked at, only that it writes no more.
            let reads = if client.is_open() { PollFlags::RDHUP } else { PollFlags::empty() };
            let writes = if client.has_pending() { PollFlags::OUT } else { PollFlags::empty() };
            PollFd::from_borrowed_fd(client.fd(), reads | writes)
        }));
        let timeout = until.map(|until| timespec(until.saturating_duration_since(now)));
        if poll(&mut all, timeout.as_ref()).is_err() {
            return;
        }
        let left = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let has_left: Vec<bool> = all[2..].iter().map(|client| client.revents().intersects(left)).collect();
        let leaving = self.clients.iter_mut().zip(has_left).filter(|(client, has_left)| *has_left && client.is_open());
        let mut now = None;
        for (client, _) in leaving {
            let now = now.get_or_insert_with(|| Arc::new(self.shared.totals()));
            client.end(&self.last, now, LAST_EVIDENCE);
        }
    }

    /// Takes what it was told; whether it goes on.
    fn hear(&mut self) -> bool {
        let mut bytes = [0; 1024];
        while (&self.woken).read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
        loop {
            match self.told.try_recv() {
                Ok(Told::SlowPoll(poll)) => {
                    let id = self.numbers.of_slow_poll(&poll);
                    let poll = pollscope_record::recording::SlowPoll { id, ..(&*poll).into() };
                    self.clients.iter_mut().for_each(|client| client.slow_poll(&poll));
                }
                Ok(Told::Stall(stall, now_ns)) => {
                    let id = self.numbers.of_stall(&stall, now_ns);
                    let stall = seen::stall(&stall, id, now_ns);
                    self.clients.iter_mut().for_each(|client| client.stall(&stall));
                }
                Ok(Told::Totals(_)) => {}
                Ok(Told::OfOthers(told)) => self.of_others(&told),
                Err(TryRecvError::Empty) => return true,
                Ok(Told::End) | Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Tells what is told of other threads.
    fn of_others(&mut self, told: &OfOthers) {
        if let OfOthers::Begins(head, hz) = told {
            self.others = Some(((**head).clone(), *hz));
        }
        self.clients.iter_mut().for_each(|client| client.of_others(told));
    }

    /// Ends an interval, if it is time to.
    fn tick(&mut self) {
        if !self.is_ticking() || Instant::now() < self.next {
            return;
        }
        let now = Arc::new(self.shared.totals());
        let live = (!self.clients.is_empty()).then(|| now::live(&self.shared, &now, &self.last, &mut self.numbers));
        let lost = self.lost.load(Relaxed);
        for client in &mut self.clients {
            if lost > self.lost_told {
                client.note(LOST);
            }
            client.interval(&self.last, &now);
            live.iter().for_each(|live| client.live(live));
        }
        self.lost_told = lost;
        if let Some(file) = &self.file {
            // If there is no room, its next interval is longer.
            let _ = file.try_send(Told::Totals(Arc::clone(&now)));
        }
        self.last = now;
        // A late one is longer, not followed by empty ones.
        self.next = Instant::now() + INTERVAL;
    }

    fn accept(&mut self) {
        while self.deaf_until.is_none() {
            match self.listener.accept() {
                Ok((stream, _)) => self.take(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.deaf_until = Some(Instant::now() + PAUSE),
            }
        }
    }

    /// Takes a client, if it may read and there is room.
    fn take(&mut self, stream: UnixStream) {
        let me = rustix::process::geteuid().as_raw();
        let peer = rustix::net::sockopt::socket_peercred(&stream).map(|peer| peer.uid.as_raw());
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        match peer {
            Ok(peer) if may_read(peer, me) => {}
            _ => return refuse(&stream, "it is another user's"),
        }
        if self.clients.len() >= MOST_CLIENTS {
            return refuse(&stream, "four others read it already, and there is room for no more");
        }
        if !self.is_ticking() {
            self.last = Arc::new(self.shared.totals());
            self.next = Instant::now() + INTERVAL;
        }
        let (base, redacted) = (Arc::clone(&self.last), self.shared.redacted);
        let now = self.shared.totals();
        let mut client = Client::new(stream, head(&self.shared, &now, base.at), base, redacted);
        if let Some((head, hz)) = &self.others {
            client.begin_others(head, *hz);
        }
        for open in self.numbers.open() {
            client.stall(&seen::stall(&open.stall, open.number, open.told_ns()));
        }
        client.live(&now::live(&self.shared, &now, &self.last, &mut self.numbers));
        self.clients.push(client);
    }

    fn end(&mut self) {
        let now = Arc::new(self.shared.totals());
        // What can be told of slow polls was.
        self.clients.iter_mut().for_each(|client| client.end(&self.last, &now, Duration::ZERO));
        let start = Instant::now();
        loop {
            self.clients.iter_mut().for_each(Client::flush);
            self.clients.retain(Client::is_here);
            let left = LAST_LINES.saturating_sub(start.elapsed());
            if self.clients.is_empty() || left.is_zero() {
                return;
            }
            let mut all: Vec<PollFd> =
                self.clients.iter().map(|client| PollFd::from_borrowed_fd(client.fd(), PollFlags::OUT)).collect();
            let _ = poll(&mut all, Some(&timespec(left)));
        }
    }
}

/// Says why not, to one who may not have room for it, and leaves.
fn refuse(mut stream: &UnixStream, why: &str) {
    if let Ok(line) = LineWriter::refusal(why) {
        let _ = stream.write_all(line.as_bytes());
    }
}

/// A time of a few seconds.
fn timespec(time: Duration) -> Timespec {
    // Rounded up: to wake too early is to wake twice.
    let time = time + Duration::from_millis(1);
    Timespec { tv_sec: time.as_secs().min(60) as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

#[cfg(test)]
mod tests;
