//! A shared library that comes and goes: code that is on a stack now, and not mapped a moment later.

use std::ffi::{CStr, c_uint, c_ulong};
use std::mem;
use std::time::{Duration, Instant};

const NAME: &CStr = c"libz.so.1";

type Crc32 = unsafe extern "C" fn(c_ulong, *const u8, c_uint) -> c_ulong;

/// Loads zlib, computes in it for a while, and unloads it. `None` without a zlib.
pub(crate) fn load_and_unload(busy: Duration) -> Option<u64> {
    // SAFETY: zlib's constructors do nothing; the name ends with 0.
    let library = unsafe { libc::dlopen(NAME.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        return None;
    }
    // SAFETY: `library` is open; the name ends with 0.
    let address = unsafe { libc::dlsym(library, c"crc32".as_ptr()) };
    let mut sum = 0;
    if !address.is_null() {
        // SAFETY: that is the function's type in every version of zlib's first ABI, which the file's name promises.
        let crc32 = unsafe { mem::transmute::<*mut libc::c_void, Crc32>(address) };
        let bytes = [7; 64 << 10];
        let start = Instant::now();
        while start.elapsed() < busy {
            // SAFETY: it reads as many bytes as there are; the library is open.
            sum = unsafe { crc32(sum, bytes.as_ptr(), bytes.len() as c_uint) };
        }
    }
    // SAFETY: it was opened once here, and nothing of it is used afterwards.
    unsafe { libc::dlclose(library) };
    Some(sum)
}

/// Whether unloading it takes it out of memory: not when the program is linked with it.
pub(crate) fn is_mapped() -> bool {
    std::fs::read_to_string("/proc/self/maps").is_ok_and(|maps| maps.contains("/libz.so.1"))
}
