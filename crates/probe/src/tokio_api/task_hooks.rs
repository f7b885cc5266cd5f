//! The builder's methods for callbacks around polls, which Tokio has only with `--cfg tokio_unstable`.

use tokio::runtime::TaskMeta;

use crate::probe::ProbeBuilder;

impl ProbeBuilder {
    /// Your own [`Builder::on_before_task_poll`](tokio::runtime::Builder::on_before_task_poll) callback, called before the poll's
    /// clock starts. Only in a build with `--cfg tokio_unstable`, as Tokio's.
    pub fn on_before_task_poll<F>(mut self, f: F) -> Self
    where
        F: Fn(&TaskMeta<'_>) + Send + Sync + 'static,
    {
        self.chained.tasks.before_poll = Some(Box::new(f));
        self
    }

    /// Your own [`Builder::on_after_task_poll`](tokio::runtime::Builder::on_after_task_poll) callback, called after the poll's
    /// clock stopped. Likewise.
    pub fn on_after_task_poll<F>(mut self, f: F) -> Self
    where
        F: Fn(&TaskMeta<'_>) + Send + Sync + 'static,
    {
        self.chained.tasks.after_poll = Some(Box::new(f));
        self
    }
}
