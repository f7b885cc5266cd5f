//! Where the types of a file are: by their whole names, and by the tables of their traits' functions.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use gimli::{AttributeValue, Dwarf, Operation, UnitRef};

use super::{TypeId, target};
use crate::symbolize::module::Bytes;

/// What the compiler calls a future that is awaited.
pub(crate) const AWAITED: &str = "__awaitee";
/// What the compiler calls the table of a type's functions, behind the name of the trait.
const TABLE: &str = "::{vtable}";
/// So many types are known of a file, and so many modules that they are in. A program of a hundred crates has a tenth of that.
const MOST_TYPES: usize = 1 << 23;

/// See the module.
#[derive(Default)]
pub(crate) struct Index {
    /// The hash of a type's whole name, and where it is; in order.
    names: Vec<(u64, usize)>,
    hasher: RandomState,
    /// Where a type is, and in which of the modules below; in order.
    places: Vec<(usize, u32)>,
    modules: Vec<Box<str>>,
    /// Which type's a table is, by its address in the file.
    tables: HashMap<u64, TypeId>,
    /// Where futures of a type are awaited, by the variables that have them; `None` where at several places.
    awaited: HashMap<TypeId, Option<Awaited>>,
}

/// Where the source has an `.await`: of one that a macro has, what calls the macro.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Awaited {
    /// An entry of the unit whose file is meant.
    pub(super) entry: usize,
    pub(super) file: u64,
    pub(super) line: u32,
}

impl Index {
    /// Goes through all of a file's debug information once.
    ///
    /// # Errors
    /// When it is malformed.
    pub(crate) fn of(dwarf: &Dwarf<Bytes>) -> gimli::Result<Index> {
        let mut index = Index::default();
        let mut headers = dwarf.units();
        while let Some(header) = headers.next()? {
            let Ok(unit) = dwarf.unit(header) else { continue };
            index.add(&unit.unit_ref(dwarf))?;
        }
        index.names.sort_unstable();
        index.places.sort_unstable();
        index.names.shrink_to_fit();
        index.places.shrink_to_fit();
        Ok(index)
    }

    /// The types that have this name, those that are only declared among them.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = TypeId> {
        let hash = self.hasher.hash_one(name);
        let from = self.names.partition_point(|(other, _)| *other < hash);
        self.names[from..].iter().take_while(move |(other, _)| *other == hash).map(|(_, at)| TypeId(*at))
    }

    /// The module that a type is in; `None` of one that is in none, such as a number or a reference.
    pub(crate) fn scope(&self, of: TypeId) -> Option<&str> {
        let found = self.places.binary_search_by_key(&of.0, |(at, _)| *at).ok()?;
        self.modules.get(self.places[found].1 as usize).map(AsRef::as_ref)
    }

    /// Which type's functions are in the table at an address of the file.
    pub(crate) fn of_table(&self, address: u64) -> Option<TypeId> {
        self.tables.get(&address).copied()
    }

    /// Where a future of a type is awaited; `None` where nowhere or at several places.
    pub(super) fn awaited(&self, of: TypeId) -> Option<Awaited> {
        self.awaited.get(&of).copied().flatten()
    }

    fn add(&mut self, unit: &UnitRef<'_, Bytes>) -> gimli::Result<()> {
        let mut entries = unit.entries_raw(None)?;
        // The modules that the next entry is in, by their depth.
        let mut within: Vec<(isize, u32)> = Vec::new();
        while !entries.is_empty() {
            let (at, depth) = (entries.next_offset(), entries.next_depth());
            within.truncate(within.partition_point(|(outer, _)| *outer < depth));
            let Some(abbreviation) = entries.read_abbreviation()? else { continue };
            let tag = abbreviation.tag();
            let is_of_interest = matches!(
                tag,
                gimli::DW_TAG_namespace
                    | gimli::DW_TAG_structure_type
                    | gimli::DW_TAG_union_type
                    | gimli::DW_TAG_enumeration_type
                    | gimli::DW_TAG_variable
            );
            if !is_of_interest || self.names.len() >= MOST_TYPES {
                entries.skip_attributes(abbreviation.attributes())?;
                continue;
            }
            let mut said = Said::default();
            for specification in abbreviation.attributes() {
                said.read(unit, &entries.read_attribute(*specification)?);
            }
            let Some(name) = said.name else { continue };
            let name = unit.attr_string(name)?.to_string_lossy();
            let outer = within.last().map(|(_, module)| *module);
            match tag {
                gimli::DW_TAG_namespace => within.push((depth, self.module(outer, &name))),
                gimli::DW_TAG_variable if name == AWAITED => {
                    let entry = at.to_debug_info_offset(&unit.header).map(|at| at.0);
                    if let (Some(of), Some(entry), Some(file), Some(line)) = (said.of, entry, said.file, said.line) {
                        let line = u32::try_from(line).unwrap_or(0);
                        self.add_awaited(of, Awaited { entry, file, line });
                    }
                }
                gimli::DW_TAG_variable => {
                    let table = said.of.filter(|_| name.ends_with(TABLE)).zip(said.location);
                    let table =
                        table.and_then(|(of, location)| Some((address(unit, location)?, containing(unit, of)?)));
                    self.tables.extend(table);
                }
                _ => {
                    let Some(at) = at.to_debug_info_offset(&unit.header) else { continue };
                    self.add_type(at.0, outer, &name);
                }
            }
        }
        Ok(())
    }

    fn add_awaited(&mut self, of: TypeId, found: Awaited) {
        let is_same = |other: &Awaited| (other.file, other.line) == (found.file, found.line);
        let known = self.awaited.entry(of).or_insert(Some(found));
        if !known.as_ref().is_some_and(is_same) {
            *known = None;
        }
    }

    /// The number of a module in another one.
    fn module(&mut self, outer: Option<u32>, name: &str) -> u32 {
        let path = self.path(outer, name);
        // Units have the modules of one crate one after another: the last of the same name is near.
        let known = self.modules.iter().rev().take(64).position(|module| **module == *path);
        let number = known.map_or(self.modules.len(), |back| self.modules.len() - 1 - back);
        if known.is_none() {
            self.modules.push(path.into());
        }
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    fn path(&self, outer: Option<u32>, name: &str) -> String {
        match outer.and_then(|outer| self.modules.get(outer as usize)) {
            Some(outer) => format!("{outer}::{name}"),
            None => name.to_owned(),
        }
    }

    fn add_type(&mut self, at: usize, module: Option<u32>, name: &str) {
        let path = self.path(module, name);
        self.names.push((self.hasher.hash_one(path.as_str()), at));
        if let Some(module) = module {
            self.places.push((at, module));
        }
    }
}

/// What an entry says of itself, as far as it matters here.
#[derive(Default)]
struct Said {
    name: Option<AttributeValue<Bytes>>,
    location: Option<gimli::Expression<Bytes>>,
    of: Option<TypeId>,
    file: Option<u64>,
    line: Option<u64>,
}

impl Said {
    fn read(&mut self, unit: &UnitRef<'_, Bytes>, attribute: &gimli::Attribute<Bytes>) {
        match (attribute.name(), attribute.value()) {
            (gimli::DW_AT_name, name) => self.name = Some(name),
            (gimli::DW_AT_location, _) => self.location = attribute.exprloc_value(),
            (gimli::DW_AT_type, of) => self.of = target(unit, of),
            (gimli::DW_AT_decl_line, _) => self.line = attribute.udata_value(),
            (gimli::DW_AT_decl_file, AttributeValue::FileIndex(file)) => self.file = Some(file),
            _ => {}
        }
    }
}

/// A fixed address.
fn address(unit: &UnitRef<'_, Bytes>, location: gimli::Expression<Bytes>) -> Option<u64> {
    match location.operations(unit.encoding()).next().ok()?? {
        Operation::Address { address } => Some(address),
        Operation::AddressIndex { index } => unit.address(index).ok(),
        _ => None,
    }
}

/// Whose table it is, by the table's type.
fn containing(unit: &UnitRef<'_, Bytes>, table: TypeId) -> Option<TypeId> {
    let here = gimli::DebugInfoOffset(table.0).to_unit_offset(&unit.header)?;
    match unit.entry(here).ok()?.attr_value(gimli::DW_AT_containing_type)? {
        reference @ (AttributeValue::UnitRef(_) | AttributeValue::DebugInfoRef(_)) => target(unit, reference),
        _ => None,
    }
}
