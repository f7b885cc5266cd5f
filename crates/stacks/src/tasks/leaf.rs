//! What is at the end of an await chain, by the types of Tokio's own futures.

use pollscope_base::{Leaf, LeafKind};

use super::value::{Through, Typed, Value, path};

/// The semaphore that Tokio's locks, and the room in its channels, are made of.
const SEMAPHORE: &str = "tokio::sync::batch_semaphore::Semaphore";

/// Who waits for permits of it.
pub(super) const ACQUIRE: &str = "tokio::sync::batch_semaphore::Acquire";
/// What both ends of a channel with many senders share.
const CHANNEL: &str = "tokio::sync::mpsc::chan::Chan";

/// What else a chain's end needs to be told.
pub(super) struct Known<'a> {
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub(super) now_ns: Option<u64>,
    /// The id of the task whose header is at an address.
    pub(super) task: &'a dyn Fn(u64) -> Option<u64>,
}

/// What an `async` function of Tokio waits for, by its path: that is all that those who called it want to know.
pub(super) fn of_function(name: &str) -> Option<LeafKind> {
    let within = |module: &str| name.strip_prefix(module).and_then(|rest| rest.strip_prefix("::"));
    let ends = |what: &str| name.contains(what);
    if within("tokio::sync::mutex").is_some() {
        Some(LeafKind::Mutex)
    } else if within("tokio::sync::rwlock").is_some() {
        let is_write = ends("::write") || ends("write_owned");
        Some(if is_write { LeafKind::RwLockWrite } else { LeafKind::RwLockRead })
    } else if within("tokio::sync::semaphore").is_some() {
        Some(LeafKind::Semaphore)
    } else if within("tokio::sync::mpsc").is_some() {
        let receives = ends("Receiver") || ends("::recv");
        Some(if receives { LeafKind::MpscReceive } else { LeafKind::MpscSend })
    } else if within("tokio::sync::watch").is_some() {
        Some(LeafKind::Watch)
    } else if within("tokio::sync::broadcast").is_some() {
        Some(LeafKind::Broadcast)
    } else if within("tokio::sync::barrier").is_some() {
        Some(LeafKind::Barrier)
    } else if within("tokio::sync::notify").is_some() {
        Some(LeafKind::Notify)
    } else if within("tokio::task::join_set").is_some() {
        Some(LeafKind::JoinSet)
    } else if within("tokio::task::yield_now").is_some() {
        Some(LeafKind::Yield)
    } else if within("tokio::io").is_some() || within("tokio::net").is_some() {
        Some(LeafKind::Io)
    } else {
        None
    }
}

/// What the permit of a semaphore means to whoever waits in a function of Tokio: that of a `OnceCell` has who fills it.
pub(super) fn within_function(name: &str, kind: LeafKind) -> LeafKind {
    let is_cell = name.starts_with("tokio::sync::once_cell::") && kind == LeafKind::Semaphore;
    if is_cell { LeafKind::OnceCell } else { kind }
}

/// What a future that is no `async` function waits for, by its type.
pub(super) fn of_type(name: &str) -> Option<LeafKind> {
    match path(name) {
        "tokio::time::sleep::Sleep" => Some(LeafKind::Sleep),
        ACQUIRE => Some(LeafKind::Semaphore),
        "tokio::sync::notify::Notified" | "tokio::sync::notify::OwnedNotified" => Some(LeafKind::Notify),
        "tokio::sync::oneshot::Receiver" => Some(LeafKind::Oneshot),
        "tokio::sync::broadcast::Recv" => Some(LeafKind::Broadcast),
        "tokio::runtime::task::join::JoinHandle" => Some(LeafKind::Join),
        "tokio::runtime::io::scheduled_io::Readiness" => Some(LeafKind::Io),
        "core::future::pending::Pending" => Some(LeafKind::Pending),
        path if path.starts_with("tokio::io::util::") => Some(LeafKind::Io),
        _ => None,
    }
}

/// What is known of it: the future's value, or that of what an `async` function has kept.
pub(super) fn describe(kind: LeafKind, value: Value, typed: &mut Typed, known: &Known) -> Leaf {
    let mut leaf = Leaf { kind, address: None, left_ns: None, task: None };
    let mut shared = |wanted: &str| shared_at(value, wanted, typed).map(hex);
    match kind {
        LeafKind::Sleep => leaf.left_ns = known.now_ns.and_then(|now_ns| left_ns(value, typed, now_ns)),
        LeafKind::Mutex | LeafKind::RwLockRead | LeafKind::RwLockWrite | LeafKind::Semaphore | LeafKind::OnceCell => {
            leaf.address = shared(SEMAPHORE);
        }
        LeafKind::MpscSend | LeafKind::MpscReceive => leaf.address = shared(CHANNEL),
        LeafKind::Watch | LeafKind::Barrier => leaf.address = shared("tokio::sync::watch::Shared"),
        LeafKind::Broadcast => leaf.address = shared("tokio::sync::broadcast::Shared"),
        LeafKind::Oneshot => leaf.address = shared("tokio::sync::oneshot::Inner"),
        LeafKind::Notify => leaf.address = shared("tokio::sync::notify::Notify"),
        LeafKind::Join => {
            let header = shared_at(value, "tokio::runtime::task::core::Header", typed);
            leaf.task = header.and_then(|header| (known.task)(header));
        }
        LeafKind::JoinSet | LeafKind::Io | LeafKind::Yield | LeafKind::Pending => {}
    }
    leaf
}

/// Where the semaphore is that a guard gives back to; `None` of what guards something else.
pub(super) fn guarded(guard: Value, typed: &mut Typed) -> Option<u64> {
    shared_at(guard, SEMAPHORE, typed)
}

/// Where the futex is of the standard library's lock that a guard is of, if someone has that: what was moved away leaves its bytes.
pub(super) fn locked(guard: Value, typed: &mut Typed) -> Option<u64> {
    let inner = match typed.member(guard, "inner_lock") {
        Some(lock) => typed.target(lock)?,
        None => {
            let lock = typed.member(guard, "lock")?;
            let lock = typed.target(lock)?;
            typed.member(lock, "inner")?
        }
    };
    let mut members = typed.members(inner).into_iter();
    let (_, word) = members.find(|(name, _)| ["futex", "state"].contains(&&**name))?;
    (typed.number(word)? != 0).then_some(word.at)
}

/// Where the channel is that a receiver takes from.
pub(super) fn received(receiver: Value, typed: &mut Typed) -> Option<u64> {
    shared_at(receiver, CHANNEL, typed)
}

/// Whether whoever waits for permits has been given all of them, and only has to be polled to know.
pub(super) fn is_given(from: Value, typed: &mut Typed) -> Option<bool> {
    let acquire = typed.find(from, Through::Own, |_, of| path(&of.name) == ACQUIRE)?;
    let (queued, node) = (typed.member(acquire, "queued")?, typed.member(acquire, "node")?);
    let missing = typed.member(node, "state")?;
    Some(typed.number(queued)? == 1 && typed.number(missing)? == 0)
}

/// Whether a semaphore has none to give: someone has all.
pub(super) fn is_exhausted(semaphore: u64, typed: &mut Typed) -> Option<bool> {
    let of = typed.types.named(SEMAPHORE).into_iter().next()?;
    let permits = typed.member(Value { at: semaphore, of }, "permits")?;
    // The lowest bit says whether it is closed.
    Some(typed.number(permits)? >> 1 == 0)
}

pub(super) fn hex(address: u64) -> String {
    format!("{address:#x}")
}

/// Where the first value of this type is that one leads to.
fn shared_at(from: Value, wanted: &str, typed: &mut Typed) -> Option<u64> {
    typed.find(from, Through::All, |_, of| path(&of.name) == wanted).map(|found| found.at)
}

/// How long a sleep still lasts.
fn left_ns(sleep: Value, typed: &mut Typed, now_ns: u64) -> Option<i64> {
    let deadline = typed.find(sleep, Through::Own, |name, _| name == "deadline")?;
    let mut part = |wanted: &str| {
        let found = typed.find(deadline, Through::Own, |name, _| name == wanted)?;
        typed.number(found)
    };
    let ns = part("tv_sec")?.checked_mul(1_000_000_000)?.checked_add(part("tv_nsec")?)?;
    i64::try_from(i128::from(ns) - i128::from(now_ns)).ok()
}
