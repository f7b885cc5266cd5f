//! A page of metrics over HTTP, on a thread of its own.
//!
//! One thread serves all clients, none of which it waits for: a client that sends or reads slowly is looked at every few
//! milliseconds until its time is up, and costs the others nothing. While there is none the thread sleeps in `accept`.

mod hosts;
mod request;

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use self::hosts::Hosts;
use self::request::{Status, judge, response};
use crate::probe::Probe;
use crate::prometheus::Exposition;
use crate::snapshot::Snapshot;
use pollscope_base::reason;
use pollscope_base::redact::redacted_place;

/// How long a client may take for its request, and as long again for the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often clients are looked at that are not ready.
const TICK: Duration = Duration::from_millis(5);
/// How long to wait when no client can be accepted, for want of descriptors say.
const PAUSE: Duration = Duration::from_millis(100);
/// What is read of one client before the next one's turn.
const TURN: usize = 64 * 1024;
/// How long the end of the thread is waited for.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Why metrics are not served.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on: another program has it, or this machine does not.
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The thread that serves cannot be started.
    Thread {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Listen { address, error } => {
                write!(
                    f,
                    "cannot serve metrics on `{address}`: {}; name a free address, or port 0 for any",
                    reason(error)
                )
            }
            ServeError::Thread { address, error } => write!(
                f,
                "cannot serve metrics on `{address}`: cannot start a thread: {}; raise the limit on threads",
                reason(error)
            ),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServeError::Listen { error, .. } | ServeError::Thread { error, .. } => Some(error),
        }
    }
}

/// For a `main` that returns [`io::Result`]: the kind is that of the system's error.
impl From<ServeError> for io::Error {
    fn from(error: ServeError) -> io::Error {
        let kind = match &error {
            ServeError::Listen { error, .. } | ServeError::Thread { error, .. } => error.kind(),
        };
        io::Error::new(kind, error)
    }
}

/// Serves metrics in Prometheus' text format at `/metrics`, until it is dropped.
///
/// Only `GET /metrics` is answered with 200; a request's head has 8 KiB at most, and a client two seconds for it and two for
/// the answer. Anyone who can reach the address can read the metrics: see [`MetricsServer::exposure`].
///
/// A request whose `Host` is foreign gets 421: a page in a browser could make its own name lead here, and read the metrics. Any
/// address is allowed, `localhost` and the machine's name; of a server that does not listen on the loopback also the machine's name
/// with a domain, and names that the public DNS cannot have: without a dot, in `.local`, `.internal`, `.svc`, `.lan` or `.home.arpa`. Others
/// with [`MetricsServer::allow_host`].
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    hosts: Arc<Hosts>,
    stop: Arc<AtomicBool>,
    /// Ends when the thread does.
    ended: Receiver<()>,
}

impl MetricsServer {
    /// Clients at one time, each with an open descriptor; the oldest goes when another comes.
    pub const MOST_CLIENTS: usize = 32;

    /// Starts to serve what `source` gives whenever it is asked; nothing, with 503, while it gives `None`. For one probe
    /// [`Probe::serve_prometheus`] does.
    ///
    /// ```
    /// use pollscope_probe::{MetricsServer, Probe};
    /// let server = MetricsServer::start(([127, 0, 0, 1], 0), || Some(Probe::off().snapshot()))?;
    /// let address = server.local_addr();
    /// assert!(address.ip().is_loopback() && address.port() != 0);
    /// let error = MetricsServer::start(address, || None).unwrap_err();
    /// assert!(error.to_string().starts_with(&format!("cannot serve metrics on `{address}`: ")));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the address cannot be listened on, or the thread cannot be started.
    pub fn start(
        address: impl Into<SocketAddr>,
        source: impl FnMut() -> Option<Snapshot> + Send + 'static,
    ) -> Result<MetricsServer, ServeError> {
        let asked = address.into();
        let refused = |error: io::Error| ServeError::Listen { address: asked, error };
        let listener = TcpListener::bind(asked).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let stop = Arc::new(AtomicBool::new(false));
        let hosts = Arc::new(Hosts::of(address.ip()));
        let (alive, ended) = mpsc::channel();
        let mut serving = Serving {
            listener,
            stop: Arc::clone(&stop),
            hosts: Arc::clone(&hosts),
            source: Box::new(source),
            exposition: Exposition::default(),
            clients: Vec::new(),
        };
        let run = move || {
            serving.run();
            // First the listener and the source, then word that they are gone.
            drop(serving);
            drop::<mpsc::Sender<()>>(alive);
        };
        thread::Builder::new()
            .name("pollscope-serve".to_owned())
            .spawn(run)
            .map_err(|error| ServeError::Thread { address: asked, error })?;
        Ok(MetricsServer { address, hosts, stop, ended })
    }

    /// Where it listens: with the port that it was given, if it was asked for any.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers also who asks for this host: a name under which others reach this machine, without a port.
    ///
    /// ```
    /// # use pollscope_probe::MetricsServer;
    /// let server = MetricsServer::start(([127, 0, 0, 1], 0), || None)?;
    /// server.allow_host("metrics.example.org");
    /// # Ok::<(), pollscope_probe::ServeError>(())
    /// ```
    pub fn allow_host(&self, name: &str) {
        self.hosts.allow(name);
    }

    /// Who can read what, where that is more than this machine: a sentence to be said once; `None` on the loopback.
    ///
    /// ```
    /// # use pollscope_probe::MetricsServer;
    /// let server = MetricsServer::start(([0, 0, 0, 0], 0), || None)?;
    /// assert!(server.exposure().unwrap().starts_with("whoever can reach port "));
    /// assert_eq!(MetricsServer::start(([127, 0, 0, 1], 0), || None)?.exposure(), None);
    /// # Ok::<(), pollscope_probe::ServeError>(())
    /// ```
    pub fn exposure(&self) -> Option<String> {
        let (ip, port) = (self.address.ip().to_canonical(), self.address.port());
        let place = match ip {
            ip if ip.is_loopback() => return None,
            ip if ip.is_unspecified() => format!("port {port} of any address of this machine"),
            ip => format!("port {port} of `{ip}`"),
        };
        Some(format!(
            "whoever can reach {place} can read the metrics, without a password: how busy the loop is, and the places in the source \
             where tasks are spawned; listen on 127.0.0.1 unless they may"
        ))
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let here = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        // Out of `accept`. If this fails there are others to be accepted.
        let _ = TcpStream::connect_timeout(&SocketAddr::new(here, self.address.port()), LAST_WAIT);
        let _ = self.ended.recv_timeout(LAST_WAIT);
    }
}

impl Probe {
    /// Serves this probe's metrics in Prometheus' text format at `http://ADDRESS/metrics`, from a thread of its own, until the
    /// server is dropped: see [`Snapshot::to_prometheus`] for what is in them. The server is a handle of the probe.
    ///
    /// Listen on the loopback, as here, unless those who can reach another address may know the spawn sites;
    /// [`redact_paths`](crate::ProbeBuilder::redact_paths) keeps their folders out.
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().install(&mut runtime)?;
    /// let server = probe.serve_prometheus(([127, 0, 0, 1], 0))?; // or port 9464, say
    ///
    /// let mut client = std::net::TcpStream::connect(server.local_addr())?;
    /// client.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    /// let mut answer = String::new();
    /// client.read_to_string(&mut answer)?;
    /// assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\npollscope_slow_polls_total 0\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the address cannot be listened on, or the thread cannot be started.
    pub fn serve_prometheus(&self, address: impl Into<SocketAddr>) -> Result<MetricsServer, ServeError> {
        let probe = self.clone();
        MetricsServer::start(address, move || {
            let mut snapshot = probe.snapshot();
            if probe.redacts() {
                snapshot
                    .sites
                    .iter_mut()
                    .for_each(|site| site.spawned_at = site.spawned_at.as_deref().map(redacted_place));
            }
            Some(snapshot)
        })
    }
}

/// What the thread has.
struct Serving {
    listener: TcpListener,
    stop: Arc<AtomicBool>,
    hosts: Arc<Hosts>,
    source: Box<dyn FnMut() -> Option<Snapshot> + Send>,
    exposition: Exposition,
    clients: Vec<Client>,
}

impl Serving {
    fn run(&mut self) {
        loop {
            let accepted = self.accept();
            if self.stop.load(Relaxed) {
                return;
            }
            match accepted {
                Ok(true) => {}
                Ok(false) => thread::sleep(TICK),
                Err(_) => thread::sleep(PAUSE),
            }
            let mut clients = std::mem::take(&mut self.clients);
            let hosts = Arc::clone(&self.hosts);
            clients.retain_mut(|client| client.go_on(&hosts, |request| self.answer(request)));
            self.clients = clients;
        }
    }

    /// Takes those who wait; whether there was one. With no client, it sleeps until there is one.
    fn accept(&mut self) -> io::Result<bool> {
        self.listener.set_nonblocking(!self.clients.is_empty())?;
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            // It went away before it was its turn.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        if self.clients.len() == MetricsServer::MOST_CLIENTS {
            self.clients.remove(0);
        }
        self.clients.push(Client { stream, since: Instant::now(), stage: Stage::Asking(Vec::new()) });
        Ok(true)
    }

    fn answer(&mut self, status: Status) -> Vec<u8> {
        let metrics = match status {
            Status::Ok => catch_unwind(AssertUnwindSafe(|| {
                let snapshot = (self.source)();
                snapshot.map(|snapshot| self.exposition.text(&snapshot))
            })),
            _ => Ok(None),
        };
        match (status, metrics) {
            (_, Ok(Some(text))) => response(Status::Ok, &text),
            (Status::Ok, Ok(None)) => response(Status::Unavailable, ""),
            (Status::Ok, Err(_)) => response(Status::Failed, ""),
            (status, _) => response(status, ""),
        }
    }
}

/// One connection.
struct Client {
    stream: TcpStream,
    /// When its stage began; for the last, when the one before did.
    since: Instant,
    stage: Stage,
}

enum Stage {
    /// Its request's head, so far.
    Asking(Vec<u8>),
    /// What it is answered, and how much of that was sent.
    Hearing(Vec<u8>, usize),
    /// All is sent: what it still says is read, for a connection that is closed before is reset, and the answer lost.
    Leaving,
}

impl Client {
    /// Does what can be done without waiting; whether there is more to do.
    fn go_on(&mut self, hosts: &Hosts, mut answer: impl FnMut(Status) -> Vec<u8>) -> bool {
        if self.since.elapsed() > PATIENCE {
            return false;
        }
        loop {
            let done = match &mut self.stage {
                Stage::Asking(head) => ask(&mut self.stream, head, hosts).map(|status| {
                    status.map(|status| {
                        self.since = Instant::now();
                        Stage::Hearing(answer(status), 0)
                    })
                }),
                Stage::Hearing(text, sent) => {
                    hear(&mut self.stream, text, sent).map(|done| done.then_some(Stage::Leaving))
                }
                Stage::Leaving => leave(&mut self.stream).map(|()| None),
            };
            match done {
                Ok(Some(next)) => self.stage = next,
                Ok(None) => return true,
                Err(error) => return error.kind() == ErrorKind::Interrupted,
            }
        }
    }
}

/// What was read now; `None` where nothing is there.
fn read<'b>(stream: &mut TcpStream, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
    match stream.read(buffer) {
        Ok(count) => Ok(Some(&buffer[..count])),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads on in a request's head: what to answer, once that is known.
fn ask(stream: &mut TcpStream, head: &mut Vec<u8>, hosts: &Hosts) -> io::Result<Option<Status>> {
    let mut buffer = [0; 1024];
    loop {
        match read(stream, &mut buffer)? {
            None => return Ok(None),
            Some([]) if head.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
            Some([]) => return Ok(Some(Status::Bad)),
            Some(bytes) => head.extend_from_slice(bytes),
        }
        if let Some(status) = judge(head, hosts) {
            return Ok(Some(status));
        }
    }
}

/// Sends on; whether all is sent.
fn hear(stream: &mut TcpStream, text: &[u8], sent: &mut usize) -> io::Result<bool> {
    while *sent < text.len() {
        match stream.write(&text[*sent..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => *sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    Ok(true)
}

/// Reads what comes, up to the end, which is an error.
fn leave(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    for _ in 0..TURN / buffer.len() {
        match read(stream, &mut buffer)? {
            None => return Ok(()),
            Some([]) => return Err(ErrorKind::UnexpectedEof.into()),
            Some(_) => {}
        }
    }
    Ok(())
}
