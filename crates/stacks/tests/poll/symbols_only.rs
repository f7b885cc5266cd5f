//! All of the other tests once more, in a copy of this program that has symbols only.

use std::process::Command;

use crate::capture::SYMBOLS_ONLY;

#[test]
fn kinds_are_found_without_debug_information() {
    if std::env::var_os(SYMBOLS_ONLY).is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (program, copy) = (std::env::current_exe().unwrap(), folder.path().join("poll"));
    let strip = Command::new("strip").arg("--strip-debug").arg("-o").arg(&copy).arg(program).status().unwrap();
    assert!(strip.success());
    let output = Command::new(copy).arg("--nocapture").env(SYMBOLS_ONLY, "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
}
