//! Stacks of this program, taken where it would block, in futures of every shape: the line that is found must be the one
//! that the test knows. Run with both profiles: `cargo test -p pollscope-stacks` and the same with `--release`.
#![cfg(supported)]

mod capture;
mod kinds;
mod real;
mod shapes;
mod symbols_only;
