//! Which function of the symbol table an address is in.

use object::LittleEndian;
use object::elf;
use object::read::elf::Sym;

use super::open::Elf;

/// The functions of a file, by address.
#[derive(Default)]
pub(super) struct Table {
    functions: Vec<Function>,
    /// Whether these are all functions, not only those that a library exports.
    pub(super) complete: bool,
}

#[derive(Clone, Copy)]
struct Function {
    start: u64,
    /// In bytes; 0 is unknown.
    size: u64,
    name: &'static [u8],
}

impl Table {
    /// Reads the full table, or, where it was stripped, what the file exports.
    pub(super) fn of(elf: &Elf) -> Table {
        let full = functions(elf.elf_symbol_table());
        let complete = !full.is_empty();
        let mut functions = if complete { full } else { functions(elf.elf_dynamic_symbol_table()) };
        functions.sort_unstable_by_key(|function| function.start);
        Table { functions, complete }
    }

    /// The name of the function that an address is in. Of several names the plainest one: `write`, not `__GI___write`; none with
    /// its version.
    pub(super) fn name(&self, address: u64) -> Option<&str> {
        self.names(address).min_by_key(|name| (name.bytes().take_while(|byte| *byte == b'_').count(), name.len()))
    }

    /// Whether the function that an address is in has that name, among others.
    pub(super) fn is_named(&self, address: u64, name: &str) -> bool {
        self.names(address).any(|one| one == name)
    }

    fn names(&self, address: u64) -> impl Iterator<Item = &str> {
        let names = self.containing(address).filter_map(|function| std::str::from_utf8(function.name).ok());
        names.map(|name| name.split('@').next().unwrap_or(name))
    }

    /// Where the function that an address is in begins, and its size in bytes.
    pub(super) fn range(&self, address: u64) -> Option<(u64, u64)> {
        self.containing(address).map(|function| (function.start, function.size)).find(|(_, size)| *size > 0)
    }

    /// The functions that an address is in and that begin last.
    fn containing(&self, address: u64) -> impl Iterator<Item = &Function> {
        let after = self.functions.partition_point(|function| function.start <= address);
        let next = self.functions.get(after).map_or(u64::MAX, |function| function.start);
        let contains = move |function: &&Function| match function.size {
            0 => address < next,
            size => address - function.start < size,
        };
        let before = &self.functions[..after];
        let start = before.iter().rev().take(NESTED).find(contains).map(|function| function.start);
        let last = before.iter().rev().skip_while(move |function| Some(function.start) > start);
        last.take_while(move |function| Some(function.start) == start).filter(contains)
    }
}

/// So many functions may begin within another one, between its begin and an address.
const NESTED: usize = 16;

type Symbols = object::read::elf::SymbolTable<'static, elf::FileHeader64<LittleEndian>>;

fn functions(table: &Symbols) -> Vec<Function> {
    let mut functions = Vec::new();
    each_function(table, |start, size, symbol| {
        if let Ok(name) = table.symbol_name(LittleEndian, symbol) {
            functions.push(Function { start, size, name });
        }
    });
    functions
}

/// Each function of a table: where it begins, its size in bytes, 0 if that is unknown, and its symbol.
pub(super) fn each_function(table: &Symbols, mut see: impl FnMut(u64, u64, &elf::Sym64<LittleEndian>)) {
    for symbol in table.iter() {
        let is_here = symbol.st_shndx(LittleEndian) != elf::SHN_UNDEF;
        if is_here && matches!(symbol.st_type(), elf::STT_FUNC | elf::STT_GNU_IFUNC) {
            see(symbol.st_value(LittleEndian), symbol.st_size(LittleEndian), symbol);
        }
    }
}
