//! What a thread used since it began, as the kernel accounts for it.

use std::ops::Add;

/// CPU time and context switches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on a CPU outside the kernel, in nanoseconds. The sum with `system_ns` is measured; how it divides, the kernel
    /// estimates from where its ticks find the thread.
    pub user_ns: u64,
    /// Time on a CPU in the kernel, in nanoseconds.
    pub system_ns: u64,
    /// How often it gave up the CPU: each time that it blocked.
    pub voluntary_switches: u64,
    /// How often the CPU was taken from it.
    pub involuntary_switches: u64,
}

impl Usage {
    /// What the calling thread used; `None` where that cannot be asked.
    ///
    /// ```
    /// use pollscope_stacks::usage::Usage;
    /// assert_eq!(Usage::of_this_thread().is_some(), pollscope_stacks::SUPPORTED);
    /// ```
    #[cfg(supported)]
    pub fn of_this_thread() -> Option<Usage> {
        // SAFETY: all zeros are a valid value of this struct of numbers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: it writes one `rusage` to a place that holds one.
        if unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) } != 0 {
            return None;
        }
        let ns = |time: libc::timeval| {
            let (seconds, micros) = (u64::try_from(time.tv_sec).ok()?, u64::try_from(time.tv_usec).ok()?);
            Some(seconds * 1_000_000_000 + micros * 1_000)
        };
        Some(Usage {
            user_ns: ns(usage.ru_utime)?,
            system_ns: ns(usage.ru_stime)?,
            voluntary_switches: u64::try_from(usage.ru_nvcsw).ok()?,
            involuntary_switches: u64::try_from(usage.ru_nivcsw).ok()?,
        })
    }

    /// What the calling thread used, which cannot be asked here.
    #[cfg(not(supported))]
    pub fn of_this_thread() -> Option<Usage> {
        None
    }
}

/// How long all threads of this process were on a CPU since it began, in nanoseconds; `None` where that cannot be asked, or, under a
/// [filter](crate::seccomp), must not be.
///
/// ```
/// use pollscope_stacks::usage::process_cpu_ns;
/// assert_eq!(process_cpu_ns().is_some(), pollscope_stacks::SUPPORTED);
/// ```
pub fn process_cpu_ns() -> Option<u64> {
    #[cfg(supported)]
    if crate::seccomp::may_call() {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: it only writes to `time`.
        let read = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
        return (read == 0).then(|| time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned());
    }
    None
}

/// The CPUs of the machine that are on, whichever of them a quota or an affinity leaves to this process: so many run at once at most. `None`
/// where that cannot be asked.
///
/// ```
/// use pollscope_stacks::usage::machine_cpus;
/// assert!(machine_cpus().is_none_or(|cpus| cpus > 0));
/// assert_eq!(machine_cpus().is_some(), pollscope_stacks::SUPPORTED);
/// ```
pub fn machine_cpus() -> Option<u64> {
    #[cfg(supported)]
    {
        // SAFETY: it takes a number, and changes nothing.
        let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        u64::try_from(cpus).ok().filter(|cpus| *cpus > 0)
    }
    #[cfg(not(supported))]
    None
}

impl Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage {
            user_ns: self.user_ns + other.user_ns,
            system_ns: self.system_ns + other.system_ns,
            voluntary_switches: self.voluntary_switches + other.voluntary_switches,
            involuntary_switches: self.involuntary_switches + other.involuntary_switches,
        }
    }
}

#[cfg(all(test, supported))]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_thread_may_not_use_is_a_cpu_of_the_machine_all_the_same() {
        let before = machine_cpus();
        let narrow = || {
            // SAFETY: all zeros are a valid set, and CPU numbers below its size stay within it.
            let set = unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                libc::CPU_SET(usize::try_from(libc::sched_getcpu()).expect("a CPU"), &mut set);
                set
            };
            // SAFETY: it reads the set alone; 0 is the calling thread.
            assert_eq!(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }, 0);
            (thread::available_parallelism().expect("it is told").get(), machine_cpus())
        };
        let (usable, narrow) = thread::spawn(narrow).join().expect("no panic");
        assert_eq!((usable, narrow), (1, before));
    }

    /// What a new thread used for some work.
    fn used(work: impl FnOnce() + Send + 'static) -> Usage {
        let thread = thread::spawn(move || {
            work();
            Usage::of_this_thread().expect("supported")
        });
        thread.join().expect("no panic")
    }

    #[test]
    fn a_thread_that_sleeps_switches_and_one_that_computes_takes_time() {
        let slept = used(|| (0..50).for_each(|_| thread::sleep(Duration::from_micros(100))));
        assert!(slept.voluntary_switches >= 50, "{slept:?}");
        let computed = used(|| {
            let before = Usage::of_this_thread().expect("supported");
            let cpu_ns = |usage: Usage| usage.user_ns + usage.system_ns;
            while cpu_ns(Usage::of_this_thread().expect("supported")) < cpu_ns(before) + 20_000_000 {}
        });
        assert!(computed.user_ns + computed.system_ns >= 20_000_000, "{computed:?}");
        assert_eq!(slept + Usage::default(), slept);
    }
}
