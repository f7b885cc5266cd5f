//! Serves a run's metrics to Prometheus, during the run and afterwards, until the next run begins.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pollscope_base::reason;
use pollscope_probe::{MetricsServer, Probe, Snapshot};

use crate::redact::place;

/// Why metrics are not served: the probe's reason, with what to do on this program's command line.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says when it happens")]
pub enum ServeError {
    #[error(
        "cannot serve metrics on `{address}`: {}; name a free address of this machine with `--prometheus ADDR`, or port 0 for any",
        reason(.error)
    )]
    Listen {
        address: SocketAddr,
        #[source]
        error: io::Error,
    },
    #[error("cannot serve metrics on `{address}`: cannot start a thread: {}; raise the limit (`ulimit -u`)", reason(.error))]
    Thread {
        address: SocketAddr,
        #[source]
        error: io::Error,
    },
    #[error(transparent)]
    Other(pollscope_probe::ServeError),
}

impl From<pollscope_probe::ServeError> for ServeError {
    fn from(error: pollscope_probe::ServeError) -> ServeError {
        match error {
            pollscope_probe::ServeError::Listen { address, error } => ServeError::Listen { address, error },
            pollscope_probe::ServeError::Thread { address, error } => ServeError::Thread { address, error },
            error => ServeError::Other(error),
        }
    }
}

/// The probe of the current run, or what it saw last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Current(Arc<Mutex<What>>);

#[derive(Debug, Default)]
enum What {
    /// No run began yet.
    #[default]
    Nothing,
    Running(Probe),
    /// The last snapshot: the probe and its threads are gone.
    Ended(Box<Snapshot>),
}

impl Current {
    fn lock(&self) -> MutexGuard<'_, What> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, probe: &Probe) {
        *self.lock() = What::Running(probe.clone());
    }

    pub(crate) fn end(&self) {
        let mut current = self.lock();
        if let What::Running(probe) = &*current {
            *current = What::Ended(Box::new(probe.snapshot()));
        }
    }

    fn snapshot(&self) -> Option<Snapshot> {
        match &*self.lock() {
            What::Nothing => None,
            What::Running(probe) => Some(probe.snapshot()),
            What::Ended(snapshot) => Some(Snapshot::clone(snapshot)),
        }
    }
}

/// Serves the metrics of the current run; `redact` hides paths.
///
/// # Errors
/// When the address cannot be listened on, or the thread cannot be started.
pub(crate) fn serve(address: SocketAddr, current: Current, redact: bool) -> Result<MetricsServer, ServeError> {
    let source = move || {
        let mut snapshot = current.snapshot()?;
        if redact {
            for site in &mut snapshot.sites {
                site.spawned_at = site.spawned_at.as_deref().map(place);
            }
        }
        Some(snapshot)
    };
    Ok(MetricsServer::start(address, source)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_shown_until_the_next_begins() {
        let current = Current::default();
        assert!(current.snapshot().is_none());
        current.end();
        assert!(current.snapshot().is_none());
        let run = || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let probe = Probe::builder().install(&mut runtime).expect("a probe");
            current.begin(&probe);
            runtime.build().expect("a runtime").block_on(probe.watch(async {}));
        };
        for _ in 0..2 {
            run();
            assert_eq!(current.snapshot().map(|snapshot| snapshot.polls.count()), Some(1));
            current.end();
            assert_eq!(current.snapshot().map(|snapshot| snapshot.polls.count()), Some(1));
        }
    }

    #[test]
    fn the_advice_is_the_programs() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("its address");
        let error = serve(address, Current::default(), false).expect_err("it is taken").to_string();
        assert!(error.starts_with(&format!("cannot serve metrics on `{address}`: Address already in use")), "{error}");
        assert_eq!(error.matches("cannot").count() + error.matches(';').count(), 2, "{error}");
    }
}
