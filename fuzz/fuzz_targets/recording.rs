//! Recordings: what reads can be reported, in every format and width; judged, diagnosed and read again.

#![no_main]

use std::io::Cursor;
use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use pollscope::findings::findings;
use pollscope::gate::Gate;
use pollscope::recording::{read::read, wire};
use pollscope::report::{folded, terminal};

static GATES: LazyLock<Vec<Gate>> = LazyLock::new(|| {
    ["slow_polls == 0", "lag.p99 < 10ms", "busy < 50%", "polls.mean <= 2 * schedule_latency.max", "merge.verdict == ok"]
        .into_iter()
        .chain(["naive.response_time.p999 > 0.5 * offloaded.response_time.p999", "throughput >= 1MB/s"])
        .map(|gate| Gate::parse(gate).expect("a gate"))
        .collect()
});

fuzz_target!(|input: &[u8]| {
    let mut recording = match read(Cursor::new(input)) {
        Ok(saved) => saved.recording,
        Err(error) => {
            assert!(error.to_string().len() < 2_000);
            return;
        }
    };
    recording.findings.extend(findings(&recording.runs));
    recording.gates.extend(GATES.iter().map(|gate| gate.judge(&recording.runs)));
    for (width, unicode) in [(1, true), (60, false), (100, true)] {
        let text = terminal::render(&recording, &terminal::Style { width, color: false, unicode });
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    }
    folded::render(&recording);
    let json = wire::to_compact_json(&recording).expect("what was read can be written");
    let again = read(Cursor::new(&json)).expect("what was written can be read").recording;
    assert_eq!(wire::to_compact_json(&again).expect("as before"), json);
});

// Most changes to the bytes of JSON leave none. Every other one puts another value in the place of one that is there.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 2 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let values: Vec<(usize, usize)> = values(&data[..size]);
    let Some(&(start, end)) = values.get((seed / 2) as usize % values.len().max(1)) else {
        return fuzzer_mutate(data, size, max_size);
    };
    const NEW: [&str; 16] = [
        "0",
        "1",
        "2",
        "100000000",
        "3600000000001",
        "4611686018427387904",
        "18446744073709551615",
        "-1",
        "1e308",
        "0.1",
        "null",
        "true",
        "\"\"",
        "\"src/a.rs:1\"",
        "[]",
        "{}",
    ];
    let new = NEW[seed.wrapping_mul(2_654_435_761) as usize >> 28].as_bytes();
    let changed = size - (end - start) + new.len();
    if changed > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data.copy_within(end..size, start + new.len());
    data[start..start + new.len()].copy_from_slice(new);
    changed
});

/// Where the values behind colons are that hold no others.
fn values(json: &[u8]) -> Vec<(usize, usize)> {
    let colons = json.iter().enumerate().filter(|(_, byte)| **byte == b':');
    let ends = |from: usize| json[from..].iter().position(|byte| b",]}".contains(byte)).map(|at| from + at);
    colons.filter_map(|(at, _)| Some((at + 1, ends(at + 1)?))).collect()
}
