//! A page of memory that comes when it is told to: for tests, and for programs that prove what they see. Nothing else of this
//! crate uses it.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use pollscope_base::reason;

/// A page of zeros, read-only, that is not there until its [`Supplier`] brings it. Who reads it before waits in a page fault:
/// in no system call, off the CPU, until then or until the supplier is dropped.
///
/// ```
/// use std::hint::black_box;
/// use std::time::{Duration, Instant};
/// use pollscope_stacks::fault;
///
/// match fault::late_page() {
///     Ok((page, supplier)) => {
///         let supplies = std::thread::spawn(move || {
///             std::thread::sleep(Duration::from_millis(20));
///             supplier.supply()
///         });
///         assert_eq!(black_box(page[0]), 0);
///         assert!(supplies.join().expect("no panic").is_ok());
///     }
///     // An old kernel, or a container that forbids it.
///     Err(error) => assert!(error.to_string().starts_with("cannot ")),
/// }
/// ```
#[derive(Debug)]
pub struct LatePage(Arc<os::Page>);

/// Brings a page; not to be dropped early, as the page then comes at once, nor to be leaked, as it then never comes.
#[derive(Debug)]
pub struct Supplier {
    page: Arc<os::Page>,
    faults: os::Faults,
}

/// Why there is no page that comes late.
#[derive(Debug)]
#[non_exhaustive]
pub enum FaultError {
    /// Not Linux on x86-64.
    Unsupported,
    /// There is no memory for a page.
    Memory(io::Error),
    /// The kernel is older than 5.11, was built without userfaultfd, or a container forbids it.
    Refused(io::Error),
    /// The page was not brought.
    Supply(io::Error),
}

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultError::Unsupported => f.write_str("cannot make a page come late: only on Linux on x86-64"),
            FaultError::Memory(error) => write!(f, "cannot map a page: {}; raise the limit on memory", reason(error)),
            FaultError::Refused(error) => write!(
                f,
                "cannot make a page come late with `userfaultfd`: {}; it takes Linux 5.11 and a container that permits it",
                reason(error)
            ),
            FaultError::Supply(error) => {
                write!(f, "cannot bring a page: {}; drop its supplier, and it comes", reason(error))
            }
        }
    }
}

impl std::error::Error for FaultError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FaultError::Unsupported => None,
            FaultError::Memory(error) | FaultError::Refused(error) | FaultError::Supply(error) => Some(error),
        }
    }
}

/// A page that is not there, and who brings it, on another thread than reads it. It needs no privilege: faults of the kernel's
/// own, as when a system call is to read from the page, are not held up but fail.
///
/// # Errors
/// Where the system has no such thing, or forbids it.
pub fn late_page() -> Result<(LatePage, Supplier), FaultError> {
    let (page, faults) = os::late_page()?;
    let page = Arc::new(page);
    Ok((LatePage(Arc::clone(&page)), Supplier { page, faults }))
}

impl Deref for LatePage {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Supplier {
    /// Brings the page, and wakes who waits for it.
    ///
    /// # Errors
    /// When the kernel has no memory for it. The page comes then all the same, as the supplier is gone.
    pub fn supply(self) -> Result<(), FaultError> {
        self.faults.supply(&self.page)
    }
}

#[cfg(supported)]
mod os {
    use std::io;
    use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
    use std::ptr::NonNull;

    use super::FaultError;

    const PAGE: usize = 4 << 10;

    // From linux/userfaultfd.h, which libc does not have.
    const UFFD_USER_MODE_ONLY: libc::c_int = 1;
    const UFFD_API: u64 = 0xAA;
    const UFFDIO_API: libc::Ioctl = 0xC018_AA3F;
    const UFFDIO_REGISTER: libc::Ioctl = 0xC020_AA00;
    const UFFDIO_ZEROPAGE: libc::Ioctl = 0xC020_AA04;
    const REGISTER_MODE_MISSING: u64 = 1;

    #[repr(C)]
    struct Api {
        api: u64,
        features: u64,
        ioctls: u64,
    }

    /// `uffdio_register` and `uffdio_zeropage` alike: a range, a mode, and the kernel's answer.
    #[repr(C)]
    struct OfRange {
        start: u64,
        len: u64,
        mode: u64,
        answer: u64,
    }

    /// A mapping of its own.
    #[derive(Debug)]
    pub(super) struct Page(NonNull<u8>);

    // SAFETY: nobody writes to the page after it was mapped: it is read as zeros, now or once it is there.
    unsafe impl Send for Page {}
    // SAFETY: as above.
    unsafe impl Sync for Page {}

    impl Page {
        fn map() -> io::Result<Page> {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a new mapping, wherever the kernel finds room; nothing that exists is touched.
            let address = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, libc::PROT_READ, flags, -1, 0) };
            if address == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            NonNull::new(address.cast()).map(Page).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
        }

        pub(super) fn bytes(&self) -> &[u8] {
            // SAFETY: the mapping is as long as that and lives as long as `self`; its bytes are initialized, to zeros, and
            // never written to.
            unsafe { std::slice::from_raw_parts(self.0.as_ptr(), PAGE) }
        }

        fn range(&self, mode: u64) -> OfRange {
            OfRange { start: self.0.as_ptr() as u64, len: PAGE as u64, mode, answer: 0 }
        }
    }

    impl Drop for Page {
        fn drop(&mut self) {
            // SAFETY: it is this mapping, all of it, and no reference into it outlives `self`.
            unsafe { libc::munmap(self.0.as_ptr().cast(), PAGE) };
        }
    }

    /// While it is open, faults in what was registered with it wait.
    #[derive(Debug)]
    pub(super) struct Faults(OwnedFd);

    impl Faults {
        fn open() -> io::Result<Faults> {
            // SAFETY: it takes flags and gives a descriptor or -1.
            let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | UFFD_USER_MODE_ONLY) };
            match i32::try_from(fd) {
                // SAFETY: it was just opened, and nobody else knows of it.
                Ok(fd) if fd >= 0 => Ok(Faults(unsafe { OwnedFd::from_raw_fd(fd) })),
                _ => Err(io::Error::last_os_error()),
            }
        }

        /// # Safety
        /// `T` is what the kernel reads and writes with that request.
        unsafe fn ask<T>(&self, request: libc::Ioctl, mut with: T) -> io::Result<()> {
            // SAFETY: the kernel reads and writes a `T`, as the caller promises, and it is exclusively ours.
            match unsafe { libc::ioctl(self.0.as_raw_fd(), request, &raw mut with) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        }

        pub(super) fn supply(self, page: &Page) -> Result<(), FaultError> {
            // SAFETY: `uffdio_zeropage`; the page is read as zeros before and after.
            unsafe { self.ask(UFFDIO_ZEROPAGE, page.range(0)) }.map_err(FaultError::Supply)
        }
    }

    pub(super) fn late_page() -> Result<(Page, Faults), FaultError> {
        let page = Page::map().map_err(FaultError::Memory)?;
        let faults = Faults::open().map_err(FaultError::Refused)?;
        // SAFETY: `uffdio_api`.
        unsafe { faults.ask(UFFDIO_API, Api { api: UFFD_API, features: 0, ioctls: 0 }) }
            .map_err(FaultError::Refused)?;
        // SAFETY: `uffdio_register`; faults of that page alone wait from now on.
        unsafe { faults.ask(UFFDIO_REGISTER, page.range(REGISTER_MODE_MISSING)) }.map_err(FaultError::Refused)?;
        Ok((page, faults))
    }
}

#[cfg(not(supported))]
mod os {
    use super::FaultError;

    /// There is none.
    #[derive(Debug)]
    pub(super) enum Page {}

    impl Page {
        pub(super) fn bytes(&self) -> &[u8] {
            match *self {}
        }
    }

    /// There are none.
    #[derive(Debug)]
    pub(super) enum Faults {}

    impl Faults {
        pub(super) fn supply(self, _: &Page) -> Result<(), FaultError> {
            match self {}
        }
    }

    pub(super) fn late_page() -> Result<(Page, Faults), FaultError> {
        Err(FaultError::Unsupported)
    }
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use std::hint::black_box;

    use super::*;

    /// `None` where the kernel refuses, which is said.
    fn page() -> Option<(LatePage, Supplier)> {
        late_page().inspect_err(|error| eprintln!("not tried: {error}")).ok()
    }

    #[test]
    fn a_page_that_nobody_waits_for_can_be_brought() {
        let Some((page, supplier)) = page() else { return };
        supplier.supply().unwrap();
        assert!(page.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_page_comes_when_its_supplier_is_gone() {
        let Some((page, supplier)) = page() else { return };
        let reads = std::thread::spawn(move || black_box(page[7]));
        drop(supplier);
        assert_eq!(reads.join().unwrap(), 0);
    }

    #[test]
    fn errors_say_what_to_do() {
        let refused = FaultError::Refused(io::Error::from_raw_os_error(libc::EPERM)).to_string();
        assert!(refused.starts_with("cannot make a page come late with `userfaultfd`: "), "{refused}");
        assert!(refused.contains("container"), "{refused}");
    }
}
