//! The units of a file's debug information. Of all of them it is known where their code is; only those that names were looked up in are
//! parsed, and of their lines, which are most of it, no more than a look-up needs: a program has hundreds of thousands.

use std::collections::HashMap;
use std::sync::Arc;

use gimli::{DebugInfoOffset, Dwarf, Unit, UnitOffset, UnitRef};

use super::entry::{self, Attribute, Named};
use super::folder::Folders;
use super::functions::{self, Functions};
use super::lines::{Lines, Location};
use super::module::Bytes;
use super::ranges::Ranges;

/// So many units are kept parsed; then all are dropped. The stacks of one stall go through fewer.
pub(super) const MOST_PARSED: usize = 64;

/// So many references lead from an inlined instance to its name: to its origin, and from there to its declaration.
const REFERENCES: usize = 16;

/// The units of a file.
pub(super) struct Units {
    dwarf: Dwarf<Bytes>,
    /// Where each begins in `.debug_info`, in order.
    starts: Vec<usize>,
    /// Where their code is, by the end, and the unit's number.
    ranges: Vec<(gimli::Range, usize)>,
    parsed: HashMap<usize, Unit<Bytes>>,
    code: HashMap<usize, Code>,
    folders: Folders,
}

/// The code of a unit.
struct Code {
    functions: Functions,
    lines: Lines,
}

/// A function at an address: the one that the instruction is in, or one that this was inlined into.
pub(super) struct Found {
    unit: usize,
    /// `None` where only the line is known.
    entry: Option<UnitOffset>,
    pub(super) location: Location,
}

impl Units {
    /// Finds out where the code of each unit is.
    ///
    /// # Errors
    /// When the debug information is malformed.
    pub(super) fn of(dwarf: Dwarf<Bytes>) -> gimli::Result<Units> {
        let aranges = address_ranges(&dwarf)?;
        let (mut starts, mut ranges) = (Vec::new(), Vec::new());
        let mut headers = dwarf.units();
        while let Some(header) = headers.next()? {
            let Some(DebugInfoOffset(start)) = header.debug_info_offset() else { continue };
            let has_code = match header.type_() {
                gimli::UnitType::Type { .. } | gimli::UnitType::SplitType { .. } => continue,
                gimli::UnitType::Partial => false,
                _ => true,
            };
            let Ok(unit) = dwarf.unit(header) else { continue };
            if has_code {
                let number = starts.len();
                code_ranges(&unit.unit_ref(&dwarf), start, &aranges, |range| ranges.push((range, number)))?;
            }
            starts.push(start);
        }
        ranges.sort_unstable_by_key(|(range, number)| (range.end, *number));
        ranges.shrink_to_fit();
        Ok(Units { dwarf, starts, ranges, parsed: HashMap::new(), code: HashMap::new(), folders: Folders::default() })
    }

    /// The functions at an address, innermost inlined first; none if nothing is known.
    ///
    /// # Errors
    /// When the debug information is malformed.
    pub(super) fn find(&mut self, address: u64) -> gimli::Result<Vec<Found>> {
        self.make_room();
        let from = self.ranges.partition_point(|(range, _)| range.end <= address);
        for index in from..self.ranges.len() {
            let (range, number) = self.ranges[index];
            if range.begin > address {
                continue;
            }
            let found = self.find_in(self.starts[number], address)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// How many are parsed.
    #[cfg(all(test, supported))]
    pub(super) fn parsed(&self) -> usize {
        self.parsed.len()
    }

    fn find_in(&mut self, start: usize, address: u64) -> gimli::Result<Vec<Found>> {
        self.parse(start)?;
        let unit = self.parsed[&start].unit_ref(&self.dwarf);
        let code = match self.code.entry(start) {
            std::collections::hash_map::Entry::Occupied(code) => code.into_mut(),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(Code { functions: Functions::of(&unit)?, lines: Lines::of(&unit)? })
            }
        };
        let location = code.lines.at(&unit, address)?;
        let Some(function) = code.functions.at(address) else {
            let found = |location| Found { unit: start, entry: None, location };
            return Ok(location.map(found).into_iter().collect());
        };
        let mut location = location.unwrap_or_default();
        let mut found = Vec::new();
        for inlined in functions::inlined(&unit, function, address)?.into_iter().rev() {
            let called_at = Lines::location(&unit, inlined.file, inlined.line, inlined.column)?;
            let location = std::mem::replace(&mut location, called_at);
            found.push(Found { unit: start, entry: Some(inlined.entry), location });
        }
        found.push(Found { unit: start, entry: Some(function), location });
        Ok(found)
    }

    /// See [`super::Frame::compiled_in`].
    pub(super) fn compiled_in(&mut self, found: &Found) -> Option<Arc<str>> {
        self.folders.of(self.parsed.get(&found.unit)?)
    }

    /// The name that the linker knows it by, or if it has none, the name as it was written.
    pub(super) fn symbol(&mut self, found: &Found) -> gimli::Result<Option<String>> {
        self.named(found, entry::symbol_or_name)
    }

    /// The name as it was written, with type arguments.
    pub(super) fn name(&mut self, found: &Found) -> gimli::Result<Option<String>> {
        self.named(found, entry::name)
    }

    /// The first of an entry and those that it refers to of which `attribute` is a name. That may be in another unit: link-time
    /// optimisation inlines across crates.
    fn named(&mut self, found: &Found, attribute: Attribute) -> gimli::Result<Option<String>> {
        let Found { unit: mut start, entry: Some(mut entry), .. } = *found else { return Ok(None) };
        for _ in 0..REFERENCES {
            self.parse(start)?;
            match entry::named(self.parsed[&start].unit_ref(&self.dwarf), entry, attribute)? {
                Named::Name(name) => return Ok(Some(name)),
                Named::Not => return Ok(None),
                Named::Here(offset) => entry = offset,
                Named::Elsewhere(offset) => {
                    start = self.containing(offset)?;
                    self.parse(start)?;
                    let Some(offset) = offset.to_unit_offset(&self.parsed[&start].header) else { return Ok(None) };
                    entry = offset;
                }
            }
        }
        Ok(None)
    }

    /// The unit that an entry is in.
    pub(super) fn unit_of(&mut self, entry: DebugInfoOffset) -> gimli::Result<UnitRef<'_, Bytes>> {
        let start = self.containing(entry)?;
        self.make_room();
        self.parse(start)?;
        Ok(self.parsed[&start].unit_ref(&self.dwarf))
    }

    /// Where the entry of a function is in `.debug_info`.
    pub(super) fn entry_of(&self, found: &Found) -> Option<DebugInfoOffset> {
        found.entry?.to_debug_info_offset(&self.parsed.get(&found.unit)?.header)
    }

    pub(super) fn dwarf(&self) -> &Dwarf<Bytes> {
        &self.dwarf
    }

    fn make_room(&mut self) {
        if self.parsed.len() > MOST_PARSED {
            self.parsed.clear();
            self.code.clear();
        }
    }

    /// Where the unit begins that an entry is in.
    fn containing(&self, entry: DebugInfoOffset) -> gimli::Result<usize> {
        let after = self.starts.partition_point(|start| *start <= entry.0);
        let start = after.checked_sub(1).map(|index| self.starts[index]);
        start.ok_or(gimli::Error::NoEntryAtGivenOffset(entry.0 as u64))
    }

    fn parse(&mut self, start: usize) -> gimli::Result<()> {
        if let std::collections::hash_map::Entry::Vacant(vacant) = self.parsed.entry(start) {
            let header = self.dwarf.debug_info.header_from_offset(DebugInfoOffset(start))?;
            vacant.insert(self.dwarf.unit(header)?);
        }
        Ok(())
    }
}

/// Where `.debug_aranges` has which unit, by where that begins.
fn address_ranges(dwarf: &Dwarf<Bytes>) -> gimli::Result<Vec<(usize, gimli::DebugArangesOffset)>> {
    let mut all = Vec::new();
    let mut headers = dwarf.debug_aranges.headers();
    while let Some(header) = headers.next()? {
        all.push((header.debug_info_offset().0, header.offset()));
    }
    all.sort_unstable_by_key(|(unit, _)| *unit);
    Ok(all)
}

/// Where the code of a unit is, from the first of these that says so: its list of ranges, the index, its first and last address, its
/// lines.
fn code_ranges(
    unit: &UnitRef<'_, Bytes>,
    start: usize,
    aranges: &[(usize, gimli::DebugArangesOffset)],
    mut add: impl FnMut(gimli::Range),
) -> gimli::Result<()> {
    let mut entries = unit.entries_raw(None)?;
    let Some(abbreviation) = entries.read_abbreviation()? else { return Ok(()) };
    let mut ranges = Ranges::default();
    for attribute in abbreviation.attributes() {
        ranges.read(unit, &entries.read_attribute(*attribute)?)?;
    }
    let mut is_known = false;
    if ranges.list.is_none() {
        let from = aranges.partition_point(|(unit, _)| *unit < start);
        for (_, offset) in aranges[from..].iter().take_while(|(unit, _)| *unit == start) {
            let mut entries = unit.dwarf.debug_aranges.header(*offset)?.entries();
            while let Some(entry) = entries.next().transpose() {
                // One that makes no sense hides no other.
                for range in entry.into_iter().map(|entry| entry.range()).filter(|range| range.begin < range.end) {
                    is_known = true;
                    add(range);
                }
            }
        }
    }
    if !is_known && !ranges.each(unit, &mut add)? {
        Lines::of(unit).iter().flat_map(Lines::ranges).for_each(add);
    }
    Ok(())
}
