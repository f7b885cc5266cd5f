//! Types as debug information tells of them: which members they have and where, and which variant is meant by which tag.
//!
//! Only `debug = 2` has them. Entries are read as they are asked for; where a type stands, which says its whole name, is in an [`Index`]
//! that is made once.

use std::collections::HashMap;
use std::sync::Arc;

use gimli::{AttributeValue, DebuggingInformationEntry, EntriesTreeNode, UnitRef};

use super::lines;
use super::module::Bytes;
use super::units::{Found, Units};

mod index;

pub(crate) use index::AWAITED;
use index::Index;

type Entry = DebuggingInformationEntry<Bytes>;

/// A type of a file, by where its entry is in `.debug_info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TypeId(pub(super) usize);

/// What is known of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Type {
    /// Its whole path, with its arguments.
    pub(crate) name: Arc<str>,
    /// In bytes; `None` where that is not told.
    pub(crate) size: Option<u64>,
    /// In bytes; `None` where that is not told.
    pub(crate) alignment: Option<u64>,
    pub(crate) form: Form,
    /// The types of its arguments, by the names of its parameters.
    pub(crate) arguments: Vec<(String, TypeId)>,
}

/// What a type is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// A structure, a tuple, a closure or a union.
    Fields(Vec<Field>),
    /// An enum with data, or a coroutine.
    Variants {
        tag: Option<Tag>,
        variants: Vec<Variant>,
        fields: Vec<Field>,
    },
    /// An address of one of that type.
    Pointer(Option<TypeId>),
    /// A number, a `bool` or a `char`.
    Number,
    /// So many of one type, one behind the other.
    Array(TypeId, u64),
    Other,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: Arc<str>,
    /// From the beginning of what it is a member of, in bytes.
    pub(crate) offset: u64,
    pub(crate) of: TypeId,
}

/// Where it says which variant there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// One variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variant {
    /// The tag's value if it is this one; `None` of the one that it is otherwise.
    pub(crate) tag: Option<u64>,
    pub(crate) field: Field,
    /// Where it is written in the source: of a suspended coroutine, the `.await`.
    pub(crate) at: Option<(String, u32)>,
}

impl Type {
    /// The member of that name, whatever the variant.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        let (Form::Fields(fields) | Form::Variants { fields, .. }) = &self.form else { return None };
        fields.iter().find(|field| *field.name == *name)
    }

    /// The only member that takes room, or the only one.
    pub(crate) fn only_field(&self) -> Option<&Field> {
        let Form::Fields(fields) = &self.form else { return None };
        fields.first().filter(|_| fields.len() == 1)
    }

    /// The variant of that name: its member.
    pub(crate) fn variant_named(&self, name: &str) -> Option<&Field> {
        let Form::Variants { variants, .. } = &self.form else { return None };
        variants.iter().map(|variant| &variant.field).find(|field| *field.name == *name)
    }
}

/// What is known of a file's types.
pub(super) struct Known {
    index: Index,
    read: HashMap<TypeId, Option<Arc<Type>>>,
}

impl Known {
    pub(super) fn of(units: &Units) -> gimli::Result<Known> {
        Ok(Known { index: Index::of(units.dwarf())?, read: HashMap::new() })
    }
}

/// The types of a file that a process has mapped.
pub(crate) struct Types<'a> {
    units: &'a mut Units,
    known: &'a mut Known,
    /// How much higher the file is in memory than it says.
    bias: u64,
}

/// So many types are kept; then all are dropped.
const MOST_READ: usize = 1 << 16;

impl<'a> Types<'a> {
    pub(super) fn new(units: &'a mut Units, known: &'a mut Known, bias: u64) -> Types<'a> {
        Types { units, known, bias }
    }

    /// What a type is; `None` where that is malformed.
    pub(crate) fn get(&mut self, id: TypeId) -> Option<Arc<Type>> {
        if let Some(known) = self.known.read.get(&id) {
            return known.clone();
        }
        let read = self.units.type_of(id, &self.known.index).ok().map(Arc::new);
        if self.known.read.len() >= MOST_READ {
            self.known.read.clear();
        }
        self.known.read.insert(id, read.clone());
        read
    }

    /// The type arguments of the function that begins at an address, by the names of its parameters; of functions that were inlined
    /// there, none.
    pub(crate) fn of_function(&mut self, address: u64) -> Vec<(String, TypeId)> {
        let found = self.units.find(address.wrapping_sub(self.bias)).unwrap_or_default();
        found.last().map(|function| self.units.arguments(function).unwrap_or_default()).unwrap_or_default()
    }

    /// Which type's functions are in a table, by its address in memory.
    pub(crate) fn of_table(&self, address: u64) -> Option<TypeId> {
        self.known.index.of_table(address.wrapping_sub(self.bias))
    }

    /// Where a future of a type of this name is awaited, if that is one place: of what a macro awaits, where the macro is called.
    pub(crate) fn awaited_at(&mut self, name: &str) -> Option<(String, u32)> {
        let mut found = None;
        for of in self.named(name) {
            let Some(awaited) = self.known.index.awaited(of) else { continue };
            let unit = self.units.unit_of(gimli::DebugInfoOffset(awaited.entry)).ok()?;
            let place = (source(&unit, awaited.file).ok()??, awaited.line);
            if found.get_or_insert_with(|| place.clone()) != &place {
                return None;
            }
        }
        found
    }

    /// The types that have this name, those that are only declared among them.
    pub(crate) fn named(&self, name: &str) -> Vec<TypeId> {
        self.known.index.named(name).collect()
    }
}

/// Types lead to types through so many names at most: `typedef`, `const` and the like.
const ALIASES: usize = 8;

impl Units {
    /// Which types a function has as its arguments, by the names of the parameters: `T`, `S`.
    fn arguments(&mut self, found: &Found) -> gimli::Result<Vec<(String, TypeId)>> {
        let Some(mut at) = self.entry_of(found).map(|entry| entry.0) else { return Ok(Vec::new()) };
        for _ in 0..ALIASES {
            let (arguments, next) = self.read_at(at, |unit, node| {
                let origin = node.entry().attr_value(gimli::DW_AT_abstract_origin);
                let origin = origin.or_else(|| node.entry().attr_value(gimli::DW_AT_specification));
                let next = origin.and_then(|origin| target(unit, origin));
                let mut arguments = Vec::new();
                let mut children = node.children();
                while let Some(child) = children.next()? {
                    arguments.extend(argument(unit, child.entry())?);
                }
                Ok((arguments, next))
            })?;
            match next {
                Some(next) if arguments.is_empty() => at = next.0,
                _ => return Ok(arguments),
            }
        }
        Ok(Vec::new())
    }

    /// What a type is.
    fn type_of(&mut self, id: TypeId, index: &Index) -> gimli::Result<Type> {
        let mut at = id;
        for _ in 0..ALIASES {
            match self.entry(at, index)? {
                (Read::Type(of), true) => return Ok(self.defined(&of.name, index).unwrap_or(of)),
                (Read::Type(of), false) => return Ok(of),
                (Read::Alias(of), _) => at = of,
            }
        }
        Err(gimli::Error::NoEntryAtGivenOffset(id.0 as u64))
    }

    /// The type of that name whose entry says what it is made of: most units only declare what others define.
    fn defined(&mut self, name: &str, index: &Index) -> Option<Type> {
        index.named(name).find_map(|of| match self.entry(of, index) {
            Ok((Read::Type(of), false)) => Some(of),
            _ => None,
        })
    }

    /// What an entry says, and whether that it is but declared.
    fn entry(&mut self, of: TypeId, index: &Index) -> gimli::Result<(Read, bool)> {
        let scope = index.scope(of);
        let mut tag_of = None;
        let (mut entry, is_declared) = self.read_at(of.0, |unit, node| {
            let is_declared = node.entry().attr_value(gimli::DW_AT_declaration).is_some();
            Ok((read(unit, node, scope, &mut tag_of)?, is_declared))
        })?;
        // A tag's type may be of another unit.
        if let (Read::Type(Type { form: Form::Variants { tag, .. }, .. }), Some((offset, of))) = (&mut entry, tag_of) {
            let size = self.read_at(of.0, |_, node| Ok(size(node.entry())))?;
            *tag = size.map(|size| Tag { offset, size });
        }
        Ok((entry, is_declared))
    }

    fn read_at<T>(
        &mut self,
        at: usize,
        read: impl FnOnce(&UnitRef<'_, Bytes>, EntriesTreeNode<'_, '_, Bytes>) -> gimli::Result<T>,
    ) -> gimli::Result<T> {
        let unit = self.unit_of(gimli::DebugInfoOffset(at))?;
        let Some(offset) = gimli::DebugInfoOffset(at).to_unit_offset(&unit.header) else {
            return Err(gimli::Error::NoEntryAtGivenOffset(at as u64));
        };
        let mut tree = unit.entries_tree(Some(offset))?;
        read(&unit, tree.root()?)
    }
}

enum Read {
    Type(Type),
    /// It is another one under a name of its own.
    Alias(TypeId),
}

/// What an entry says; of one with variants but where their tag is, which is left in `tag` with its type.
fn read(
    unit: &UnitRef<'_, Bytes>,
    node: EntriesTreeNode<'_, '_, Bytes>,
    scope: Option<&str>,
    tag: &mut Option<(u64, TypeId)>,
) -> gimli::Result<Read> {
    let entry = node.entry();
    let of = referred(unit, entry);
    let size = size(entry);
    let alignment = entry.attr(gimli::DW_AT_alignment).and_then(gimli::Attribute::udata_value);
    let last = name(unit, entry)?.unwrap_or_default();
    let name: Arc<str> = scope.map_or_else(|| last.clone(), |scope| format!("{scope}::{last}")).into();
    let mut arguments = Vec::new();
    let form = match entry.tag() {
        gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type => members(unit, node, &mut arguments, tag)?,
        gimli::DW_TAG_pointer_type => Form::Pointer(of),
        gimli::DW_TAG_base_type | gimli::DW_TAG_enumeration_type => Form::Number,
        gimli::DW_TAG_array_type => array(of, node)?,
        gimli::DW_TAG_typedef | gimli::DW_TAG_const_type | gimli::DW_TAG_volatile_type => match of {
            Some(of) => return Ok(Read::Alias(of)),
            None => Form::Other,
        },
        _ => Form::Other,
    };
    Ok(Read::Type(Type { name, size, alignment, form, arguments }))
}

fn members(
    unit: &UnitRef<'_, Bytes>,
    node: EntriesTreeNode<'_, '_, Bytes>,
    arguments: &mut Vec<(String, TypeId)>,
    tag: &mut Option<(u64, TypeId)>,
) -> gimli::Result<Form> {
    let (mut fields, mut variants, mut has_variants) = (Vec::new(), Vec::new(), false);
    // Which variant is meant by which of several tags is not read: then none is known.
    let mut has_lists = false;
    let mut children = node.children();
    while let Some(child) = children.next()? {
        match child.entry().tag() {
            gimli::DW_TAG_member => fields.extend(field(unit, child.entry())?),
            gimli::DW_TAG_template_type_parameter => arguments.extend(argument(unit, child.entry())?),
            gimli::DW_TAG_variant_part => {
                has_variants = true;
                let of_tag = child.entry().attr_value(gimli::DW_AT_discr);
                let mut parts = child.children();
                while let Some(part) = parts.next()? {
                    match part.entry().tag() {
                        // The tag is a member of the part.
                        gimli::DW_TAG_member => {
                            let is_tag = of_tag == Some(AttributeValue::UnitRef(part.entry().offset()));
                            let found = field(unit, part.entry())?.filter(|_| is_tag);
                            *tag = found.map(|found| (found.offset, found.of));
                        }
                        gimli::DW_TAG_variant => {
                            has_lists |= part.entry().attr(gimli::DW_AT_discr_list).is_some();
                            variants.extend(variant(unit, part)?);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(match has_variants {
        _ if has_lists => Form::Other,
        true => Form::Variants { tag: None, variants, fields },
        false => Form::Fields(fields),
    })
}

fn variant(unit: &UnitRef<'_, Bytes>, node: EntriesTreeNode<'_, '_, Bytes>) -> gimli::Result<Option<Variant>> {
    let tag = node.entry().attr(gimli::DW_AT_discr_value).and_then(unsigned);
    let mut children = node.children();
    while let Some(child) = children.next()? {
        let entry = child.entry();
        if entry.tag() == gimli::DW_TAG_member
            && let Some(field) = field(unit, entry)?
        {
            return Ok(Some(Variant { tag, field, at: place(unit, entry)? }));
        }
    }
    Ok(None)
}

/// A tag of any width, as the bits of it.
fn unsigned(attribute: &gimli::Attribute<Bytes>) -> Option<u64> {
    attribute.udata_value().or_else(|| attribute.sdata_value().map(i64::cast_unsigned))
}

fn array(of: Option<TypeId>, node: EntriesTreeNode<'_, '_, Bytes>) -> gimli::Result<Form> {
    let mut children = node.children();
    let mut count = None;
    while let Some(child) = children.next()? {
        count = child.entry().attr(gimli::DW_AT_count).and_then(gimli::Attribute::udata_value).or(count);
    }
    Ok(of.zip(count).map_or(Form::Other, |(of, count)| Form::Array(of, count)))
}

/// How large a type is, in bytes.
fn size(entry: &Entry) -> Option<u64> {
    entry.attr(gimli::DW_AT_byte_size)?.udata_value()
}

fn field(unit: &UnitRef<'_, Bytes>, entry: &Entry) -> gimli::Result<Option<Field>> {
    let offset = entry.attr(gimli::DW_AT_data_member_location).map_or(Some(0), gimli::Attribute::udata_value);
    let name: Arc<str> = name(unit, entry)?.unwrap_or_default().into();
    Ok(offset.zip(referred(unit, entry)).map(|(offset, of)| Field { name, offset, of }))
}

fn argument(unit: &UnitRef<'_, Bytes>, entry: &Entry) -> gimli::Result<Option<(String, TypeId)>> {
    if entry.tag() != gimli::DW_TAG_template_type_parameter {
        return Ok(None);
    }
    Ok(name(unit, entry)?.zip(referred(unit, entry)))
}

fn name(unit: &UnitRef<'_, Bytes>, entry: &Entry) -> gimli::Result<Option<String>> {
    let Some(name) = entry.attr_value(gimli::DW_AT_name) else { return Ok(None) };
    Ok(Some(unit.attr_string(name)?.to_string_lossy().into_owned()))
}

fn referred(unit: &UnitRef<'_, Bytes>, entry: &Entry) -> Option<TypeId> {
    target(unit, entry.attr_value(gimli::DW_AT_type)?)
}

fn target(unit: &UnitRef<'_, Bytes>, reference: AttributeValue<Bytes>) -> Option<TypeId> {
    match reference {
        AttributeValue::UnitRef(offset) => Some(TypeId(offset.to_debug_info_offset(&unit.header)?.0)),
        AttributeValue::DebugInfoRef(offset) => Some(TypeId(offset.0)),
        _ => None,
    }
}

/// The file and the line.
fn place(unit: &UnitRef<'_, Bytes>, entry: &Entry) -> gimli::Result<Option<(String, u32)>> {
    let line = entry.attr(gimli::DW_AT_decl_line).and_then(gimli::Attribute::udata_value);
    let Some(AttributeValue::FileIndex(file)) = entry.attr_value(gimli::DW_AT_decl_file) else { return Ok(None) };
    let Some(line) = line.and_then(|line| u32::try_from(line).ok()).filter(|line| *line > 0) else { return Ok(None) };
    Ok(source(unit, file)?.map(|path| (path, line)))
}

/// The path of a file as the compiler was given it, which is from the folder that it ran in where that is known.
fn source(unit: &UnitRef<'_, Bytes>, file: u64) -> gimli::Result<Option<String>> {
    let Some(path) = lines::path(unit, file)? else { return Ok(None) };
    let is_relative = unit.name.is_some_and(|name| !name.to_string_lossy().starts_with('/'));
    let folder = unit.comp_dir.filter(|_| is_relative).map(|folder| folder.to_string_lossy());
    let below = folder.and_then(|folder| Some(path.strip_prefix(&*folder)?.strip_prefix('/')?.to_owned()));
    Ok(Some(below.unwrap_or(path)))
}

#[cfg(test)]
mod tests;
