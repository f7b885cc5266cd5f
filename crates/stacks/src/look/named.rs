//! A look whose addresses have names.

use pollscope_base::{Cause, Evidence, Frame, Held, LockWait, Place};

use super::looker::Look;
use crate::poll::Kind;
use crate::wait::waits_in;

/// A look whose addresses have names.
#[derive(Debug, Clone, Default)]
pub struct NamedLook {
    /// What was seen.
    pub look: Look,
    /// What decides the cause whatever the clocks say.
    pub special_cause: Option<Cause>,
    /// Whether its thread was at work for an event loop: in a poll, or in the scheduler's own code.
    pub is_on_loop: bool,
    /// What the thread was doing, as far as Tokio is concerned; `None` while it has no names.
    pub kind: Option<Kind>,
    /// The address of the code that goes on when the poll ends: see [`PollStack::ends`](crate::poll::PollStack::ends). The thread comes
    /// there once at each poll of its loop.
    pub poll_returns_to: Option<u64>,
    /// The type of the future that is polled; `None` where its name does not tell.
    pub root_future: Option<String>,
    /// `file:line` of the innermost frame of the user's code.
    pub blocking_line: Option<String>,
    /// That frame's function.
    pub function: Option<String>,
    /// The frames of the user's code within the poll, outermost first: at most 64 of them.
    pub callers: Vec<Frame>,
    /// From the innermost frame up to the poll; empty while it has no names.
    pub stack: Vec<Frame>,
    /// Whether the stack was followed to the thread's first frame; `None` when there is none, or it has no names.
    pub is_complete: Option<bool>,
    /// Who has what it waited for, where that was asked and somebody has.
    pub held: Option<Held>,
}

impl NamedLook {
    /// What a look shows without any names.
    pub fn unnamed(look: &Look) -> NamedLook {
        NamedLook { look: look.clone(), ..NamedLook::default() }
    }

    /// What is known of the lock that is waited for, of which it is known so who has it.
    pub(super) fn lock(&self, held: Option<&Held>) -> Option<Box<LockWait>> {
        Some(Box::new(LockWait { held: held?.clone(), waits_in: self.waits_in() }))
    }

    /// The function that waits for a lock, if it is not that of the blocking line.
    fn waits_in(&self) -> Option<String> {
        let functions = self.stack.iter().filter_map(|frame| frame.function.as_deref());
        let function = waits_in(functions)?;
        (self.function.as_deref() != Some(function)).then(|| function.to_owned())
    }

    pub(super) fn is_same_place(&self, other: &NamedLook) -> bool {
        let name = |named: &NamedLook| named.look.call.as_ref().map(|call| call.name.clone());
        let function = |named: &NamedLook| named.function.clone().filter(|_| named.blocking_line.is_none());
        self.look.off_cpu == other.look.off_cpu
            && self.blocking_line == other.blocking_line
            && self.caller() == other.caller()
            && function(self) == function(other)
            && name(self) == name(other)
    }

    /// `file:line` of the outermost frame of the user's code, if it is another than the blocking line.
    pub(super) fn caller(&self) -> Option<String> {
        let Frame { file, line, .. } = self.callers.first()?;
        let line = format!("{}:{}", file.as_ref()?, (*line)?);
        (Some(&line) != self.blocking_line.as_ref()).then_some(line)
    }

    /// The place, without how long it was there.
    pub(super) fn place(&self, with_stack: bool) -> Place {
        Place {
            line: self.blocking_line.clone(),
            caller: self.caller(),
            function: self.function.clone(),
            call: self.look.call.clone(),
            stack: if with_stack { self.stack.as_slice().into() } else { Default::default() },
            ..Place::default()
        }
    }

    /// What it shows of something that still goes on, of which no clocks were read.
    pub fn evidence(&self) -> Evidence {
        let mut known = Evidence::default();
        known.cause = self.special_cause.or(self.look.off_cpu);
        known.stack_complete = self.is_complete;
        known.lock = self.lock(self.held.as_ref()).filter(|_| known.cause == Some(Cause::Lock));
        show_first(&mut known, Some(&self.place(true)));
        known
    }
}

/// Takes up what the first place shows; of its call, only where what was seen is being off the CPU.
pub(super) fn show_first(known: &mut Evidence, first: Option<&Place>) {
    let Some(place) = first else { return };
    let is_blocked = matches!(known.cause, Some(Cause::BlockingCall | Cause::Lock) | None);
    known.call = place.call.as_ref().filter(|_| is_blocked).cloned();
    known.blocking_line = place.line.clone();
    known.function = place.function.clone();
    known.stack = std::sync::Arc::clone(&place.stack);
}

#[cfg(test)]
mod tests {
    use pollscope_base::HolderUnknown;

    use super::*;

    #[test]
    fn a_lock_that_is_not_the_users_says_whose_it_is() {
        let frame = |function: &str| Frame { function: Some(function.to_owned()), file: None, line: None };
        let pool = "tokio::runtime::blocking::pool::Spawner::spawn_task";
        let mut named = NamedLook {
            look: Look { off_cpu: Some(Cause::Lock), ..Look::default() },
            function: Some("shop::serve".to_owned()),
            stack: ["std::sync::poison::mutex::Mutex<T>::lock", pool, "shop::serve"].map(frame).to_vec(),
            ..NamedLook::default()
        };
        assert_eq!(named.evidence().lock, None, "it is not known to be a lock");
        named.held = Some(Held::Unknown(HolderUnknown::NotSeen));
        assert_eq!(named.evidence().lock.unwrap().waits_in.as_deref(), Some(pool));
        named.stack.remove(1);
        assert_eq!(named.evidence().lock.unwrap().waits_in, None, "it is the user's");
    }
}
