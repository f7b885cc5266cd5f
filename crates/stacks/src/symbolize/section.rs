//! The bytes of a section with debug information, unpacked where a linker has compressed them.

use memmap2::{Mmap, MmapMut};
use object::{CompressedFileRange, CompressionFormat, ObjectSection};

use super::open::Elf;

/// Zlib makes at most so many bytes of one.
const MOST_OF_ONE: u64 = 1032;

/// A section's bytes as they are in the file, or as they are in the second map, which must live as long as they do; no bytes if the
/// file has no such section.
///
/// # Errors
/// A sentence: why they cannot be read.
pub(super) fn bytes(elf: &Elf, name: &str) -> Result<(&'static [u8], Option<Mmap>), String> {
    let section = object::Object::section_by_name(elf, name);
    let Some(section) = section else { return Ok((&[], None)) };
    let cannot = |why: String| format!("cannot read `{name}`: {why}");
    let range = section.compressed_file_range().map_err(|error| cannot(error.to_string()))?;
    if range.format == CompressionFormat::None {
        return Ok((section.data().map_err(|error| cannot(error.to_string()))?, None));
    }
    let map = unpacked(elf.data(), &range).map_err(cannot)?;
    // SAFETY: the bytes stay where they are, and as they are, until `map` is dropped; who asks keeps it as long as them.
    let bytes: &'static [u8] = unsafe { std::slice::from_raw_parts(map.as_ptr(), map.len()) };
    Ok((bytes, Some(map)))
}

/// In memory of its own, which goes back to the system as a whole, and is only taken as far as it is written to.
fn unpacked(file: &[u8], range: &CompressedFileRange) -> Result<Mmap, String> {
    if range.format != CompressionFormat::Zlib {
        return Err("it is compressed, and not with zlib".to_owned());
    }
    let packed = usize::try_from(range.offset).ok().and_then(|offset| file.get(offset..));
    let packed = packed.zip(usize::try_from(range.compressed_size).ok());
    let packed = packed.and_then(|(rest, size)| rest.get(..size)).ok_or("it ends beyond the file")?;
    let size = range.uncompressed_size;
    if size > range.compressed_size.saturating_mul(MOST_OF_ONE) {
        return Err(format!("it claims {size} bytes, more than {} can hold", packed.len()));
    }
    let size = usize::try_from(size).map_err(|_| format!("it claims {size} bytes"))?;
    let mut map = MmapMut::map_anon(size.max(1)).map_err(|error| error.to_string())?;
    let written =
        miniz_oxide::inflate::decompress_slice_iter_to_slice(&mut map[..size], [packed].into_iter(), true, false);
    match written {
        Ok(written) if written == size => map.make_read_only().map_err(|error| error.to_string()),
        _ => Err("its compressed bytes are damaged".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pollscope` a hundred times, by zlib.
    fn packed() -> Vec<u8> {
        let mut packed = miniz_oxide::deflate::compress_to_vec_zlib(&b"pollscope".repeat(100), 6);
        packed.splice(0..0, *b"before");
        packed
    }

    fn range(packed: &[u8]) -> CompressedFileRange {
        CompressedFileRange {
            format: CompressionFormat::Zlib,
            offset: 6,
            compressed_size: packed.len() as u64 - 6,
            uncompressed_size: 900,
        }
    }

    #[test]
    fn what_was_compressed_is_there_again() {
        let packed = packed();
        assert_eq!(&unpacked(&packed, &range(&packed)).unwrap()[..], b"pollscope".repeat(100));
    }

    #[test]
    fn a_damaged_section_is_refused() {
        let packed = packed();
        let good = range(&packed);
        let refused = |file: &[u8], range: CompressedFileRange| unpacked(file, &range).unwrap_err();
        let mut flipped = packed.clone();
        flipped[10] ^= 0x10;
        assert_eq!(refused(&flipped, good), "its compressed bytes are damaged");
        assert_eq!(refused(&packed[..packed.len() - 1], good), "it ends beyond the file");
        let offset = u64::MAX;
        assert_eq!(refused(&packed, CompressedFileRange { offset, ..good }), "it ends beyond the file");
        for uncompressed_size in [0, 899, 901] {
            let range = CompressedFileRange { uncompressed_size, ..good };
            assert_eq!(refused(&packed, range), "its compressed bytes are damaged");
        }
        let uncompressed_size = 1 << 40;
        assert!(refused(&packed, CompressedFileRange { uncompressed_size, ..good }).starts_with("it claims"));
        let format = CompressionFormat::Zstandard;
        assert_eq!(refused(&packed, CompressedFileRange { format, ..good }), "it is compressed, and not with zlib");
    }
}
