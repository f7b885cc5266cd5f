//! What a watchdog is told about the user's code, and the builder's methods for that.

use crate::probe::ProbeBuilder;

/// What a watchdog is told about the user's code.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// The folders of the user's workspace, as the compiler saw them.
    pub(crate) source_roots: Vec<std::path::PathBuf>,
}

impl ProbeBuilder {
    /// Whether a watchdog thread looks at polls that are late while they still run: the blocking line, the system call, the
    /// cause; from the first late poll on, another names what it saw. On unless switched off. It is what installs a signal
    /// handler when a late poll is first found computing, and removes it soon after the last probe of the process was dropped.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().slow_poll_threshold(Duration::from_millis(5)).capture(false).install(&mut runtime)?;
    /// runtime.build()?.block_on(probe.watch(async { std::thread::sleep(Duration::from_millis(6)) }));
    /// let evidence = &probe.snapshot().slow_polls[0].evidence;
    /// assert_eq!((evidence.captures, evidence.cause, &evidence.blocking_line), (0, None, &None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capture(mut self, on: bool) -> ProbeBuilder {
        self.watchdog = on.then(|| self.watchdog.unwrap_or_default());
        self
    }

    /// A folder of your workspace as the compiler saw it, such as `env!("CARGO_MANIFEST_DIR")`: paths are shown from there on, and
    /// a blocking line in it is preferred over one in another crate. Without any, all code that Cargo did not fetch is yours. Each call
    /// adds one.
    pub fn source_root(mut self, folder: impl Into<std::path::PathBuf>) -> ProbeBuilder {
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.source_roots.push(folder.into());
        }
        self
    }
}
