//! The causes of slow polls as types: a recording has words, and code decides on none of them.

/// Why a slow poll took long. Whatever is decided by cause is a `match` without a wildcard: a new one needs an answer everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// In a system call, off the CPU.
    BlockingCall,
    /// In a futex: a lock that another thread holds, or a thread to be woken.
    Lock,
    /// On the CPU.
    Cpu,
    /// Off the CPU, in no system call: a page that comes late.
    PageFault,
    /// Ready to run, without a CPU.
    Preempted,
    /// The whole process did not run.
    Suspended,
    /// In `block_in_place`.
    BlockInPlace,
    /// In a panic: printing it, unwinding.
    Panic,
    /// A word that only another version knows.
    Other,
}

impl Cause {
    const KNOWN: [Cause; 8] = [
        Cause::BlockingCall,
        Cause::Lock,
        Cause::Cpu,
        Cause::PageFault,
        Cause::Preempted,
        Cause::Suspended,
        Cause::BlockInPlace,
        Cause::Panic,
    ];

    /// The word in the JSON and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::BlockingCall => "blocking-call",
            Cause::Lock => "lock",
            Cause::Cpu => "cpu",
            Cause::PageFault => "page-fault",
            Cause::Preempted => "preempted",
            Cause::Suspended => "suspended",
            Cause::BlockInPlace => "block-in-place",
            Cause::Panic => "panic",
            Cause::Other => "other",
        }
    }

    /// What a recording's word means.
    pub fn of(word: &str) -> Cause {
        Cause::KNOWN.into_iter().find(|cause| cause.as_str() == word).unwrap_or(Cause::Other)
    }
}

impl From<pollscope_base::Cause> for Cause {
    fn from(cause: pollscope_base::Cause) -> Cause {
        Cause::of(cause.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollscope_base::Cause as Probed;

    #[test]
    fn every_cause_of_the_probe_is_known() {
        let all = [
            Probed::BlockingCall,
            Probed::Lock,
            Probed::Cpu,
            Probed::PageFault,
            Probed::Preempted,
            Probed::Suspended,
            Probed::BlockInPlace,
            Probed::Panic,
        ];
        assert_eq!(all.map(Cause::from), Cause::KNOWN);
        assert_eq!(Cause::of("gravity"), Cause::Other);
    }
}
