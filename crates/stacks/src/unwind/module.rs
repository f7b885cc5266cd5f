//! The unwinding tables of one mapped file, as they are in the memory of the process: the file itself is not needed, and
//! may have been removed or replaced.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, FrameDescriptionEntry, LittleEndian, ParsedEhFrameHdr,
    Pointer, RegisterRule, UnwindContext, UnwindSection as _, UnwindTableRow,
};

use super::row::{Cfa, Row, Rule};
use super::{Memory, RBP, RIP, RSP};
use crate::maps::Mapping;

type Slice<'bytes> = EndianSlice<'bytes, LittleEndian>;
type Fde<'bytes> = FrameDescriptionEntry<Slice<'bytes>>;

/// Working memory of the parser, kept so that it is not allocated each time.
#[derive(Debug, Default)]
pub(super) struct Context(UnwindContext<usize>);

/// No table is larger than this: what claims to be is not read.
const MOST: u64 = 512 << 20;

/// A mapped file's tables.
#[derive(Debug)]
pub(super) struct Module {
    /// Where execution of the file starts.
    pub(super) entry: u64,
    /// `.eh_frame_hdr`: the index of the table.
    index: Vec<u8>,
    index_at: u64,
    /// `.eh_frame`, and whatever follows it in its segment.
    table: Vec<u8>,
    table_at: u64,
}

/// A program header.
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    file_size: u64,
}

impl Module {
    /// Reads the tables of the file that is mapped here; `None` if it has none.
    pub(super) fn load(mapping: &Mapping, memory: &mut dyn Memory) -> Option<Module> {
        const LOAD: u32 = 1;
        const EH_FRAME: u32 = 0x6474_e550;

        let base = mapping.header?;
        let header = bytes(base, 64, memory)?;
        if header[..6] != *b"\x7fELF\x02\x01" {
            return None;
        }
        let segments = segments(base, &header, memory)?;
        let first = segments.iter().find(|segment| segment.kind == LOAD && segment.offset == 0)?;
        let bias = base.wrapping_sub(first.address);
        let index = segments.iter().find(|segment| segment.kind == EH_FRAME)?;
        let index_at = bias.wrapping_add(index.address);
        let mut module = Module {
            entry: bias.wrapping_add(word(&header, 24)?),
            index: bytes(index_at, index.file_size, memory)?,
            index_at,
            table: Vec::new(),
            table_at: 0,
        };
        let Pointer::Direct(table_at) = module.header()?.eh_frame_ptr() else { return None };
        let end = segments.iter().filter(|segment| segment.kind == LOAD).find_map(|segment| {
            let start = bias.wrapping_add(segment.address);
            let end = start.checked_add(segment.file_size)?;
            (start..end).contains(&table_at).then_some(end)
        })?;
        module.table_at = table_at;
        module.table = bytes(table_at, end - table_at, memory)?;
        Some(module)
    }

    fn bases(&self) -> BaseAddresses {
        BaseAddresses::default().set_eh_frame_hdr(self.index_at).set_eh_frame(self.table_at)
    }

    fn header(&self) -> Option<ParsedEhFrameHdr<Slice<'_>>> {
        EhFrameHdr::new(&self.index, LittleEndian).parse(&self.bases(), 8).ok()
    }

    fn table(&self) -> EhFrame<Slice<'_>> {
        EhFrame::new(&self.table, LittleEndian)
    }

    fn entry_for(&self, address: u64) -> Option<Fde<'_>> {
        let header = self.header()?;
        header.table()?.fde_for_address(&self.table(), &self.bases(), address, EhFrame::cie_from_offset).ok()
    }

    /// The rules at an address.
    pub(super) fn row(&self, address: u64, context: &mut Context) -> Option<Row> {
        let fde = self.entry_for(address)?;
        let table = self.table();
        let row = fde.unwind_info_for_address(&table, &self.bases(), &mut context.0, address).ok()?;
        convert(&fde, row, &table)
    }

    /// Where, at or before an address of the same function, `rbp` became the frame pointer: the instruction after
    /// `mov rbp, rsp`. `None` if it did not.
    pub(super) fn frame_pointer_set(&self, address: u64, context: &mut Context) -> Option<u64> {
        let fde = self.entry_for(address)?;
        let (table, bases) = (self.table(), self.bases());
        let mut rows = fde.rows(&table, &bases, &mut context.0).ok()?;
        let mut found = None;
        let mut just_pushed = false;
        while let Some(row) = rows.next_row().ok()? {
            if row.start_address() > address {
                break;
            }
            let (register, offset) = match row.cfa() {
                CfaRule::RegisterAndOffset { register, offset } => (register.0, *offset),
                CfaRule::Expression(_) => return None,
            };
            if register == RBP && just_pushed {
                found = Some(row.start_address());
            }
            // Elsewhere the rule comes back after an early return, without an instruction that sets the register.
            just_pushed = register == RSP && offset == 16;
        }
        found
    }
}

/// The few rules that matter, in a form that does not borrow from the table.
fn convert(fde: &Fde<'_>, row: &UnwindTableRow<usize>, table: &EhFrame<Slice<'_>>) -> Option<Row> {
    let copy = |expression: gimli::UnwindExpression<usize>| {
        expression.get(table).ok().map(|expression| expression.0.slice().to_vec().into_boxed_slice())
    };
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => Cfa::Register { register: register.0, offset: *offset },
        CfaRule::Expression(expression) => Cfa::Expression(copy(*expression)?),
    };
    let mut rules = Vec::new();
    for (register, rule) in row.registers().filter(|(register, _)| register.0 <= RIP) {
        let rule = match rule {
            RegisterRule::SameValue => Rule::Same,
            RegisterRule::Offset(offset) => Rule::Offset(*offset),
            RegisterRule::ValOffset(offset) => Rule::Value(*offset),
            RegisterRule::Register(other) => Rule::Register(other.0),
            RegisterRule::Expression(expression) => Rule::Expression(copy(*expression)?),
            RegisterRule::ValExpression(expression) => Rule::ValueExpression(copy(*expression)?),
            _ => Rule::Undefined,
        };
        rules.push((register.0, rule));
    }
    let function = fde.initial_address()..fde.end_address();
    let cleanup_table = match fde.lsda() {
        Some(Pointer::Direct(address)) => Some(address),
        _ => None,
    };
    Some(Row { function, cfa, rules, signal: fde.is_signal_trampoline(), cleanup_table })
}

fn segments(base: u64, header: &[u8], memory: &mut dyn Memory) -> Option<Vec<Segment>> {
    let (size, count) = (usize::from(half(header, 54)?), usize::from(half(header, 56)?));
    let table = bytes(base.checked_add(word(header, 32)?)?, (size * count) as u64, memory)?;
    if size == 0 {
        return None;
    }
    table
        .chunks_exact(size)
        .map(|entry| {
            let kind = u32::from_le_bytes(entry.get(..4)?.try_into().ok()?);
            Some(Segment { kind, offset: word(entry, 8)?, address: word(entry, 16)?, file_size: word(entry, 32)? })
        })
        .collect()
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// All of a range of memory, or nothing.
fn bytes(address: u64, length: u64, memory: &mut dyn Memory) -> Option<Vec<u8>> {
    if length > MOST {
        return None;
    }
    let mut into = vec![0; length as usize];
    (memory.code(address, &mut into) == into.len()).then_some(into)
}
