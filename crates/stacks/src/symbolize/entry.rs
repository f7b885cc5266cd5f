//! The name of a DWARF entry, which may be in another entry.

use gimli::{AttributeValue, DebugInfoOffset, UnitOffset, UnitRef};

use super::module::Bytes;

type Entry = gimli::DebuggingInformationEntry<Bytes>;

/// Which attribute of an entry is its name.
pub(super) type Attribute = fn(&Entry) -> Option<AttributeValue<Bytes>>;

/// The name as it was written.
pub(super) fn name(entry: &Entry) -> Option<AttributeValue<Bytes>> {
    entry.attr_value(gimli::DW_AT_name)
}

/// The name that the linker knows it by, or else the name as it was written.
pub(super) fn symbol_or_name(entry: &Entry) -> Option<AttributeValue<Bytes>> {
    let symbol = entry.attr_value(gimli::DW_AT_linkage_name);
    symbol.or_else(|| entry.attr_value(gimli::DW_AT_MIPS_linkage_name)).or_else(|| name(entry))
}

/// What an entry says of its name.
pub(super) enum Named {
    /// This is it.
    Name(String),
    /// It is that of another entry of the unit.
    Here(UnitOffset),
    /// It is that of an entry of some unit.
    Elsewhere(DebugInfoOffset),
    /// Nothing.
    Not,
}

/// What the entry at an offset says of its name.
pub(super) fn named(unit: UnitRef<'_, Bytes>, entry: UnitOffset, attribute: Attribute) -> gimli::Result<Named> {
    let entry = unit.entry(entry)?;
    if let Some(name) = attribute(&entry) {
        return Ok(Named::Name(unit.attr_string(name)?.to_string_lossy().into_owned()));
    }
    let origin = entry.attr_value(gimli::DW_AT_abstract_origin);
    Ok(match origin.or_else(|| entry.attr_value(gimli::DW_AT_specification)) {
        Some(AttributeValue::UnitRef(offset)) => Named::Here(offset),
        Some(AttributeValue::DebugInfoRef(offset)) => Named::Elsewhere(offset),
        _ => Named::Not,
    })
}
