//! A library that is unloaded, and another that is loaded in its place.

use std::ffi::{CString, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;

use pollscope_stacks::address::CodeAddress;
use pollscope_stacks::process::Process;
use pollscope_stacks::symbolize::Symbolizer;

/// A library with a function of that name alone.
fn compile(function: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = |end: &str| folder.join(format!("unloaded-{function}-{}.{end}", std::process::id()));
    std::fs::write(path("c"), format!("int {function}(int n) {{ return n + 1; }}")).unwrap();
    let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(path("so")).arg(path("c")).status();
    assert!(status.expect("a C compiler").success());
    std::fs::remove_file(path("c")).unwrap();
    path("so")
}

/// The library, and where the function is.
fn load(library: &Path, function: &str) -> (*mut c_void, u64) {
    let text = |text: &str| CString::new(text).unwrap();
    // SAFETY: the library is one of those above; it has no code that runs on loading.
    let handle = unsafe { libc::dlopen(text(library.to_str().unwrap()).as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null());
    // SAFETY: the handle is valid, and the name is a C string.
    let symbol = unsafe { libc::dlsym(handle, text(function).as_ptr()) };
    assert!(!symbol.is_null());
    (handle, symbol as u64)
}

#[test]
fn a_function_in_the_place_of_another_has_its_own_name() {
    let mut symbolizer = Symbolizer::new(Process::current());
    let mut name = |address| {
        symbolizer.refresh().unwrap();
        let symbols = symbolizer.symbolize(CodeAddress::Exact(address));
        symbols.frames.last().and_then(|frame| frame.function.clone())
    };
    let mut places = Vec::new();
    for function in ["first", "other", "third"] {
        let library = compile(function);
        let (handle, address) = load(&library, function);
        assert_eq!(name(address).as_deref(), Some(function));
        places.push(address);
        // SAFETY: nothing of the library is in use.
        assert_eq!(unsafe { libc::dlclose(handle) }, 0);
        std::fs::remove_file(library).unwrap();
    }
    places.dedup();
    if places.len() == 3 {
        eprintln!("SKIP: no library came to be in another's place: {places:x?}");
    }
}
