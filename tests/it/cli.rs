//! A clumsy and a hostile user: what bad input gets is a clear message and the documented exit code.

mod arguments;
mod faults;
mod reports;
mod saved;
mod signals;
