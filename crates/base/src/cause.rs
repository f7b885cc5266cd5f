//! Why a poll took long.

/// Why a poll took long: where most of its time went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
// Not `non_exhaustive`: who decides by cause is to decide about a new one before it compiles again.
pub enum Cause {
    /// Off the CPU in a system call.
    BlockingCall,
    /// Off the CPU in a futex: a lock, a condition, a channel, another thread's end.
    Lock,
    /// On the CPU.
    Cpu,
    /// On the CPU, in the kernel.
    Kernel,
    /// Off the CPU in a page fault.
    PageFault,
    /// Ready to run, but not scheduled.
    Preempted,
    /// Ready to run, but its control group had used up its CPU quota.
    Throttled,
    /// The whole process was stopped: not the task's fault.
    Suspended,
    /// In `block_in_place`: the worker was handed to another thread, and nobody waited.
    BlockInPlace,
    /// A panic was being printed or unwound.
    Panic,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 10] = [
        Cause::BlockingCall,
        Cause::Lock,
        Cause::Cpu,
        Cause::Kernel,
        Cause::PageFault,
        Cause::Preempted,
        Cause::Throttled,
        Cause::Suspended,
        Cause::BlockInPlace,
        Cause::Panic,
    ];

    /// The word used in reports, events and recordings.
    ///
    /// ```
    /// assert_eq!(pollscope_base::Cause::BlockingCall.as_str(), "blocking-call");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::BlockingCall => "blocking-call",
            Cause::Lock => "lock",
            Cause::Cpu => "cpu",
            Cause::Kernel => "kernel",
            Cause::PageFault => "page-fault",
            Cause::Preempted => "preempted",
            Cause::Throttled => "throttled",
            Cause::Suspended => "suspended",
            Cause::BlockInPlace => "block-in-place",
            Cause::Panic => "panic",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new one fails to compile here until it is listed.
    #[test]
    fn all_are_all() {
        use Cause::{BlockInPlace, BlockingCall, Cpu, Kernel, Lock, PageFault, Panic, Preempted, Suspended, Throttled};
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            match cause {
                BlockingCall | Lock | Cpu | Kernel | PageFault | Preempted | Throttled | Suspended | BlockInPlace
                | Panic => {}
            }
            assert_eq!(cause as usize, index);
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn json_has_the_words_of_reports() {
        for cause in Cause::ALL {
            let json = serde_json::to_string(&cause).unwrap();
            assert_eq!(json, format!("\"{}\"", cause.as_str()));
            assert_eq!(serde_json::from_str::<Cause>(&json).unwrap(), cause);
        }
    }
}
