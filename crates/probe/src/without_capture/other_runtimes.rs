//! A build without the feature `capture` looks at no threads, and so for no runtimes that another builder made.

/// Nobody looks at threads.
#[derive(Debug, Default)]
pub(crate) struct OtherRuntimes;

impl OtherRuntimes {
    pub(crate) fn find(&mut self, _by_name: bool) -> Option<String> {
        None
    }
}

/// Nobody asks which threads are known.
#[derive(Debug)]
pub(crate) struct KnownThread;

impl KnownThread {
    pub(crate) fn this_one() -> KnownThread {
        KnownThread
    }
}
