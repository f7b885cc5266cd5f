//! What of a run is hidden where paths are.

use pollscope_base::redact::redacted_source;
use pollscope_record::recording::{Run, SlowPoll, Text};

/// A run without the folders that its sources are in, if they are to be hidden.
pub(super) fn run(mut run: Run, redacted: bool) -> Run {
    if redacted {
        for site in run.sites.iter_mut().flatten() {
            site.spawned_at = place(&site.spawned_at);
        }
        for charge in run.ledger.iter_mut().flat_map(|ledger| &mut ledger.charges) {
            charge.waiter = place(&charge.waiter).into();
            charge.culprit = place(&charge.culprit).into();
        }
    }
    run
}

/// Likewise a slow poll.
pub(super) fn poll(mut poll: SlowPoll, redacted: bool) -> SlowPoll {
    if redacted {
        let spawned_at = poll.spawned_at.as_ref().map(|at| Text::from(place(at)));
        poll.kind_mut().spawned_at = spawned_at;
        if let Some(waiter) = poll.detail.as_mut().and_then(|detail| detail.worst_waiter.as_mut()) {
            waiter.spawned_at = place(&waiter.spawned_at);
        }
    }
    poll
}

/// Of a spawn site, `file:line`; others are `other`.
pub(super) fn place(place: &str) -> String {
    match place.rsplit_once(':') {
        Some((file, line)) => format!("{}:{line}", redacted_source(file)),
        None => place.to_owned(),
    }
}
