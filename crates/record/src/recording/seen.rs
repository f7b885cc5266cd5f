//! What an instrument saw of a slow poll, as a recording keeps it: its texts in a form that slow polls can share.

use pollscope_base as base;
use pollscope_base::duration::to_ns;

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
        Blame {
            tasks: blame.tasks,
            wait_ns: to_ns(blame.wait),
            late_tasks: blame.late_tasks,
            wait_most_ns: to_ns(blame.wait_most),
            lifo_tasks: blame.lifo_tasks,
        }
    }
}

impl From<base::Waited> for Waiter {
    fn from(waited: base::Waited) -> Waiter {
        Waiter {
            task_id: waited.task_id,
            spawned_at: format!("{}:{}", waited.spawned_at.file(), waited.spawned_at.line()),
            ready_ns: to_ns(waited.ready_at),
            polled_ns: to_ns(waited.polled_at),
        }
    }
}

impl From<&base::Ledger> for Ledger {
    fn from(ledger: &base::Ledger) -> Ledger {
        Ledger {
            charges: ledger.charges.iter().map(Charge::from).collect(),
            unattributed_ns: to_ns(ledger.unattributed),
        }
    }
}

impl From<&base::Charge> for Charge {
    fn from(charge: &base::Charge) -> Charge {
        Charge {
            culprit: place(&charge.culprit).into(),
            waiter: place(&charge.waiter).into(),
            tasks: charge.tasks,
            wait_ns: to_ns(charge.wait),
            late_tasks: charge.late_tasks,
            wait_most_ns: to_ns(charge.wait_most),
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
