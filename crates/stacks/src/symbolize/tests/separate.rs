//! Programs without debug information, of another process, and files that have it: a small C program, built and stripped here.

use object::{Object as _, ObjectSymbol as _};
use pollscope_base::CaptureNote;
use tempfile::TempDir;

use super::*;
use crate::look::{Looker, Namer};

const ID: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER_ID: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// Runs a tool, which is there wherever these tests run.
fn run_tool(tool: &str, arguments: &[&str]) {
    let status = Command::new(tool).args(arguments).status().unwrap_or_else(|error| panic!("{tool}: {error}"));
    assert!(status.success(), "{tool} {arguments:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

/// Files of one build of the program, in a folder of their own.
struct Built {
    folder: TempDir,
    /// With debug information.
    full: PathBuf,
    stripped: PathBuf,
    /// The address of `well_known` in its file.
    address: u64,
}

impl Built {
    /// With this build-id, in hexadecimal, or none.
    fn new(build_id: Option<&str>) -> Built {
        let folder = tempfile::tempdir().unwrap();
        let (full, stripped) = (folder.path().join("full"), folder.path().join("program"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/symbolize/tests/program.c");
        let id = format!("-Wl,--build-id={}", build_id.map_or("none".to_owned(), |id| format!("0x{id}")));
        run_tool("cc", &["-g", "-O1", "-pie", "-fPIE", &id, "-o", text(&full), text(&source)]);
        run_tool("strip", &["-o", text(&stripped), text(&full)]);
        let bytes = fs::read(&full).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok("well_known")).unwrap();
        Built { address: symbol.address() + 1, folder, full, stripped }
    }

    /// Another file, of what `objcopy` makes of the full one.
    fn copied(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let copy = self.folder.path().join(name);
        run_tool("objcopy", &[arguments, &[text(&self.full), text(&copy)]].concat());
        copy
    }

    fn run(&self) -> Running {
        let mut command = Command::new(&self.stripped);
        Running::of(command.stdin(Stdio::piped()).stdout(Stdio::piped()), self)
    }
}

struct Running {
    child: Child,
    process: Process,
    mapping: Mapping,
    address: CodeAddress,
}

impl Running {
    fn of(command: &mut Command, built: &Built) -> Running {
        let mut child = spawned(command);
        until_it_says(&mut child, "here").expect("the program runs");
        let process = Process::open(child.id()).unwrap();
        let maps = Maps::read(&process).unwrap();
        let program = process.exe().unwrap();
        let mapping = maps.all().iter().find(|mapping| Some(&*mapping.name) == program.to_str()).unwrap().clone();
        let address = CodeAddress::Exact(mapping.header.unwrap() + built.address);
        Running { child, process, mapping, address }
    }

    /// What is found with these files and folders.
    fn look_up(&self, symbols: &[&Path]) -> (Arc<Symbols>, ModuleInfo) {
        let mut symbolizer = Symbolizer::new(self.process);
        symbols.iter().for_each(|path| symbolizer.add_symbols(path));
        (symbolizer.symbolize(self.address), symbolizer.program().unwrap())
    }

    /// The function has its name and its lines, from this file.
    #[track_caller]
    fn check(&self, symbols: &[&Path], from: &Path) {
        let (found, program) = self.look_up(symbols);
        assert_is_well_known(&found);
        assert_eq!((program.debug_file.as_deref(), program.debug_info), (Some(from), DebugInfo::Full));
    }

    /// It has neither; gives why the files were not taken.
    #[track_caller]
    fn check_unknown(&self, symbols: &[&Path]) -> Vec<String> {
        let (found, program) = self.look_up(symbols);
        assert_eq!((found.source, program.debug_info, program.debug_file), (Source::None, DebugInfo::Stripped, None));
        program.refused
    }

    /// The module of a mapping that is not as it was.
    fn changed(&self, change: impl FnOnce(&mut Mapping), symbols: &[PathBuf]) -> (Vec<Frame>, ModuleInfo) {
        let mut mapping = self.mapping.clone();
        let address = self.address.lookup();
        change(&mut mapping);
        let mut module = Module::of(&self.process, &mapping, symbols);
        let frames = module.virtual_address(&self.mapping, address).map(|address| module.look_up(address).0);
        (frames.unwrap_or_default(), module.info(String::new()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn assert_is_well_known(found: &Symbols) {
    let frame = found.frames.last().unwrap();
    assert_eq!((found.source, frame.function.as_deref()), (Source::Dwarf, Some("well_known")));
    assert!(frame.file.as_ref().unwrap().ends_with("program.c") && matches!(frame.line, Some(4..7)), "{frame:?}");
}

#[test]
fn a_stripped_program_is_named_from_what_is_offered() {
    let built = Built::new(Some(ID));
    let running = built.run();
    assert_eq!(running.check_unknown(&[]), [""; 0]);
    running.check(&[&built.full], &built.full);
    let missing = built.folder.path().join("missing");
    running.check(&[&missing, Path::new("/bin/sh"), &built.full], &built.full);
    for (name, arguments) in [
        ("kept.debug", &["--only-keep-debug"][..]),
        ("packed.debug", &["--only-keep-debug", "--compress-debug-sections=zlib"]),
    ] {
        let file = built.copied(name, arguments);
        running.check(&[&file], &file);
    }
    if let Some(packed) = packed_with_zstd(&built) {
        let (found, program) = running.look_up(&[&packed]);
        let DebugInfo::Unreadable(why) = &program.debug_info else { panic!("{program:?}") };
        assert!(why.starts_with("`zstd`: cannot read `.debug_"), "{why}");
        assert!(program.debug_info.advice().unwrap().contains("objcopy --decompress-debug-sections"));
        assert_eq!(found.frames[0].function.as_deref(), Some("well_known"), "its names are not packed");
    }
    let symbols = built.copied("symbols", &["--strip-debug"]);
    let (found, program) = running.look_up(&[&symbols]);
    assert_eq!((found.source, program.debug_info), (Source::SymbolTable, DebugInfo::Symbols));
    assert_eq!(found.frames[0].function.as_deref(), Some("well_known"));
}

/// `None` where `objcopy` knows no zstd.
fn packed_with_zstd(built: &Built) -> Option<PathBuf> {
    let file = built.folder.path().join("zstd");
    let mut objcopy = Command::new("objcopy");
    let done = objcopy.args(["--compress-debug-sections=zstd", text(&built.full), text(&file)]).status().unwrap();
    done.success().then_some(file)
}

#[test]
fn a_folder_of_files_is_searched() {
    let built = Built::new(Some(ID));
    let running = built.run();
    let (folder, by_id) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(running.check_unknown(&[folder.path()]), [""; 0]);
    let file = folder.path().join("anything");
    fs::copy(&built.full, &file).unwrap();
    fs::write(folder.path().join("a note"), "not a program").unwrap();
    running.check(&[folder.path()], &file);

    let (first, rest) = ID.split_at(2);
    let inner = by_id.path().join(".build-id").join(first);
    fs::create_dir_all(&inner).unwrap();
    let file = inner.join(format!("{rest}.debug"));
    fs::copy(&built.full, &file).unwrap();
    running.check(&[by_id.path()], &file);
    running.check(&[&by_id.path().join(".build-id")], &file);
}

#[test]
fn a_file_of_another_build_is_refused_with_both_ids() {
    let (built, other) = (Built::new(Some(ID)), Built::new(Some(OTHER_ID)));
    let running = built.run();
    let path = other.full.display();
    let expect = format!("`{path}` is of another build: its build-id is {OTHER_ID}, and {ID} is wanted");
    assert_eq!(running.check_unknown(&[&other.full]), [expect]);
    let without = Built::new(None);
    let refused = running.check_unknown(&[&without.full]);
    assert_eq!(refused, [format!("`{}` has no build-id, and {ID} is wanted", without.full.display())]);

    let refused = running.check_unknown(&[&built.stripped]);
    assert!(refused[0].ends_with("is of the same build, and has no debug information either"), "{refused:?}");
    let refused = running.check_unknown(&[&built.folder.path().join("missing")]);
    assert!(refused[0].ends_with("missing` cannot be used: cannot open it: No such file or directory"), "{refused:?}");
    let refused = running.check_unknown(&[&built.folder.path().join("two\nlines")]);
    assert!(refused[0].contains("two\\nlines` cannot be used"), "{refused:?}");

    let named = other.folder.path().join("named");
    fs::create_dir(&named).unwrap();
    fs::copy(&other.full, named.join("program")).unwrap();
    let refused = running.check_unknown(&[&named]);
    assert!(refused[0].contains(OTHER_ID), "a file of the program's name in a folder: {refused:?}");

    let nothing = without.run();
    let refused = nothing.check_unknown(&[&without.full]);
    assert!(refused[0].ends_with("cannot be told to be of the same build: the program has no build-id"), "{refused:?}");
}

#[test]
fn a_debug_link_leads_to_a_file_of_its_checksum() {
    let built = Built::new(None);
    let folder = built.folder.path().join(".debug");
    fs::create_dir(&folder).unwrap();
    let file = built.copied(".debug/program.debug", &["--only-keep-debug"]);
    let linked = format!("--add-gnu-debuglink={}", file.display());
    run_tool("objcopy", &[&linked, text(&built.stripped)]);
    let running = built.run();
    running
        .check(&[], &Path::new(&format!("/proc/{}/root", running.process.pid())).join(file.strip_prefix("/").unwrap()));

    let mut damaged = fs::read(&file).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&file, damaged).unwrap();
    let refused = running.check_unknown(&[]);
    assert!(refused[0].contains("is of another build: its checksum is "), "{refused:?}");
}

#[test]
fn what_is_in_memory_says_which_file_it_is() {
    let (built, other) = (Built::new(Some(ID)), Built::new(Some(OTHER_ID)));
    let running = built.run();
    let full = std::slice::from_ref(&built.full);
    let is_named = |(frames, info): (Vec<Frame>, ModuleInfo)| {
        assert_eq!(info.build_id.as_deref(), Some(ID));
        frames.last().is_some_and(|frame| frame.function.as_deref() == Some("well_known") && frame.line.is_some())
    };
    assert!(is_named(running.changed(|mapping| mapping.inode += 1, full)), "a file system in layers");

    // Nothing leads to the file itself any more.
    let lost = |mapping: &mut Mapping, path: &Path| {
        (mapping.start, mapping.end) = (0, 1);
        mapping.name = text(path).to_owned();
        mapping.path = Some(path.to_owned());
        mapping.inode = os_inode(path);
    };
    let (frames, info) = running.changed(|mapping| lost(mapping, &other.full), &[]);
    assert_eq!((frames.len(), info.build_id.as_deref()), (0, Some(ID)), "the same inode on another file system");
    assert!(matches!(info.debug_info, DebugInfo::Unreadable(_)), "{info:?}");
    assert!(is_named(running.changed(|mapping| lost(mapping, &other.full), full)));
    let kept = built.copied("kept.debug", &["--only-keep-debug"]);
    assert!(is_named(running.changed(|mapping| lost(mapping, &other.full), &[kept])));
    let (_, info) = running.changed(|mapping| lost(mapping, &other.full), std::slice::from_ref(&other.full));
    assert!(info.refused[0].contains(ID) && info.refused[0].contains(OTHER_ID), "{info:?}");
}

fn os_inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap())
}

/// Opening a pipe with a name waits for who writes to it.
#[test]
fn what_is_not_a_file_is_not_opened() {
    let built = Built::new(Some(ID));
    let running = built.run();
    let pipe = built.folder.path().join("pipe");
    run_tool("mkfifo", &[text(&pipe)]);
    let refused = running.check_unknown(&[&pipe]);
    assert!(refused[0].ends_with("cannot be used: cannot open it: it is not a file"), "{refused:?}");
    let (_, info) = running.changed(
        |mapping| {
            mapping.path = Some(pipe.clone());
            mapping.inode = os_inode(&pipe);
            mapping.name = text(&pipe).to_owned();
            (mapping.start, mapping.end) = (0, 1);
        },
        &[],
    );
    assert!(matches!(info.debug_info, DebugInfo::Unreadable(_)), "{info:?}");
}

#[test]
fn what_a_stripped_program_lacks_is_told_with_its_build_id() {
    let (built, other) = (Built::new(Some(ID)), Built::new(Some(OTHER_ID)));
    let running = built.run();
    let named = |symbols: &Path| {
        let (mut looker, mut namer) = (
            Looker::new(running.process),
            Namer::new(running.process, Vec::new(), false).with_symbols(vec![symbols.into()]),
        );
        let thread = running.process.thread(running.process.pid());
        let look = loop {
            match looker.look(&thread, 0) {
                Some(look) if look.call.is_some() => break look,
                _ => std::thread::yield_now(),
            }
        };
        let (_, lacks) = namer.program().unwrap();
        let named = namer.name(&look);
        assert_eq!(namer.take_limits(), Vec::from_iter(lacks.clone()));
        let lines = named.stack.iter().filter(|frame| frame.function.as_deref() == Some("well_known"));
        (lacks, lines.filter_map(|frame| frame.line).next())
    };
    let (lacks, line) = named(&other.full);
    let Some(CaptureNote::SymbolsMissing { has_names, build_id, refused }) = &lacks else { panic!("{lacks:?}") };
    assert_eq!((*has_names, build_id.as_deref(), refused.len(), line), (false, Some(ID), 1, None));
    let said = lacks.unwrap().of_process(running.process.pid()).to_string();
    assert!(said.contains("--symbols FILE") && said.contains(ID) && said.contains(OTHER_ID), "{said}");
    assert_eq!(named(&built.full), (None, Some(7)));
}

/// In a mount namespace of its own, the program is where nothing is for others.
#[test]
fn a_program_in_another_mount_namespace_is_found() {
    let built = Built::new(Some(ID));
    let place = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs none "$1" && cp "$2" "$1/inside" && exec "$1/inside""#;
    let mut command = Command::new("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
        text(place.path()),
        text(&built.full),
    ]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut probe = match command.spawn() {
        Ok(child) => child,
        Err(error) => return eprintln!("SKIP: `unshare` does not run: {error}"),
    };
    let is_there = until_it_says(&mut probe, "here").is_some();
    let is_ours = is_there && Process::open(probe.id()).is_ok_and(|process| Maps::read(&process).is_ok());
    let _ = probe.kill();
    let _ = probe.wait();
    if !is_ours {
        return eprintln!("SKIP: no mount namespace of one's own, or none that may be looked at");
    }
    let running = Running::of(&mut command, &built);
    let inside = place.path().join("inside");
    assert!(!inside.exists(), "it is in the other namespace alone");
    assert_eq!(running.mapping.path.as_deref(), Some(&*inside));
    let (found, program) = running.look_up(&[]);
    assert_is_well_known(&found);
    assert_eq!((program.debug_info, program.debug_file), (DebugInfo::Full, None));
}
