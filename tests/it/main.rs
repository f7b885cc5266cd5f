//! One test binary: the program from outside, and the project's rules.

mod cli;
mod console;
mod doctor;
mod explain;
mod merge;
mod readme;
mod scenarios;
mod support;
mod tidy;
