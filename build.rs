//! Tells the program which Tokio it was built with: the version is in the lock file and nowhere in Tokio's API. And has the linker
//! compress the line tables of an optimised program: they are most of it, and only read when a poll was slow.

use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    println!("cargo::rustc-env=POLLSCOPE_TOKIO_VERSION={}", tokio_version());
    let is = |variable: &str, value: &str| env::var(variable).as_deref() == Ok(value);
    if is("CARGO_CFG_TARGET_OS", "linux") && !is("OPT_LEVEL", "0") {
        println!("cargo::rustc-link-arg-bin=pollscope=-Wl,--compress-debug-sections=zlib");
    }
}

fn tokio_version() -> String {
    let lock = fs::read_to_string("Cargo.lock").unwrap_or_default();
    let version = lock
        .split("[[package]]")
        .find(|package| package.lines().any(|line| line == "name = \"tokio\""))
        .and_then(|package| package.lines().find_map(|line| line.strip_prefix("version = ")))
        .map_or("unknown", |version| version.trim_matches('"'));
    version.to_owned()
}
