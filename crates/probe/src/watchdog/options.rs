//! What a watchdog is told about the user's code, and the builder's methods for that.

use crate::probe::ProbeBuilder;

/// What a watchdog is told about the user's code.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// The folders of the user's workspace, as the compiler saw them.
    pub(crate) source_roots: Vec<std::path::PathBuf>,
    /// Whether the host's seccomp filter, if it has one, is known to let all calls through.
    pub(crate) is_permitted: bool,
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
    /// a blocking line in it is preferred over one in another crate. Without any, all code that Cargo did not fetch is yours, and paths are
    /// shown as the compiler was given them: with Cargo, from the workspace's folder on. Each call adds one.
    ///
    /// In lines and events so are spawn sites, once the first slow poll has a line: only debug information tells which folder the
    /// relative path of a [`Location`](std::panic::Location) starts from.
    pub fn source_root(mut self, folder: impl Into<std::path::PathBuf>) -> ProbeBuilder {
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.source_roots.push(folder.into());
        }
        self
    }

    /// Whether a seccomp filter that the process is under, or will be, lets the probe's system calls through, or refuses them with an
    /// error. A filter may also end the process for a call that it does not know, and it cannot be asked. So under one the probe
    /// leaves out the calls that few programs make, until it is told this: it reads memory by `/proc/self/mem`, and does not ask threads
    /// that compute where they are, whose slow polls have no line and no stack then.
    ///
    /// `true` is right in a container with Docker's or containerd's default profile, which refuses with `EPERM`. The README lists the
    /// calls. Once told, it holds for every probe of the process.
    ///
    /// ```
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().permitted_by_seccomp(true).install(&mut runtime)?;
    /// assert!(probe.is_on());
    /// # Ok::<(), pollscope_probe::InstallError>(())
    /// ```
    pub fn permitted_by_seccomp(mut self, is_permitted: bool) -> ProbeBuilder {
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.is_permitted = is_permitted;
        }
        self
    }
}
