//! Whether a merged file holds what its inputs hold.
