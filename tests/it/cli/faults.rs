//! `pollscope report` when an output cannot be written: the others are, and nothing half-written stays behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use crate::support::{Folder, assert_ends, root, run, stdout};

/// A folder with a recording.
fn recording() -> Folder {
    let folder = Folder::new();
    folder.write("run", fs::read(root().join("fuzz/seeds/recording/one-mode")).expect("it is there"));
    folder
}

fn is_report(text: &str) -> bool {
    text.starts_with(['✓', '✗', '~']) && text.contains("\n  more: ")
}

#[test]
fn what_cannot_be_made_is_refused_before_anything_is_written() {
    let folder = recording();
    for (path, says) in [("no/such", "make its folder first"), (".", "name a file in it")] {
        for output in ["-o", "--json", "--folded"] {
            let ended = folder.run(&format!("report run {output} {path}"));
            assert_ends(&ended, 110, &["cannot write report", says]);
            assert_eq!((stdout(&ended).as_str(), folder.names()), ("", vec!["run".to_owned()]), "{output} {path}");
        }
    }
}

#[test]
fn one_that_fails_while_it_is_written_does_not_cost_the_others() {
    let folder = recording();
    let ended = folder.run("report run --json /dev/full --folded folded");
    assert_ends(&ended, 110, &["cannot write report `/dev/full`: No space left", "free some space"]);
    assert!(is_report(&stdout(&ended)), "{}", stdout(&ended));
    assert!(!folder.read("folded").is_empty());
    assert_eq!(folder.names(), ["folded", "run"]);
}

#[test]
fn beyond_a_size_limit_the_old_file_stays() {
    let folder = recording();
    folder.write("json", "old");
    // One block of 512 bytes, which the folded stacks fit in.
    let ended = folder.shell("ulimit -f 1; \"$POLLSCOPE_BIN\" report run --json json --folded folded | cat");
    assert!(crate::support::stderr(&ended).contains("cannot write report `json`: File too large"));
    assert_eq!(folder.read("json"), b"old");
    assert!(is_report(&stdout(&ended)) && !folder.read("folded").is_empty());
    assert_eq!(folder.names(), ["folded", "json", "run"]);
}

#[test]
fn a_reader_that_went_away_does_not_cost_the_files() {
    let folder = recording();
    let ended = folder.shell("{ \"$POLLSCOPE_BIN\" report run --json json; echo $? > code; } | true; sleep 0.1");
    assert_ends(&ended, 0, &[]);
    assert_eq!(folder.read("code"), b"0\n");
    serde_json::from_slice::<serde_json::Value>(&folder.read("json")).expect("it is whole");
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP: only root can become another user");
        return;
    }
    let folder = recording();
    for path in [".", "run"] {
        fs::set_permissions(folder.path(path), PermissionsExt::from_mode(0o755)).expect("set");
    }
    // Its own folder may be closed to that user: a copy that anybody may run is not.
    let program = folder.path("pollscope");
    fs::copy(env!("CARGO_BIN_EXE_pollscope"), &program).expect("copied");
    let mut command = std::process::Command::new(program);
    command.args(["report", "run", "--json", "json"]).current_dir(folder.path(".")).uid(65_534).gid(65_534);
    let ended = run(&mut command);
    assert_ends(&ended, 110, &["cannot write report `json`: permission denied", "make its folder writable"]);
    assert_eq!(folder.names(), ["pollscope", "run"]);
}

/// A disk of 64 KiB, in a mount namespace that ends with the shell.
#[test]
fn a_full_disk_keeps_no_half_of_a_report() {
    let folder = recording();
    fs::create_dir(folder.path("disk")).expect("made");
    let script = "mount -t tmpfs -o size=64k tmpfs disk && echo mounted && head -c 61440 /dev/zero > disk/other
        echo old > disk/json; \"$POLLSCOPE_BIN\" report run --json disk/json --folded folded > text
        echo $?; cat disk/json; ls -A disk";
    // A text that makes the JSON longer than what is left of the disk.
    let long = String::from_utf8(folder.read("run")).expect("text");
    folder.write("run", long.replace("Does a blocking", &format!("Does {} a blocking", "x".repeat(20_000))));
    folder.write("script", script);
    let ended = folder.shell("unshare -m sh script 2>stderr");
    let said = stdout(&ended);
    if !said.starts_with("mounted") {
        println!("SKIP: no private mount: {}", String::from_utf8_lossy(&folder.read("stderr")));
        return;
    }
    assert_eq!(said, "mounted\n110\nold\njson\nother\n");
    assert!(String::from_utf8_lossy(&folder.read("stderr")).contains("cannot write report `disk/json`: No space left"));
    assert!(is_report(&String::from_utf8_lossy(&folder.read("text"))) && !folder.read("folded").is_empty());
}
