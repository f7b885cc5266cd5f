//! The bytes of a section with debug information, unpacked where a linker has compressed them.

use memmap2::{Mmap, MmapMut};
use object::{CompressedData, CompressionFormat, ObjectSection};

use super::open::Elf;

/// Zlib makes at most so many bytes of one.
const MOST_OF_ONE: u64 = 1032;
/// So many bytes are unpacked of one file, all of its sections together.
const MOST: u64 = 2 << 30;

/// How many bytes may still be unpacked of a file.
pub(super) struct Room(u64);

impl Default for Room {
    fn default() -> Room {
        Room(MOST)
    }
}

/// A section's bytes as they are in the file, or as they are in the second map, which must live as long as they do; no bytes if the
/// file has no such section.
///
/// # Errors
/// A sentence: why they cannot be read.
pub(super) fn bytes(elf: &Elf, name: &str, room: &mut Room) -> Result<(&'static [u8], Option<Mmap>), String> {
    let section = object::Object::section_by_name(elf, name);
    let Some(section) = section else { return Ok((&[], None)) };
    let cannot = |why: String| format!("cannot read `{name}`: {why}");
    let data = section.compressed_data().map_err(|error| cannot(error.to_string()))?;
    if data.format == CompressionFormat::None {
        return Ok((data.data, None));
    }
    let map = unpacked(&data, room).map_err(cannot)?;
    // SAFETY: the bytes stay where they are, and as they are, until `map` is dropped; who asks keeps it as long as them.
    let bytes: &'static [u8] = unsafe { std::slice::from_raw_parts(map.as_ptr(), map.len()) };
    Ok((bytes, Some(map)))
}

/// In memory of its own, which goes back to the system as a whole, and is only taken as far as it is written to.
fn unpacked(section: &CompressedData<'_>, room: &mut Room) -> Result<Mmap, String> {
    let CompressedData { format, data: packed, uncompressed_size: size } = *section;
    match format {
        CompressionFormat::Zlib => {}
        CompressionFormat::Zstandard => return Err("it is compressed with zstd, and not with zlib".to_owned()),
        _ => return Err("it is compressed in a way that is not known, and not with zlib".to_owned()),
    }
    if size > (packed.len() as u64).saturating_mul(MOST_OF_ONE) {
        return Err(format!("it claims {size} bytes, more than {} can hold", packed.len()));
    }
    let left = room.0.checked_sub(size);
    room.0 = left.ok_or_else(|| format!("it is too large to be unpacked: {size} bytes, of which {} may be", room.0))?;
    let size = usize::try_from(size).map_err(|_| format!("it claims {size} bytes"))?;
    let mut map = MmapMut::map_anon(size).map_err(|error| error.to_string())?;
    match miniz_oxide::inflate::decompress_slice_iter_to_slice(&mut map, [packed].into_iter(), true, false) {
        Ok(written) if written == size => map.make_read_only().map_err(|error| error.to_string()),
        _ => Err("its compressed bytes are damaged".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pollscope` a hundred times, by zlib.
    fn packed() -> Vec<u8> {
        miniz_oxide::deflate::compress_to_vec_zlib(&b"pollscope".repeat(100), 6)
    }

    fn section(data: &[u8]) -> CompressedData<'_> {
        CompressedData { format: CompressionFormat::Zlib, data, uncompressed_size: 900 }
    }

    #[test]
    fn what_was_compressed_is_there_again() {
        assert_eq!(&unpacked(&section(&packed()), &mut Room::default()).unwrap()[..], b"pollscope".repeat(100));
    }

    #[test]
    fn all_sections_of_a_file_share_its_room() {
        let packed = packed();
        let mut room = Room(2_000);
        for is_left in [true, true, false] {
            assert_eq!(unpacked(&section(&packed), &mut room).is_ok(), is_left);
        }
    }

    #[test]
    fn a_damaged_section_is_refused() {
        let packed = packed();
        let refused = |section: CompressedData<'_>| unpacked(&section, &mut Room::default()).unwrap_err();
        let mut flipped = packed.clone();
        flipped[4] ^= 0x10;
        assert_eq!(refused(section(&flipped)), "its compressed bytes are damaged");
        assert_eq!(refused(section(&packed[..packed.len() - 1])), "its compressed bytes are damaged");
        for uncompressed_size in [0, 899, 901] {
            let wrong = CompressedData { uncompressed_size, ..section(&packed) };
            assert_eq!(refused(wrong), "its compressed bytes are damaged");
        }
        let uncompressed_size = 1 << 40;
        assert!(refused(CompressedData { uncompressed_size, ..section(&packed) }).starts_with("it claims"));
        let mut small = Room(899);
        let too_large = unpacked(&section(&packed), &mut small).unwrap_err();
        assert_eq!(too_large, "it is too large to be unpacked: 900 bytes, of which 899 may be");
        let format = CompressionFormat::Zstandard;
        assert_eq!(
            refused(CompressedData { format, ..section(&packed) }),
            "it is compressed with zstd, and not with zlib"
        );
    }
}
