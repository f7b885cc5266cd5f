//! What the tests of frameworks share: something that blocks, a service under a probe, and what must be said of it.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use pollscope_probe::{Cause, Probe, SlowPoll, Snapshot, TOKIO_UNSTABLE};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// How long everything blocks that blocks.
pub const BLOCK: Duration = Duration::from_millis(90);
/// A busy machine can hold up what does not block, and hide what does.
const ATTEMPTS: u32 = 5;
/// Longer than names take to be read.
const LONG: Duration = Duration::from_secs(60);

/// Where something blocked, as `file:line`; of its kind each test has one.
#[derive(Debug, Default)]
pub struct Place(Mutex<Option<String>>);

impl Place {
    /// Nowhere yet.
    pub const fn new() -> Place {
        Place(Mutex::new(None))
    }

    /// It blocks there.
    pub fn set(&self, file: &str, line: u32) {
        *self.0.lock().expect("no panic") = Some(format!("{file}:{line}"));
    }

    fn get(&self) -> Option<String> {
        self.0.lock().expect("no panic").clone()
    }
}

/// Blocks the thread on the line of its call, and keeps which that is.
#[macro_export]
macro_rules! block {
    ($place:expr) => {{
        $place.set(file!(), line!());
        std::thread::sleep($crate::BLOCK)
    }};
}

/// What must be said of a run in which one thing blocked.
#[derive(Debug)]
pub struct Expected {
    /// Where it blocked.
    pub place: &'static Place,
    /// A part of the path of the file that spawned the task that it blocked.
    pub spawned_in: &'static str,
    /// A part of the name of the user's function that blocked.
    pub function: &'static str,
}

/// Runs something with each scheduler under a probe, and fails unless exactly one slow poll is told, as expected.
///
/// # Panics
/// When something else is told, again and again.
pub fn check<T: Debug>(expected: &Expected, run: impl Fn(&mut Builder) -> (Probe, T)) {
    for flavor in [Builder::new_current_thread, Builder::new_multi_thread] {
        let mut wrong = String::new();
        let is_right = (0..ATTEMPTS).any(|_| {
            let (probe, _) = run(&mut flavor());
            assert!(probe.flush(LONG), "names take longer than ever");
            let result = told(&probe.snapshot(), expected);
            result.map_err(|error| wrong = error).is_ok()
        });
        assert!(is_right, "{expected:?}: {wrong}");
    }
}

fn told(snapshot: &Snapshot, expected: &Expected) -> Result<(), String> {
    if !TOKIO_UNSTABLE {
        // The framework spawns the task, so nobody can watch it. That is said, with what helps.
        let is_said = snapshot.coverage.blind_to.iter().any(|blind| blind.contains("--cfg tokio_unstable"));
        let is_blind = snapshot.slow_polls.is_empty() && is_said;
        return if is_blind { Ok(()) } else { Err(format!("{:#?} {:#?}", snapshot.coverage, snapshot.slow_polls)) };
    }
    let [poll] = snapshot.slow_polls.as_slice() else { return Err(format!("{:#?}", snapshot.slow_polls)) };
    let line = expected.place.get().ok_or("nothing blocked")?;
    if is_told(poll, &line, expected) { Ok(()) } else { Err(format!("at {line}: {poll:#?}")) }
}

fn is_told(poll: &SlowPoll, line: &str, expected: &Expected) -> bool {
    let evidence = &poll.evidence;
    let function = evidence.function.as_deref().unwrap_or_default();
    poll.spawned_at.file().contains(expected.spawned_in)
        && (!pollscope_probe::CAPTURE
            || evidence.cause == Some(Cause::BlockingCall)
                && evidence.blocking_line.as_deref().is_some_and(|told| line.ends_with(told))
                && function.contains(expected.function))
}

/// A probe in a runtime that is built with it.
///
/// # Panics
/// When the machine has no threads left.
pub fn probed(builder: &mut Builder) -> (tokio::runtime::Runtime, Probe) {
    let probe = Probe::builder().slow_poll_threshold(Duration::from_millis(30)).source_root(env!("CARGO_MANIFEST_DIR"));
    let probe = probe.install(builder.enable_all()).expect("a probe");
    (builder.build().expect("a runtime"), probe)
}

/// Serves in a runtime with a probe while a client asks, from a runtime without one; gives the probe and the answer. `serve` gets a
/// listener, and what comes when it is to end.
///
/// # Panics
/// When one of both does.
pub fn served<T, S: Future<Output = ()>, C: Future<Output = T>>(
    builder: &mut Builder,
    serve: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> S + Send,
    ask: impl FnOnce(SocketAddr) -> C,
) -> (Probe, T) {
    let (runtime, probe) = probed(builder);
    let (tell, told) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let answer = std::thread::scope(|scope| {
        let probe = &probe;
        let server = scope.spawn(move || {
            runtime.block_on(probe.watch(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                tell.send(listener.local_addr().expect("an address")).expect("somebody asks");
                serve(listener, stopped).await;
            }));
        });
        let client = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let answer = client.block_on(async { tokio::time::timeout(LONG, ask(told.recv().expect("it listens"))).await });
        drop((client, stop));
        server.join().expect("it serves");
        answer.expect("it answers")
    });
    (probe, answer)
}
