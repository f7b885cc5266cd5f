//! Where a function goes on when something that it called unwinds: the table of its call sites (`.gcc_except_table`), in the form
//! that compilers write for the Itanium C++ ABI.

use gimli::{EndianSlice, LittleEndian, Reader as _};

use super::Memory;

/// No table of one function is read further than this, in bytes.
const MOST: usize = 64 << 10;

/// How an address is written: `DW_EH_PE_omit`, `DW_EH_PE_uleb128`, `DW_EH_PE_udata4`.
const OMITTED: u8 = 0xff;
const ULEB128: u8 = 0x01;
const UDATA4: u8 = 0x03;

/// The landing pad for an instruction of the function that begins at `function`; `None` if it has none.
pub(super) fn landing_pad(table: u64, function: u64, lookup: u64, memory: &mut dyn Memory) -> Option<u64> {
    let mut bytes = vec![0; 1 << 10];
    loop {
        let count = memory.code(table, &mut bytes);
        match find(&bytes[..count], lookup.checked_sub(function)?) {
            Ok(pad) => return pad.map(|pad| function.wrapping_add(pad)),
            // There may be more of it.
            Err(_) if count == bytes.len() && count < MOST => bytes.resize(count * 4, 0),
            Err(_) => return None,
        }
    }
}

/// The landing pad for an instruction, both from the function's start on.
///
/// # Errors
/// When the table ends too early, or is written in another way.
fn find(table: &[u8], at: u64) -> Result<Option<u64>, gimli::Error> {
    let mut reader = EndianSlice::new(table, LittleEndian);
    // Landing pads are counted from another place than the function's start: no compiler of Rust writes that.
    if reader.read_u8()? != OMITTED {
        return Ok(None);
    }
    if reader.read_u8()? != OMITTED {
        reader.read_uleb128()?;
    }
    let encoding = reader.read_u8()?;
    if !matches!(encoding, ULEB128 | UDATA4) {
        return Ok(None);
    }
    let length = usize::try_from(reader.read_uleb128()?).unwrap_or(usize::MAX);
    let end = reader.len().checked_sub(length).ok_or(gimli::Error::UnexpectedEof(reader.offset_id()))?;
    while reader.len() > end {
        let mut number = || match encoding {
            ULEB128 => reader.read_uleb128(),
            _ => reader.read_u32().map(u64::from),
        };
        let (start, length, pad) = (number()?, number()?, number()?);
        let _action = reader.read_uleb128()?;
        if at.checked_sub(start).is_some_and(|within| within < length) {
            return Ok((pad != 0).then_some(pad));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two call sites: one at 4 with a landing pad at 0x90, one at 16 without.
    const TABLE: [u8; 13] = [0xff, 0xff, 1, 9, 4, 8, 0x90, 1, 0, 16, 4, 0, 0];

    #[test]
    fn a_call_site_has_its_landing_pad() {
        assert_eq!(find(&TABLE, 3), Ok(None));
        assert_eq!(find(&TABLE, 4), Ok(Some(0x90)));
        assert_eq!(find(&TABLE, 11), Ok(Some(0x90)));
        assert_eq!(find(&TABLE, 12), Ok(None));
        assert_eq!(find(&TABLE, 17), Ok(None));
    }

    #[test]
    fn a_table_that_is_cut_or_of_another_form_has_none() {
        assert!((0..TABLE.len()).all(|length| find(&TABLE[..length], 4).is_err()));
        let mut other = TABLE;
        other[2] = 0x0b;
        assert_eq!(find(&other, 4), Ok(None));
        other[0] = 0x1b;
        assert_eq!(find(&other, 4), Ok(None));
    }
}
