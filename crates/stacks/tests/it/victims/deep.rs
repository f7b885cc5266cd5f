//! A program that recurses, says where it is, and blocks there: `deep FRAME LEVELS HOW`.

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

unsafe extern "C" {
    fn _Unwind_Backtrace(callback: extern "C" fn(*mut c_void, *mut c_void) -> c_int, data: *mut c_void) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
    fn gettid() -> c_int;
}

/// Where each call returns to, innermost first, as the platform's own unwinder finds it.
#[inline(never)]
fn truth() -> Vec<usize> {
    extern "C" fn note(context: *mut c_void, data: *mut c_void) -> c_int {
        // SAFETY: both pointers are those that `_Unwind_Backtrace` was given or made, for the time of this call.
        unsafe { (*data.cast::<Vec<usize>>()).push(_Unwind_GetIP(context)) };
        0
    }
    let mut addresses = Vec::new();
    // SAFETY: `note` has the type that is asked for and does not unwind; `addresses` outlives the call.
    unsafe { _Unwind_Backtrace(note, (&raw mut addresses).cast()) };
    addresses.retain(|address| *address != 0);
    addresses.split_off(1)
}

#[inline(never)]
fn block(how: &str) {
    let told: String = truth().iter().map(|address| format!("{address:x}\n")).collect();
    // SAFETY: it takes nothing and cannot fail.
    let tid = unsafe { gettid() };
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{told}thread: {tid}\n").as_bytes()).unwrap();
    out.flush().unwrap();
    drop(out);
    match how {
        "sleep" => std::thread::sleep(Duration::from_secs(600)),
        "condvar" => drop(Condvar::new().wait(Mutex::new(()).lock().unwrap())),
        "read" => drop(std::io::stdin().read(&mut [0; 64])),
        how => panic!("{how}"),
    }
    black_box(());
}

#[inline(never)]
fn large(levels: usize, how: &str) -> usize {
    let mut bytes = [levels as u8; 8 << 10];
    black_box(&mut bytes);
    let deeper = if levels == 0 { bottom(how) } else { large(levels - 1, how) };
    deeper + black_box(usize::from(bytes[levels % bytes.len()]))
}

#[inline(never)]
fn small(levels: usize, how: &str) -> usize {
    let deeper = if levels == 0 { bottom(how) } else { small(levels - 1, how) };
    deeper + black_box(levels)
}

#[inline(never)]
fn bottom(how: &str) -> usize {
    block(how);
    black_box(0)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, frame, levels, how] = &arguments[..] else { panic!("{arguments:?}") };
    let levels: usize = levels.parse().unwrap();
    let recurse: fn(usize, &str) -> usize = if frame == "large" { large } else { small };
    let how = how.clone();
    let thread = std::thread::Builder::new().stack_size(512 << 20);
    let thread = thread.spawn(move || black_box(recurse(black_box(levels), &how))).unwrap();
    // Ends with the one who started it.
    if !arguments[3].starts_with("read") {
        drop(std::io::stdin().read(&mut [0]));
        std::process::exit(0);
    }
    thread.join().unwrap();
}
