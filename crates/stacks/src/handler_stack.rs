//! Where a thread's signal handlers run.
//!
//! A handler with `SA_ONSTACK`, as that of [`signal`](crate::signal), runs on the thread's alternate stack, if it has one: 8 KiB is what
//! Rust's standard library gives each of its threads. Where the frame of the kernel, up to 3.6 kB with AVX-512, has no room there, the
//! kernel ends the process.

/// On which stack a thread's signal handlers run that ask for the alternate one, as the thread said itself: nobody else can see it.
///
/// ```
/// use pollscope_stacks::handler_stack::HandlerStack;
/// let here = HandlerStack::of_current_thread();
/// // Rust's own threads have an alternate stack, to tell a stack overflow on.
/// assert_eq!(here.is_some_and(|stack| stack.alternate().is_some_and(|bytes| bytes > 0)), pollscope_stacks::SUPPORTED);
/// assert_eq!(HandlerStack::from_word(here.map_or(0, HandlerStack::to_word)), here);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandlerStack {
    /// `usize::MAX`: the thread has no alternate one.
    bytes: usize,
}

impl HandlerStack {
    const ORDINARY: usize = usize::MAX;

    /// What the calling thread has; `None` if it does not know, or has none of a size.
    #[cfg(supported)]
    pub fn of_current_thread() -> Option<HandlerStack> {
        let mut stack = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: 0, ss_size: 0 };
        // SAFETY: nothing is set; the kernel only writes to `stack`.
        if unsafe { libc::sigaltstack(std::ptr::null(), &raw mut stack) } != 0 {
            return None;
        }
        let bytes = if stack.ss_flags & libc::SS_DISABLE != 0 { HandlerStack::ORDINARY } else { stack.ss_size };
        HandlerStack::from_word(bytes)
    }

    /// What the calling thread has is not known here.
    #[cfg(not(supported))]
    pub fn of_current_thread() -> Option<HandlerStack> {
        None
    }

    /// The size of its alternate stack, in bytes; `None` if it has none, and handlers run on the stack that they interrupt.
    pub fn alternate(self) -> Option<usize> {
        (self.bytes != HandlerStack::ORDINARY).then_some(self.bytes)
    }

    /// As a word that is not 0, to be kept in an atomic one.
    pub fn to_word(self) -> usize {
        self.bytes
    }

    /// Back from [`HandlerStack::to_word`]; 0 is what is not known.
    pub fn from_word(word: usize) -> Option<HandlerStack> {
        (word != 0).then_some(HandlerStack { bytes: word })
    }
}
