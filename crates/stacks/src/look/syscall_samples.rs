//! Samples of a thread's system call, every few milliseconds, without its stack.
//!
//! Code that makes many short blocking calls is seldom in one when its stack is taken; among many samples the call shows.

use pollscope_base::{Call, Cause};

use super::call::{call, off_cpu};
use crate::process::Process;
use crate::syscall::Syscall;
use crate::thread::State;

/// What was seen, and how often.
#[derive(Debug, Default)]
pub struct SyscallSamples {
    calls: Vec<(u64, u32, Call)>,
    faults: u32,
}

impl SyscallSamples {
    /// Counts one of a thread of this process.
    pub fn count(&mut self, process: &Process, state: &State) {
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
    pub fn mostly(&self) -> Option<(Cause, Option<&Call>)> {
        let most = self.calls.iter().max_by_key(|(_, times, _)| *times);
        match most.filter(|(_, times, _)| *times >= self.faults) {
            Some((_, _, call)) => Some((off_cpu(call), Some(call))),
            None => (self.faults > 0).then_some((Cause::PageFault, None)),
        }
    }
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
        let mut samples = SyscallSamples::default();
        assert_eq!(samples.mostly(), None);
        for state in [State::Running, within(FUTEX), within(FSYNC), State::Running, within(FSYNC)] {
            samples.count(&Process::current(), &state);
        }
        let (cause, call) = samples.mostly().unwrap();
        assert_eq!((cause, call.map(|call| call.name.as_str())), (Cause::BlockingCall, Some("fsync")));
        (0..3).for_each(|_| samples.count(&Process::current(), &State::Stopped { sp: 0, pc: 0 }));
        assert_eq!(samples.mostly(), Some((Cause::PageFault, None)));
    }
}
