//! What code does to a lock next, from an instruction at which nothing can unwind: it goes on to the next call that may, on every way that
//! it can take, and all of them must end alike.
//!
//! Which way a branch goes is not looked at, as a loop may take each of them later.

use std::collections::HashSet;

use iced_x86::FlowControl;

use super::machine::{Machine, Outcome};
use super::state::State;

impl Machine<'_, '_> {
    /// What the code does first to the lock: by itself, or if the next call that may unwind does. `cleanup` is where it goes on then.
    pub(super) fn ahead(&mut self, from: u64, state: &State, cleanup: &mut dyn FnMut(u64) -> Option<u64>) -> Outcome {
        let (mut ways, mut visited) = (vec![(from, state.clone())], HashSet::new());
        let mut gives = false;
        while let Some((mut pc, mut state)) = ways.pop() {
            let outcome = loop {
                if !visited.insert(pc) {
                    break Outcome::Ends;
                }
                let Some(instruction) = self.decode(pc) else { break Outcome::Unknown };
                pc = instruction.next_ip();
                match instruction.flow_control() {
                    FlowControl::Next => match self.touch(&instruction, &state) {
                        Some(outcome) => break outcome,
                        None => self.step(&instruction, &mut state),
                    },
                    FlowControl::UnconditionalBranch => pc = instruction.near_branch_target(),
                    FlowControl::ConditionalBranch => ways.push((instruction.near_branch_target(), state.clone())),
                    FlowControl::Call | FlowControl::IndirectCall => {
                        if let Some(pad) = cleanup(instruction.ip()) {
                            // What it does not drop there it does not have here.
                            break match self.run(pad, &mut state, 0) {
                                Outcome::Ends | Outcome::Leaves => Outcome::Unknown,
                                outcome => outcome,
                            };
                        }
                        match self.call(&instruction, &mut state, 0) {
                            Outcome::Returns => {}
                            outcome => break outcome,
                        }
                    }
                    FlowControl::Interrupt | FlowControl::Exception => break Outcome::Ends,
                    _ => break Outcome::Unknown,
                }
            };
            match outcome {
                Outcome::Gives => gives = true,
                // Where it has been before, or where it never comes back from.
                Outcome::Ends => {}
                Outcome::Takes => return Outcome::Takes,
                Outcome::Returns | Outcome::Leaves | Outcome::Unknown => return Outcome::Unknown,
            }
        }
        if gives { Outcome::Gives } else { Outcome::Unknown }
    }
}
