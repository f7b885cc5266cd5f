//! Whether a thread would give a lock back if it unwound now: then it has it.

use super::machine::{LockWord, Machine, Outcome};
use super::state::State;
use super::threads::{Finder, Seen};
use super::view::View;
use super::{FutexWait, is_same_wait, waits_for_a_condition};
use crate::address::CodeAddress;
use crate::look::Namer;

pub(super) struct Release<'a, 'stack> {
    pub(super) finder: &'a mut Finder,
    pub(super) namer: &'a mut Namer,
    pub(super) view: &'a mut View<'stack>,
    pub(super) lock: LockWord,
    /// How many more instructions may be followed, of all threads.
    pub(super) effort: &'a mut u32,
}

impl<'stack> Release<'_, 'stack> {
    /// Whether the first that any of the thread's frames would do to the lock, from the innermost on, is to give it back.
    pub(super) fn gives_back(mut self, seen: &'stack Seen, wait: FutexWait) -> bool {
        let Some(stack) = seen.look.stack.as_ref().filter(|_| !is_same_wait(seen, wait)) else { return false };
        self.view.stack = Some(&seen.frames.memory);
        // What a frame that was left out would do comes before all that is further out.
        let known = stack.left_out.map_or(usize::MAX, |left_out| left_out.after);
        let sure = stack.guessed.unwrap_or(known).min(known);
        let frames = stack.frames.iter().zip(&seen.frames.registers).take(sure);
        let first = frames
            .map(|(address, registers)| self.first_of(*address, &State::of_frame(registers)))
            .find(|outcome| matches!(outcome, Outcome::Gives | Outcome::Takes));
        first == Some(Outcome::Gives) && !waits_for_a_condition(&self.namer.functions(stack))
    }

    /// What a frame does to the lock first.
    fn first_of(&mut self, address: CodeAddress, state: &State) -> Outcome {
        let (looker, namer) = (&mut self.finder.looker, &mut *self.namer);
        let mut name = |address| namer.symbol(address);
        let pad = looker.cleanup(address);
        let code = match &pad {
            Some((_, code)) => code.clone(),
            None => match looker.code_with_cleanup(address) {
                Some(code) => code,
                None => return Outcome::Unknown,
            },
        };
        let mut machine = Machine::new(self.view, code, self.lock, &mut name, *self.effort);
        let before = machine.effort;
        let outcome = match pad {
            Some((pad, _)) => machine.run(pad, &mut state.clone(), 0),
            None => {
                machine.is_strict = true;
                let mut cleanup = |call| looker.cleanup(CodeAddress::Exact(call)).map(|(pad, _)| pad);
                machine.ahead(address.raw(), state, &mut cleanup)
            }
        };
        *self.effort -= before - machine.effort;
        outcome
    }
}
