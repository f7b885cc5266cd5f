//! What this build of the probe can see, in words.

use pollscope_base::{Coverage, Source};

use crate::tokio_api::TOKIO_UNSTABLE;

/// What this build sees; `looks`: whether threads are looked at.
pub(crate) fn coverage(tracks_waits: bool, looks: bool) -> Coverage {
    let others = "runtimes that another builder made, such as actix's, unless their futures are watched";
    let blocking_pool = "closures on the blocking pool (they do not run on the loop)";
    if TOKIO_UNSTABLE {
        let mut sees = vec!["every poll of every spawned task"];
        let mut blind_to = vec![
            "the future given to block_on, unless it is watched",
            "tasks of a LocalSet, unless they are watched",
            others,
            blocking_pool,
        ];
        if tracks_waits {
            sees.push("wake-to-poll times of spawned tasks");
        } else {
            blind_to.push("wake-to-poll times, and so who waited: they were switched off");
        }
        sees.extend(["watched futures", "busy stretches of each worker", "how full the blocking pool is"]);
        Coverage::new(Source::Hooks, sees, blind_to)
    } else {
        let mut sees = vec!["watched futures", "busy stretches of each worker"];
        let unwatched = if looks {
            sees.push("what blocks a worker of a multi-thread runtime, in late busy stretches");
            "polls of tasks that are not watched, but for those that block such a worker for long: build with --cfg tokio_unstable to see them"
        } else {
            "tasks that are not watched: build with --cfg tokio_unstable to see them"
        };
        Coverage::new(
            Source::Wrappers,
            sees,
            vec![
                unwatched,
                "wake-to-poll times: build with --cfg tokio_unstable to see them",
                "how full the blocking pool is",
                others,
                blocking_pool,
            ],
        )
    }
}
