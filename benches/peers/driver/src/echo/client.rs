//! The echo service's client, for one slice.
//!
//! At saturation two threads wait for an answer on each of their connections before they ask again. At half load one thread
//! sends when the schedule says so, whether or not there are answers, and another receives; a response time is counted from
//! the moment at which the request was due, so that a service that stops does not hide the requests that it kept waiting.
//! Either way every request has been answered when the slice ends.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::time::Timespec;

use super::cpus::{Cpus, pin};
use super::slices::Slice;

const MESSAGE: usize = 64;
const CONNECTIONS: usize = 32;
/// How long an answer may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Until both threads are where they should be.
const GATHER: Duration = Duration::from_micros(500);

/// A connection that is read without waiting.
struct Connection {
    stream: TcpStream,
    buffer: [u8; 4096],
    filled: usize,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Connection, String> {
        let connect = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(stream)
        };
        let stream = connect().map_err(|error| format!("cannot connect to `{address}`: {error}"))?;
        Ok(Connection { stream, buffer: [0; 4096], filled: 0 })
    }

    /// Hands every whole message that is there to `f`.
    fn receive(&mut self, mut f: impl FnMut(&[u8])) -> Result<(), String> {
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => return Err("the service hung up".to_owned()),
            Ok(read) => self.filled += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(format!("cannot read from the service: {error}")),
        }
        let whole = self.filled - self.filled % MESSAGE;
        self.buffer[..whole].chunks(MESSAGE).for_each(&mut f);
        self.buffer.copy_within(whole..self.filled, 0);
        self.filled -= whole;
        Ok(())
    }
}

/// Sends a message that carries a number; the socket's buffer has room for it unless the service stopped for good.
fn send(mut stream: &TcpStream, number: u64) -> Result<(), String> {
    let mut message = [0; MESSAGE];
    message[..8].copy_from_slice(&number.to_le_bytes());
    match stream.write(&message) {
        Ok(MESSAGE) => Ok(()),
        Ok(part) => Err(format!("only {part} bytes of a request could be sent")),
        Err(error) => Err(format!("cannot send a request: {error}")),
    }
}

/// Connections that one thread receives on.
pub(crate) struct Lines {
    connections: Vec<Connection>,
    epoll: OwnedFd,
}

impl Lines {
    fn open(address: SocketAddr, count: usize) -> Result<Lines, String> {
        let connections = (0..count).map(|_| Connection::open(address)).collect::<Result<Vec<_>, _>>()?;
        let error = |error| format!("cannot wait for answers: {error}");
        let poller = epoll::create(CreateFlags::CLOEXEC).map_err(error)?;
        for (index, connection) in connections.iter().enumerate() {
            epoll::add(&poller, &connection.stream, EventData::new_u64(index as u64), EventFlags::IN).map_err(error)?;
        }
        Ok(Lines { connections, epoll: poller })
    }

    /// Calls `f` with each connection that has something, and waits for one at most as long as that.
    fn wait(
        &mut self,
        at_most: Duration,
        mut f: impl FnMut(&mut Connection) -> Result<(), String>,
    ) -> Result<(), String> {
        let timeout = Timespec::try_from(at_most).map_err(|error| error.to_string())?;
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); CONNECTIONS];
        let events = match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(format!("cannot wait for answers: {error}")),
        };
        events.iter().try_for_each(|event| f(&mut self.connections[event.data.u64() as usize]))
    }
}

fn spin_until(when: Instant) {
    while Instant::now() < when {
        std::hint::spin_loop();
    }
}

/// The client of one service, connected.
pub(crate) enum Client {
    Saturating([Lines; 2]),
    /// So many requests a second.
    AtRate {
        lines: Lines,
        senders: Vec<TcpStream>,
        rate: f64,
    },
}

impl Client {
    pub(crate) fn saturating(address: SocketAddr) -> Result<Client, String> {
        let half = || Lines::open(address, CONNECTIONS / 2);
        Ok(Client::Saturating([half()?, half()?]))
    }

    pub(crate) fn at_rate(address: SocketAddr, rate: f64) -> Result<Client, String> {
        let lines = Lines::open(address, CONNECTIONS)?;
        let clone = |connection: &Connection| connection.stream.try_clone().map_err(|error| error.to_string());
        let senders = lines.connections.iter().map(clone).collect::<Result<Vec<_>, _>>()?;
        Ok(Client::AtRate { lines, senders, rate })
    }

    /// Asks for so long, and waits until all has been answered.
    pub(crate) fn slice(&mut self, length: Duration, cpus: Option<Cpus>) -> Result<Slice, String> {
        match self {
            Client::Saturating(lines) => saturated(lines, length, cpus),
            Client::AtRate { lines, senders, rate } => at_rate(lines, senders, *rate, length, cpus),
        }
    }
}

fn pin_client(cpus: Option<Cpus>, thread: usize) {
    if let Some(cpus) = cpus {
        pin(None, &[cpus.clients[thread]]);
    }
}

fn saturated(lines: &mut [Lines; 2], length: Duration, cpus: Option<Cpus>) -> Result<Slice, String> {
    let start = Instant::now() + GATHER;
    let until = start + length;
    // A thread that has a CPU of its own does not sleep on it: to be woken takes longer, and now more so than then.
    let at_most = if cpus.is_some() { Duration::ZERO } else { Duration::from_millis(10) };
    let asking = |thread: usize, lines: &mut Lines| -> Result<(u64, Instant, Duration), String> {
        pin_client(cpus, thread);
        spin_until(start);
        lines.connections.iter().try_for_each(|connection| send(&connection.stream, 0))?;
        let (mut answers, mut waiting) = (0, lines.connections.len());
        let (mut last, mut pause) = (Instant::now(), Duration::ZERO);
        while waiting > 0 {
            let now = Instant::now();
            (last, pause) = (now, pause.max(now - last));
            if now > until + PATIENCE {
                return Err(format!("{waiting} answers did not come"));
            }
            lines.wait(at_most, |connection| {
                let mut here = 0;
                connection.receive(|_| here += 1)?;
                answers += here as u64;
                match now < until {
                    true => (0..here).try_for_each(|_| send(&connection.stream, 0))?,
                    false => waiting -= here,
                }
                Ok(())
            })?;
        }
        Ok((answers, Instant::now(), pause))
    };
    let [one, two] = lines;
    thread::scope(|scope| {
        let asking = &asking;
        let threads = [scope.spawn(move || asking(0, one)), scope.spawn(move || asking(1, two))];
        let mut slice = Slice::default();
        for ended in threads.map(|thread| thread.join().expect("the client does not panic")) {
            let (answers, end, pause) = ended?;
            slice.requests += answers;
            slice.wall = slice.wall.max(end - start);
            slice.pause_ns = slice.pause_ns.max(pause.as_nanos() as f64);
        }
        Ok(slice)
    })
}

/// Requests at fixed times, on the connections in turn.
fn at_rate(
    lines: &mut Lines,
    senders: &[TcpStream],
    rate: f64,
    length: Duration,
    cpus: Option<Cpus>,
) -> Result<Slice, String> {
    let requests = ((length.as_secs_f64() * rate) as u64).max(1);
    let due_ns = |request: u64| (request as f64 / rate * 1e9) as u64;
    let start = Instant::now() + GATHER;
    let now_ns = || Instant::now().saturating_duration_since(start).as_nanos() as u64;
    let sending = || {
        pin_client(cpus, 0);
        let mut late_ns = Vec::with_capacity(requests as usize);
        for request in 0..requests {
            let due_ns = due_ns(request);
            spin_until(start + Duration::from_nanos(due_ns));
            late_ns.push((now_ns() - due_ns) as f64);
            send(&senders[request as usize % CONNECTIONS], due_ns)?;
        }
        Ok::<_, String>(late_ns)
    };
    let receiving = || {
        pin_client(cpus, 1);
        let mut response_ns = Vec::with_capacity(requests as usize);
        spin_until(start);
        let (mut last, mut pause) = (Instant::now(), Duration::ZERO);
        while (response_ns.len() as u64) < requests {
            lines.wait(Duration::ZERO, |connection| {
                connection.receive(|message| {
                    let due_ns = u64::from_le_bytes(message[..8].try_into().expect("a message has 8 bytes"));
                    response_ns.push((now_ns() - due_ns) as f64);
                })
            })?;
            let now = Instant::now();
            (last, pause) = (now, pause.max(now - last));
            if now > start + length + PATIENCE {
                return Err(format!("{} answers did not come", requests - response_ns.len() as u64));
            }
        }
        Ok((response_ns, pause.as_nanos() as f64, last - start))
    };
    thread::scope(|scope| {
        let (sender, receiver) = (scope.spawn(sending), scope.spawn(receiving));
        let (response_ns, pause_ns, wall) = receiver.join().expect("the client does not panic")?;
        let late_ns = sender.join().expect("the client does not panic")?;
        Ok(Slice { requests, wall, response_ns, late_ns, pause_ns, ..Slice::default() })
    })
}
