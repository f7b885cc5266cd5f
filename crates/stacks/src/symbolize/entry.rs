//! The name of a DWARF entry as it was written, which may be in another entry, and that one in another unit.

use std::collections::HashMap;

use addr2line::gimli::{self, AttributeValue, DebugInfoOffset, Dwarf, Unit, UnitOffset, UnitRef};

use super::module::Bytes;

/// So many references lead from an inlined instance to its name: to its origin, and from there to its declaration.
const REFERENCES: usize = 8;

/// The units that references lead to out of their own: link-time optimisation inlines across crates.
#[derive(Default)]
pub(super) struct Units {
    /// Where each unit begins, in order; read when first needed.
    starts: Option<Vec<usize>>,
    parsed: HashMap<usize, Unit<Bytes>>,
}

/// What an entry says of its name.
enum Named {
    /// This is it.
    Name(String),
    /// It is that of another entry of the unit.
    Here(UnitOffset),
    /// It is that of an entry of some unit.
    Elsewhere(DebugInfoOffset),
    /// Nothing.
    Not,
}

impl Units {
    /// The name, with type arguments, of an entry of `unit`.
    pub(super) fn name(&mut self, unit: UnitRef<'_, Bytes>, entry: UnitOffset) -> gimli::Result<Option<String>> {
        let mut other = None;
        let mut entry = entry;
        for _ in 0..REFERENCES {
            let named = match other.and_then(|start| self.parsed.get(&start)) {
                Some(other) => named(other.unit_ref(unit.dwarf), entry)?,
                None => named(unit, entry)?,
            };
            match named {
                Named::Name(name) => return Ok(Some(name)),
                Named::Not => return Ok(None),
                Named::Here(offset) => entry = offset,
                Named::Elsewhere(offset) => {
                    let start = self.containing(unit.dwarf, offset)?;
                    let header = &self.parsed[&start].header;
                    let Some(offset) = offset.to_unit_offset(header) else { return Ok(None) };
                    (other, entry) = (Some(start), offset);
                }
            }
        }
        Ok(None)
    }

    /// Parses the unit that an entry is in; where that unit begins.
    fn containing(&mut self, dwarf: &Dwarf<Bytes>, entry: DebugInfoOffset) -> gimli::Result<usize> {
        if self.starts.is_none() {
            self.starts = Some(starts(dwarf)?);
        }
        let starts = self.starts.as_deref().unwrap_or_default();
        let after = starts.partition_point(|start| *start <= entry.0);
        let start = after.checked_sub(1).map(|index| starts[index]);
        let start = start.ok_or(gimli::Error::NoEntryAtGivenOffset(entry.0 as u64))?;
        if let std::collections::hash_map::Entry::Vacant(vacant) = self.parsed.entry(start) {
            vacant.insert(dwarf.unit(dwarf.debug_info.header_from_offset(DebugInfoOffset(start))?)?);
        }
        Ok(start)
    }
}

fn starts(dwarf: &Dwarf<Bytes>) -> gimli::Result<Vec<usize>> {
    let mut starts = Vec::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        starts.extend(header.debug_info_offset().map(|offset| offset.0));
    }
    Ok(starts)
}

fn named(unit: UnitRef<'_, Bytes>, entry: UnitOffset) -> gimli::Result<Named> {
    let entry = unit.entry(entry)?;
    if let Some(name) = entry.attr_value(gimli::DW_AT_name) {
        return Ok(Named::Name(unit.attr_string(name)?.to_string_lossy().into_owned()));
    }
    let origin = entry.attr_value(gimli::DW_AT_abstract_origin);
    Ok(match origin.or_else(|| entry.attr_value(gimli::DW_AT_specification)) {
        Some(AttributeValue::UnitRef(offset)) => Named::Here(offset),
        Some(AttributeValue::DebugInfoRef(offset)) => Named::Elsewhere(offset),
        _ => Named::Not,
    })
}
