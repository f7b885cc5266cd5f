//! The processes beside the one that measures.

use std::io::{Read, stdin};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use pollscope_attach::{Attached, Hz, Settings, Target, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// Workers of the service.
const WORKERS: usize = 2;
/// Bytes of a question, and of its answer.
const BYTES: usize = 64;

/// The service: says where it listens, and ends with its stdin.
pub(crate) fn serve() -> Result<(), String> {
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().map_err(said)?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).map_err(said)?;
    println!("{}", listener.local_addr().map_err(said)?);
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    ends_with_stdin();
    Ok(())
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut question = [0; BYTES];
    loop {
        stream.read_exact(&mut question).await?;
        stream.write_all(&question).await?;
    }
}

/// Looks at a process until its own stdin ends.
pub(crate) fn look(pid: &str, hz: &str) -> Result<(), String> {
    let hz = hz.parse().ok().and_then(Hz::new).ok_or_else(|| format!("`{hz}` is no number of looks"))?;
    let target = target(pid)?;
    #[allow(clippy::needless_update, reason = "it may have more one day")]
    let settings = Settings { hz, ..Settings::default() };
    let attached = Attached::to(target, settings, "2026-11-30T21:40:00.000Z").map_err(said)?;
    std::thread::spawn(move || attached.count());
    ends_with_stdin();
    Ok(())
}

/// Reads a process's tasks now and again until its own stdin ends.
pub(crate) fn read_tasks(pid: &str, ms: &str) -> Result<(), String> {
    let pause = ms.parse().map(Duration::from_millis).map_err(|_| format!("`{ms}` is no number of milliseconds"))?;
    let mut tasks = Tasks::of(target(pid)?);
    std::thread::spawn(move || {
        loop {
            let failed = match tasks.read("2026-11-30T21:40:00.000Z") {
                Ok(list) if !list.tasks.is_empty() => None,
                Ok(list) => Some(format!("no task was found: {:?}", list.missing)),
                Err(obstacle) => Some(obstacle.to_string()),
            };
            if let Some(failed) = failed {
                eprintln!("throughput: {failed}");
                // Who measures sees that nobody reads any more.
                std::process::exit(1);
            }
            std::thread::sleep(pause);
        }
    });
    ends_with_stdin();
    Ok(())
}

fn target(pid: &str) -> Result<Target, String> {
    let pid = pid.parse().map_err(|_| format!("`{pid}` is no process"))?;
    Target::open(pid, &[]).map_err(|obstacle| obstacle.to_string())
}

fn ends_with_stdin() {
    // Whatever ends it.
    _ = stdin().read(&mut [0; 1]);
}

/// Clients on a thread of their own: how many answers they got so far. Each waits for `pause` after an answer.
pub(crate) fn ask(service: SocketAddr, clients: usize, pause: Duration) -> Arc<AtomicU64> {
    let answers = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&answers);
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let asking = (0..clients).map(|_| tokio::spawn(client(service, pause, Arc::clone(&counted))));
            for client in asking.collect::<Vec<_>>() {
                // The service ends first.
                _ = client.await;
            }
        });
    });
    answers
}

async fn client(service: SocketAddr, pause: Duration, answers: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(service).await?;
    stream.set_nodelay(true)?;
    let mut bytes = [7; BYTES];
    loop {
        stream.write_all(&bytes).await?;
        stream.read_exact(&mut bytes).await?;
        answers.fetch_add(1, Relaxed);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

pub(crate) fn said(error: std::io::Error) -> String {
    error.to_string()
}
