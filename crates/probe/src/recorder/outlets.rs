//! Where what becomes known goes: into a file, to those who listen, or both.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(feature = "whole-process")]
use pollscope_base::reason;

use super::Recorder;
#[cfg(target_os = "linux")]
pub(crate) use super::listener::Listen;
#[cfg(target_os = "linux")]
use super::listener::{Bound, Listening};
#[cfg(feature = "whole-process")]
use super::others::Others;
use crate::shared::Shared;
use crate::snapshot::{Polling, SlowPoll};

/// Where a probe listens, which it does on Linux alone.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    /// In the user's own folder for such things.
    Usual,
    /// In this folder.
    In(PathBuf),
}

/// The reporter's side of all of them.
pub(crate) struct Outlets {
    file: Option<Recorder>,
    #[cfg(target_os = "linux")]
    listening: Option<Listening>,
    #[cfg(feature = "whole-process")]
    others: Option<Others>,
    /// Why nobody can listen, until it is told.
    deaf: Option<String>,
}

/// What is said when other threads are to be looked at, and nobody would be told of them.
#[cfg(feature = "whole-process")]
const NOBODY_IS_TOLD: &str = "cannot tell of the whole process: other threads are told of in a recording, and there is none; call \
     `ProbeBuilder::record` or `listen` as well";

impl Outlets {
    /// Starts the threads; `None` if there is nothing for them to do. Where it cannot listen, it says so, and the service goes on.
    pub(crate) fn spawn(
        shared: &Arc<Shared>,
        file: Option<PathBuf>,
        listen: Option<&Listen>,
    ) -> io::Result<Option<Outlets>> {
        if file.is_none() && listen.is_none() {
            return Ok(None);
        }
        #[cfg(target_os = "linux")]
        let (bound, deaf) = match listen.map(|place| Bound::to(place, shared.id)).transpose() {
            Ok(bound) => (bound, None),
            Err(why) => (None, Some(why)),
        };
        #[cfg(not(target_os = "linux"))]
        let (bound, deaf) =
            (None::<()>, listen.map(|_| "cannot listen: only on Linux is it known who connects".to_owned()));
        let file = file.map(|path| Recorder::spawn(Arc::clone(shared), path, bound.is_none())).transpose()?;
        #[cfg(target_os = "linux")]
        let queue = file.as_ref().map(|file| file.queue.clone());
        Ok(Some(Outlets {
            file,
            #[cfg(target_os = "linux")]
            listening: bound.map(|bound| Listening::spawn(Arc::clone(shared), bound, queue)).transpose()?,
            #[cfg(feature = "whole-process")]
            others: None,
            deaf,
        }))
    }

    /// Has the other threads of the process looked at too, and told of. What is in the way is said, and the service goes on.
    #[cfg(feature = "whole-process")]
    pub(crate) fn with_others(
        outlets: Option<Outlets>,
        shared: &Arc<Shared>,
        watchdog: Option<&crate::watchdog::Options>,
    ) -> Outlets {
        let Some(mut outlets) = outlets else {
            return Outlets {
                file: None,
                #[cfg(target_os = "linux")]
                listening: None,
                others: None,
                deaf: Some(NOBODY_IS_TOLD.to_owned()),
            };
        };
        let told = outlets.tell_of_others();
        let others = told.and_then(|told| Others::spawn(Arc::clone(shared), watchdog, told));
        match others {
            Ok(others) => outlets.others = Some(others),
            Err(error) => {
                let why = format!("cannot tell of the whole process: {}; raise the limit on threads", reason(&error));
                outlets.deaf = outlets.deaf.or(Some(why));
            }
        }
        outlets
    }

    /// Who is told of other threads.
    #[cfg(feature = "whole-process")]
    fn tell_of_others(&self) -> io::Result<Vec<super::others::Tell>> {
        let mut all: Vec<super::others::Tell> = self.file.iter().map(Recorder::of_others).collect();
        #[cfg(target_os = "linux")]
        if let Some(listening) = &self.listening {
            all.push(listening.of_others()?);
        }
        Ok(all)
    }

    /// Ends the looking at other threads, and tells what was seen.
    #[cfg(feature = "whole-process")]
    fn end_others(&self, patience: Duration) {
        let Some(others) = &self.others else { return };
        let (Some(unnamed), Ok(all)) = (others.end(patience), self.tell_of_others()) else { return };
        let unnamed = Arc::new(unnamed);
        all.iter().for_each(|tell| tell(&unnamed));
    }

    /// A slow poll was delivered.
    pub(crate) fn slow_poll(&self, poll: &SlowPoll) {
        if let Some(file) = &self.file {
            file.slow_poll(poll);
        }
        #[cfg(target_os = "linux")]
        if let Some(listening) = &self.listening {
            listening.slow_poll(poll);
        }
    }

    /// A poll goes on for long.
    pub(crate) fn stall(&self, stall: &Polling, now_ns: u64) {
        if let Some(file) = &self.file {
            file.stall(stall, now_ns);
        }
        #[cfg(target_os = "linux")]
        if let Some(listening) = &self.listening {
            listening.stall(stall, now_ns);
        }
    }

    /// What stands in the way, as a line, once each time that it begins.
    pub(crate) fn take_trouble(&mut self) -> Option<String> {
        let deaf = self.deaf.take().map(|why| format!("WARN pollscope: {why}\n"));
        deaf.or_else(|| self.file.as_ref()?.take_trouble())
    }

    /// Ends all, and waits for so long that last lines are written.
    pub(crate) fn end(&self, patience: Duration) {
        let start = Instant::now();
        #[cfg(feature = "whole-process")]
        self.end_others(patience / 3);
        #[cfg(target_os = "linux")]
        if let Some(listening) = &self.listening {
            listening.end(patience.saturating_sub(start.elapsed()) / 2);
        }
        if let Some(file) = &self.file {
            file.end(patience.saturating_sub(start.elapsed()));
        }
    }
}
