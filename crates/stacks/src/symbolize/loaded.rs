//! What a process has in its memory of a file that it runs: where the loader put the file's parts, and its build-id. It is there
//! whatever became of the file, and in whichever mount namespace the process is.

use super::open::hex;
use crate::elf_head::Loaded;
use crate::maps::{Mapping, Maps};
use crate::memory;
use crate::process::Process;

/// The identity that the linker gave the program of a process, in hexadecimal digits: quick, as no file is read. `None` if there is none,
/// or it is not where it should be.
///
/// ```
/// use pollscope_stacks::{process::Process, symbolize::{Symbolizer, build_id}};
/// # if pollscope_stacks::SUPPORTED {
/// let own = Process::current();
/// assert_eq!(build_id(&own), Symbolizer::new(own).program().unwrap().build_id);
/// # }
/// ```
pub fn build_id(process: &Process) -> Option<String> {
    let program = Maps::read(process).ok()?.of_program(process)?;
    Loaded::read(process, &program)?.build_id.as_deref().map(hex)
}

impl Loaded {
    /// Reads it from the process's memory; `None` if the file's headers are not there, or not those of an ELF file.
    pub(super) fn read(process: &Process, mapping: &Mapping) -> Option<Loaded> {
        Loaded::parse(mapping.header?, |address, length| {
            let mut bytes = vec![0; length];
            (memory::read(process, address, &mut bytes) == length).then_some(bytes)
        })
    }
}

#[cfg(all(test, supported))]
mod tests {
    use super::super::open::Image;
    use super::*;
    use crate::maps::Maps;

    fn own() -> Mapping {
        let here = own as *const () as u64;
        Maps::read(&Process::current()).unwrap().find(here).unwrap().clone()
    }

    #[test]
    fn memory_tells_what_the_file_does() {
        let loaded = Loaded::read(&Process::current(), &own()).unwrap();
        let image = Image::open(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(loaded.build_id.as_deref(), image.build_id());
        assert_eq!(loaded.segments, super::super::module::segments(&image.elf));
    }
}
