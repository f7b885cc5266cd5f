//! The crate's own rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Anyone who embeds the probe gets these crates and no others.
#[test]
fn the_probe_depends_on_an_allow_list() {
    let without_capture = crates(&["--no-default-features"]);
    assert_eq!(without_capture, ["pin-project-lite", "pollscope-base", "pollscope-probe", "tokio"]);
    let with_capture = crates(&[]);
    let allowed = [
        "adler2",
        "gimli",
        "iced-x86",
        "lazy_static",
        "libc",
        "memchr",
        "memmap2",
        "miniz_oxide",
        "object",
        "pin-project-lite",
        "pollscope-base",
        "pollscope-macros",
        "pollscope-probe",
        "pollscope-stacks",
        "rustc-demangle",
        "tokio",
    ];
    assert_eq!(with_capture, allowed);
    let more = |feature: &str| {
        let with_it = crates(&["--features", feature]);
        with_it.into_iter().filter(|name| !with_capture.contains(name)).collect::<Vec<_>>()
    };
    assert_eq!(more("tracing"), ["once_cell", "tracing", "tracing-core"]);
    assert_eq!(
        more("span"),
        ["cfg-if", "once_cell", "sharded-slab", "thread_local", "tracing-core", "tracing-subscriber"]
    );
    assert_eq!(more("tower"), ["bytes", "http", "itoa", "tower-layer", "tower-service"]);
    let of_record = more("record");
    let beyond_that: Vec<String> = more("whole-process").into_iter().filter(|name| !of_record.contains(name)).collect();
    assert_eq!(beyond_that, ["pollscope-attach"]);
    assert_eq!(more("metrics"), ["metrics", "rapidhash", "rustversion"]);
    assert_eq!(
        more("serde"),
        ["proc-macro2", "quote", "serde", "serde_core", "serde_derive", "syn", "unicode-ident"],
        "all but the first two are for the compiler alone"
    );
}

/// Tokio's own feature of that name costs every poll something.
#[test]
fn events_do_not_turn_on_tokios() {
    let on = |asked| {
        let tree = tree(&["--format", "{p} {f}", "--features", asked]);
        let tokio =
            tree.lines().find(|line| line.starts_with("tokio v")).unwrap_or_else(|| panic!("{tree}")).to_owned();
        tokio.split([' ', ',']).any(|feature| feature == "tracing")
    };
    assert!(on("task-names"));
    assert!(!on("tracing"));
}

/// Imports go one way. What is in a file's folder is that file's own affair.
#[test]
fn no_file_imports_one_that_imports_it() {
    let mut imports = BTreeMap::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("lib.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let named = code.flat_map(|line| line.split("crate::").skip(1));
        let named: BTreeSet<String> =
            named.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect();
        imports.insert(path.file_stem().unwrap().to_str().unwrap().to_owned(), named);
    }
    assert!(imports["probe"].contains("shared") && imports["hooks"].contains("thread"), "{imports:?}");
    loop {
        let imports_none = |named: &BTreeSet<String>| !named.iter().any(|name| imports.contains_key(name));
        let leaves: Vec<String> =
            imports.iter().filter(|(_, named)| imports_none(named)).map(|(file, _)| file.clone()).collect();
        if leaves.is_empty() {
            break;
        }
        leaves.iter().for_each(|file| _ = imports.remove(file));
    }
    assert!(imports.is_empty(), "a circle is in {imports:?}");
}

fn tree(options: &[&str]) -> String {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "-p", "pollscope-probe", "-e", "normal", "--prefix", "none", "--offline"])
        .args(options)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn crates(features: &[&str]) -> Vec<String> {
    let tree = tree(features);
    let mut crates: Vec<String> = tree.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
    crates.sort_unstable();
    crates.dedup();
    crates
}
