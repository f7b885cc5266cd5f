//! The crate's own rules.

use std::process::Command;

/// Whoever embeds the probe gets these crates and no others.
#[test]
fn the_probe_depends_on_an_allow_list() {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "-p", "pollscope-probe", "-e", "normal", "--prefix", "none", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    let mut crates: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    crates.sort_unstable();
    crates.dedup();
    assert_eq!(crates, ["pin-project-lite", "pollscope-probe", "tokio"], "{}", String::from_utf8_lossy(&output.stderr));
}
