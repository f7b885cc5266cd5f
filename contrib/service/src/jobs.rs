//! What the service does by itself: it looks after its sales, syncs the journal, and tells streams the time.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;
use crate::database;

/// Sales that are kept.
const KEPT: u32 = 20_000;

/// Jobs that go on until they are stopped.
#[derive(Debug)]
pub(crate) struct Jobs {
    running: JoinSet<()>,
    end: watch::Sender<bool>,
}

/// Starts all of them.
pub(crate) fn start(app: &App) -> Jobs {
    let mut jobs = Jobs { running: JoinSet::new(), end: watch::Sender::new(false) };
    jobs.every(Duration::from_millis(500), app, sweep);
    jobs.every(Duration::from_millis(250), app, sync);
    jobs.every(Duration::from_millis(100), app, tick);
    jobs
}

impl Jobs {
    fn every<F: Future<Output = ()> + Send + 'static>(&mut self, period: Duration, app: &App, job: fn(App) -> F) {
        let (app, mut end) = (app.clone(), self.end.subscribe());
        self.running.spawn(async move {
            let mut times = interval(period);
            times.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = times.tick() => job(app.clone()).await,
                    _ = end.changed() => return,
                }
            }
        });
    }

    /// Lets each finish what it does.
    pub(crate) async fn stop(mut self) {
        let _ = self.end.send(true);
        while self.running.join_next().await.is_some() {}
    }
}

async fn sweep(app: App) {
    match app.database.ask(|connection| database::forget_sales(connection, KEPT)).await {
        Ok(0) => {}
        Ok(forgotten) => app.ticks.tell(format!("forgot {forgotten} sales")),
        Err(error) => eprintln!("cannot forget sales: {error:?}"),
    }
}

async fn sync(app: App) {
    if let Err(error) = app.journal.sync().await {
        eprintln!("cannot sync the journal: {error}");
    }
}

async fn tick(app: App) {
    if app.ticks.listeners() > 0 {
        app.ticks.tell(format!("{} orders so far", app.orders()));
    }
}
