//! The JSON twin of a recording.
