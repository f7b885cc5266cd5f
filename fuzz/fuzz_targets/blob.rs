//! Histograms: bytes, or bytes that are wrapped as a compressed histogram, decode to what encodes and decodes to the same; and
//! lines of an interval log are read, and reported, or refused with an error that can be shown.

#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use libfuzzer_sys::fuzz_target;
use pollscope::dist::blob::{decode, decode_any, encode};
use pollscope::interval_log;
use pollscope::report::{Format, log, terminal::Style};
use pollscope_base::escape::escape;

const COMPRESSED: u32 = 0x1c84_9314;

fuzz_target!(|input: &[u8]| {
    if let Some(lines) = input.strip_prefix(b"l") {
        return read_log(lines);
    }
    let wrapped = input.strip_prefix(b"z").map(wrap);
    let bytes = wrapped.as_deref().unwrap_or(input);
    let any = decode_any(bytes);
    let Ok(dist) = decode(bytes) else { return };
    // Both read what has pollscope's own bounds, to the same percentiles.
    assert_eq!(any.expect("whatever the other reads").quantile_ns(0.5), dist.quantile_ns(0.5));
    // A count of 2⁶³ or more can be read and not written.
    let Ok(bytes) = encode(&dist) else { return };
    let again = decode(&bytes).expect("what was encoded is decoded");
    assert!(again.buckets().eq(dist.buckets()));
    for q in [0.0, 0.5, 0.99, 1.0] {
        assert_eq!(again.quantile_ns(q), dist.quantile_ns(q));
    }
});

fn read_log(lines: &[u8]) {
    let style = Style { width: 60, color: false, unicode: true };
    match interval_log::read(lines) {
        Ok(read) => {
            let text = log::render(&read, Format::Text, &style).expect("a text needs no encoding").expect("it has one");
            assert!(text.lines().all(|line| escape(line) == line), "{text:?}");
            log::render(&read, Format::Json, &style).expect("what was read can be written");
        }
        Err(error) => assert!(error.to_string().len() < 2_000),
    }
}

/// No mutation gets through a checksum.
fn wrap(plain: &[u8]) -> Vec<u8> {
    let mut compressed = ZlibEncoder::new(Vec::new(), Compression::fast());
    compressed.write_all(plain).expect("memory takes it");
    let compressed = compressed.finish().expect("memory takes it");
    let outer = [COMPRESSED, compressed.len() as u32];
    outer.iter().flat_map(|word| word.to_be_bytes()).chain(compressed).collect()
}
