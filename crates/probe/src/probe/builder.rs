//! How a probe is to be installed: everything that can be set.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use super::Probe;
use crate::env;
use crate::hooks::Chained;
use crate::reporter::{Callback, LineWriter};
use crate::snapshot::{Polling, SlowPoll};
use crate::watchdog;

/// What counts as a slow poll unless the builder is told otherwise: asyncio's `slow_callback_duration`.
pub const DEFAULT_SLOW_POLL: Duration = Duration::from_millis(100);
/// How many slow polls a snapshot lists unless the builder is told otherwise.
pub const DEFAULT_KEPT_SLOW_POLLS: usize = 1_024;

/// How a probe is to be installed.
#[must_use = "a builder does nothing until it is installed"]
pub struct ProbeBuilder {
    pub(super) on: bool,
    pub(super) slow_poll_threshold: Duration,
    pub(super) keep_slow_polls: usize,
    pub(super) redact_paths: bool,
    pub(super) schedule_latency: bool,
    pub(super) callback: Option<Callback<SlowPoll>>,
    pub(super) on_stall: Option<Callback<Polling>>,
    #[cfg(feature = "tracing")]
    pub(super) events: bool,
    #[cfg(feature = "metrics")]
    pub(super) metrics: bool,
    #[cfg(feature = "record")]
    pub(super) record: Option<std::path::PathBuf>,
    #[cfg(feature = "record")]
    pub(super) listen: Option<crate::recorder::Listen>,
    #[cfg(feature = "record")]
    pub(super) label: Option<String>,
    pub(super) whole_process: bool,
    pub(super) writer: Option<LineWriter>,
    /// Whether the writer is that of the environment's switch.
    pub(super) has_lines_of_env: bool,
    /// `None`: what that says.
    pub(super) status_lines: Option<bool>,
    /// `None`: no thread looks at late polls.
    pub(crate) watchdog: Option<watchdog::Options>,
    pub(crate) chained: Chained,
}

impl fmt::Debug for ProbeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeBuilder")
            .field("on", &self.on)
            .field("slow_poll_threshold", &self.slow_poll_threshold)
            .finish_non_exhaustive()
    }
}

impl ProbeBuilder {
    pub(super) fn new() -> ProbeBuilder {
        ProbeBuilder {
            on: true,
            slow_poll_threshold: DEFAULT_SLOW_POLL,
            keep_slow_polls: DEFAULT_KEPT_SLOW_POLLS,
            redact_paths: false,
            schedule_latency: true,
            callback: None,
            on_stall: None,
            #[cfg(feature = "tracing")]
            events: false,
            #[cfg(feature = "metrics")]
            metrics: false,
            #[cfg(feature = "record")]
            record: None,
            #[cfg(feature = "record")]
            listen: None,
            #[cfg(feature = "record")]
            label: None,
            whole_process: false,
            writer: None,
            has_lines_of_env: false,
            status_lines: None,
            watchdog: Some(watchdog::Options::default()),
            chained: Chained::default(),
        }
    }

    /// A builder that follows the environment: `POLLSCOPE=1` (or `yes`, `on`, `true`) switches the probe on and its lines to stderr,
    /// `POLLSCOPE_SLOW_POLL=50ms` sets the threshold. Without the switch, [`ProbeBuilder::install`] gives
    /// [`Probe::off`]. What was set but cannot be followed, such as a threshold without the switch, is said on stderr. What you then
    /// set on the builder replaces what the environment said; the switch stays.
    pub fn from_env() -> ProbeBuilder {
        let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let request = env::read(variable("POLLSCOPE").as_deref(), variable("POLLSCOPE_SLOW_POLL").as_deref());
        let record = std::env::var_os("POLLSCOPE_RECORD").filter(|path| !path.is_empty());
        let whole_process = variable(env::WHOLE_PROCESS).is_some_and(|word| env::is_on(&word));
        let refused = [
            ("POLLSCOPE_RECORD", record.is_some()),
            ("POLLSCOPE_LISTEN", env::listen().is_some()),
            (env::WHOLE_PROCESS, whole_process),
        ];
        let refused =
            refused.into_iter().filter_map(|(name, is_set)| env::refused(name, request.on).filter(|_| is_set));
        for warning in request.warnings.iter().cloned().chain(refused) {
            // A closed stderr must not stop the host.
            let _ = writeln!(io::stderr(), "WARN pollscope: {warning}");
        }
        let builder = Probe::builder().slow_poll_threshold(request.slow_poll.unwrap_or(DEFAULT_SLOW_POLL));
        let builder =
            ProbeBuilder { on: request.on, has_lines_of_env: true, whole_process, ..builder.log_to(io::stderr()) };
        #[cfg(feature = "record")]
        let builder =
            ProbeBuilder { record: record.map(Into::into), label: env::label(request.on), ..builder }.listen_as_env();
        builder
    }

    /// What counts as a slow poll: one that lasted at least this long. From 1 ns; asyncio's 100 ms unless set.
    pub fn slow_poll_threshold(self, threshold: Duration) -> ProbeBuilder {
        ProbeBuilder { slow_poll_threshold: threshold, ..self }
    }

    /// How many slow polls a snapshot lists, some 500 bytes each, and with a stack some 10 kB; those beyond are counted. 1,024 unless set.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().slow_poll_threshold(Duration::from_nanos(1)).keep_slow_polls(2).install(&mut runtime)?;
    /// let runtime = runtime.build()?;
    /// (0..5).for_each(|_| runtime.block_on(probe.watch(async {})));
    /// let snapshot = probe.snapshot();
    /// assert_eq!((snapshot.slow_polls.len(), snapshot.slow_polls_dropped, snapshot.slow_polls_total), (2, 3, 5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep_slow_polls(self, most: usize) -> ProbeBuilder {
        ProbeBuilder { keep_slow_polls: most, ..self }
    }

    /// Called for every slow poll, some 100 ms after its end, or once what was seen of it has names, ten seconds after its end at
    /// most, on a thread of the probe's own. A panic in it is caught and counted;
    /// one that blocks holds back further calls and lines, and nothing else.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_probe::Probe;
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder()
    ///     .slow_poll_threshold(Duration::from_millis(5))
    ///     .on_slow_poll(move |poll| _ = tell.send((poll.duration, poll.to_string())))
    ///     .install(&mut runtime)?;
    /// runtime.build()?.block_on(probe.watch(async { std::thread::sleep(Duration::from_millis(6)) }));
    /// assert!(probe.flush(Duration::from_secs(9)));
    /// let (duration, line) = told.recv()?;
    /// assert!(duration >= Duration::from_millis(6));
    /// assert!(line.starts_with("Executing <Task root, spawned at "));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_slow_poll(self, f: impl FnMut(&SlowPoll) + Send + 'static) -> ProbeBuilder {
        ProbeBuilder { callback: Some(Box::new(f)), ..self }
    }

    /// Called while a poll goes on that has lasted for ten times the threshold, and 100 ms at least: by then the poll has a line that
    /// says so, where lines are written. It is for what cannot wait for the end, as there may be none: a health check that is to
    /// fail, a service that is to be started anew.
    ///
    /// Once for each such poll, with what is known at that time; never a second time when more is found out. The names of a debug build
    /// may come later, and [`Evidence::blocking_line`](crate::Evidence) is `None` until then: [`Snapshot::polling`](crate::Snapshot::polling)
    /// has what is known by now. When the poll ends after all, [`on_slow_poll`](ProbeBuilder::on_slow_poll) is called for it, after
    /// this. Without the feature `capture`, and with `capture(false)`, the evidence is empty, and the call comes up to 0.1 s later.
    ///
    /// It is called on the same thread as that, one that is the probe's own and no worker. A panic is caught and counted; one that blocks
    /// holds back further calls and lines. 32 stalls wait meanwhile; those beyond are counted in
    /// [`Snapshot::stalls_untold`](crate::Snapshot::stalls_untold).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_probe::Probe;
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder()
    ///     .slow_poll_threshold(Duration::from_millis(5))
    ///     .on_stall(move |stall| _ = tell.send((stall.elapsed, stall.to_string())))
    ///     .install(&mut runtime)?;
    /// // This poll does not end before it is told.
    /// let (elapsed, line) = runtime.build()?.block_on(probe.watch(async move { told.recv() }))?;
    /// assert!(elapsed >= Duration::from_millis(100));
    /// assert!(line.starts_with("Executing <Task root, spawned at ") && line.contains(" still runs after 0."));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_stall(self, f: impl FnMut(&Polling) + Send + 'static) -> ProbeBuilder {
        ProbeBuilder { on_stall: Some(Box::new(f)), ..self }
    }

    /// Whether every slow poll is an event for `tracing`, at level `WARN`, of target [`TARGET`](crate::events::TARGET); and, of targets of
    /// their own, every stall that [`on_stall`](ProbeBuilder::on_stall) tells, and every blocking pool that is full for at least the
    /// threshold. On the same thread, after the callback. [`events`](crate::events) has its fields. They go to the subscriber of the thread that
    /// installs the probe, if it has one of its own then; else to the process's, which may be set later. One that panics is
    /// counted with [`Snapshot::callback_panics`](crate::Snapshot::callback_panics), one that blocks holds back what a callback would. Off unless asked for.
    #[cfg(feature = "tracing")]
    pub fn tracing(self, on: bool) -> ProbeBuilder {
        ProbeBuilder { events: on, ..self }
    }

    /// Whether the process's recorder of the facade [`metrics`] is told what snapshots have: once a second, and at a
    /// [flush](Probe::flush) and at the end, on the same thread. Install the recorder before the probe: what was told while there
    /// was none is lost to histograms. One that panics is counted with [`Snapshot::callback_panics`](crate::Snapshot::callback_panics);
    /// one that blocks holds back what a callback would. Off unless asked for.
    ///
    /// The names are those of [`Snapshot::to_prometheus`](crate::Snapshot::to_prometheus), `site` labels and their bound too, with
    /// one difference: a counter of the facade is a whole number, so `pollscope_site_poll_seconds_total` is
    /// `pollscope_site_poll_nanoseconds_total` here.
    ///
    /// | metric | kind, and unit |
    /// |---|---|
    /// | `pollscope_poll_duration_seconds`, `pollscope_schedule_latency_seconds`, `pollscope_busy_stretch_seconds` | histograms, seconds |
    /// | `pollscope_poll_longest_seconds`, `pollscope_poll_under_way_seconds`, `pollscope_slow_poll_threshold_seconds` | gauges, seconds |
    /// | `pollscope_stalls_open` | gauge |
    /// | `pollscope_slow_polls_total`, `pollscope_slow_polls_dropped_total` | counters |
    /// | `pollscope_site_polls_total`, `pollscope_site_slow_polls_total`, `pollscope_site_poll_nanoseconds_total` | counters by `site` |
    /// | `pollscope_lines_written_total`, `pollscope_lines_suppressed_total` | counters |
    /// | `pollscope_names_refused_total`, `pollscope_callback_panics_total`, `pollscope_stalls_untold_total` | counters |
    /// | `pollscope_blocking_threads`, `pollscope_blocking_threads_idle`, `pollscope_blocking_queue_depth` | gauges |
    /// | `pollscope_blocking_pool_saturations_total` | counter |
    /// | `pollscope_info` | gauge: 1, with `version`, `clock` and `source` |
    ///
    /// Every poll is a value of a histogram, rounded up by 0.1% at most, and values of one bucket are recorded together
    /// (`record_many`). Many recorders keep them one by one all the same: where there are hundreds of thousands of polls a second,
    /// [`Probe::serve_prometheus`] costs less.
    ///
    /// ```
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().metrics(true).install(&mut runtime)?;
    /// runtime.build()?.block_on(probe.watch(async {}));
    /// assert!(probe.flush(std::time::Duration::from_secs(9))); // the recorder, if there is one, knows of the poll
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "metrics")]
    pub fn metrics(self, on: bool) -> ProbeBuilder {
        ProbeBuilder { metrics: on, ..self }
    }

    /// Writes a recording while the service runs: what `pollscope report` and `compare` read, and [`record_of`](crate::record_of) makes
    /// of a snapshot.
    ///
    /// A path that ends in `.pollscope` is one file, which is never written over: if there is one, the next is `NAME-1.pollscope`. It ends at
    /// 256 MB. Any other is a folder, which is made if need be, in which a file follows the other; of those of this program the oldest
    /// are removed when they take more than 256 MB together, or are older than 7 days. Each file can be read alone and at any time, and
    /// whatever became of the process.
    ///
    /// A thread of its own writes a line a second, and one for each slow poll and stall, at once. Where the disk is full, gone or slow, nothing
    /// waits for it: what found no room is counted in the recording, and a line says so where lines are written. The last
    /// line is written when the last handle of the [`Probe`] is dropped; a recording that ends without it is told as one that breaks
    /// off.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_probe::Probe;
    /// # let folder = std::env::temp_dir().join(format!("pollscope-doc-{}", std::process::id()));
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().slow_poll_threshold(Duration::from_millis(5)).record(&folder).install(&mut runtime)?;
    /// runtime.build()?.block_on(probe.watch(async { std::thread::sleep(Duration::from_millis(6)) }));
    /// drop(probe);
    /// let file = std::fs::read_dir(&folder)?.next().expect("a file")?;
    /// let text = std::fs::read_to_string(file.path())?;
    /// assert!(text.starts_with("{\"recording\":") && text.contains("\n{\"slow_poll\":") && text.ends_with("}}\n"));
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "record")]
    pub fn record(self, path: impl Into<std::path::PathBuf>) -> ProbeBuilder {
        ProbeBuilder { record: Some(path.into()), ..self }
    }

    /// Listens on a Unix socket, for `pollscope record PID` and `pollscope top PID` of the same user: each gets from then on the lines that
    /// [`record`](ProbeBuilder::record) writes, and once a second what the workers are doing. As `POLLSCOPE_LISTEN=1` does.
    ///
    /// The socket is `pollscope-PID-….sock` in the folder of the user's session (`XDG_RUNTIME_DIR`), or in `pollscope-UID` in the one for
    /// temporary files, which is made for the user alone; it is removed at the end. Another user than this one and root gets
    /// nothing. Nobody can write to it. A thread of its own answers up to four clients at a time, and waits for none: one that does
    /// not read is left. While there is none it sleeps. Where it cannot listen, a line says why, where lines are written, and
    /// the service goes on. Only on Linux.
    ///
    /// ```
    /// # use pollscope_probe::Probe;
    /// # let folder = std::env::temp_dir().join(format!("pollscope-doc-listen-{}", std::process::id()));
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().listen_in(&folder).install(&mut runtime)?;
    /// # if cfg!(target_os = "linux") {
    /// assert_eq!(std::fs::read_dir(&folder)?.count(), 1);
    /// drop(probe);
    /// assert_eq!(std::fs::read_dir(&folder)?.count(), 0);
    /// # std::fs::remove_dir(folder)?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "record")]
    pub fn listen(self) -> ProbeBuilder {
        ProbeBuilder { listen: Some(crate::recorder::Listen::Usual), ..self }
    }

    /// The same with a folder of your own, which is made if need be; it must be the user's, and closed to others. As
    /// `POLLSCOPE_LISTEN=FOLDER` does.
    #[cfg(feature = "record")]
    pub fn listen_in(self, folder: impl Into<std::path::PathBuf>) -> ProbeBuilder {
        ProbeBuilder { listen: Some(crate::recorder::Listen::In(folder.into())), ..self }
    }

    /// Listens if the variable `POLLSCOPE_LISTEN` says so, and where it says: part of what [`from_env`](ProbeBuilder::from_env) does, for
    /// those who set the rest themselves.
    ///
    /// ```
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().listen_as_env().install(&mut runtime)?;
    /// assert!(probe.is_on());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "record")]
    pub fn listen_as_env(self) -> ProbeBuilder {
        match env::listen() {
            Some(None) => self.listen(),
            Some(Some(folder)) => self.listen_in(folder),
            None => self,
        }
    }

    /// What the recording is called in reports, gates and comparisons, such as the build's version: 1 to 64 letters, digits, blanks
    /// within it or any of `-_.+:/`. The program's name unless set. `POLLSCOPE_LABEL` says it from outside.
    ///
    /// ```
    /// # use pollscope_probe::{InstallError, Probe};
    /// # let folder = std::env::temp_dir().join(format!("pollscope-label-{}", std::process::id()));
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().record(&folder).label("api v1.2").install(&mut runtime)?;
    /// drop((runtime.build()?, probe));
    /// let file = std::fs::read_dir(&folder)?.next().expect("a file")?;
    /// assert!(std::fs::read_to_string(file.path())?.contains("\"group\":\"api v1.2\""));
    /// let refused = Probe::builder().label("v1*").install(&mut tokio::runtime::Builder::new_current_thread());
    /// assert!(matches!(refused, Err(InstallError::Label(label)) if label == "v1*"));
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "record")]
    pub fn label(self, label: impl Into<String>) -> ProbeBuilder {
        ProbeBuilder { label: Some(label.into()), ..self }
    }

    /// Looks at the other threads of the process as well: runtimes that another builder made, as actix does, or a library, are seen without
    /// a change of theirs. As `POLLSCOPE_WHOLE_PROCESS=1` does for [`from_env`](ProbeBuilder::from_env).
    ///
    /// What is seen of them is sampled, a hundred looks a second, by threads of the probe's own, as `pollscope record PID` sees another
    /// process: slow polls with their line, call and cause, `~` where a start or an end is known to one look alone. One that lasts for
    /// three looks is seen; how many polls there are and who waited is not known. A thread that has a place in a probe of this process is
    /// left out: what the probe's hooks see is exact, and told once. So is all else on it, as it is without this.
    ///
    /// It is told in the same [recording](ProbeBuilder::record), and to those who [listen](ProbeBuilder::listen), as a run of its own
    /// that is called as the service's, with ` (other threads)` behind. Callbacks, lines, and snapshots have nothing of it. What stands in the way, such as
    /// another platform or a stripped program, is said once in the recording.
    ///
    /// It reads the program's debug information when it begins, and keeps it, whatever [`capture`](ProbeBuilder::capture) says. Under a seccomp filter nothing is looked at, unless it
    /// [permits](ProbeBuilder::permitted_by_seccomp) that. The threshold is the one that the probe has when it is installed.
    ///
    /// ```
    /// # use pollscope_probe::Probe;
    /// # let folder = std::env::temp_dir().join(format!("pollscope-doc-whole-{}", std::process::id()));
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().record(&folder).label("api").whole_process().install(&mut runtime)?;
    /// # let text = || std::fs::read_to_string(std::fs::read_dir(&folder).ok()?.next()?.ok()?.path()).ok();
    /// # let says = |words: &str| text().is_some_and(|text| text.contains(words));
    /// # let start = std::time::Instant::now();
    /// # while !says("other threads of this process") {
    /// #     assert!(start.elapsed().as_secs() < 60);
    /// #     std::thread::sleep(std::time::Duration::from_millis(10));
    /// # }
    /// # let said = text().unwrap();
    /// // In the recording, once the program's debug information is read:
    /// assert!(said.contains("told as `api (other threads)`") || said.contains("are not sampled"));
    /// # drop(probe);
    /// # std::fs::remove_dir_all(folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "whole-process")]
    pub fn whole_process(self) -> ProbeBuilder {
        ProbeBuilder { whole_process: true, ..self }
    }

    /// Where a line for every slow poll goes, at most five a minute, spawn site and function that blocked, each in one `write` and
    /// flushed. On the same thread. A line that cannot be written, or makes the writer panic, counts as suppressed. Of a blocking pool that is full for at least the threshold one line says so, and one when that is
    /// over; likewise of a worker that does not park for ten times the threshold, 100 ms at least, though no poll is slow. Where something stands in the way of seeing what slow polls do, one more line says why, once: see [`CaptureNote`](crate::CaptureNote).
    pub fn log_to(self, writer: impl Write + Send + 'static) -> ProbeBuilder {
        ProbeBuilder { writer: Some(Box::new(writer)), has_lines_of_env: false, ..self }
    }

    /// Whether lines say what the probe sees, when it is installed; and what it saw, once an hour and when its last handle is
    /// dropped, also when nothing was slow. On for the lines that [`from_env`](ProbeBuilder::from_env) writes to stderr; off for
    /// a writer of your own, unless asked for. They are not among [`Snapshot::lines`](crate::Snapshot::lines).
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # use pollscope_probe::Probe;
    /// let (mut lines, writer) = std::io::pipe()?;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().log_to(writer).status_lines(true).install(&mut runtime)?;
    /// runtime.build()?.block_on(probe.watch(async {}));
    /// drop(probe);
    /// let mut said = String::new();
    /// lines.read_to_string(&mut said)?;
    /// assert!(said.lines().next().is_some_and(|first| first.contains("pollscope: on")));
    /// assert!(said.lines().last().is_some_and(|last| last.contains(": 1 poll") && last.ends_with(", none slow")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn status_lines(self, on: bool) -> ProbeBuilder {
        ProbeBuilder { status_lines: Some(on), ..self }
    }

    /// Whether paths, and the addresses of sockets, are hidden in lines and evidence. A system call keeps its descriptor and its bytes; of a source file
    /// outside the folder that it was built in, its name stays, and of a crate's its path within the crate. Off unless asked for.
    /// [`SlowPoll::spawned_at`] is what the compiler made it: see [`redacted_source`](pollscope_base::redact::redacted_source).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().redact_paths(true).slow_poll_threshold(Duration::from_millis(1)).install(&mut runtime)?;
    /// runtime.build()?.block_on(probe.watch(async { std::thread::sleep(Duration::from_millis(20)) }));
    /// assert!(probe.flush(Duration::from_secs(9)));
    /// let stack = &probe.snapshot().slow_polls[0].evidence.stack;
    /// assert!(stack.iter().filter_map(|frame| frame.file.as_deref()).all(|file| !file.starts_with('/')));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn redact_paths(self, on: bool) -> ProbeBuilder {
        ProbeBuilder { redact_paths: on, ..self }
    }

    /// Whether wake-to-poll times are recorded: [`Snapshot::schedule_latency`](crate::Snapshot::schedule_latency), and from them who waited for a slow poll
    /// ([`SlowPoll::blame`], [`Snapshot::ledger`](crate::Snapshot::ledger)). They cost two more clock reads a poll, Tokio's own. On unless switched off; a
    /// build without `--cfg tokio_unstable` has none.
    ///
    /// ```
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().schedule_latency(false).install(&mut runtime)?;
    /// runtime.build()?.block_on(async { tokio::spawn(async {}).await })?;
    /// assert!(probe.snapshot().schedule_latency.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn schedule_latency(self, on: bool) -> ProbeBuilder {
        ProbeBuilder { schedule_latency: on, ..self }
    }

    /// Your own [`on_thread_park`](tokio::runtime::Builder::on_thread_park) callback: the probe takes the runtime's only place for one,
    /// and calls yours from there; also when the probe is off. A second call replaces the first, as with the runtime's builder.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    /// # use std::time::Duration;
    /// # use pollscope_probe::Probe;
    /// let parked = Arc::new(AtomicU32::new(0));
    /// let parks = Arc::clone(&parked);
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().on_thread_park(move || _ = parks.fetch_add(1, Relaxed)).install(&mut runtime)?;
    /// runtime.enable_time().build()?.block_on(async { tokio::time::sleep(Duration::from_millis(2)).await });
    /// assert!(parked.load(Relaxed) > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_thread_park(mut self, f: impl Fn() + Send + Sync + 'static) -> ProbeBuilder {
        self.chained.park = Some(Box::new(f));
        self
    }

    /// Your own [`on_thread_unpark`](tokio::runtime::Builder::on_thread_unpark) callback, likewise.
    pub fn on_thread_unpark(mut self, f: impl Fn() + Send + Sync + 'static) -> ProbeBuilder {
        self.chained.unpark = Some(Box::new(f));
        self
    }
}
