//! Names of a few addresses, of which nothing is kept: the symbol tables are gone through once, as they are in the files.

use object::LittleEndian;

use super::module::{segments, virtual_address};
use super::name;
use super::open::Image;
use super::table::each_function;
use crate::address::CodeAddress;
use crate::elf_head::{Loaded, Segment};
use crate::maps::{Mapping, Maps};
use crate::process::Process;

/// The functions that the symbol tables of a process's files have at these addresses, in their order; nothing for an address of which
/// nothing is known. Lines and what was inlined are in debug information alone, which takes a hundred times the memory: see
/// [`Symbolizer`](super::Symbolizer).
///
/// ```
/// use pollscope_stacks::address::CodeAddress;
/// use pollscope_stacks::process::Process;
/// use pollscope_stacks::symbolize::functions;
///
/// #[inline(never)]
/// fn well_known() {}
///
/// let at = CodeAddress::Exact(well_known as *const () as u64);
/// # if pollscope_stacks::SUPPORTED {
/// assert!(functions(&Process::current(), &[at, CodeAddress::Exact(1)])[0].contains("well_known"));
/// # }
/// ```
pub fn functions(process: &Process, addresses: &[CodeAddress]) -> Vec<String> {
    let Ok(maps) = Maps::read(process) else { return Vec::new() };
    let mut names = vec![None; addresses.len()];
    let mut read: Vec<&Mapping> = Vec::new();
    for address in addresses {
        let Some(mapping) = maps.find(address.lookup()) else { continue };
        if !read.iter().any(|other| is_same_file(other, mapping)) {
            read.push(mapping);
            name_those_in(mapping, &maps, process, addresses, &mut names);
        }
    }
    names.into_iter().flatten().map(|name: Named| name::demangled(&name.symbol)).collect()
}

/// The name of the function that begins last of those that an address is in.
#[derive(Clone)]
struct Named {
    start: u64,
    symbol: String,
}

fn is_same_file(one: &Mapping, other: &Mapping) -> bool {
    (one.inode, &one.name) == (other.inode, &other.name)
}

fn name_those_in(
    file: &Mapping,
    maps: &Maps,
    process: &Process,
    addresses: &[CodeAddress],
    names: &mut [Option<Named>],
) {
    let loaded = if process.is_own() { None } else { Loaded::read(process, file) };
    let Ok(image) = Image::of_mapping(process, file, loaded.as_ref()) else { return };
    let segments: Vec<Segment> = segments(&image.elf);
    let at = |(index, address): (usize, &CodeAddress)| {
        let address = address.lookup();
        let mapping = maps.find(address).filter(|mapping| is_same_file(mapping, file))?;
        Some((virtual_address(&segments, mapping, address)?, index))
    };
    let mut wanted: Vec<(u64, usize)> = addresses.iter().enumerate().filter_map(at).collect();
    wanted.sort_unstable();
    for table in [image.elf.elf_symbol_table(), image.elf.elf_dynamic_symbol_table()] {
        each_function(table, |start, size, symbol| {
            let from = wanted.partition_point(|(address, _)| *address < start);
            for (_, index) in wanted[from..].iter().take_while(|(address, _)| address - start < size) {
                let is_inner = names[*index].as_ref().is_none_or(|other| other.start < start);
                if let Some(symbol) = is_inner.then(|| table.symbol_name(LittleEndian, symbol).ok()).flatten() {
                    names[*index] = Some(Named { start, symbol: String::from_utf8_lossy(symbol).into_owned() });
                }
            }
        });
    }
}
