//! A wrapper for what the hooks cannot see: the future given to `block_on`, tasks of a `LocalSet`, and, in a build without
//! hooks, every task that matters.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::names::{NameId, UNNAMED};
use crate::shared::Shared;
use crate::thread;
use crate::tokio_api::number_of;

pin_project! {
    /// A future whose polls are measured. Made by [`Probe::watch`](crate::Probe::watch).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Watch<F> {
        #[pin]
        future: F,
        // None: the probe is off.
        shared: Option<Arc<Shared>>,
        name: NameId,
        location: &'static Location<'static>,
    }

    impl<F> PinnedDrop for Watch<F> {
        fn drop(this: Pin<&mut Self>) {
            // An aborted task is dropped within a poll that never reached it: that poll gets its name here.
            // Without a task there is no such poll: a part of the root that is dropped does not name the whole.
            if let Some(shared) = &this.shared && this.name != UNNAMED && let Some(id) = tokio::task::try_id() {
                thread::name(shared, number_of(id), this.name);
            }
        }
    }
}

impl<F> Watch<F> {
    pub(crate) fn new(future: F, shared: Option<Arc<Shared>>, location: &'static Location<'static>) -> Watch<F> {
        Watch { future, shared, name: UNNAMED, location }
    }

    /// Gives the task a name. Up to 16,384 names are kept, of a mebibyte in all; tasks with further ones count as unnamed, and are counted.
    ///
    /// ```
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().install(&mut runtime)?;
    /// runtime.build()?.block_on(probe.watch(async {}).named("main"));
    /// assert_eq!(probe.snapshot().sites[0].task_name.as_deref(), Some("main"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn named(mut self, name: &str) -> Watch<F> {
        if let Some(shared) = &self.shared {
            self.name = shared.names.intern(name);
        }
        self
    }
}

impl<F: Future> Future for Watch<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let Some(shared) = this.shared else { return this.future.poll(cx) };
        let task = current_task();
        let opened = thread::begin_watched(shared, task, this.location, *this.name);
        // Dropped on the way out, by a panic as well.
        let mut end = opened.then(|| End { shared, last_of_root: task == 0 });
        let polled = this.future.poll(cx);
        if let Some(end) = &mut end {
            end.last_of_root &= polled.is_ready();
        }
        polled
    }
}

struct End<'a> {
    shared: &'a Arc<Shared>,
    /// The future given to `block_on` is over, so the thread leaves the loop without parking.
    last_of_root: bool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        thread::end(self.shared);
        if self.last_of_root {
            thread::leave(self.shared);
        }
    }
}

/// The id of the task that is being polled; 0 for none. Not to be called from a hook, where Tokio's answer is wrong.
fn current_task() -> u64 {
    tokio::task::try_id().map_or(0, number_of)
}

#[cfg(test)]
impl Shared {
    /// A slow poll on this thread, of so long by a manual clock, that a watchdog is at work on.
    pub(crate) fn slow_poll_watched(self: &Arc<Self>, ns: u64) -> crate::journal::Key {
        let mut key = None;
        let poll = async {
            self.clock.advance(ns);
            key = self.slots().iter().find_map(|slot| Some((slot.number, slot.polling.now()?.start)));
            key.into_iter().for_each(|key| self.watched(|watched| watched.begin(key)));
        };
        let watched = Watch::new(poll, Some(Arc::clone(self)), Location::caller());
        let polled = std::pin::pin!(watched).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        assert!(polled.is_ready());
        key.expect("it was polled")
    }
}

#[cfg(test)]
mod tests {
    use super::number_of;

    #[test]
    fn a_number_is_what_its_id_prints() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for _ in 0..300 {
            let id = runtime.block_on(async { tokio::spawn(async {}).id() });
            assert_eq!(number_of(id).to_string(), id.to_string());
        }
        let id = runtime.handle().id();
        assert_eq!(number_of(id).to_string(), id.to_string());
    }
}
