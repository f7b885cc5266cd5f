//! The echo service's client. It is another process, on other CPUs where there are four, and holds the instrument up nowhere.
//!
//! At saturation two threads wait for an answer on each of their connections before they ask again. At half load one thread
//! sends when the schedule says so, whether or not there are answers, and another receives; a response time is counted from
//! the moment at which the request was due, so that a service that stops does not hide the requests that it kept waiting.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::Timespec;

use crate::catalog::{Instrument, Load, Metric};
use crate::program::{Programs, Service, Trouble};
use crate::results::Sample;
use crate::stats::quantile;

const MESSAGE: usize = 64;
const CONNECTIONS: usize = 32;
/// Before anything counts.
const WARM_UP: Duration = Duration::from_millis(100);
/// How long an answer may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// The service's CPUs, and the client's: the service's worker, its other threads, and two of the client's.
fn cpus() -> Option<(CpuSet, [CpuSet; 2])> {
    let allowed = sched_getaffinity(None).ok()?;
    let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    let set = |cpus: &[usize]| {
        let mut set = CpuSet::new();
        cpus.iter().for_each(|cpu| set.set(*cpu));
        set
    };
    (allowed.len() >= 4).then(|| (set(&allowed[..2]), [set(&allowed[2..3]), set(&allowed[3..4])]))
}

fn pin(set: Option<&CpuSet>) {
    if let Some(set) = set {
        // Unpinned, it is only noisier.
        let _ = sched_setaffinity(None, set);
    }
}

/// Starts the service on its CPUs; this thread is where it was afterwards.
fn start(programs: &Programs, instrument: &Instrument, service_cpus: Option<&CpuSet>) -> Result<Service, Trouble> {
    let command = programs.command(instrument)?;
    let before = sched_getaffinity(None).ok();
    pin(service_cpus);
    let service = Service::start(&command);
    pin(before.as_ref());
    service
}

/// `rate`: requests a second at half load, which are the same for all.
pub(crate) fn measure(
    programs: &Programs,
    instrument: &Instrument,
    load: Load,
    rate: f64,
    length: Duration,
) -> Result<Sample, Trouble> {
    let cpus = cpus();
    let (service_cpus, client_cpus) = cpus
        .as_ref()
        .map_or((None, [None; 2]), |(service, clients)| (Some(service), [Some(&clients[0]), Some(&clients[1])]));
    let service = start(programs, instrument, service_cpus)?;
    let sample = match load {
        Load::EchoHalf => at_rate(&service, rate, length, client_cpus),
        _ => saturated(&service, length, client_cpus),
    };
    let ended = service.stop();
    let sample = sample?;
    ended.map(|()| sample)
}

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

struct Poller {
    epoll: OwnedFd,
    events: [MaybeUninit<epoll::Event>; CONNECTIONS],
}

impl Poller {
    fn new(connections: &[Connection]) -> Result<Poller, String> {
        let error = |error| format!("cannot wait for answers: {error}");
        let poller = epoll::create(CreateFlags::CLOEXEC).map_err(error)?;
        for (index, connection) in connections.iter().enumerate() {
            epoll::add(&poller, &connection.stream, EventData::new_u64(index as u64), EventFlags::IN).map_err(error)?;
        }
        Ok(Poller { epoll: poller, events: [MaybeUninit::uninit(); CONNECTIONS] })
    }

    /// Calls `f` with the number of each connection that has something, and waits for one at most as long as that.
    fn wait(&mut self, at_most: Duration, mut f: impl FnMut(usize) -> Result<(), String>) -> Result<(), String> {
        let timeout = Timespec::try_from(at_most).map_err(|error| error.to_string())?;
        let events = match epoll::wait(&self.epoll, &mut self.events, Some(&timeout)) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(format!("cannot wait for answers: {error}")),
        };
        events.iter().try_for_each(|event| f(event.data.u64() as usize))
    }
}

fn open(service: &Service, count: usize) -> Result<Vec<Connection>, String> {
    (0..count).map(|_| Connection::open(service.address)).collect()
}

/// Both threads ask until the time is up; requests of the measured part, and how long that was.
fn saturated(service: &Service, length: Duration, cpus: [Option<&CpuSet>; 2]) -> Result<Sample, String> {
    let from = Instant::now() + WARM_UP;
    let until = from + length;
    let asking = |cpu: Option<&CpuSet>| -> Result<u64, String> {
        pin(cpu);
        let mut connections = open(service, CONNECTIONS / 2)?;
        let mut poller = Poller::new(&connections)?;
        connections.iter().try_for_each(|connection| send(&connection.stream, 0))?;
        let mut answers = 0;
        loop {
            let now = Instant::now();
            if now >= until {
                return Ok(answers);
            }
            poller.wait(Duration::from_millis(10), |index| {
                let connection = &mut connections[index];
                let mut here = 0;
                connection.receive(|_| here += 1)?;
                answers += if now >= from { here } else { 0 };
                (0..here).try_for_each(|_| send(&connection.stream, 0))
            })?;
        }
    };
    thread::scope(|scope| {
        let threads = cpus.map(|cpu| scope.spawn(move || asking(cpu)));
        thread::sleep(from.saturating_duration_since(Instant::now()));
        let (cpu, start) = (service.worker_cpu(), Instant::now());
        thread::sleep(until.saturating_duration_since(Instant::now()));
        let (cpu, took) = (service.worker_cpu()? - cpu?, start.elapsed());
        let mut answers = 0;
        for thread in threads {
            answers += thread.join().expect("the client does not panic")?;
        }
        Ok(Sample::from([
            (Metric::Throughput, answers as f64 / length.as_secs_f64()),
            (Metric::RequestCpu, cpu.as_nanos() as f64 / answers as f64),
            (Metric::Utilization, cpu.as_secs_f64() / took.as_secs_f64()),
        ]))
    })
}

/// Requests at fixed times, on the connections in turn.
fn at_rate(service: &Service, rate: f64, length: Duration, cpus: [Option<&CpuSet>; 2]) -> Result<Sample, String> {
    let mut connections = open(service, CONNECTIONS)?;
    let clone = |connection: &Connection| connection.stream.try_clone().map_err(|error| error.to_string());
    let senders = connections.iter().map(clone).collect::<Result<Vec<_>, _>>()?;
    let requests = ((WARM_UP + length).as_secs_f64() * rate) as u64;
    let due_ns = |request: u64| (request as f64 / rate * 1e9) as u64;
    let start = Instant::now() + Duration::from_millis(10);
    let now_ns = || Instant::now().saturating_duration_since(start).as_nanos() as u64;
    let cpu = service.worker_cpu()?;

    let (late_ns, response_ns) = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            pin(cpus[0]);
            let mut late_ns = Vec::with_capacity(requests as usize);
            for request in 0..requests {
                let due_ns = due_ns(request);
                while Instant::now() < start + Duration::from_nanos(due_ns) {
                    std::hint::spin_loop();
                }
                late_ns.push((now_ns() - due_ns) as f64);
                send(&senders[request as usize % CONNECTIONS], due_ns)?;
            }
            Ok::<_, String>(late_ns)
        });
        pin_scoped(cpus[1], || {
            let mut poller = Poller::new(&connections)?;
            let (mut response_ns, mut answers) = (Vec::with_capacity(requests as usize), 0);
            let give_up = start + WARM_UP + length + PATIENCE;
            while answers < requests {
                if Instant::now() > give_up {
                    return Err(format!("{} answers did not come", requests - answers));
                }
                poller.wait(Duration::ZERO, |index| {
                    connections[index].receive(|message| {
                        answers += 1;
                        let due_ns = u64::from_le_bytes(message[..8].try_into().expect("a message has 8 bytes"));
                        if u128::from(due_ns) >= WARM_UP.as_nanos() {
                            response_ns.push((now_ns() - due_ns) as f64);
                        }
                    })
                })?;
            }
            Ok(response_ns)
        })
        .and_then(|response_ns| Ok((sender.join().expect("the client does not panic")?, response_ns)))
    })?;
    let us = |values: &[f64], q| quantile(values, q).map(|ns| ns / 1e3).ok_or("no request was measured");
    Ok(Sample::from([
        (Metric::P99, us(&response_ns, 0.99)?),
        (Metric::P999, us(&response_ns, 0.999)?),
        (Metric::Lateness, us(&late_ns, 0.999)?),
        (Metric::RequestCpu, (service.worker_cpu()? - cpu).as_nanos() as f64 / requests as f64),
    ]))
}

/// Runs `f` on those CPUs, on this thread, which is where it was afterwards.
fn pin_scoped<T>(set: Option<&CpuSet>, f: impl FnOnce() -> T) -> T {
    let before = sched_getaffinity(None).ok();
    pin(set);
    let result = f();
    pin(before.as_ref());
    result
}
