//! Where the probe meets a runtime: its callbacks in the runtime's builder, park and unpark everywhere, task hooks where there are any.

use std::sync::Arc;

use pollscope_base::duration::to_ns;
use tokio::runtime::Builder;

use crate::shared::Shared;
use crate::thread;
use crate::tokio_api::{TaskHooks, number_of};

type ThreadHook = Box<dyn Fn() + Send + Sync>;

/// The user's own callbacks. A runtime has one place for each, which the probe takes: it calls these from there.
#[derive(Default)]
pub(crate) struct Chained {
    pub(crate) park: Option<ThreadHook>,
    pub(crate) unpark: Option<ThreadHook>,
    pub(crate) tasks: TaskHooks,
}

/// Puts the probe's callbacks, and the user's behind them, into the runtime's builder.
pub(crate) fn install(builder: &mut Builder, shared: &Arc<Shared>, chained: Chained) {
    let Chained { park, unpark, tasks } = chained;
    let probe = Arc::clone(shared);
    builder.on_thread_park(move || {
        thread::park(&probe);
        if let Some(park) = &park {
            park();
        }
    });
    let probe = Arc::clone(shared);
    builder.on_thread_unpark(move || {
        thread::unpark(&probe);
        if let Some(unpark) = &unpark {
            unpark();
        }
    });
    let (beginning, ending) = (Arc::clone(shared), Arc::clone(shared));
    tasks.install_around(
        builder,
        shared.tracks_waits,
        move |poll| {
            let latency_ns = poll.schedule_latency().map(to_ns);
            thread::begin(&beginning, number_of(poll.task()), poll.spawned_at(), latency_ns);
        },
        move || thread::end(&ending),
    );
}

/// Puts the user's callbacks alone into the runtime's builder: the probe is off.
pub(crate) fn install_chained(builder: &mut Builder, chained: Chained) {
    let Chained { park, unpark, tasks } = chained;
    if let Some(park) = park {
        builder.on_thread_park(park);
    }
    if let Some(unpark) = unpark {
        builder.on_thread_unpark(unpark);
    }
    tasks.install_alone(builder);
}
