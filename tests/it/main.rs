//! One test binary: the program from outside, and the project's rules.

mod bad_input;
mod cli;
mod confirm;
mod console;
mod doctor;
mod explain;
#[cfg(target_os = "linux")]
mod faults;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod fixes;
mod formats;
mod hostile;
mod hostile_text;
mod hung_stderr;
mod init;
mod kills;
mod listen;
mod merge;
mod obstructed;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod outside;
mod page;
mod peak;
mod prometheus;
mod readme;
mod record;
mod recorded;
mod scenarios;
mod secrets;
mod support;
mod tails;
mod tasks;
mod tidy;
mod top;
#[path = "../../crates/record/src/report/trace/rules.rs"]
mod trace_rules;
