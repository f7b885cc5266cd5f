//! Response time: an echo server on the measured loop, and a client outside it.
//!
//! The client is open-loop: it sends on schedule, whether or not answers come, and measures from the *intended* send time.
//! So a blocked loop cannot hide by slowing down the questions. A request is its number, in eight bytes; requests go to
//! the connections in turn.

use std::cell::RefCell;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_probe::Distribution;
use pollscope_probe::internal::{Reader, Writer, pair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use crate::spawner::Spawner;

/// Bytes of a request, and of its answer.
const REQUEST: usize = 8;

/// Accepts `connections` connections and sends back what each of them sends, until it ends.
///
/// # Errors
/// When a connection cannot be accepted.
pub(crate) async fn serve(spawner: Spawner, listener: TcpListener, connections: usize) -> io::Result<()> {
    let mut echoes = Vec::with_capacity(connections);
    for index in 0..connections {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        echoes.push(spawner.spawn(&format!("echo {index}"), echo(stream)));
    }
    for echo in echoes {
        // The requests of a failed connection count as unanswered.
        let _ = echo.await;
    }
    Ok(())
}

async fn echo(mut stream: tokio::net::TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

/// The answers that the client got.
#[derive(Debug, Clone)]
pub(crate) struct Responses {
    /// The times from the intended send to the answer.
    pub(crate) times: Distribution,
    /// Requests without an answer so far.
    pub(crate) unanswered: u64,
}

/// A connected client that sends nothing yet.
#[derive(Debug)]
pub(crate) struct Client {
    streams: Vec<TcpStream>,
    every: Duration,
}

/// A client at work, on two threads of its own: one sends, one receives.
#[derive(Debug)]
pub(crate) struct RunningClient {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    times: Reader,
    sender: thread::JoinHandle<()>,
    receiver: thread::JoinHandle<io::Result<()>>,
}

/// The intended time of each request.
#[derive(Debug, Clone, Copy)]
struct SendSchedule {
    start: Instant,
    every: Duration,
}

impl SendSchedule {
    fn due(self, request: u64) -> Instant {
        self.start + self.every.mul_f64(request as f64)
    }
}

impl Client {
    /// Connects. Blocks until the server accepts.
    ///
    /// # Errors
    /// When a connection is refused.
    pub(crate) fn connect(server: SocketAddr, connections: usize, every: Duration) -> io::Result<Client> {
        let streams = (0..connections).map(|_| {
            let stream = TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        Ok(Client { streams: streams.collect::<io::Result<_>>()?, every })
    }

    /// Starts to send requests.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start(self) -> io::Result<RunningClient> {
        let Client { streams, every } = self;
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let schedule = SendSchedule { start: Instant::now() + every, every };
        let (writer, times) = pair();
        let receiving = streams.iter().map(TcpStream::try_clone).collect::<io::Result<Vec<_>>>()?;
        let receiver = thread::Builder::new()
            .name("pollscope-recv".to_owned())
            .spawn(move || receive(receiving, schedule, writer))?;
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let sender = thread::Builder::new()
            .name("pollscope-send".to_owned())
            .spawn(move || send(&streams, schedule, &stopped, &count))?;
        Ok(RunningClient { stop, sent, times, sender, receiver })
    }
}

impl RunningClient {
    /// Sends no more requests; the connections end once everything is answered.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The answers so far.
    pub(crate) fn so_far(&self) -> Responses {
        let sent = self.sent.load(Ordering::Acquire);
        let times = self.times.read();
        let unanswered = sent.saturating_sub(times.count());
        Responses { times, unanswered }
    }

    /// Sends no more requests, waits until everything is answered, and returns all answers. Blocking; the server must still run.
    ///
    /// # Errors
    /// When the receiving side failed as a whole.
    pub(crate) fn finish(self) -> io::Result<Responses> {
        self.stop();
        let sent = self.sender.join();
        let received = self.receiver.join();
        let panicked = |_| io::Error::other("the client's thread panicked");
        sent.map_err(panicked)?;
        received.map_err(panicked)??;
        let (sent, times) = (self.sent.load(Ordering::Acquire), self.times.read());
        Ok(Responses { unanswered: sent.saturating_sub(times.count()), times })
    }
}

/// Sends requests on schedule, to the connections in turn, and counts them.
fn send(streams: &[TcpStream], schedule: SendSchedule, stop: &AtomicBool, sent: &AtomicU64) {
    for request in 0.. {
        thread::sleep(schedule.due(request).saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut stream = &streams[request as usize % streams.len()];
        if stream.write_all(&request.to_be_bytes()).is_err() {
            break;
        }
        sent.store(request + 1, Ordering::Release);
    }
    for stream in streams {
        // Fails when the server is gone; then it needs no end of the stream.
        let _ = stream.shutdown(Shutdown::Write);
    }
}

/// Receives until every connection has ended.
fn receive(streams: Vec<TcpStream>, schedule: SendSchedule, writer: Writer) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let writer = Rc::new(RefCell::new(writer));
    let connections = LocalSet::new();
    connections.block_on(&runtime, async {
        let mut ends = Vec::with_capacity(streams.len());
        for stream in streams {
            stream.set_nonblocking(true)?;
            let stream = tokio::net::TcpStream::from_std(stream)?;
            ends.push(tokio::task::spawn_local(receive_one(stream, schedule, Rc::clone(&writer))));
        }
        for end in ends {
            end.await?;
        }
        Ok(())
    })
}

async fn receive_one(mut stream: tokio::net::TcpStream, schedule: SendSchedule, writer: Rc<RefCell<Writer>>) {
    let mut answer = [0; REQUEST];
    // An error ends the connection, and its requests count as unanswered.
    while stream.read_exact(&mut answer).await.is_ok() {
        let late = Instant::now().saturating_duration_since(schedule.due(u64::from_be_bytes(answer)));
        writer.borrow_mut().record(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_asked_is_answered_and_a_blocked_loop_is_felt() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (responses, blocked) = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let server = listener.local_addr().unwrap();
            let serving = tokio::spawn(serve(Spawner::unmeasured(), listener, 3));
            let connect = move || Client::connect(server, 3, Duration::from_millis(2)).unwrap();
            let asking = tokio::task::spawn_blocking(connect).await.unwrap().start().unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            let start = Instant::now();
            thread::sleep(Duration::from_millis(100));
            let blocked = start.elapsed();
            let responses = tokio::task::spawn_blocking(|| asking.finish()).await.unwrap().unwrap();
            serving.await.unwrap().unwrap();
            (responses, blocked)
        });
        assert_eq!(responses.unanswered, 0);
        // While the loop was blocked, a request was due every 2 ms; the first of them waited almost as long as the block.
        assert!(responses.times.count_from(blocked / 2) >= 20, "{:?}", responses.times);
    }
}
