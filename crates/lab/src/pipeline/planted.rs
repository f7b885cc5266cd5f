//! Faults that tests plant, each what a rule of following is there for: tests show that they are found.

/// A rule that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    /// A file that was opened by another name counts for one that was not opened.
    MaskedArrival,
    /// A folder that another folder replaced goes on being watched.
    FolderReplaced,
    /// Nobody is told of events that inotify lost.
    Overflow,
    /// Times of creation are compared as if the clock did not tick.
    ExactClock,
    /// Files without a time of creation are not found by their names.
    NoBirths,
    /// A file that came and went between two looks is not thought of.
    GoneBetweenLooks,
    /// A folder's time that stands still counts for a folder in which nothing happened.
    StillFolder,
    /// A possible loss is told of each file that a look found, whatever times and events tell; and twice of each change in place.
    NeedlessLoss,
    /// What was read is not compared with what is there.
    Hole,
}

#[cfg(not(test))]
pub(super) const fn is_planted(_: Planted) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Planted>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
pub(super) fn is_planted(fault: Planted) -> bool {
    PLANTED.get() == Some(fault)
}

/// Plants a fault for this thread.
#[cfg(test)]
pub(super) fn plant(fault: Option<Planted>) {
    PLANTED.set(fault);
}
