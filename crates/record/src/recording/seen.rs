//! What an instrument saw of a slow poll, as a recording keeps it: its texts in a form that slow polls can share.

use pollscope_base as base;

use super::{Blame, Charge, Frame, Ledger, Syscall, Text, Waiter};

impl From<&base::Call> for Syscall {
    fn from(call: &base::Call) -> Syscall {
        Syscall {
            name: call.name.as_str().into(),
            fd: call.fd.map(i64::from),
            path: text(&call.path),
            peer: None,
            bytes: call.bytes,
            text: call.text.as_str().into(),
        }
    }
}

impl From<&base::Frame> for Frame {
    fn from(frame: &base::Frame) -> Frame {
        Frame { function: text(&frame.function), file: text(&frame.file), line: frame.line.map(u64::from) }
    }
}

/// All but the one that waited longest, which a recording has beside it.
impl From<base::Blame> for Blame {
    fn from(blame: base::Blame) -> Blame {
        let base::Blame { tasks, wait_ns, late_tasks, wait_most_ns, lifo_tasks, worst: _ } = blame;
        Blame { tasks, wait_ns, late_tasks, wait_most_ns, lifo_tasks }
    }
}

impl From<base::Waited> for Waiter {
    fn from(waited: base::Waited) -> Waiter {
        let base::Waited { task_id, spawned_at, ready_ns, polled_ns } = waited;
        Waiter { task_id, spawned_at: format!("{}:{}", spawned_at.file(), spawned_at.line()), ready_ns, polled_ns }
    }
}

impl From<&base::Ledger> for Ledger {
    fn from(ledger: &base::Ledger) -> Ledger {
        Ledger { charges: ledger.charges.iter().map(Charge::from).collect(), unattributed_ns: ledger.unattributed_ns }
    }
}

impl From<&base::Charge> for Charge {
    fn from(charge: &base::Charge) -> Charge {
        Charge {
            culprit: place(&charge.culprit).into(),
            waiter: place(&charge.waiter).into(),
            tasks: charge.tasks,
            wait_ns: charge.wait_ns,
            late_tasks: charge.late_tasks,
            wait_most_ns: charge.wait_most_ns,
        }
    }
}

/// A spawn site, or all those beyond the table's size.
pub fn place(place: &Option<String>) -> &str {
    place.as_deref().unwrap_or("other")
}

fn text(text: &Option<String>) -> Option<Text> {
    text.as_deref().map(Text::from)
}
