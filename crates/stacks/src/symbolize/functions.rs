//! The functions of a unit, and what was inlined into one.

use gimli::{AttributeValue, UnitOffset, UnitRef};

use super::module::Bytes;
use super::ranges::Ranges;

/// So many functions may begin within another one, between its begin and an address.
const NESTED: usize = 16;

/// Where the functions of a unit are, by address.
pub(super) struct Functions(Vec<(gimli::Range, UnitOffset)>);

/// A function that was inlined, and where that was called.
pub(super) struct Inlined {
    pub(super) entry: UnitOffset,
    pub(super) file: Option<u64>,
    pub(super) line: u64,
    pub(super) column: u64,
}

impl Functions {
    pub(super) fn of(unit: &UnitRef<'_, Bytes>) -> gimli::Result<Functions> {
        let mut all = Vec::new();
        let mut entries = unit.entries_raw(None)?;
        while !entries.is_empty() {
            let entry = entries.next_offset();
            let Some(abbreviation) = entries.read_abbreviation()? else { continue };
            if abbreviation.tag() != gimli::DW_TAG_subprogram {
                entries.skip_attributes(abbreviation.attributes())?;
                continue;
            }
            let mut ranges = Ranges::default();
            for attribute in abbreviation.attributes() {
                ranges.read(unit, &entries.read_attribute(*attribute)?)?;
            }
            ranges.each(unit, |range| all.push((range, entry)))?;
        }
        all.sort_unstable_by_key(|(range, entry)| (range.begin, entry.0));
        all.shrink_to_fit();
        Ok(Functions(all))
    }

    /// The entry of the function that an address is in.
    pub(super) fn at(&self, address: u64) -> Option<UnitOffset> {
        let after = self.0.partition_point(|(range, _)| range.begin <= address);
        let mut before = self.0[..after].iter().rev().take(NESTED);
        before.find(|(range, _)| address < range.end).map(|(_, entry)| *entry)
    }
}

/// What was inlined at an address of a function, outermost first.
pub(super) fn inlined(unit: &UnitRef<'_, Bytes>, function: UnitOffset, address: u64) -> gimli::Result<Vec<Inlined>> {
    let mut entries = unit.entries_raw(Some(function))?;
    let top = entries.next_depth();
    let mut found = Vec::new();
    // The depths of the inlined functions that the next entry is within.
    let mut within: Vec<isize> = Vec::new();
    // A function within the function is none of its own.
    let mut left_out = None;
    if let Some(abbreviation) = entries.read_abbreviation()? {
        entries.skip_attributes(abbreviation.attributes())?;
    }
    while !entries.is_empty() && entries.next_depth() > top {
        let (entry, depth) = (entries.next_offset(), entries.next_depth());
        within.truncate(within.partition_point(|outer| *outer < depth));
        left_out = left_out.filter(|of| *of < depth);
        let Some(abbreviation) = entries.read_abbreviation()? else { continue };
        match abbreviation.tag() {
            gimli::DW_TAG_inlined_subroutine if left_out.is_none() => {
                let (mut ranges, mut contains) = (Ranges::default(), false);
                let mut inlined = Inlined { entry, file: None, line: 0, column: 0 };
                for attribute in abbreviation.attributes() {
                    let attribute = entries.read_attribute(*attribute)?;
                    ranges.read(unit, &attribute)?;
                    inlined.read(&attribute, unit.header.version());
                }
                ranges.each(unit, |range| contains |= range.begin <= address && address < range.end)?;
                if contains && found.len() == within.len() {
                    found.push(inlined);
                }
                within.push(depth);
            }
            tag => {
                if tag == gimli::DW_TAG_subprogram {
                    left_out = left_out.or(Some(depth));
                }
                entries.skip_attributes(abbreviation.attributes())?;
            }
        }
    }
    Ok(found)
}

impl Inlined {
    fn read(&mut self, attribute: &gimli::Attribute<Bytes>, version: u16) {
        match (attribute.name(), attribute.value()) {
            // Before DWARF 5, 0 is no file.
            (gimli::DW_AT_call_file, AttributeValue::FileIndex(file)) if file > 0 || version >= 5 => {
                self.file = Some(file);
            }
            (gimli::DW_AT_call_line, _) => self.line = attribute.udata_value().unwrap_or(0),
            (gimli::DW_AT_call_column, _) => self.column = attribute.udata_value().unwrap_or(0),
            _ => {}
        }
    }
}
