//! A frame of a stack.

/// One frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
// Not `non_exhaustive`: every instrument makes them.
pub struct Frame {
    /// The function, as far as the binary's debug information names it.
    pub function: Option<String>,
    /// Its source file, without the workspace's folder.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
}
