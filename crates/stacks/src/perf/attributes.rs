//! What kind of event is wanted, as the kernel is told.

use super::registers::{MASK, SP_MASK};

/// `struct perf_event_attr`, as of Linux 4.1 and later: what came after `clockid` is 0.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    breakpoint_address: u64,
    breakpoint_length: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clock: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}

/// As `PERF_ATTR_SIZE_VER5`.
const SIZE: u32 = 112;
const _: () = assert!(size_of::<Attributes>() == SIZE as usize);

const TYPE_SOFTWARE: u32 = 1;
const TYPE_BREAKPOINT: u32 = 5;
const SW_CPU_CLOCK: u64 = 0;
const SW_PAGE_FAULTS: u64 = 2;
const SW_DUMMY: u64 = 9;
const BREAKPOINT_EXECUTE: u32 = 4;

/// What a sample has: its time, then registers, then the stack. See [`record`](super::record).
const SAMPLE_TIME: u64 = 1 << 2;
const SAMPLE_REGS_USER: u64 = 1 << 12;
const SAMPLE_STACK_USER: u64 = 1 << 13;

/// It is opened without counting, until it is enabled.
const DISABLED: u64 = 1;
/// Without these two it is not for everyone.
const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
/// Times are of `clock`.
const USE_CLOCK: u64 = 1 << 25;
/// `CLOCK_MONOTONIC`, as `Instant` has it.
const MONOTONIC: i32 = 1;

impl Attributes {
    fn of_user_code(kind: u32) -> Attributes {
        Attributes {
            kind,
            size: SIZE,
            sample_type: SAMPLE_TIME,
            flags: EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR | USE_CLOCK,
            clock: MONOTONIC,
            ..Attributes::default()
        }
    }

    /// A sample each time that the thread was on a CPU for so long, if it is in its own code then: registers, and so many bytes of
    /// the stack.
    pub(super) fn cpu_clock(period_ns: u64, stack_bytes: u32) -> Attributes {
        Attributes::sampled(SW_CPU_CLOCK, period_ns, stack_bytes)
    }

    /// The same each time that its own code made so many page faults.
    pub(super) fn page_faults(period: u64, stack_bytes: u32) -> Attributes {
        Attributes::sampled(SW_PAGE_FAULTS, period, stack_bytes)
    }

    fn sampled(config: u64, period: u64, stack_bytes: u32) -> Attributes {
        let mut attributes = Attributes::of_user_code(TYPE_SOFTWARE);
        attributes.config = config;
        attributes.sample_period = period;
        attributes.sample_type |= SAMPLE_REGS_USER | SAMPLE_STACK_USER;
        attributes.sample_regs_user = MASK;
        attributes.sample_stack_user = stack_bytes;
        attributes
    }

    /// Of what never happens: for its ring.
    pub(super) fn nothing() -> Attributes {
        Attributes { config: SW_DUMMY, ..Attributes::of_user_code(TYPE_SOFTWARE) }
    }

    /// A sample each time that the thread comes to an instruction, once enabled, with the stack pointer.
    pub(super) fn breakpoint(address: u64) -> Attributes {
        let mut attributes = Attributes::of_user_code(TYPE_BREAKPOINT);
        attributes.flags |= DISABLED;
        attributes.sample_period = 1;
        attributes.sample_type |= SAMPLE_REGS_USER;
        attributes.sample_regs_user = SP_MASK;
        attributes.wakeup_events = 1;
        attributes.breakpoint_type = BREAKPOINT_EXECUTE;
        attributes.breakpoint_address = address;
        // What the kernel wants of one on code.
        attributes.breakpoint_length = size_of::<usize>() as u64;
        attributes
    }
}
