//! A look whose addresses have names.

use pollscope_base::{Call, Cause, Evidence, Frame};

use super::looker::Look;

/// A look whose addresses have names.
#[derive(Debug, Clone, Default)]
pub struct NamedLook {
    /// What was seen.
    pub look: Look,
    /// What decides the cause whatever the clocks say.
    pub special_cause: Option<Cause>,
    /// `file:line` of the innermost frame of the user's code.
    pub blocking_line: Option<String>,
    /// That frame's function.
    pub function: Option<String>,
    /// From the innermost frame up to the poll; empty while it has no names.
    pub stack: Vec<Frame>,
    /// Whether the stack was followed to the thread's first frame; `None` when there is none, or it has no names.
    pub is_complete: Option<bool>,
}

impl NamedLook {
    /// What a look shows without any names.
    pub fn unnamed(look: &Look) -> NamedLook {
        NamedLook { look: look.clone(), ..NamedLook::default() }
    }

    pub(super) fn is_same_place(&self, other: &NamedLook) -> bool {
        let name = |named: &NamedLook| named.look.call.as_ref().map(|call| call.name.clone());
        self.blocking_line == other.blocking_line && name(self) == name(other)
    }

    /// What it shows of something that still goes on, of which no clocks were read.
    pub fn evidence(&self) -> Evidence {
        let cause = self.special_cause.or(self.look.off_cpu);
        let mut known = Evidence::default();
        known.cause = cause;
        evidence(Some(self), None, known)
    }
}

/// What a look shows, or, of the call, what samples did, besides what is known already.
pub(super) fn evidence(named: Option<&NamedLook>, sampled: Option<&Call>, mut known: Evidence) -> Evidence {
    let is_blocked = matches!(known.cause, Some(Cause::BlockingCall | Cause::Lock) | None);
    known.call = named.and_then(|named| named.look.call.as_ref()).or(sampled).filter(|_| is_blocked).cloned();
    let Some(named) = named else { return known };
    known.blocking_line = named.blocking_line.clone();
    known.function = named.function.clone();
    known.stack = named.stack.as_slice().into();
    known.stack_complete = named.is_complete;
    known
}
