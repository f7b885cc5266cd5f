//! The cfg `supported`: where threads can be looked at. `--cfg pollscope_portable` takes that away, so that what other
//! platforms get is compiled and tested on this one.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(supported)");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|of| of == value);
    let portable = env::var_os("CARGO_CFG_POLLSCOPE_PORTABLE").is_some();
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ARCH", "x86_64") && !portable {
        println!("cargo::rustc-cfg=supported");
    }
}
