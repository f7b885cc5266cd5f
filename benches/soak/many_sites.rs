//! As many spawn sites as no program has: generated, compiled and run. Each is a call at a line and a column of its own.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::progress;
use crate::reading::Reading;

/// Calls in one function: the compiler takes more than twice as long for twice as many.
const EACH: u64 = 1_000;
const A_LINE: u64 = 10;

/// What the program had in memory as it went through `sites` places, and how long compiling took.
///
/// # Errors
/// A sentence, when it could not be compiled or run, or lost a poll.
pub(crate) fn run(sites: u64, readings: usize) -> Result<(Vec<Reading>, Duration), String> {
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    generate(folder.path(), sites, readings).map_err(|error| format!("cannot write a program: {error}"))?;
    let start = Instant::now();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // With the flag for task hooks, not with the flags of the benchmark itself.
    let mut build = Command::new(cargo);
    build
        .args(["build", "--offline", "--quiet", "--target-dir", "target"])
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "--cfg tokio_unstable")
        .current_dir(folder.path());
    output_of(&mut build).map_err(|error| format!("cannot compile {sites} spawn sites: {error}"))?;
    let compiling = start.elapsed();
    let ran = output_of(&mut Command::new(folder.path().join("target/debug/many-sites")))
        .map_err(|error| format!("a program of {sites} spawn sites failed: {error}"))?;
    let readings = String::from_utf8_lossy(&ran.stdout).lines().map(Reading::parse).collect::<Option<Vec<Reading>>>();
    readings.map(|readings| (readings, compiling)).ok_or_else(|| "its output is not readings".to_owned())
}

/// Runs it to its end.
fn output_of(command: &mut Command) -> io::Result<Output> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let output = progress::output_of(child, "a program of many spawn sites")?;
    match output.status.success() {
        true => Ok(output),
        false => Err(io::Error::other(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)))),
    }
}

fn generate(folder: &Path, sites: u64, readings: usize) -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = folder.join("src");
    fs::create_dir(&source)?;
    fs::write(source.join("main.rs"), include_str!("many_sites_main.rs"))?;
    fs::write(source.join("heap.rs"), include_str!("../../crates/probe/tests/memory/heap.rs"))?;
    fs::write(source.join("reading.rs"), include_str!("reading.rs"))?;
    fs::write(source.join("calls.rs"), calls(sites / EACH, readings))?;
    // The versions that this workspace was built with: nothing is downloaded.
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let manifest = format!(
        r#"
[package]
name = "many-sites"
version = "0.0.0"
edition = "2024"

[dependencies]
pollscope-probe = {{ path = {:?} }}
tokio = {{ version = "1", features = ["rt"] }}

[profile.dev]
debug = false
incremental = false

[workspace]
"#,
        root.join("probe")
    );
    fs::write(folder.join("Cargo.toml"), manifest)
}

/// `functions` functions, each of [`EACH`] calls.
fn calls(functions: u64, readings: usize) -> String {
    let mut code = format!("use crate::s;\n\npub const EACH: u64 = {EACH};\npub const READINGS: usize = {readings};\n");
    let write = "writing to a text does not fail";
    for function in 0..functions {
        writeln!(code, "fn f{function}() {{").expect(write);
        (0..EACH / A_LINE).for_each(|_| writeln!(code, "{}", "s();".repeat(A_LINE as usize)).expect(write));
        code.push_str("}\n");
    }
    let names: Vec<String> = (0..functions).map(|function| format!("f{function}")).collect();
    writeln!(code, "pub const ALL: [fn(); {functions}] = [{}];", names.join(", ")).expect(write);
    code
}
