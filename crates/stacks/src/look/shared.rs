//! A look that is named later.

use std::sync::OnceLock;

use pollscope_base::Held;

use super::looker::Look;
use super::named::NamedLook;
use super::namer::Namer;

/// A look that one thread took and another one names, for the one who asks what it shows.
#[derive(Debug, Default)]
pub struct SharedLook {
    /// What was seen.
    pub look: Look,
    named: OnceLock<NamedLook>,
    held: OnceLock<Held>,
}

impl SharedLook {
    /// Not named yet.
    pub fn new(look: Look) -> SharedLook {
        SharedLook { look, ..SharedLook::default() }
    }

    /// Who has what the thread waited for, where somebody has: for whoever names the look, before that.
    pub fn set_held(&self, held: Held) {
        // The first to say so is right: it looked first.
        let _ = self.held.set(held);
    }

    /// Who has what it waited for, if that was found out.
    pub fn held(&self) -> Option<&Held> {
        self.held.get()
    }

    /// Named now, if it was not before.
    pub fn named(&self, namer: &mut Namer) -> &NamedLook {
        self.named.get_or_init(|| NamedLook { held: self.held.get().cloned(), ..namer.name(&self.look) })
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
