//! A process that is looked at, as a feed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::thread;
use std::time::Instant;

use pollscope_base::duration::to_ns;
use pollscope_record::feed::Update;
use pollscope_record::recording::{Coverage, Run, Subject, Target as Recorded};

use crate::naming::{Last, Naming};
use crate::sampler::{LeftOut, Sampler};
use crate::settings::Settings;
use crate::target::Target;

/// From so many times what was asked for on, it is said how long nobody looked.
const LATE: u32 = 3;
/// What may wait to be named.
const QUEUE: usize = 1_024;

/// A process that is looked at; and what is seen of it, update by update, until it ends or somebody [stops](Attached::stop) it.
///
/// Threads of their own look and name. They end with the process, or with this.
#[derive(Debug)]
pub struct Attached {
    start: Run,
    updates: Receiver<Update>,
    stop: Stop,
}

/// Ends the looking, from any thread.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// What was seen by then is still told; then the feed ends.
    pub fn stop(&self) {
        self.0.store(true, Relaxed);
    }
}

impl Attached {
    /// Begins to look at a process. `started_at` is [now](Run::written), for who has no calendar.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn to(target: Target, settings: Settings, started_at: &str) -> io::Result<Attached> {
        Attached::looking(target, settings, started_at, Box::new(|_| false))
    }

    /// The same of all threads but some: `is_left_out` says of a thread's number whether everything of it is known otherwise. It is asked on a
    /// thread of its own, again and again. Of the [own](Target::own) process these are at least the threads that look.
    ///
    /// ```
    /// use pollscope_attach::{Attached, Settings, Target};
    /// # if pollscope_attach::SUPPORTED {
    /// let own = Target::own(Vec::new(), false)?;
    /// let mut attached = Attached::to_all_but(own, Settings::default(), "2026-11-30T01:52:35.000Z", |_| true)?;
    /// attached.stop().stop();
    /// assert!(attached.all(|update| !matches!(update, pollscope_record::feed::Update::SlowPoll(_))));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn to_all_but(
        target: Target,
        settings: Settings,
        started_at: &str,
        is_left_out: impl FnMut(u32) -> bool + Send + 'static,
    ) -> io::Result<Attached> {
        Attached::looking(target, settings, started_at, Box::new(is_left_out))
    }

    fn looking(target: Target, settings: Settings, started_at: &str, left_out: LeftOut) -> io::Result<Attached> {
        let (tell, updates) = channel();
        let (give, jobs) = sync_channel(QUEUE);
        let (last, hear_last) = channel();
        let stop = Stop::default();
        let start = begun(&target, &settings, started_at);
        let process = target.process();
        let naming = Naming::new(process, target.into_namer(), tell, start.clone());
        thread::Builder::new().name("pollscope-name".to_owned()).spawn(move || naming.run(&jobs, &hear_last))?;
        let its = stop.clone();
        let look = move || {
            let begun = Instant::now();
            let mut sampler = Sampler::new(process, settings, give, left_out);
            let ended = sampler.run(&its.0);
            let elapsed = begun.elapsed();
            let looks_per_s = sampler.looks as f64 / elapsed.as_secs_f64();
            // If nobody names any more, nobody listens either.
            let Sampler { dropped, longest_gap, .. } = sampler;
            let late = Some(longest_gap).filter(|gap| *gap > LATE * settings.hz.period());
            let _ = last.send(Last { ended, elapsed_ns: to_ns(elapsed), looks_per_s, dropped, late });
        };
        thread::Builder::new().name("pollscope-look".to_owned()).spawn(look)?;
        Ok(Attached { start, updates, stop })
    }

    /// What is known before anything was seen.
    pub fn start(&self) -> &Run {
        &self.start
    }

    /// What ends it.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

impl Iterator for Attached {
    type Item = Update;

    fn next(&mut self) -> Option<Update> {
        self.updates.recv().ok()
    }
}

fn begun(target: &Target, settings: &Settings, started_at: &str) -> Run {
    let subject = Subject::Process(Recorded {
        name: target.name().to_owned(),
        pid: Some(target.process().pid().into()),
        tokio: target.tokio().map(str::to_owned),
        build_id: target.build_id().map(str::to_owned),
        exe: target.exe().map(|exe| exe.to_string_lossy().into_owned()),
        ..Recorded::default()
    });
    Run {
        slow_poll_threshold_ns: to_ns(settings.slow),
        coverage: Coverage {
            source: "attached".to_owned(),
            sees: vec![format!("polls that last for three looks, {} looks a second", settings.hz.get())],
            blind_to: ["how many polls there were, and how long", "who waited"].map(str::to_owned).to_vec(),
            ..Coverage::default()
        },
        ..Run::unknown(target.name(), subject, started_at)
    }
}
