//! Keeps signals away from threads that are not to take them.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// Does something while this thread takes no signals, nor do the threads that it starts meanwhile, ever.
pub(crate) fn without_signals<T>(act: impl FnOnce() -> T) -> T {
    without(SigSet::all(), act)
}

/// Likewise of the signals by which people end a program.
pub(crate) fn without_ends<T>(act: impl FnOnce() -> T) -> T {
    without([Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM].into_iter().collect(), act)
}

fn without<T>(signals: SigSet, act: impl FnOnce() -> T) -> T {
    // This can only fail for an operation that there is not.
    let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let done = act();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    done
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, mpsc};
    use std::thread;

    use nix::sys::signal::{Signal, raise};
    use signal_hook::consts::SIGWINCH;

    use super::*;

    #[test]
    fn a_signal_comes_afterwards_and_never_to_a_thread_that_was_started_meanwhile() {
        let came = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGWINCH, Arc::clone(&came)).expect("it is registered");
        let (end, ended) = mpsc::channel::<()>();
        let thread = without_signals(|| {
            raise(Signal::SIGWINCH).expect("sent to this thread");
            assert!(!came.load(Ordering::SeqCst));
            thread::spawn(move || {
                _ = ended.recv();
                SigSet::thread_get_mask().expect("a mask").contains(Signal::SIGWINCH)
            })
        });
        assert!(came.load(Ordering::SeqCst));
        assert!(!SigSet::thread_get_mask().expect("a mask").contains(Signal::SIGWINCH));
        drop(end);
        assert!(thread.join().expect("it ends"));
    }
}
