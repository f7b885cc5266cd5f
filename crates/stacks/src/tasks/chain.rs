//! The await chain of a task: which futures it polls, one in the other, and at which `.await` each is suspended.

use std::collections::HashSet;
use std::sync::Arc;

use pollscope_base::{Await, Hold, Leaf, LeafKind, Progress};

use super::leaf::{self, Known};
use super::value::{Through, Typed, Value, goes_through, is_dynamic, path};
use crate::poll::future_name;
use crate::symbolize::{AWAITED, Form, Type, Variant, split_path};

/// So many futures are within each other at most.
const DEEPEST: usize = 96;
/// So many futures of one task are told of.
const MOST: usize = 512;
/// So many values of one task are looked at for futures in them.
const MOST_LOOKED_AT: usize = 20_000;
/// How deep a guard may be in a variable.
const GUARD_DEPTH: usize = 3;

const UNORDERED: &str = "futures_util::stream::futures_unordered::FuturesUnordered";
const RECEIVER: &str = "tokio::sync::mpsc::bounded::Receiver";

/// What gives back a lock or permits of Tokio's when it is dropped, and the only end of a channel that takes from it.
const GUARDS: [&str; 19] = [
    "tokio::sync::mutex::MutexGuard",
    "tokio::sync::mutex::OwnedMutexGuard",
    "tokio::sync::mutex::MappedMutexGuard",
    "tokio::sync::mutex::OwnedMappedMutexGuard",
    "tokio::sync::rwlock::read_guard::RwLockReadGuard",
    "tokio::sync::rwlock::owned_read_guard::OwnedRwLockReadGuard",
    "tokio::sync::rwlock::write_guard::RwLockWriteGuard",
    "tokio::sync::rwlock::owned_write_guard::OwnedRwLockWriteGuard",
    "tokio::sync::rwlock::write_guard_mapped::RwLockMappedWriteGuard",
    "tokio::sync::rwlock::owned_write_guard_mapped::OwnedRwLockMappedWriteGuard",
    "tokio::sync::semaphore::SemaphorePermit",
    "tokio::sync::semaphore::OwnedSemaphorePermit",
    RECEIVER,
    // Of the standard library's locks, before Rust 1.85 and since.
    "std::sync::mutex::MutexGuard",
    "std::sync::poison::mutex::MutexGuard",
    "std::sync::rwlock::RwLockReadGuard",
    "std::sync::poison::rwlock::RwLockReadGuard",
    "std::sync::rwlock::RwLockWriteGuard",
    "std::sync::poison::rwlock::RwLockWriteGuard",
];

/// Goes through one task's futures.
pub(super) struct Walk<'a, 'b, 'c> {
    typed: Typed<'a, 'b>,
    known: &'c Known<'c>,
    /// How a source file is shown.
    shown: &'c dyn Fn(&str) -> String,
    pub(super) holds: Vec<Hold>,
    /// How many were told of, and how many values were looked at for that.
    count: usize,
    looked_at: usize,
    /// Where those are that were told of.
    seen: HashSet<u64>,
    /// Whether it is about those that the task polls.
    is_polled: bool,
}

impl<'a, 'b, 'c> Walk<'a, 'b, 'c> {
    pub(super) fn new(
        typed: Typed<'a, 'b>,
        known: &'c Known<'c>,
        shown: &'c dyn Fn(&str) -> String,
    ) -> Walk<'a, 'b, 'c> {
        let (holds, seen) = (Vec::new(), HashSet::new());
        Walk { typed, known, shown, holds, count: 0, looked_at: 0, seen, is_polled: true }
    }
}

impl Walk<'_, '_, '_> {
    /// The future that a task was spawned with.
    pub(super) fn root(&mut self, value: Value) -> Option<Await> {
        let of = self.typed.of(value)?;
        // What only holds the future is not told of.
        if let Some(target) = self.only(value, &of) {
            let mut inside = self.polled(target, 0);
            if inside.len() == 1 {
                return inside.pop();
            }
        }
        self.future(value, 0)
    }

    /// What a `Pin<Box<…>>`, or a box, is of.
    fn only(&mut self, value: Value, of: &Type) -> Option<Value> {
        let is_pin = path(&of.name) == "core::pin::Pin";
        if is_pin {
            let (_, inside) = self.typed.members(value).into_iter().next()?;
            let of = self.typed.of(inside)?;
            return self.own_target(inside, &of);
        }
        self.own_target(value, of)
    }

    /// A future, and those that it polls.
    pub(super) fn future(&mut self, value: Value, depth: usize) -> Option<Await> {
        self.count += 1;
        if depth >= DEEPEST || self.count > MOST {
            return None;
        }
        let of = self.typed.of(value)?;
        let name = future_name::abridged(future_name::pretty(&of.name));
        if is_coroutine(&of) {
            return self.coroutine(value, name, depth);
        }
        let kind = leaf::of_type(&of.name);
        let leaf = kind.map(|kind| leaf::describe(kind, value, &mut self.typed, self.known));
        let mut inside = if leaf.is_some() { Vec::new() } else { self.polled(value, depth + 1) };
        // What only holds a future, as `Instrumented` does, has that one's name.
        if inside.len() == 1 && inside[0].future == name {
            return inside.pop();
        }
        Some(Await { future: name, progress: Progress::Unknown, file: None, line: None, leaf, inside })
    }

    fn coroutine(&mut self, value: Value, name: String, depth: usize) -> Option<Await> {
        self.seen.insert(value.at);
        let (variant, inside) = self.typed.variant(value)?;
        let of = self.typed.of(inside)?;
        let progress = progress(&of)?;
        let mut told = Await { progress, file: None, line: None, leaf: None, inside: Vec::new(), future: name };
        if progress != Progress::Suspended {
            return Some(told);
        }
        let awaited = self.typed.member(inside, AWAITED);
        let at = self.suspended_at(value, &variant, awaited);
        (told.file, told.line) = at.map(|(file, line)| ((self.shown)(&file), line)).unzip();
        let at = told.file.as_ref().zip(told.line).map(|(file, line)| format!("{file}:{line}"));
        if let Some(kind) = leaf::of_function(&told.future) {
            let innermost = awaited.map_or(inside, |awaited| if is_lock(kind) { awaited } else { inside });
            let leaf = leaf::describe(kind, innermost, &mut self.typed, self.known);
            if matches!(kind, LeafKind::Mutex | LeafKind::RwLockWrite) {
                self.given(innermost, &leaf, at.as_deref());
            }
            told.leaf = Some(leaf);
            return Some(told);
        }
        if let Some(awaited) = awaited {
            told.inside = self.polled(awaited, depth + 1);
        }
        self.hold(inside, at.as_deref(), depth);
        let leaves = told.inside.iter_mut().filter_map(|inside| inside.leaf.as_mut());
        leaves.for_each(|leaf| leaf.kind = leaf::within_function(&told.future, leaf.kind));
        Some(told)
    }

    /// Where a coroutine is suspended. What a macro awaits has the macro's line; if that is in another file, what calls it is meant.
    fn suspended_at(&mut self, coroutine: Value, suspended: &Variant, awaited: Option<Value>) -> Option<(String, u32)> {
        let of = self.typed.of(coroutine)?;
        let Form::Variants { variants, .. } = &of.form else { return None };
        // The first one is the beginning of its code.
        let own = variants.first().and_then(|first| first.at.as_ref());
        let is_of_macro = own.zip(suspended.at.as_ref()).is_some_and(|(own, at)| own.0 != at.0);
        let called = awaited.filter(|_| is_of_macro).and_then(|awaited| {
            let of = self.typed.of(awaited)?;
            self.typed.types.awaited_at(&of.name)
        });
        called.or_else(|| suspended.at.clone())
    }

    /// The futures that a value is made of: itself, what it leads to, or its members.
    fn polled(&mut self, value: Value, depth: usize) -> Vec<Await> {
        self.looked_at += 1;
        if depth >= DEEPEST || self.count > MOST || self.looked_at > MOST_LOOKED_AT {
            return Vec::new();
        }
        let Some(of) = self.typed.of(value) else { return Vec::new() };
        if is_coroutine(&of) || leaf::of_type(&of.name).is_some() {
            return self.future(value, depth).into_iter().collect();
        }
        if let Some(several) = self.several(value, &of) {
            return several.into_iter().flat_map(|one| self.polled(one, depth + 1)).collect();
        }
        if let Some(target) = self.own_target(value, &of) {
            return self.polled(target, depth + 1);
        }
        if is_dynamic(&of) {
            let name = future_name::pretty(&of.name);
            return vec![unknown(name)];
        }
        let mut members = self.typed.members(value);
        self.without_disabled(&mut members);
        members.into_iter().flat_map(|(_, member)| self.polled(member, depth + 1)).collect()
    }

    /// What is in a slice, a vector or a set of futures.
    fn several(&mut self, value: Value, of: &Type) -> Option<Vec<Value>> {
        if path(&of.name) == UNORDERED {
            return Some(self.unordered(value));
        }
        let is_slice = of.name.starts_with("alloc::boxed::Box<[") || of.name.starts_with("&mut [");
        if is_slice || path(&of.name) == "alloc::vec::Vec" { self.typed.elements(value) } else { None }
    }

    /// A set has its futures in a list.
    fn unordered(&mut self, set: Value) -> Vec<Value> {
        let mut futures = Vec::new();
        let mut next = self.typed.member(set, "head_all").and_then(|head| self.typed.pointed(head));
        while let Some(node) = next.filter(|_| futures.len() < MOST) {
            futures.extend(self.typed.member(node, "future"));
            next = self.typed.member(node, "next_all").and_then(|next| self.typed.pointed(next));
        }
        futures
    }

    /// What it leads to, if nobody else may reach that meanwhile.
    fn own_target(&mut self, value: Value, of: &Type) -> Option<Value> {
        if goes_through(of, Through::Own) { self.typed.target(value) } else { None }
    }

    /// Of a `select!`, without the branches that it no longer polls: a closure has the futures, and a word with a bit for each.
    fn without_disabled(&mut self, members: &mut Vec<(Arc<str>, Value)>) {
        let named = |name: &str| members.iter().find(|(of, _)| **of == *name).map(|(_, value)| *value);
        let (Some(disabled), Some(futures)) = (named("disabled"), named("futures")) else { return };
        let Some(word) = self.typed.target(disabled).and_then(|word| self.typed.number(word)) else { return };
        let Some(futures) = self.typed.find(futures, Through::Own, |_, of| of.name.starts_with('(')) else { return };
        let branches = self.typed.members(futures);
        let is_polled =
            |(index, branch): (usize, (Arc<str>, Value))| (word >> index.min(63) & 1 == 0).then_some(branch);
        *members = branches.into_iter().enumerate().filter_map(is_polled).collect();
    }

    /// Notes the guards among what a suspended future keeps.
    fn hold(&mut self, inside: Value, at: Option<&str>, depth: usize) {
        for (name, member) in self.typed.members(inside) {
            if &*name != AWAITED {
                self.guards(&name, member, at, 0);
                self.kept(member, 0, depth + 1);
            }
        }
    }

    /// Notes what futures keep that a variable has and nobody polls meanwhile.
    fn kept(&mut self, value: Value, within: usize, depth: usize) {
        let Some(of) = self.typed.of(value).filter(|_| within <= GUARD_DEPTH) else { return };
        if is_coroutine(&of) {
            if self.seen.contains(&value.at) {
                return;
            }
            let is_polled = std::mem::replace(&mut self.is_polled, false);
            // What it waits for is not what the task does.
            let _ = self.future(value, depth);
            self.is_polled = is_polled;
        } else if let Some(target) = self.own_target(value, &of) {
            self.kept(target, within + 1, depth);
        } else if of.name.starts_with('(') || path(&of.name) == "core::pin::Pin" {
            for (_, member) in self.typed.members(value) {
                self.kept(member, within + 1, depth);
            }
        }
    }

    /// Notes what a lock has given to a future that nobody polls: it has it, and no guard yet.
    fn given(&mut self, acquire: Value, leaf: &Leaf, at: Option<&str>) {
        let Some(address) = leaf.address.clone().filter(|_| !self.is_polled) else { return };
        if leaf::is_given(acquire, &mut self.typed) == Some(true) {
            let variable = self.typed.of(acquire).map(|of| future_name::pretty(&of.name)).unwrap_or_default();
            let at = at.map(str::to_owned);
            self.holds.push(Hold { guard: leaf::ACQUIRE.to_owned(), variable, address, at, is_polled: false });
        }
    }

    fn guards(&mut self, variable: &str, value: Value, at: Option<&str>, depth: usize) {
        let Some(of) = self.typed.of(value) else { return };
        if is_coroutine(&of) || depth > GUARD_DEPTH {
            return;
        }
        let guard = path(&of.name);
        if GUARDS.contains(&guard) {
            let is_of_std = guard.starts_with("std::");
            let found = match guard {
                RECEIVER => leaf::received(value, &mut self.typed),
                _ if is_of_std => leaf::locked(value, &mut self.typed),
                _ => leaf::guarded(value, &mut self.typed),
            };
            let Some(address) = found else { return };
            // What was moved away leaves its bytes: a lock that is free has nobody.
            let is_exclusive = guard.contains("MutexGuard") || guard.contains("Write");
            if is_exclusive && !is_of_std && leaf::is_exhausted(address, &mut self.typed) == Some(false) {
                return;
            }
            let hold = Hold {
                guard: guard.to_owned(),
                variable: variable.to_owned(),
                address: leaf::hex(address),
                at: at.map(str::to_owned),
                is_polled: self.is_polled,
            };
            if !self.holds.contains(&hold) {
                self.holds.push(hold);
            }
            return;
        }
        for (_, member) in self.typed.members(value) {
            self.guards(variable, member, at, depth + 1);
        }
    }
}

fn unknown(future: String) -> Await {
    Await { future, progress: Progress::Unknown, file: None, line: None, leaf: None, inside: Vec::new() }
}

/// Whether a leaf is made of a semaphore, of which its future has the address, and what called it only the lock's.
fn is_lock(kind: LeafKind) -> bool {
    matches!(kind, LeafKind::Mutex | LeafKind::RwLockRead | LeafKind::RwLockWrite | LeafKind::Semaphore)
}

/// Whether it is what the compiler makes of an `async` function or block.
fn is_coroutine(of: &Type) -> bool {
    let is_named = of.name.contains("{async_") || of.name.contains("{coroutine");
    let (_, last) = split_path(&of.name);
    is_named && last.starts_with('{') && last.contains("_env#") && matches!(of.form, Form::Variants { .. })
}

/// How far a coroutine is whose variant has this type.
fn progress(of: &Type) -> Option<Progress> {
    match of.name.rsplit("::").next()? {
        "Unresumed" => Some(Progress::NotStarted),
        "Returned" => Some(Progress::Done),
        "Panicked" => Some(Progress::Panicked),
        name if name.starts_with("Suspend") => Some(Progress::Suspended),
        _ => None,
    }
}
