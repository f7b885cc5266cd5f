//! The paths of one message start from one folder, whatever that is.

use super::*;
use crate::support::Kept;

/// What a slow poll's lines are, and where it was spawned and blocked.
fn lines(builder: ProbeBuilder) -> Result<(String, [u32; 2]), String> {
    let kept = Kept::default();
    let (runtime, probe) = current_thread(builder.slow_poll_threshold(THRESHOLD).log_to(kept.clone()));
    let task = async {
        thread::sleep(BLOCK);
        line!() - 1
    };
    let (spawned, blocked) = runtime.block_on(async {
        let (line, task) = (line!(), spawn(&probe, task));
        (line, task.await.unwrap())
    });
    let polls = slow_polls(&probe);
    must(polls.iter().all(|poll| poll.evidence.blocking_line.is_some()), "a line", &polls)?;
    Ok((kept.text(), [spawned, blocked]))
}

fn check(builder: fn() -> ProbeBuilder, file: &str) {
    eventually(|| {
        let (said, [spawned, blocked]) = lines(builder())?;
        let places = said.split([' ', ',', ';', '\n']).filter(|word| word.contains("bases.rs:")).collect::<Vec<_>>();
        must(
            places == [format!("{file}:{spawned}"), format!("{file}:{blocked}")],
            "spawned there, blocked there",
            &said,
        )
    });
}

/// `src/main.rs:153` and `dufs/src/server.rs:1961` stood in one message, where the process was started beside its sources.
#[test]
fn without_a_root_paths_are_as_the_compiler_was_given_them() {
    assert!(file!().starts_with("crates/probe/") && std::env::current_dir().unwrap().ends_with("crates/probe"));
    check(Probe::builder, file!());
}

#[test]
fn with_a_root_all_are_from_there_on() {
    check(watching, "tests/it/watchdog/bases.rs");
    check(|| watching().redact_paths(true), "tests/it/watchdog/bases.rs");
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = package.ancestors().nth(2).and_then(|workspace| workspace.file_name()).unwrap().display();
    check(above_the_workspace, &format!("{folder}/{}", file!()));
}

fn above_the_workspace() -> ProbeBuilder {
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    Probe::builder().source_root(package.ancestors().nth(3).unwrap())
}
