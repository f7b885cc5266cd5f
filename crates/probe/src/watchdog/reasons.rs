//! What a failed or poor look comes from, as a reason to be said once. What passes by itself, such as a thread that ended or
//! moved on, is none.

use std::io;

use pollscope_base::CaptureNote;
use pollscope_stacks::capture::{Capture, CaptureError};
use pollscope_stacks::memory;
use pollscope_stacks::signal::{InstallError, SampleError};
use pollscope_stacks::symbolize::{DebugInfo, ModuleInfo};
use pollscope_stacks::thread::{StateError, ThreadRef, is_for_want_of_descriptors, read_state};
use pollscope_stacks::unwind::{End, Stack};

pub(super) fn of_error(error: &CaptureError) -> Option<CaptureNote> {
    match error {
        CaptureError::Running | CaptureError::Torn => None,
        CaptureError::State(error) => of_state_error(error),
        CaptureError::Maps(error) if is_for_want_of_descriptors(error) => Some(CaptureNote::NoDescriptor),
        CaptureError::Maps(error) => Some(CaptureNote::MapsUnreadable(error.kind())),
    }
}

fn of_state_error(error: &StateError) -> Option<CaptureNote> {
    match error {
        StateError::Unsupported => Some(CaptureNote::Unsupported),
        // The thread may have ended; this one has not.
        StateError::NotFound => (read_state(&ThreadRef::current()) == Err(StateError::NotFound))
            .then_some(CaptureNote::ThreadUnreadable(io::ErrorKind::NotFound)),
        StateError::Denied => Some(CaptureNote::ThreadUnreadable(io::ErrorKind::PermissionDenied)),
        StateError::NoDescriptor => Some(CaptureNote::NoDescriptor),
        StateError::Unreadable(kind) => Some(CaptureNote::ThreadUnreadable(*kind)),
        StateError::Unrecognised => Some(CaptureNote::ThreadUnrecognised),
    }
}

/// What a capture lacks.
pub(super) fn of_capture(capture: &Capture) -> Option<CaptureNote> {
    capture.slices.is_none().then_some(CaptureNote::ClocksUnreadable)
}

pub(super) fn of_install_error(error: &InstallError) -> CaptureNote {
    match error {
        InstallError::Unsupported => CaptureNote::Unsupported,
        error => CaptureNote::SignalUnusable(error.to_string()),
    }
}

pub(super) fn of_sample_error(error: &SampleError) -> Option<CaptureNote> {
    match error {
        SampleError::State(error) => of_state_error(error),
        SampleError::Masked | SampleError::Displaced | SampleError::NotSent => {
            Some(CaptureNote::SignalUnusable(error.to_string()))
        }
        SampleError::Unreadable => Some(CaptureNote::MemoryUnreadable),
        SampleError::NotRunning | SampleError::Pending | SampleError::TimedOut => None,
    }
}

/// Why a stack shows no line of the user's code; none if it has none, as far as can be told.
pub(super) fn of_missing_line(stack: &Stack, modules: &[ModuleInfo]) -> Option<CaptureNote> {
    if let End::Incomplete { why, .. } = stack.end {
        let here = [1_u8];
        let readable = memory::read(None, here.as_ptr() as u64, &mut [0]) == here.len();
        return Some(if readable {
            CaptureNote::StackIncomplete(why.to_owned())
        } else {
            CaptureNote::MemoryUnreadable
        });
    }
    let program = std::fs::read_link("/proc/self/exe").ok()?;
    let module = modules.iter().find(|module| program.to_str() == Some(&module.name))?;
    match &module.debug_info {
        DebugInfo::Full | DebugInfo::LineTables => None,
        DebugInfo::Symbols => Some(CaptureNote::SymbolsOnly),
        DebugInfo::Stripped => Some(CaptureNote::Stripped),
        DebugInfo::Unreadable(why) => Some(CaptureNote::ProgramUnreadable(why.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_no_reason() {
        for error in [CaptureError::Running, CaptureError::Torn, CaptureError::State(StateError::NotFound)] {
            assert_eq!(of_error(&error), None, "{error}");
        }
        for error in [SampleError::NotRunning, SampleError::Pending, SampleError::TimedOut] {
            assert_eq!(of_sample_error(&error), None, "{error}");
        }
    }

    #[test]
    fn what_stays_is_one() {
        let denied = CaptureNote::ThreadUnreadable(io::ErrorKind::PermissionDenied);
        assert_eq!(of_error(&StateError::Denied.into()), Some(denied.clone()));
        assert_eq!(of_sample_error(&SampleError::State(StateError::Denied)), Some(denied));
        assert_eq!(of_error(&StateError::Unsupported.into()), Some(CaptureNote::Unsupported));
        assert_eq!(of_install_error(&InstallError::Unsupported), CaptureNote::Unsupported);
        let maps = CaptureError::Maps(io::ErrorKind::NotFound.into());
        assert_eq!(of_error(&maps), Some(CaptureNote::MapsUnreadable(io::ErrorKind::NotFound)));
        let taken = of_install_error(&InstallError::NoSignalFree).to_string();
        assert!(taken.contains("every real-time signal is in use"), "{taken}");
    }
}
