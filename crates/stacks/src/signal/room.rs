//! Whether our handler has room on the stack on which a thread's handlers run.

use super::action::Action;
use super::bit;
use crate::handler_stack::HandlerStack;

/// What our handler takes at most below the kernel's frame, in bytes, without optimisation: a test measures it.
pub(super) const HANDLER: usize = 2 << 10;
/// What a handler of somebody else is trusted to take, in bytes: nobody knows what it calls.
const THEIRS: usize = 16 << 10;
/// The kernel's frame where it does not tell: without AMX, of which a kernel that does not tell knows nothing either.
const FRAME: usize = 4 << 10;

/// Whether our handler for this signal has room on such a stack, beside whatever else of the process may be there.
pub(super) fn has_room(signal: i32, stack: HandlerStack) -> bool {
    stack.alternate().is_none_or(|bytes| bytes >= needed(frame(), others_share(signal)))
}

/// What an alternate stack must have. A handler of somebody else that is on it already is interrupted by ours.
pub(super) fn needed(frame: usize, others_share: bool) -> usize {
    let ours = frame + HANDLER;
    if others_share { ours + frame + THEIRS } else { ours }
}

/// Whether another handler, which ours can interrupt, uses alternate stacks.
///
/// Not asked of faults and aborts: the standard library handles two of them in every program. Their handlers run when the thread
/// itself did something, mostly to end the process, and not while it computes. Nor of what the C library keeps to itself, between the
/// ordinary signals and the first real-time one: its handlers take next to nothing.
fn others_share(signal: i32) -> bool {
    const FAULTS: [i32; 7] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGABRT, libc::SIGSYS];
    let shares =
        |other: i32| Action::of(other).is_ok_and(|action| action.is_interruptible_on_alternate_stack(bit(signal)));
    let of_programs = (1..32).chain(libc::SIGRTMIN()..=super::SIGNALS as i32);
    of_programs.filter(|other| *other != signal && !FAULTS.contains(other)).any(shares)
}

/// The kernel's frame, in bytes, as large as it can be on this machine.
pub(super) fn frame() -> usize {
    const AT_MINSIGSTKSZ: libc::c_ulong = 51;
    // SAFETY: it reads what the kernel gave the program; 0 where that is not there.
    let told = unsafe { libc::getauxval(AT_MINSIGSTKSZ) } as usize;
    let told = if told == 0 { FRAME } else { told };
    // With AMX the kernel tells what takes 8 KiB of tiles, which only a process has that asked for them.
    if told > TILES + FRAME / 2 && !has_tiles() { told - TILES } else { told }
}

const TILES: usize = 8 << 10;

/// Whether the process may use AMX; asked only on a machine that has it.
fn has_tiles() -> bool {
    const ARCH_GET_XCOMP_PERM: i32 = 0x1022;
    const TILE_DATA: u64 = 1 << 18;
    let mut permitted = 0_u64;
    // SAFETY: the kernel only writes to `permitted`.
    let asked = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &raw mut permitted) };
    asked != 0 || permitted & TILE_DATA != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_librarys_stack_is_enough_alone_and_not_beside_somebody_elses_handler() {
        let std = HandlerStack::from_word(8 << 10).unwrap();
        assert!(std.alternate().unwrap() >= needed(frame(), false));
        assert!(std.alternate().unwrap() < needed(frame(), true));
        assert!(64 << 10 >= needed(frame(), true));
    }

    #[test]
    fn a_stack_smaller_than_the_kernels_frame_has_no_room() {
        let signal = libc::SIGRTMIN() + 7;
        for (bytes, room) in [(libc::MINSIGSTKSZ, false), (frame(), false), (64 << 10, true)] {
            assert_eq!(has_room(signal, HandlerStack::from_word(bytes).unwrap()), room, "{bytes}");
        }
        assert!(has_room(signal, HandlerStack::from_word(usize::MAX).unwrap()), "without one, of ordinary size");
    }
}
