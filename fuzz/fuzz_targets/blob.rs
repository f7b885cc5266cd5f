//! Histograms: bytes, or bytes that are wrapped as a compressed histogram, decode to what encodes and decodes to the same.

#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use libfuzzer_sys::fuzz_target;
use pollscope::dist::blob::{decode, encode};

const COMPRESSED: u32 = 0x1c84_9314;

fuzz_target!(|input: &[u8]| {
    let wrapped = input.strip_prefix(b"z").map(wrap);
    let Ok(dist) = decode(wrapped.as_deref().unwrap_or(input)) else { return };
    // A count of 2⁶³ or more can be read and not written.
    let Ok(bytes) = encode(&dist) else { return };
    let again = decode(&bytes).expect("what was encoded is decoded");
    assert!(again.buckets().eq(dist.buckets()));
    for q in [0.0, 0.5, 0.99, 1.0] {
        assert_eq!(again.quantile_ns(q), dist.quantile_ns(q));
    }
});

/// No mutation gets through a checksum.
fn wrap(plain: &[u8]) -> Vec<u8> {
    let mut compressed = ZlibEncoder::new(Vec::new(), Compression::fast());
    compressed.write_all(plain).expect("memory takes it");
    let compressed = compressed.finish().expect("memory takes it");
    let outer = [COMPRESSED, compressed.len() as u32];
    outer.iter().flat_map(|word| word.to_be_bytes()).chain(compressed).collect()
}
