//! Values in memory, of types that debug information tells of.

use std::sync::Arc;

use super::memory_copy::Copied;
use crate::symbolize::{Field, Form, Type, TypeId, Types, Variant};

/// A value: where it is, and of which type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) at: u64,
    pub(super) of: TypeId,
}

/// Memory, and what is in it.
pub(super) struct Typed<'a, 'b> {
    pub(super) types: &'a mut Types<'b>,
    pub(super) memory: &'a Copied<'a>,
}

/// Which pointers a search goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Through {
    /// None.
    Nothing,
    /// Those that own what they lead to alone, and exclusive references.
    Own,
    /// All.
    All,
}

/// Of a slice, so many are looked at.
const MOST_ELEMENTS: u64 = 256;
/// A search looks at so many values at most.
const MOST_SEARCHED: usize = 2_000;

impl Typed<'_, '_> {
    pub(super) fn of(&mut self, value: Value) -> Option<Arc<Type>> {
        self.types.get(value.of)
    }

    /// The variant that a value is, and what is in that.
    pub(super) fn variant(&mut self, value: Value) -> Option<(Variant, Value)> {
        let of = self.of(value)?;
        let Form::Variants { tag, variants, .. } = &of.form else { return None };
        let found = match tag {
            None => variants.first().filter(|_| variants.len() == 1)?,
            Some(tag) => {
                let number = self.memory.number(value.at.checked_add(tag.offset)?, tag.size)?;
                let mask = u64::MAX >> (64 - 8 * tag.size);
                let is = |variant: &&Variant| variant.tag.is_some_and(|tag| tag & mask == number);
                variants.iter().find(is).or_else(|| variants.iter().find(|variant| variant.tag.is_none()))?
            }
        };
        Some((found.clone(), Value { at: value.at.checked_add(found.field.offset)?, of: found.field.of }))
    }

    /// Its members; of an enum, those of the variant that it is.
    pub(super) fn members(&mut self, value: Value) -> Vec<(Arc<str>, Value)> {
        let mut value = value;
        // An enum may be a variant of another one, but no file says for how long.
        for _ in 0..DEEPEST {
            let Some(of) = self.of(value) else { break };
            match &of.form {
                Form::Fields(fields) => {
                    let at = |offset: u64| value.at.checked_add(offset);
                    let member =
                        |field: &Field| Some((field.name.clone(), Value { at: at(field.offset)?, of: field.of }));
                    return fields.iter().filter_map(member).collect();
                }
                Form::Variants { .. } => match self.variant(value) {
                    Some((_, inside)) => value = inside,
                    None => break,
                },
                _ => break,
            }
        }
        Vec::new()
    }

    pub(super) fn member(&mut self, value: Value, name: &str) -> Option<Value> {
        self.members(value).into_iter().find(|(of, _)| **of == *name).map(|(_, value)| value)
    }

    /// What a pointer leads to: one to a type of known size, or one to what a trait's table says.
    pub(super) fn target(&mut self, value: Value) -> Option<Value> {
        let of = self.of(value)?;
        match &of.form {
            Form::Pointer(Some(target)) => {
                Some(Value { at: self.memory.word(value.at).filter(|at| *at != 0)?, of: *target })
            }
            Form::Fields(_) => {
                let (pointer, table) = (self.member(value, "pointer")?, self.member(value, "vtable")?);
                let table = self.memory.word(table.at)?;
                Some(Value { at: self.memory.word(pointer.at)?, of: self.types.of_table(table)? })
            }
            _ => None,
        }
    }

    /// What a slice or a vector has, as far as that is not too much.
    pub(super) fn elements(&mut self, value: Value) -> Option<Vec<Value>> {
        let of = self.of(value)?;
        let (at, length, element) = if path(&of.name) == "alloc::vec::Vec" {
            let pointer = self.find(value, Through::Own, |name, _| name == "pointer")?;
            let (at, length) = (self.memory.word(pointer.at)?, self.member(value, "len")?);
            let (_, element) = of.arguments.iter().find(|(name, _)| name == "T")?;
            (at, length, *element)
        } else {
            let pointer = self.member(value, "data_ptr")?;
            let Form::Pointer(Some(element)) = self.of(pointer)?.form else { return None };
            (self.memory.word(pointer.at)?, self.member(value, "length")?, element)
        };
        let length = self.number(length)?.min(MOST_ELEMENTS);
        let size = self.types.get(element)?.size?;
        (0..length).map(|index| Some(Value { at: at.checked_add(index.checked_mul(size)?)?, of: element })).collect()
    }

    /// What the first pointer within a value leads to.
    pub(super) fn pointed(&mut self, value: Value) -> Option<Value> {
        let pointer = self.find(value, Through::Nothing, |_, of| matches!(of.form, Form::Pointer(_)))?;
        self.target(pointer)
    }

    /// The first value of all that are within one, itself among them, for which `wanted` holds, given the name of the member and the type.
    pub(super) fn find(
        &mut self,
        from: Value,
        through: Through,
        mut wanted: impl FnMut(&str, &Type) -> bool,
    ) -> Option<Value> {
        let mut next = vec![(Arc::from(""), from, 0)];
        let mut searched = 0;
        while let Some((name, value, depth)) = next.pop() {
            searched += 1;
            if searched > MOST_SEARCHED {
                return None;
            }
            let Some(of) = self.of(value) else { continue };
            if wanted(&name, &of) {
                return Some(value);
            }
            if depth >= DEEPEST {
                continue;
            }
            let target = goes_through(&of, through).then(|| self.target(value)).flatten();
            next.extend(target.map(|target| (name, target, depth + 1)));
            let members = self.members(value).into_iter().rev();
            next.extend(members.map(|(name, value)| (name, value, depth + 1)));
        }
        None
    }

    /// The number that a value is, or that the only member of it is.
    pub(super) fn number(&mut self, value: Value) -> Option<u64> {
        let found = self.find(value, Through::Nothing, |_, of| of.form == Form::Number)?;
        let size = self.of(found)?.size?;
        self.memory.number(found.at, size)
    }
}

/// Searches go so deep.
const DEEPEST: usize = 12;

/// Whether it is a pointer that a search goes through.
pub(super) fn goes_through(of: &Type, through: Through) -> bool {
    let is_pointer = matches!(of.form, Form::Pointer(_)) || is_dynamic(of);
    let is_own = of.name.starts_with("alloc::boxed::Box<") || of.name.starts_with("&mut ");
    is_pointer
        && match through {
            Through::Nothing => false,
            Through::Own => is_own,
            Through::All => true,
        }
}

/// Whether it is a pointer with the table of a trait's functions.
pub(super) fn is_dynamic(of: &Type) -> bool {
    let Form::Fields(fields) = &of.form else { return false };
    fields.len() == 2 && &*fields[0].name == "pointer" && &*fields[1].name == "vtable"
}

/// A type's path without its arguments.
pub(super) fn path(name: &str) -> &str {
    name.split('<').next().unwrap_or(name)
}
