//! Glances at a thread that is late: which system call it is in, every few milliseconds, without its stack.
//!
//! A poll that makes many short blocking calls is seldom in one when its stack is taken; among many glances the call shows.

use pollscope_base::{Call, Cause};
use pollscope_stacks::process::Process;
use pollscope_stacks::syscall::Syscall;
use pollscope_stacks::thread::State;

use super::shot::call;

/// What was seen, and how often.
#[derive(Debug, Default)]
pub(super) struct Glances {
    calls: Vec<(u64, u32, Call)>,
    faults: u32,
}

impl Glances {
    pub(super) fn count(&mut self, process: &Process, state: &State) {
        match state {
            State::Running => {}
            State::Stopped { .. } => self.faults += 1,
            State::InSyscall { number, args, .. } => {
                match self.calls.iter_mut().find(|(known, ..)| known == number) {
                    Some((_, times, _)) => *times += 1,
                    None => {
                        let mut syscall = Syscall::new(*number, args);
                        // Now: once the poll is over, the descriptor may lead elsewhere.
                        syscall.locate(process);
                        self.calls.push((*number, 1, call(&syscall)));
                    }
                }
            }
        }
    }

    /// What being off the CPU mostly was, and the call, if it was one; `None` when it was never seen off the CPU.
    pub(super) fn mostly(&self) -> Option<(Cause, Option<&Call>)> {
        let most = self.calls.iter().max_by_key(|(_, times, _)| *times);
        match most.filter(|(_, times, _)| *times >= self.faults) {
            Some((_, _, call)) => Some((off_cpu(call), Some(call))),
            None => (self.faults > 0).then_some((Cause::PageFault, None)),
        }
    }
}

/// What being in a call is.
pub(super) fn off_cpu(call: &Call) -> Cause {
    if call.name == "futex" { Cause::Lock } else { Cause::BlockingCall }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FSYNC: u64 = 74;
    const FUTEX: u64 = 202;

    fn within(number: u64) -> State {
        State::InSyscall { number, args: [u64::MAX; 6], sp: 0, pc: 0 }
    }

    #[test]
    fn the_call_that_was_seen_most_is_the_one() {
        let mut glances = Glances::default();
        assert_eq!(glances.mostly(), None);
        for state in [State::Running, within(FUTEX), within(FSYNC), State::Running, within(FSYNC)] {
            glances.count(&Process::current(), &state);
        }
        let (cause, call) = glances.mostly().unwrap();
        assert_eq!((cause, call.map(|call| call.name.as_str())), (Cause::BlockingCall, Some("fsync")));
        (0..3).for_each(|_| glances.count(&Process::current(), &State::Stopped { sp: 0, pc: 0 }));
        assert_eq!(glances.mostly(), Some((Cause::PageFault, None)));
    }
}
