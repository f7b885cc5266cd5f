//! A service as it runs, on one screen.
//!
//! Its feed becomes a `State`, that and the keys a `View`, and a view and a size become a `frame`: all of that is pure. `screen` shows
//! frames on a terminal.

mod cells;
mod frame;
mod panels;
mod places;
mod state;
mod view;
