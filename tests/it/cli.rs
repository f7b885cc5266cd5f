//! A clumsy and a hostile user: what bad input gets is a clear message and the documented exit code.

mod arguments;
mod ci;
mod compared;
mod faults;
mod gated;
mod generated;
mod parts;
mod profile;
mod project;
mod reports;
mod saved;
mod schema;
mod signals;
mod wrong;
