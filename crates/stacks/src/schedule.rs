//! How promptly the calling thread gets a CPU when it wakes: for a thread that looks at others, and does little each time.

use std::io;

#[cfg(supported)]
use crate::thread::{self, ThreadRef};

/// Asks the scheduler for short time slices for the calling thread. Its share of the CPU stays the same, its priority too, but
/// on a busy machine it gets a CPU soon after it wakes, for 0.1 ms at a time, and not after a whole slice of the one who has it. It
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

/// Keeps the calling thread off the CPU that another one is on, if it is on it itself, for as long as the answer lives: who waits
/// for a thread that computes, on its own CPU, gets that back only at the scheduler's next tick, up to 4 ms later. `None` when
/// there is nothing to be done, or no other CPU.
#[cfg(supported)]
pub(crate) fn keep_off_the_cpu_of(thread: &ThreadRef) -> Option<os::Apart> {
    os::Apart::from_cpu(thread::cpu(thread).ok()?)
}

#[cfg(supported)]
mod os {
    use std::io;

    use crate::seccomp;

    /// The CPUs that the calling thread could use before; dropped, it may again.
    pub(crate) struct Apart {
        before: libc::cpu_set_t,
    }

    impl Apart {
        pub(super) fn from_cpu(cpu: usize) -> Option<Apart> {
            // SAFETY: it takes nothing and changes nothing.
            let here = usize::try_from(unsafe { libc::sched_getcpu() }).ok()?;
            if here != cpu || cpu >= size_of::<libc::cpu_set_t>() * 8 {
                return None;
            }
            // SAFETY: all zeros are a valid set, the empty one.
            let mut before: libc::cpu_set_t = unsafe { std::mem::zeroed() };
            // SAFETY: the kernel writes at most the size that it is told; a machine of more CPUs is refused. Thread 0 is the caller.
            if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut before) } != 0 {
                return None;
            }
            let mut others = before;
            // SAFETY: `cpu` is within the set's size.
            unsafe { libc::CPU_CLR(cpu, &mut others) };
            // SAFETY: as above. An empty set is refused.
            let is_set = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const others) } == 0;
            is_set.then_some(Apart { before })
        }
    }

    impl Drop for Apart {
        fn drop(&mut self) {
            // SAFETY: as above.
            unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const self.before) };
        }
    }

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
        if !seccomp::look() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
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

        #[test]
        fn a_thread_keeps_off_its_own_cpu_and_comes_back() {
            let cpus = || {
                // SAFETY: as above.
                let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
                // SAFETY: as above.
                assert_eq!(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) }, 0);
                // SAFETY: both are within the set's size.
                (0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect::<Vec<_>>()
            };
            let tested = std::thread::spawn(move || {
                let before = cpus();
                // SAFETY: it takes nothing and changes nothing.
                let here = usize::try_from(unsafe { libc::sched_getcpu() }).unwrap();
                // It may be moved in between; then there is nothing to be done.
                if let Some(apart) = Apart::from_cpu(here) {
                    assert!(!cpus().contains(&here));
                    drop(apart);
                }
                assert!(Apart::from_cpu(here + 1).is_none_or(|_| before.len() > 1));
                assert_eq!(cpus(), before);
            });
            tested.join().unwrap();
        }

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
