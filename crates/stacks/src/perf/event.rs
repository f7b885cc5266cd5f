//! Perf events of one thread: what the kernel is asked, and what it hands over.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use memmap2::MmapOptions;

use super::attributes::Attributes;
use super::ring::{PAGE, Ring};
use super::{Hindrance, Wanted};
use crate::seccomp;
use crate::thread::{StateError, ThreadRef, read_state};

/// An open event, and the ring that it hands its records over in. Both end with this.
#[derive(Debug)]
pub(super) struct Source {
    event: OwnedFd,
    ring: Ring,
}

/// Another event, of which a [`Source`] tells: one that happens once each time that it is begun, or one that was open from the start. It
/// ends with this.
#[derive(Debug)]
pub(super) struct Once(OwnedFd);

const FLAG_CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;
/// On whichever CPU the thread is.
const ANY_CPU: libc::c_int = -1;
/// Of nobody's group.
const NO_GROUP: libc::c_int = -1;

/// Lets an event happen, or not any more.
const IOCTL_ENABLE: libc::Ioctl = 0x2400;
const IOCTL_DISABLE: libc::Ioctl = 0x2401;
/// Lets an event happen so often, and then no more.
const IOCTL_REFRESH: libc::Ioctl = 0x2402;
/// Sets after how much of what it counts an event happens.
const IOCTL_PERIOD: libc::Ioctl = 0x4008_2404;
/// Has an event hand its records over in the ring of another.
const IOCTL_SET_OUTPUT: libc::Ioctl = 0x2405;

impl Source {
    /// Opens an event with a ring of so many bytes, a power of two of pages.
    pub(super) fn open(
        attributes: &Attributes,
        thread: &ThreadRef,
        wanted: Wanted,
        ring_bytes: usize,
    ) -> Result<Source, Hindrance> {
        seccomp::look();
        if !seccomp::may_call() {
            return Err(Hindrance::Filtered);
        }
        let event = open(attributes, thread, wanted)?;
        // It is bound to whoever has the number now: still the thread that was meant, if that is there still.
        read_state(thread).map_err(|error| match error.why {
            StateError::NotFound => Hindrance::NoThread,
            StateError::NoDescriptor => Hindrance::NoDescriptor,
            _ => Hindrance::Denied,
        })?;
        let memory = MmapOptions::new().len(PAGE + ring_bytes).map_raw(&event);
        Ok(Source { event, ring: Ring::new(memory.map_err(|error| why_not_mapped(&error))?) })
    }

    /// The next record; `None` if there is none now.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        self.ring.next()
    }

    /// From now on it happens, or does not.
    pub(super) fn set_on(&self, is_on: bool) -> Result<(), Hindrance> {
        let request = if is_on { IOCTL_ENABLE } else { IOCTL_DISABLE };
        // SAFETY: these requests take nothing: 0 is this event alone.
        let set = unsafe { libc::ioctl(self.event.as_raw_fd(), request, 0) };
        if set == 0 { Ok(()) } else { Err(refused(&io::Error::last_os_error())) }
    }

    /// From now on it happens after so much of what it counts.
    pub(super) fn set_period(&self, period: u64) -> Result<(), Hindrance> {
        // SAFETY: this request reads one number.
        let set = unsafe { libc::ioctl(self.event.as_raw_fd(), IOCTL_PERIOD, &raw const period) };
        if set == 0 { Ok(()) } else { Err(refused(&io::Error::last_os_error())) }
    }

    /// Opens another event of the same thread, which hands its records over here.
    pub(super) fn add(&self, attributes: &Attributes, thread: &ThreadRef, wanted: Wanted) -> Result<Once, Hindrance> {
        let event = open(attributes, thread, wanted)?;
        // SAFETY: this request takes the number of an open file.
        let shared = unsafe { libc::ioctl(event.as_raw_fd(), IOCTL_SET_OUTPUT, self.event.as_raw_fd()) };
        if shared == 0 {
            return Ok(Once(event));
        }
        let error = io::Error::last_os_error();
        // The number is another thread's by now: only events of one thread share a ring.
        let is_other = error.raw_os_error() == Some(libc::EINVAL);
        Err(if is_other { Hindrance::NoThread } else { refused(&error) })
    }
}

impl Once {
    /// From now on it happens, once.
    pub(super) fn begin(&self) -> Result<(), Hindrance> {
        const TIMES: libc::c_ulong = 1;
        // SAFETY: this request takes a number.
        let begun = unsafe { libc::ioctl(self.0.as_raw_fd(), IOCTL_REFRESH, TIMES) };
        if begun == 0 { Ok(()) } else { Err(refused(&io::Error::last_os_error())) }
    }
}

fn open(attributes: &Attributes, thread: &ThreadRef, wanted: Wanted) -> Result<OwnedFd, Hindrance> {
    // SAFETY: the kernel reads `attributes`, which say how long they are, and writes nothing that is seen.
    let opened = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const *attributes,
            thread.tid.cast_signed(),
            ANY_CPU,
            NO_GROUP,
            FLAG_CLOSE_ON_EXEC,
        )
    };
    let opened = RawFd::try_from(opened).ok().filter(|opened| *opened >= 0);
    let opened = opened.ok_or_else(|| why_not_opened(&io::Error::last_os_error(), wanted, paranoid_level))?;
    // SAFETY: the kernel just gave it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

fn refused(error: &io::Error) -> Hindrance {
    Hindrance::Refused(error.raw_os_error().unwrap_or_default())
}

pub(super) fn paranoid_level() -> Option<i32> {
    fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok()?.trim().parse().ok()
}

/// Above this, some distributions' kernels close perf events to users; the kernel as published has no such level.
const OPEN_TO_USERS: i32 = 2;

fn why_not_opened(error: &io::Error, wanted: Wanted, level: impl FnOnce() -> Option<i32>) -> Hindrance {
    match error.raw_os_error() {
        Some(libc::EACCES) => {
            level().filter(|level| *level > OPEN_TO_USERS).map_or(Hindrance::Denied, Hindrance::Paranoid)
        }
        // The kernel itself says this only of what is not asked for here.
        Some(libc::EPERM) => Hindrance::Filtered,
        Some(libc::ENOSYS) => Hindrance::NoPerf,
        Some(libc::ESRCH) => Hindrance::NoThread,
        Some(libc::EMFILE | libc::ENFILE) => Hindrance::NoDescriptor,
        Some(libc::ENOSPC) if wanted == Wanted::Breakpoint => Hindrance::BreakpointsTaken,
        Some(libc::ENODEV | libc::EOPNOTSUPP | libc::ENOENT) => match wanted {
            Wanted::Breakpoint => Hindrance::NoBreakpoints,
            Wanted::Samples => Hindrance::NoPerf,
        },
        _ => refused(error),
    }
}

fn why_not_mapped(error: &io::Error) -> Hindrance {
    match error.raw_os_error() {
        Some(libc::EPERM) => Hindrance::NoLockedMemory,
        _ => refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_answers_says_what_is_in_the_way() {
        let (samples, breakpoint) = (Wanted::Samples, Wanted::Breakpoint);
        for (errno, level, wanted, why) in [
            (libc::EACCES, Some(2), samples, Hindrance::Denied),
            (libc::EACCES, Some(3), samples, Hindrance::Paranoid(3)),
            (libc::EACCES, Some(4), breakpoint, Hindrance::Paranoid(4)),
            (libc::EACCES, None, breakpoint, Hindrance::Denied),
            (libc::EPERM, Some(2), samples, Hindrance::Filtered),
            (libc::ENOSYS, None, samples, Hindrance::NoPerf),
            (libc::ESRCH, Some(2), samples, Hindrance::NoThread),
            (libc::EMFILE, Some(2), samples, Hindrance::NoDescriptor),
            (libc::ENFILE, Some(2), breakpoint, Hindrance::NoDescriptor),
            (libc::ENOSPC, Some(2), breakpoint, Hindrance::BreakpointsTaken),
            (libc::ENOSPC, Some(2), samples, Hindrance::Refused(libc::ENOSPC)),
            (libc::ENODEV, Some(2), breakpoint, Hindrance::NoBreakpoints),
            (libc::EOPNOTSUPP, Some(2), breakpoint, Hindrance::NoBreakpoints),
            (libc::ENOENT, Some(2), samples, Hindrance::NoPerf),
            (libc::EINVAL, Some(2), samples, Hindrance::Refused(libc::EINVAL)),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(why_not_opened(&error, wanted, || level), why, "{error}, {level:?}, {wanted:?}");
        }
        assert_eq!(why_not_mapped(&io::Error::from_raw_os_error(libc::EPERM)), Hindrance::NoLockedMemory);
        assert_eq!(why_not_mapped(&io::Error::from_raw_os_error(libc::ENOMEM)), Hindrance::Refused(libc::ENOMEM));
    }
}
