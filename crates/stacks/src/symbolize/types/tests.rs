//! What compilers write only now and then.

use gimli::write::{self, AttributeValue as Value, DebugInfoRef, EndianVec, Sections, Unit, UnitEntryId, UnitId};
use gimli::{Encoding, Format, LittleEndian};

use super::*;

/// Debug information of two units.
struct Written {
    dwarf: write::Dwarf,
    ids: [UnitId; 2],
}

impl Written {
    fn new() -> Written {
        let encoding = Encoding { format: Format::Dwarf32, version: 4, address_size: 8 };
        let mut dwarf = write::Dwarf::new();
        let ids = [(); 2].map(|()| dwarf.units.add(Unit::new(encoding, write::LineProgram::none())));
        Written { dwarf, ids }
    }

    fn unit(&mut self, unit: usize) -> &mut Unit {
        self.dwarf.units.get_mut(self.ids[unit])
    }

    /// An entry, as the other unit says where it is.
    fn elsewhere(&self, unit: usize, entry: UnitEntryId) -> Value {
        Value::DebugInfoRef(DebugInfoRef::Entry(self.ids[unit], entry))
    }

    fn add(&mut self, unit: usize, within: Option<UnitEntryId>, tag: gimli::DwTag, name: &str) -> UnitEntryId {
        let within = within.unwrap_or_else(|| self.unit(unit).root());
        let entry = self.unit(unit).add(within, tag);
        if !name.is_empty() {
            self.set(unit, entry, gimli::DW_AT_name, Value::String(name.into()));
        }
        entry
    }

    fn set(&mut self, unit: usize, entry: UnitEntryId, attribute: gimli::DwAt, value: Value) {
        self.unit(unit).get_mut(entry).set(attribute, value);
    }

    /// A member at the beginning.
    fn member(&mut self, unit: usize, within: UnitEntryId, name: &str, of: Value) -> UnitEntryId {
        let member = self.add(unit, Some(within), gimli::DW_TAG_member, name);
        self.set(unit, member, gimli::DW_AT_type, of);
        self.set(unit, member, gimli::DW_AT_data_member_location, Value::Udata(0));
        member
    }

    fn number(&mut self, unit: usize, size: u64) -> UnitEntryId {
        let number = self.add(unit, None, gimli::DW_TAG_base_type, "u32");
        self.set(unit, number, gimli::DW_AT_byte_size, Value::Udata(size));
        number
    }

    /// What is known of each entry of that name.
    fn read(mut self, name: &str) -> Vec<Option<Type>> {
        let mut sections = Sections::new(EndianVec::new(LittleEndian));
        self.dwarf.write(&mut sections).expect("it is whole");
        let load = |id: gimli::SectionId| {
            let mut bytes: &'static [u8] = &[];
            let find = |other: gimli::SectionId, section: &EndianVec<LittleEndian>| {
                if other == id {
                    bytes = section.slice().to_vec().leak();
                }
                Ok::<(), gimli::Error>(())
            };
            sections.for_each(find).map(|()| Bytes::new(bytes, LittleEndian))
        };
        let mut units = Units::of(gimli::Dwarf::load(load).expect("it is there")).expect("it is well-formed");
        let mut known = Known::of(&units).expect("it is well-formed");
        let mut types = Types::new(&mut units, &mut known, 0);
        let all = types.named(name);
        all.into_iter().map(|of| types.get(of).map(|of| (*of).clone())).collect()
    }
}

#[test]
fn a_tag_may_have_a_type_of_another_unit() {
    for is_elsewhere in [false, true] {
        let mut written = Written::new();
        let here = written.number(1, 4);
        let there = written.number(0, 4);
        let of_tag = if is_elsewhere { written.elsewhere(0, there) } else { Value::UnitRef(here) };
        let choice = written.add(1, None, gimli::DW_TAG_structure_type, "Choice");
        let part = written.add(1, Some(choice), gimli::DW_TAG_variant_part, "");
        let tag = written.member(1, part, "", of_tag);
        written.set(1, part, gimli::DW_AT_discr, Value::UnitRef(tag));
        for (number, name) in [(0, "Future"), (1, "Gone")] {
            let variant = written.add(1, Some(part), gimli::DW_TAG_variant, "");
            written.set(1, variant, gimli::DW_AT_discr_value, Value::Udata(number));
            written.member(1, variant, name, Value::UnitRef(here));
        }
        let [Some(choice)] = &written.read("Choice")[..] else { panic!("one has that name") };
        let Form::Variants { tag, variants, .. } = &choice.form else { panic!("{choice:?}") };
        assert_eq!(*tag, Some(Tag { offset: 0, size: 4 }), "elsewhere: {is_elsewhere}");
        assert_eq!(variants.iter().map(|variant| variant.tag).collect::<Vec<_>>(), [Some(0), Some(1)]);
    }
}

#[test]
fn what_is_declared_many_times_is_what_one_entry_says() {
    let mut written = Written::new();
    let number = written.number(1, 4);
    for unit in [0, 1, 0, 1] {
        let declared = written.add(unit, None, gimli::DW_TAG_structure_type, "Order");
        written.set(unit, declared, gimli::DW_AT_declaration, Value::Flag(true));
    }
    let defined = written.add(1, None, gimli::DW_TAG_structure_type, "Order");
    written.member(1, defined, "count", Value::UnitRef(number));
    let read = written.read("Order");
    assert_eq!(read.len(), 5);
    for of in read {
        let of = of.expect("it is known");
        assert!(of.field("count").is_some(), "{of:?}");
    }
}
