//! What a page of text may look like.

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Display columns that a line may have.
    pub width: usize,
    /// Whether to write ANSI colours.
    pub color: bool,
    /// Whether to write anything but ASCII.
    pub unicode: bool,
}
