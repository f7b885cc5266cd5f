//! How promptly the calling thread gets a CPU when it wakes: for a thread that looks at others, and does little each time.

use std::io;

/// Asks the scheduler for short time slices for the calling thread. Its share of the CPU stays the same, its priority too, but
/// on a busy machine it gets a CPU soon after it wakes, for 0.1 ms at a time, and not after a whole slice of whoever has it. It
/// takes no privilege. Threads that it starts do not inherit that.
///
/// Linux from 6.12 on does so; an older one accepts it and does nothing. A thread with a real-time policy is left alone.
///
/// # Errors
/// When the kernel or a container refuses it, or the system is another; all stays as it was.
///
/// ```
/// let asked = std::thread::spawn(pollscope_stacks::schedule::ask_for_short_slices).join().expect("no panic");
/// if let Err(error) = asked {
///     // An old kernel, a container that forbids it, another system.
///     assert_ne!(error.kind(), std::io::ErrorKind::InvalidInput);
/// }
/// ```
pub fn ask_for_short_slices() -> io::Result<()> {
    os::ask_for_short_slices()
}

#[cfg(supported)]
mod os {
    use std::io;

    /// The shortest that the kernel takes.
    const SLICE_NS: u64 = 100_000;
    const FLAG_RESET_ON_FORK: u64 = 1;
    /// `sched_attr` as of its first version, which every kernel that has the calls takes.
    const SIZE: u32 = 48;

    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }

    const _: () = assert!(size_of::<Attributes>() == SIZE as usize);

    pub(super) fn ask_for_short_slices() -> io::Result<()> {
        let attributes = read()?;
        let is_ordinary = [libc::SCHED_OTHER, libc::SCHED_BATCH].contains(&attributes.policy.cast_signed());
        if !is_ordinary {
            return Ok(());
        }
        // The nice value stays: it is the user's.
        let wanted = Attributes { size: SIZE, flags: FLAG_RESET_ON_FORK, runtime: SLICE_NS, ..attributes };
        // SAFETY: the kernel reads `size` bytes from it; thread 0 is the calling one.
        check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) })
    }

    fn read() -> io::Result<Attributes> {
        let mut attributes = Attributes::default();
        // SAFETY: the kernel writes at most `SIZE` bytes, which is its size.
        check(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) })?;
        Ok(attributes)
    }

    fn check(answer: libc::c_long) -> io::Result<()> {
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// What the kernel says of a thread that asked, and of one that it started.
        #[test]
        fn policy_and_nice_value_stay_and_no_thread_inherits() {
            let tested = std::thread::spawn(|| {
                let before = read()?;
                ask_for_short_slices()?;
                let (after, child) = (read()?, std::thread::spawn(read).join().unwrap()?);
                Ok::<_, io::Error>((before, after, child))
            });
            match tested.join().unwrap() {
                Ok((before, after, child)) => {
                    assert_eq!((before.policy, before.nice), (after.policy, after.nice));
                    // Linux before 6.12 tells nothing.
                    assert!([before.runtime, SLICE_NS].contains(&after.runtime), "{}", after.runtime);
                    assert_eq!((child.runtime, child.flags), (before.runtime, before.flags));
                }
                Err(error) => eprintln!("not tried: {error}"),
            }
        }
    }
}

#[cfg(not(supported))]
mod os {
    pub(super) fn ask_for_short_slices() -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}
