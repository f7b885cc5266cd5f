//! Look-ups in this very test binary, in a process that runs a copy of it, and in stripped copies.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::symbolize::open::Image;

mod separate;

/// The line of the next function, and the one after: where its code begins depends on the profile.
const LINES: [Option<u32>; 2] = [Some(line!() + 3), Some(line!() + 4)];

#[inline(never)]
fn outer(value: u32) -> u32 {
    std::hint::black_box(value) + 1
}

fn outer_address() -> u64 {
    outer as *const () as u64
}

#[test]
fn a_function_of_this_program_has_a_path_and_a_line() {
    let mut symbolizer = Symbolizer::new(Process::current());
    let symbols = symbolizer.symbolize(CodeAddress::Exact(outer_address()));
    assert_eq!(symbols.source, Source::Dwarf);
    let frame = symbols.frames.last().unwrap();
    assert_eq!(frame.function.as_deref(), Some("pollscope_stacks::symbolize::tests::outer"));
    assert!(frame.file.as_ref().unwrap().ends_with("stacks/src/symbolize/tests.rs"), "{frame:?}");
    assert!(LINES.contains(&frame.line), "{frame:?}");
    let program = std::env::current_exe().unwrap();
    assert_eq!(frame.module.as_deref(), program.to_str());

    assert!(Arc::ptr_eq(&symbols, &symbolizer.symbolize(CodeAddress::Exact(outer_address()))));
    let modules = symbolizer.modules();
    let expect = if cfg!(debug_assertions) { DebugInfo::Full } else { DebugInfo::LineTables };
    assert_eq!((modules.len(), &modules[0].debug_info), (1, &expect));
}

#[test]
fn a_function_of_a_library_has_its_exported_name() {
    unsafe extern "C" {
        fn getpid() -> i32;
    }
    let mut symbolizer = Symbolizer::new(Process::current());
    let symbols = symbolizer.symbolize(CodeAddress::Exact(getpid as *const () as u64));
    let frame = &symbols.frames[0];
    assert_eq!(frame.function.as_deref().map(|name| name.trim_start_matches('_')), Some("getpid"));
    assert!(frame.module.as_ref().unwrap().contains("libc"), "{frame:?}");
}

/// A process of which nothing is there any more.
fn ended() -> Process {
    let mut child = Command::new("true").spawn().unwrap();
    let process = Process::open(child.id()).unwrap();
    child.wait().unwrap();
    process
}

#[test]
fn what_is_not_code_is_unknown() {
    let mut symbolizer = Symbolizer::new(Process::current());
    for address in [0, 1, u64::MAX] {
        let symbols = symbolizer.symbolize(CodeAddress::Return(address));
        assert_eq!(*symbols, Symbols { frames: vec![Frame::default()], source: Source::None });
    }
    let mut gone = Symbolizer::new(ended());
    assert_eq!(gone.symbolize(CodeAddress::Exact(outer_address())).source, Source::None);
    assert!(gone.refresh().is_err());
}

/// How much of a mapping that starts here is in memory, in kB.
fn resident(start: usize) -> u64 {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let from = smaps.find(&format!("\n{start:x}-")).expect("it is mapped");
    let rss = smaps[from..].lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    rss.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[test]
fn what_was_read_is_given_back_and_read_again() {
    let outer = CodeAddress::Exact(outer_address());
    let other = CodeAddress::Exact(what_was_read_is_given_back_and_read_again as *const () as u64);
    let mut symbolizer = Symbolizer::new(Process::current());
    let first = symbolizer.symbolize(outer);
    let modules = symbolizer.modules();
    let start = symbolizer.modules.values().next().unwrap().starts_at();
    assert_eq!((symbolizer.files_read(), modules.len()), (1, 1));
    assert_ne!(resident(start), 0);
    symbolizer.give_back();
    assert_eq!((symbolizer.files_read(), resident(start)), (0, 0));
    assert_eq!(symbolizer.modules(), modules, "what it contains is still known");
    assert!(Arc::ptr_eq(&first, &symbolizer.symbolize(outer)), "so are names");
    assert_eq!((symbolizer.files_read(), resident(start)), (0, 0));
    assert_eq!(symbolizer.symbolize(other), Symbolizer::new(Process::current()).symbolize(other));
    assert_eq!(symbolizer.files_read(), 1);
    symbolizer.forget();
    assert_eq!(symbolizer.symbolize(outer), first);
}

#[test]
fn names_are_remembered_up_to_a_size() {
    let mut symbolizer = Symbolizer::new(Process::current());
    let of_outer = |symbolizer: &mut Symbolizer| symbolizer.symbolize(CodeAddress::Exact(outer_address()));
    let first = of_outer(&mut symbolizer);
    assert_eq!(symbolizer.text, first.frames.iter().map(Frame::text).sum());
    assert!(symbolizer.text > 0);
    symbolizer.text = MOST_TEXT;
    symbolizer.symbolize(CodeAddress::Exact(resident as *const () as u64));
    assert_eq!(symbolizer.known.len(), 1, "the others are forgotten");
    assert!(symbolizer.text < MOST_TEXT);
    assert_eq!(of_outer(&mut symbolizer), first);
}

#[test]
fn addresses_are_remembered_up_to_a_number() {
    let mut symbolizer = Symbolizer::new(Process::current());
    let of_outer = |symbolizer: &mut Symbolizer| symbolizer.symbolize(CodeAddress::Exact(outer_address()));
    let first = of_outer(&mut symbolizer);
    for n in 0..REMEMBERED as u64 + 100 {
        symbolizer.known.insert(n, Arc::clone(&first));
        symbolizer.jumps.insert((n, n), Vec::new());
        symbolizer.make_room();
        assert!(symbolizer.known.len().max(symbolizer.jumps.len()) <= REMEMBERED);
    }
    assert_eq!(of_outer(&mut symbolizer), first, "what was forgotten is looked up again");
    assert_eq!(symbolizer.modules.len(), 1, "in the file that is open");
}

#[test]
fn a_file_that_is_no_longer_mapped_is_closed() {
    let mut symbolizer = Symbolizer::new(Process::current());
    symbolizer.symbolize(CodeAddress::Exact(outer_address()));
    let mut unloaded = symbolizer.mapping(outer_address()).unwrap();
    unloaded.name = "/tmp/unloaded.so".to_owned();
    symbolizer.module(&unloaded);
    assert_eq!(symbolizer.modules().len(), 2);
    symbolizer.refresh().unwrap();
    let names: Vec<String> = symbolizer.modules().into_iter().map(|module| module.name).collect();
    assert_eq!(names, [std::env::current_exe().unwrap().to_str().unwrap()]);
}

/// A copy of this program in a folder of its own.
fn copy(folder: &Path, name: &str, tool: Option<&[&str]>) -> PathBuf {
    let (program, copy) = (std::env::current_exe().unwrap(), folder.join(name));
    match tool {
        None => drop(fs::copy(program, &copy).unwrap()),
        Some([tool, arguments @ ..]) => {
            let status = Command::new(tool).args(arguments).arg("-o").arg(&copy).arg(program).status().unwrap();
            assert!(status.success(), "{tool} {arguments:?}");
        }
        Some([]) => unreachable!("a tool has a name"),
    }
    copy
}

fn look_up(file: &Path, debug_files: &[PathBuf]) -> (ModuleInfo, Option<Frame>, Source) {
    let maps = Maps::read(&Process::current()).unwrap();
    let mut module = Module::of_image(Image::open(file).unwrap(), &Process::current(), Some(file), debug_files);
    let address = module.virtual_address(maps.find(outer_address()).unwrap(), outer_address()).unwrap();
    let (mut frames, source) = module.look_up(address);
    (module.info(String::new()), frames.pop(), source)
}

#[test]
fn stripped_copies_say_what_they_lack() {
    let folder = tempfile::tempdir().unwrap();
    let symbols = copy(folder.path(), "symbols", Some(&["strip", "--strip-debug"]));
    let (info, frame, source) = look_up(&symbols, &[]);
    assert_eq!((info.debug_info, source), (DebugInfo::Symbols, Source::SymbolTable));
    let frame = frame.unwrap();
    assert_eq!(frame.function.as_deref(), Some("pollscope_stacks::symbolize::tests::outer"));
    assert_eq!((frame.file, frame.line), (None, None));

    let stripped = copy(folder.path(), "stripped", Some(&["strip"]));
    let (info, frame, source) = look_up(&stripped, &[]);
    assert_eq!((info.debug_info, source, frame), (DebugInfo::Stripped, Source::None, None));
}

#[test]
fn an_unstripped_copy_of_the_same_build_gives_the_lines() {
    let program = std::env::current_exe().unwrap();
    if look_up(&program, &[]).0.build_id.is_none() {
        return; // This linker makes none.
    }
    let folder = tempfile::tempdir().unwrap();
    let stripped = copy(folder.path(), "stripped", Some(&["strip"]));
    let other = PathBuf::from("/bin/sh");
    let (info, frame, source) = look_up(&stripped, &[other, program.clone()]);
    assert_eq!((info.debug_file, source), (Some(program), Source::Dwarf));
    assert!(LINES.contains(&frame.unwrap().line));
}

#[test]
fn compressed_sections_give_the_lines() {
    let folder = tempfile::tempdir().unwrap();
    let with = |kind: &str| {
        let compressed = copy(folder.path(), kind, None);
        let argument = format!("--compress-debug-sections={kind}");
        let status = Command::new("objcopy").arg(argument).arg(&compressed).status().unwrap();
        (status.success(), compressed)
    };
    let (done, compressed) = with("zlib");
    assert!(
        done && fs::metadata(&compressed).unwrap().len()
            < fs::metadata(copy(folder.path(), "plain", None)).unwrap().len()
    );
    let plain = look_up(&std::env::current_exe().unwrap(), &[]);
    let (info, frame, source) = look_up(&compressed, &[]);
    assert_eq!((info.debug_info, source), (plain.0.debug_info, Source::Dwarf));
    assert!(LINES.contains(&frame.as_ref().unwrap().line));
    assert_eq!(frame, plain.1);

    let (done, compressed) = with("zstd"); // Not every objcopy can.
    if done {
        let (info, frame, source) = look_up(&compressed, &[]);
        let DebugInfo::Unreadable(why) = info.debug_info else { panic!("{:?}", info.debug_info) };
        assert!(why.ends_with("it is compressed with zstd, and not with zlib"), "{why}");
        assert_eq!((frame.is_some(), source), (true, Source::SymbolTable));
    }
}

/// Runs in the other process: says that it is there, and stays until it is told to end.
#[test]
#[ignore = "a part of the tests below"]
fn wait_for_the_end() {
    println!("here");
    let _ = std::io::stdin().read(&mut [0]);
}

fn run(program: &Path) -> Child {
    let arguments = ["--ignored", "--exact", "--nocapture", "symbolize::tests::wait_for_the_end"];
    let mut command = Command::new(program);
    let mut child = spawned(command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()));
    until_it_says(&mut child, "here").expect("it runs");
    child
}

fn spawned(command: &mut Command) -> Child {
    loop {
        match command.spawn() {
            // Another test was starting a process while this program was written, and has it open until it did.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            child => break child.unwrap(),
        }
    }
}

/// Waits until it says this; `None` if it ends before.
fn until_it_says(child: &mut Child, wanted: &str) -> Option<()> {
    let mut said = String::new();
    let output = child.stdout.as_mut()?;
    while !said.contains(wanted) {
        let mut byte = [0];
        if output.read(&mut byte).ok()? == 0 {
            return None;
        }
        said.push(char::from(byte[0]));
    }
    Some(())
}

/// Where `outer` is in a process that runs a copy of this program.
fn address_in(child: &Child) -> CodeAddress {
    let (here, there) =
        (Maps::read(&Process::current()).unwrap(), Maps::read(&Process::open(child.id()).unwrap()).unwrap());
    let mapping = here.find(outer_address()).unwrap();
    let other =
        there.all().iter().find(|other| other.file_offset == mapping.file_offset && other.path.is_some()).unwrap();
    CodeAddress::Exact(outer_address() - mapping.start + other.start)
}

#[test]
fn another_process_may_have_lost_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let program = copy(folder.path(), "program", None);
    let mut child = run(&program);
    let address = address_in(&child);
    let check = |when: &str, suffix: &str| {
        let symbols = Symbolizer::new(Process::open(child.id()).unwrap()).symbolize(address);
        assert_eq!(symbols.source, Source::Dwarf, "{when}");
        assert!(LINES.contains(&symbols.frames.last().unwrap().line), "{when}");
        assert!(symbols.frames[0].module.as_ref().unwrap().ends_with(suffix), "{when}");
    };
    check("as it was", "program");
    fs::remove_file(&program).unwrap();
    check("removed", "program (deleted)");
    fs::copy("/bin/sh", &program).unwrap();
    check("replaced", "program (deleted)");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn another_file_in_the_place_of_a_library_is_not_taken_for_it() {
    let maps = Maps::read(&Process::current()).unwrap();
    let mut mapping = maps.find(outer_address()).unwrap().clone();
    mapping.path = Some("/bin/sh".into());
    mapping.name = "/bin/sh (deleted)".to_owned();
    let module = Module::of(&Process::current(), &Mapping { start: 0, end: 1, ..mapping }, &[]);
    let expect = "it was removed or replaced since it was loaded";
    assert_eq!(module.info(String::new()).debug_info, DebugInfo::Unreadable(expect.to_owned()));
}

/// `addr2line` reads the same debug information, and keeps far more of it.
#[test]
fn frames_are_those_that_addr2line_finds() {
    let mut symbolizer = Symbolizer::new(Process::current());
    let mapping = symbolizer.mapping(outer_address()).unwrap();
    let image = Image::of_mapping(&Process::current(), &mapping, None).unwrap();
    let mut dwarf = gimli::Dwarf::load(|id: gimli::SectionId| {
        let (bytes, map) = section::bytes(&image.elf, id.name(), &mut section::Room::default())?;
        assert!(map.is_none(), "nothing is compressed in a program of tests");
        Ok::<_, String>(module::Bytes::new(bytes, gimli::LittleEndian))
    })
    .unwrap();
    dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
    let context = addr2line::Context::from_dwarf(dwarf).unwrap();
    let module = Module::of(&Process::current(), &mapping, &[]);
    let mut units = module::read_dwarf(&image.elf).unwrap().units;
    let (mut compared, mut inlined) = (0, 0);
    for address in (mapping.start..mapping.end).step_by(977) {
        let address = module.virtual_address(&mapping, address).unwrap();
        let mut expected = Vec::new();
        let mut frames = context.find_frames(address).skip_all_loads().unwrap();
        while let Some(frame) = frames.next().unwrap() {
            let at = frame.location.as_ref();
            let file = at.and_then(|at| at.file).filter(|file| !file.is_empty()).map(str::to_owned);
            let line = at.and_then(|at| at.line);
            let column = at.and_then(|at| at.column).filter(|column| *column > 0);
            expected.push((frame.function.map(|name| name.raw_name().unwrap().into_owned()), file, line, column));
        }
        let found = units.find(address).unwrap();
        inlined += found.len().saturating_sub(1);
        let found: Vec<_> = found
            .into_iter()
            .map(|found| {
                let name = units.symbol(&found).unwrap();
                (name, found.location.file, found.location.line, found.location.column)
            })
            .collect();
        assert_eq!(found, expected, "at {address:#x}");
        compared += expected.len();
        // One look-up at a time, whose names may be in others.
        assert!(units.parsed() <= units::MOST_PARSED + found.len() + 1, "{} units are parsed", units.parsed());
    }
    assert!(compared > 1_000 && inlined > 100, "{compared} frames, {inlined} of them inlined");
}
