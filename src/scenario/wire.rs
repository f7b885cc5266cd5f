//! The TOML twin of a scenario.
