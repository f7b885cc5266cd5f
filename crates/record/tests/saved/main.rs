//! Saved recordings, read from files and shown in every format.

mod schema_1;
mod schema_2;
mod support;
