//! What this build of the probe can see, in words.

use pollscope_base::{Coverage, Source};

use crate::tokio_api::TOKIO_UNSTABLE;

/// What this build sees.
pub(crate) fn coverage(tracks_waits: bool) -> Coverage {
    let blocking_pool = "closures on the blocking pool (they do not run on the loop)";
    if TOKIO_UNSTABLE {
        let mut sees = vec!["every poll of every spawned task"];
        let mut blind_to = vec![
            "the future given to block_on, unless it is watched",
            "tasks of a LocalSet, unless they are watched",
            blocking_pool,
        ];
        if tracks_waits {
            sees.push("wake-to-poll times of spawned tasks");
        } else {
            blind_to.push("wake-to-poll times, and so who waited: they were switched off");
        }
        sees.extend(["watched futures", "busy stretches of each worker"]);
        Coverage::new(Source::Hooks, sees, blind_to)
    } else {
        Coverage::new(
            Source::Wrappers,
            vec!["watched futures", "busy stretches of each worker"],
            vec![
                "tasks that are not watched: build with --cfg tokio_unstable to see them",
                "wake-to-poll times: build with --cfg tokio_unstable to see them",
                blocking_pool,
            ],
        )
    }
}
