//! A system call that computes for as long as it is told to: for tests, and for programs that prove what they see. Nothing else of
//! this crate uses it.

use std::fmt;
use std::io;
use std::time::Duration;

use pollscope_base::reason;

/// Memory that the kernel copies within this process, over and over in one call: on a CPU, in the kernel, and not interrupted by
/// signals, as when much memory is freed. It takes 4 MiB.
///
/// ```
/// use std::time::Duration;
/// use pollscope_stacks::long_copy::LongCopy;
///
/// match LongCopy::lasting(Duration::from_millis(20)) {
///     Ok(mut copy) => assert!(copy.call().is_ok()),
///     // A container that forbids it.
///     Err(error) => assert!(error.to_string().starts_with("cannot ")),
/// }
/// ```
#[derive(Debug)]
pub struct LongCopy {
    from: Vec<u8>,
    to: Vec<u8>,
    /// How often the one is copied to the other in a call.
    times: usize,
}

/// Why nothing is copied.
#[derive(Debug)]
#[non_exhaustive]
pub enum CopyError {
    /// Not Linux on x86-64.
    Unsupported,
    /// The kernel was built without the call, or a container forbids it.
    Refused(io::Error),
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CopyError::Unsupported => f.write_str("cannot have the kernel copy memory: only on Linux on x86-64"),
            CopyError::Refused(error) => write!(
                f,
                "cannot have the kernel copy memory with `process_vm_writev`: {}; it takes a container that permits it",
                reason(error)
            ),
        }
    }
}

impl std::error::Error for CopyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CopyError::Unsupported => None,
            CopyError::Refused(error) => Some(error),
        }
    }
}

/// What is copied at a time.
const BYTES: usize = 2 << 20;
/// So often is measured.
const TRIED: usize = 16;
/// A call copies no more than 2 GiB less a page.
const MOST: usize = (2 << 30) / BYTES - 1;

impl LongCopy {
    /// One whose call lasts about so long on this machine, which it measures; less where the kernel copies too fast for that in one
    /// call.
    ///
    /// # Errors
    /// Where the system has no such call, or forbids it.
    pub fn lasting(length: Duration) -> Result<LongCopy, CopyError> {
        let mut copy = LongCopy { from: vec![1; BYTES], to: vec![0; BYTES], times: TRIED };
        let start = std::time::Instant::now();
        copy.call()?;
        let each = start.elapsed().as_nanos().max(1) / TRIED as u128;
        let times = length.as_nanos() / each.max(1) + 1;
        copy.times = usize::try_from(times).unwrap_or(MOST).min(MOST);
        Ok(copy)
    }

    /// Makes the call, once.
    ///
    /// # Errors
    /// Where the system has no such call, or forbids it.
    pub fn call(&mut self) -> Result<(), CopyError> {
        copy(&mut self.from, &mut self.to, self.times)
    }
}

#[cfg(supported)]
fn copy(from: &mut [u8], to: &mut [u8], times: usize) -> Result<(), CopyError> {
    let entries =
        |bytes: &mut [u8]| vec![libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }; times];
    let (from, to, count) = (entries(from), entries(to), times as libc::c_ulong);
    let me = std::process::id().cast_signed();
    // SAFETY: the kernel reads `from` and writes `to`, both of which are exclusively ours, as long as that, and of plain bytes.
    match unsafe { libc::process_vm_writev(me, from.as_ptr(), count, to.as_ptr(), count, 0) } {
        copied if copied >= 0 => Ok(()),
        _ => Err(CopyError::Refused(io::Error::last_os_error())),
    }
}

#[cfg(not(supported))]
fn copy(_: &mut [u8], _: &mut [u8], _: usize) -> Result<(), CopyError> {
    Err(CopyError::Unsupported)
}

#[cfg(all(test, supported))]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_copies_as_often_as_it_is_to() {
        // A container that forbids it.
        let Ok(mut copy) = LongCopy::lasting(Duration::ZERO) else { return };
        assert_eq!(copy.times, 1);
        copy.to.fill(0);
        copy.call().unwrap();
        assert!(copy.to.iter().all(|&byte| byte == 1));
        assert_eq!(LongCopy::lasting(Duration::from_secs(3600)).unwrap().times, MOST);
    }

    #[test]
    fn errors_say_what_to_do() {
        let refused = CopyError::Refused(io::Error::from_raw_os_error(libc::EPERM)).to_string();
        assert!(refused.starts_with("cannot have the kernel copy memory with `process_vm_writev`: "), "{refused}");
        assert!(refused.contains("container"), "{refused}");
    }
}
