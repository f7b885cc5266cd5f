//! Where the code of a DWARF entry is.

use gimli::{Attribute, AttributeValue, RangeListsOffset, UnitRef};

use super::module::Bytes;

/// What the attributes of an entry say about that.
#[derive(Default)]
pub(super) struct Ranges {
    begin: Option<u64>,
    end: Option<u64>,
    size: Option<u64>,
    pub(super) list: Option<RangeListsOffset>,
}

impl Ranges {
    /// Takes up an attribute, if it is about that.
    pub(super) fn read(&mut self, unit: &UnitRef<'_, Bytes>, attribute: &Attribute<Bytes>) -> gimli::Result<()> {
        match (attribute.name(), attribute.value()) {
            (gimli::DW_AT_low_pc, value) => self.begin = unit.attr_address(value)?,
            (gimli::DW_AT_high_pc, AttributeValue::Udata(size)) => self.size = Some(size),
            (gimli::DW_AT_high_pc, value) => self.end = unit.attr_address(value)?,
            (gimli::DW_AT_ranges, value) => self.list = unit.attr_ranges_offset(value)?,
            _ => {}
        }
        Ok(())
    }

    /// Each that is not empty; whether there is any.
    pub(super) fn each(&self, unit: &UnitRef<'_, Bytes>, mut each: impl FnMut(gimli::Range)) -> gimli::Result<bool> {
        let mut is_any = false;
        let mut add = |range: gimli::Range| {
            if range.begin < range.end {
                is_any = true;
                each(range);
            }
        };
        if let Some(list) = self.list {
            let mut ranges = unit.ranges(list)?;
            while let Some(range) = ranges.next()? {
                add(range);
            }
        } else if let (Some(begin), Some(end)) =
            // Code that the linker left out begins at the last address there is, and ends nowhere.
            (
                self.begin,
                self.end.or(self.begin.zip(self.size).map(|(begin, size)| begin.wrapping_add(size))),
            )
        {
            add(gimli::Range { begin, end });
        }
        Ok(is_any)
    }
}
