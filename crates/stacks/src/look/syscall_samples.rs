//! Samples of a thread's system call, every few milliseconds, without its stack.
//!
//! Code that makes many short blocking calls is seldom in one when its stack is taken; among many samples the call shows.

use pollscope_base::{Call, Cause};

use super::call::{call, off_cpu};
use crate::capture::call_in;
use crate::syscall::Syscall;
use crate::thread::{State, ThreadRef};

/// What was seen, and how often.
#[derive(Debug, Clone, Default)]
pub struct SyscallSamples {
    calls: Vec<Sampled>,
    faults: u32,
}

#[derive(Debug, Clone)]
struct Sampled {
    number: u64,
    times: u32,
    call: Call,
    /// Whether it is known where it leads.
    is_located: bool,
}

impl SyscallSamples {
    /// Counts one of a thread, which may have gone on since it was in that state.
    pub fn count(&mut self, thread: &ThreadRef, state: &State) {
        let (number, args) = match state {
            State::Running => return,
            State::Stopped { .. } => return self.faults += 1,
            State::InSyscall { number, args, .. } => (*number, args),
        };
        let known = match self.calls.iter().position(|known| known.number == number) {
            Some(index) => &mut self.calls[index],
            None => {
                let call = call(&Syscall::new(number, args));
                self.calls.push(Sampled { number, times: 0, call, is_located: false });
                self.calls.last_mut().expect("one was pushed")
            }
        };
        known.times += 1;
        if !known.is_located {
            // Now: once the poll is over, the descriptor may lead elsewhere.
            if let Some(located) = call_in(thread, state) {
                (known.call, known.is_located) = (call(&located), true);
            }
        }
    }

    /// What being off the CPU mostly was, and the call, if it was one; `None` when it was never seen off the CPU.
    pub fn mostly(&self) -> Option<(Cause, Option<&Call>)> {
        let most = self.calls.iter().max_by_key(|known| known.times);
        match most.filter(|most| most.times >= self.faults) {
            Some(most) => Some((off_cpu(&most.call), Some(&most.call))),
            None => (self.faults > 0).then_some((Cause::PageFault, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;

    const FSYNC: u64 = 74;
    const FUTEX: u64 = 202;

    fn within(number: u64) -> State {
        State::InSyscall { number, args: [u64::MAX; 6], sp: 0, pc: 0 }
    }

    #[test]
    fn the_call_that_was_seen_most_is_the_one() {
        let (mut samples, nobody) = (SyscallSamples::default(), Process::current().thread(0));
        assert_eq!(samples.mostly(), None);
        for state in [State::Running, within(FUTEX), within(FSYNC), State::Running, within(FSYNC)] {
            samples.count(&nobody, &state);
        }
        let (cause, call) = samples.mostly().unwrap();
        assert_eq!((cause, call.map(|call| call.name.as_str())), (Cause::BlockingCall, Some("fsync")));
        (0..3).for_each(|_| samples.count(&nobody, &State::Stopped { sp: 0, pc: 0 }));
        assert_eq!(samples.mostly(), Some((Cause::PageFault, None)));
    }

    /// A thread that went on may have other things where its arguments lead by now.
    #[cfg(supported)]
    #[test]
    fn what_a_call_leads_to_is_not_told_of_a_thread_that_is_in_it_no_more() {
        let file = std::fs::File::open("/proc/self/maps").unwrap();
        let mut args = [0; 6];
        args[0] = std::os::fd::AsRawFd::as_raw_fd(&file) as u64;
        let mut samples = SyscallSamples::default();
        samples.count(&ThreadRef::current(), &State::InSyscall { number: FSYNC, args, sp: 0, pc: 0 });
        let (_, call) = samples.mostly().unwrap();
        assert_eq!(call.unwrap().text, format!("fsync(fd {})", args[0]));
    }
}
