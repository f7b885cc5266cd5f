//! Time in the kernel, computing.

use std::fs::File;
use std::io::Read;
use std::time::Instant;

use super::cases::{BLOCK, CALL, Case, NONE, case};
use super::truth::Did;

/// Given back in some 60 ms or more.
const MEMORY: usize = 768 << 20;

pub(crate) const CASES: [Case; 3] = [
    Case {
        name: "munmap of 768 MiB",
        off_cpu: NONE,
        prepare: |_| {
            let memory = vec![1u8; MEMORY];
            Box::new(|| super::cases::at((drop(memory), line!()).1))
        },
    },
    case!("read of /dev/zero", CALL, || reads("/dev/zero")),
    case!("read of /dev/urandom", CALL, || reads("/dev/urandom")),
];

fn reads(path: &str) -> Did {
    let first = line!();
    let (start, mut bytes) = (Instant::now(), vec![0; 8 << 20]);
    let mut file = File::open(path).unwrap();
    while start.elapsed() < BLOCK {
        file.read_exact(&mut bytes).unwrap();
    }
    Did::at((first, line!()))
}
