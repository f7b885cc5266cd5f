//! Which descriptors a call waits for, where it waits for any of several: `poll`, `select`, `epoll` and their like.

use std::fs::File;
use std::io::Read as _;

use super::arguments;
use super::shape::Fraction;
use crate::memory;
use crate::process::Process;

/// So many of the `pollfd` of one call are read.
const MOST_POLLED: u64 = 64;
/// Descriptors from this number on are not looked for in the sets of `select`. Those of the C library end here.
const HIGHEST_SELECTED: u64 = 1024;
/// No more is read of what the kernel tells of an epoll: some thousand descriptors.
const MOST_TOLD: u64 = 64 << 10;

/// Which descriptors are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waited {
    /// How many.
    pub(super) count: u64,
    /// The first one; `None` where there is none among those that were read.
    pub(super) first: Option<i32>,
}

/// Of `poll`; `None` where the array cannot be read. A negative descriptor is none, as for the kernel.
pub(super) fn polled(process: &Process, array: u64, count: u64) -> Option<Waited> {
    const LENGTH: usize = 8;
    let count = count & 0xffff_ffff;
    let mut copy = [0; MOST_POLLED as usize * LENGTH];
    let array_length = count.min(MOST_POLLED) as usize * LENGTH;
    if memory::read(process, array, &mut copy[..array_length]) < array_length {
        return None;
    }
    let all = copy[..array_length].chunks_exact(LENGTH).filter_map(|pollfd| pollfd.first_chunk());
    let mut waited = all.map(|fd| i32::from_ne_bytes(*fd)).filter(|fd| *fd >= 0);
    let first = waited.next();
    let read = waited.count() as u64 + u64::from(first.is_some());
    Some(Waited { count: if count <= MOST_POLLED { read } else { count }, first })
}

/// Of `select`: one bit a descriptor in up to three sets. `None` where one of them cannot be read, or is larger than the C library's.
pub(super) fn selected(process: &Process, end: u64, sets: [u64; 3]) -> Option<Waited> {
    const BYTES: usize = HIGHEST_SELECTED as usize / 8;
    // An `int` for the kernel, which refuses a negative one.
    let end = end & 0xffff_ffff;
    if end > HIGHEST_SELECTED {
        return None;
    }
    let length = end.div_ceil(8) as usize;
    let mut any = [0_u8; BYTES];
    for set in sets.into_iter().filter(|set| *set != 0) {
        let mut copy = [0; BYTES];
        if memory::read(process, set, &mut copy[..length]) < length {
            return None;
        }
        any.iter_mut().zip(copy).for_each(|(any, byte)| *any |= byte);
    }
    let mut waited = (0..end as usize).filter(|fd| any[fd / 8] & (1 << (fd % 8)) != 0);
    let first = waited.next();
    let count = waited.count() as u64 + u64::from(first.is_some());
    Some(Waited { count, first: first.and_then(|fd| i32::try_from(fd).ok()) })
}

/// Of an epoll, as the kernel tells; the first is the one with the lowest number. `None` where it does not, or there are too many.
pub(super) fn watched(process: &Process, epoll: i32) -> Option<Waited> {
    let file = File::open(format!("{}/{epoll}", process.file("fdinfo"))).ok()?;
    let mut told = String::new();
    let length = file.take(MOST_TOLD).read_to_string(&mut told).ok()?;
    if length as u64 == MOST_TOLD { None } else { Some(parse_watched(&told)) }
}

/// Among others, a line `tfd:        5 events: 19 data: …` each.
fn parse_watched(told: &str) -> Waited {
    let fd = |line: &str| line.strip_prefix("tfd:")?.split_ascii_whitespace().next()?.parse().ok();
    let all: Vec<i32> = told.lines().filter_map(fd).collect();
    Waited { count: all.len() as u64, first: all.into_iter().min() }
}

/// The time at an address, in milliseconds, rounded up; `None` for none, or where it cannot be read.
pub(super) fn timeout_ms(process: &Process, address: u64, fraction: Fraction) -> Option<u64> {
    let time = arguments::bytes::<16>(process, address)?;
    let per_ms = match fraction {
        Fraction::Microseconds => 1_000,
        Fraction::Nanoseconds => 1_000_000,
    };
    let seconds = arguments::word(&time, 0)?.checked_mul(1_000)?;
    seconds.checked_add(arguments::word(&time, 8)?.div_ceil(per_ms))
}

#[cfg(all(test, supported))]
mod tests {
    use super::*;
    use crate::memory::tests::two_pages;

    fn address<T>(of: &[T]) -> u64 {
        of.as_ptr() as u64
    }

    #[test]
    fn polled_descriptors_are_counted_without_those_that_are_left_out() {
        let own = Process::current();
        let entry = |fd: i32| [fd, libc::POLLIN.into()];
        let polled = |fds: &[i32], count: u64| {
            let array: Vec<[i32; 2]> = fds.iter().copied().map(entry).collect();
            polled(&own, address(&array), count)
        };
        assert_eq!(polled(&[7], 1), Some(Waited { count: 1, first: Some(7) }));
        assert_eq!(polled(&[-1, 9, 7], 3), Some(Waited { count: 2, first: Some(9) }));
        assert_eq!(polled(&[-1], 1), Some(Waited { count: 0, first: None }));
        assert_eq!(polled(&[7], 0), Some(Waited { count: 0, first: None }), "a sleep");
        assert_eq!(polled(&[5; 100], 100), Some(Waited { count: 100, first: Some(5) }));
        assert_eq!(super::polled(&own, 8, 1), None);
        let end = two_pages() + 4096;
        assert_eq!(super::polled(&own, end - 8, 1), Some(Waited { count: 1, first: Some(0) }));
        assert_eq!(super::polled(&own, end - 8, 2), None, "half an array is none");
    }

    #[test]
    fn selected_descriptors_are_those_of_all_sets() {
        let own = Process::current();
        let (mut read, mut write) = ([0_u8; 128], [0_u8; 128]);
        (read[1], write[1], write[127]) = (0b1000, 0b1001, 0x80);
        let sets = [address(&read), address(&write), 0];
        assert_eq!(selected(&own, 1024, sets), Some(Waited { count: 3, first: Some(8) }));
        assert_eq!(selected(&own, 12, sets), Some(Waited { count: 2, first: Some(8) }));
        assert_eq!(selected(&own, 11, sets), Some(Waited { count: 1, first: Some(8) }));
        assert_eq!(selected(&own, 0, [0; 3]), Some(Waited { count: 0, first: None }));
        assert_eq!(selected(&own, 12, [8, 0, 0]), None);
        assert_eq!(selected(&own, 1025, sets), None);
        assert_eq!(selected(&own, u64::MAX, sets), None);
    }

    #[test]
    fn an_epoll_s_descriptors_are_those_that_the_kernel_lists() {
        let told = "pos:\t0\nflags:\t02\nmnt_id:\t15\ntfd:        9 events:       19 data: 9  pos:0 ino:1 sdev:d\ntfd:        4 \
                    events: 1\n";
        assert_eq!(parse_watched(told), Waited { count: 2, first: Some(4) });
        assert_eq!(parse_watched("pos:\t0\n"), Waited { count: 0, first: None });
    }

    #[test]
    fn a_time_is_in_milliseconds() {
        let (own, time) = (Process::current(), [1_u64, 250_000]);
        let at = |fraction| timeout_ms(&own, address(&time), fraction);
        assert_eq!(at(Fraction::Microseconds), Some(1_250));
        assert_eq!(at(Fraction::Nanoseconds), Some(1_001));
        assert_eq!(timeout_ms(&own, 0, Fraction::Nanoseconds), None);
        assert_eq!(timeout_ms(&own, address(&[u64::MAX, 0]), Fraction::Nanoseconds), None);
    }
}
