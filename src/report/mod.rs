//! Reports: pure functions from a recording to text.
