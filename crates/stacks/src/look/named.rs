//! A look whose addresses have names, and one that waits for them.

use std::sync::OnceLock;

use pollscope_base::{Cause, Evidence, Frame};

use super::looker::Look;
use super::namer::Namer;

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
        super::observation::evidence(Some(self), None, Evidence { cause, ..Evidence::default() })
    }
}

/// A look that one thread took and another one names, for whoever asks what it shows.
#[derive(Debug, Default)]
pub struct SharedLook {
    /// What was seen.
    pub look: Look,
    named: OnceLock<NamedLook>,
}

impl SharedLook {
    /// Not named yet.
    pub fn new(look: Look) -> SharedLook {
        SharedLook { look, named: OnceLock::new() }
    }

    /// Named now, if it was not before.
    pub fn named(&self, namer: &mut Namer) -> &NamedLook {
        self.named.get_or_init(|| namer.name(&self.look))
    }

    /// `None` when it is not named yet.
    pub fn named_by_now(&self) -> Option<&NamedLook> {
        self.named.get()
    }

    /// What it shows by now, with names or without.
    pub fn as_known(&self) -> NamedLook {
        self.named_by_now().cloned().unwrap_or_else(|| NamedLook::unnamed(&self.look))
    }
}
