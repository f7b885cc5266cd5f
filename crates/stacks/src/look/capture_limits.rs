//! What a failed or poor look comes from, as a reason to be said once. What passes by itself, such as a thread that ended or
//! moved on, is none.

use std::io;

use pollscope_base::CaptureNote;

use crate::capture::{Capture, CaptureError};
use crate::maps::Maps;
use crate::memory;
use crate::process::Process;
use crate::signal::{InstallError, SampleError};
use crate::symbolize::{DebugInfo, ModuleInfo};
use crate::thread::{ReadError, StateError, current_tid, is_for_want_of_descriptors, read_state};
use crate::unwind::{End, Stack};

/// So many are kept. There are hardly more: most have no variants of their own.
const MOST: usize = 16;

/// What was found to stand in the way of looks, each once.
#[derive(Debug, Default)]
pub(super) struct CaptureLimits(Vec<CaptureNote>);

impl CaptureLimits {
    /// Keeps a limit, if there is one and it is not known.
    pub(super) fn add(&mut self, limit: impl Into<Option<CaptureNote>>) {
        let Some(limit) = limit.into() else { return };
        if self.0.len() < MOST && !self.0.contains(&limit) {
            self.0.push(limit);
        }
    }

    /// All of them since this was last asked.
    pub(super) fn take(&mut self) -> Vec<CaptureNote> {
        std::mem::take(&mut self.0)
    }
}

pub(super) fn of_capture_error(process: &Process, error: &CaptureError) -> Option<CaptureNote> {
    match error {
        CaptureError::Running | CaptureError::Torn => None,
        CaptureError::State(error) => of_read_error(process, error),
        CaptureError::Maps(_, error) if is_for_want_of_descriptors(error) => Some(CaptureNote::NoDescriptor),
        CaptureError::Maps(_, error) => Some(CaptureNote::MapsUnreadable(error.kind())),
    }
}

fn of_read_error(process: &Process, error: &ReadError) -> Option<CaptureNote> {
    match error.why {
        StateError::Unsupported => Some(CaptureNote::Unsupported),
        // The thread may have ended; its process has not.
        StateError::NotFound => is_hidden(process).then_some(CaptureNote::ThreadUnreadable(io::ErrorKind::NotFound)),
        StateError::Denied if process.is_own() && is_dumpable() => Some(CaptureNote::ThreadForbidden),
        StateError::Denied => Some(CaptureNote::ThreadUnreadable(io::ErrorKind::PermissionDenied)),
        StateError::NoDescriptor => Some(CaptureNote::NoDescriptor),
        StateError::Unreadable(kind) => Some(CaptureNote::ThreadUnreadable(kind)),
        StateError::Unrecognised => Some(CaptureNote::ThreadUnrecognised),
    }
}

/// Whether the kernel lets this process be looked at; a filter or a security module may still refuse.
fn is_dumpable() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: it takes no argument, and only asks.
    let dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) } == 1;
    #[cfg(not(target_os = "linux"))]
    let dumpable = false;
    dumpable
}

/// Whether a thread of the process that is there for sure cannot be found.
fn is_hidden(process: &Process) -> bool {
    let living = process.thread(if process.is_own() { current_tid() } else { process.pid() });
    read_state(&living).is_err_and(|error| error.why == StateError::NotFound) && process.confirm().is_ok()
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

pub(super) fn of_sample_error(process: &Process, error: &SampleError) -> Option<CaptureNote> {
    match error {
        SampleError::State(error) => of_read_error(process, error),
        SampleError::Filtered => Some(CaptureNote::SignalFiltered),
        SampleError::NoRoom => Some(CaptureNote::NoRoomForHandler),
        SampleError::Masked => Some(CaptureNote::SignalMasked),
        SampleError::Displaced => Some(CaptureNote::SignalReplaced),
        SampleError::NotSent => Some(CaptureNote::SignalForbidden),
        SampleError::Unreadable => Some(CaptureNote::MemoryUnreadable),
        SampleError::NotRunning
        | SampleError::Foreign
        | SampleError::Pending
        | SampleError::NotOnCpu
        | SampleError::TimedOut => None,
    }
}

/// Why a stack shows no line of the user's code; none if it has none, as far as can be told.
pub(super) fn of_missing_line(process: &Process, stack: &Stack, modules: &[ModuleInfo]) -> Option<CaptureNote> {
    if let End::Incomplete { why, .. } = stack.end {
        return Some(if is_memory_readable(process) {
            CaptureNote::StackIncomplete(why.to_string())
        } else {
            CaptureNote::MemoryUnreadable
        });
    }
    let program = process.exe().ok()?;
    let module = modules.iter().find(|module| program.to_str() == Some(&module.name))?;
    of_program(process, module)
}

/// What the program's own file lacks; of another process, whoever asks may have a file that has it.
pub(super) fn of_program(process: &Process, program: &ModuleInfo) -> Option<CaptureNote> {
    match &program.debug_info {
        DebugInfo::Full | DebugInfo::LineTables => None,
        info @ (DebugInfo::Symbols | DebugInfo::Stripped) if !process.is_own() => Some(CaptureNote::SymbolsMissing {
            has_names: *info == DebugInfo::Symbols,
            build_id: program.build_id.clone(),
            refused: program.refused.clone(),
        }),
        DebugInfo::Symbols => Some(CaptureNote::SymbolsOnly),
        DebugInfo::Stripped => Some(CaptureNote::Stripped),
        DebugInfo::Unreadable(why) => Some(CaptureNote::ProgramUnreadable(why.clone())),
    }
}

/// Tried where there is memory for sure.
fn is_memory_readable(process: &Process) -> bool {
    let own = [1_u8];
    let address = match process.is_own() {
        true => Some(own.as_ptr() as u64),
        false => Maps::read(process).ok().and_then(|maps| maps.all().first().map(|mapping| mapping.start)),
    };
    address.is_some_and(|address| memory::read(process, address, &mut [0]) == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_error(why: StateError) -> ReadError {
        ReadError { why, ..read_state(&Process::current().thread(u32::MAX)).unwrap_err() }
    }

    #[test]
    fn what_passes_is_no_reason() {
        let own = Process::current();
        let ended = read_error(StateError::NotFound);
        for error in [CaptureError::Running, CaptureError::Torn, CaptureError::State(ended)] {
            assert_eq!(of_capture_error(&own, &error), None, "{error}");
        }
        for error in [SampleError::NotRunning, SampleError::Pending, SampleError::NotOnCpu, SampleError::TimedOut] {
            assert_eq!(of_sample_error(&own, &error), None, "{error}");
        }
    }

    #[test]
    fn what_stays_is_one() {
        let own = Process::current();
        let of_read_error = |why| of_capture_error(&own, &read_error(why).into());
        // Tests run in a process that is dumpable: then something else refuses.
        let denied = CaptureNote::ThreadForbidden;
        assert_eq!(of_read_error(StateError::Denied), Some(denied.clone()));
        assert_eq!(of_sample_error(&own, &SampleError::Masked), Some(CaptureNote::SignalMasked));
        assert_eq!(of_sample_error(&own, &SampleError::Displaced), Some(CaptureNote::SignalReplaced));
        assert_eq!(of_sample_error(&own, &SampleError::NotSent), Some(CaptureNote::SignalForbidden));
        assert_eq!(of_sample_error(&own, &SampleError::State(read_error(StateError::Denied))), Some(denied));
        assert_eq!(of_read_error(StateError::Unsupported), Some(CaptureNote::Unsupported));
        assert_eq!(of_install_error(&InstallError::Unsupported), CaptureNote::Unsupported);
        let maps = CaptureError::Maps(read_error(StateError::Denied).file, io::ErrorKind::NotFound.into());
        assert_eq!(of_capture_error(&own, &maps), Some(CaptureNote::MapsUnreadable(io::ErrorKind::NotFound)));
        let taken = of_install_error(&InstallError::NoSignalFree).to_string();
        assert!(taken.contains("every real-time signal is in use"), "{taken}");
    }
}
