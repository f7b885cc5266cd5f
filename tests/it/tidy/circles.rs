//! Imports between a crate's modules go one way. What is in a module's folder belongs to that module.

use std::collections::{BTreeMap, BTreeSet};

use super::{code, files};
use crate::support::root;

/// Imports that would close a circle, and why they stay.
const ALLOWED: [(&str, &str, &str, &str); 0] = [];

/// The modules of a crate, each with those that it names. Names of tests alone are no imports.
fn imports(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let source = root().join(folder).join("src");
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in files(&format!("{folder}/src"), "rs") {
        let inside = path.strip_prefix(&source).unwrap();
        let module = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        let is_test = inside.ends_with("tests.rs") || inside.iter().any(|part| part == "tests");
        if is_test || ["lib", "main", "fixture"].contains(&module) {
            continue;
        }
        let named = imports.entry(module.to_owned()).or_default();
        for rest in code(&path).split("crate::").skip(1) {
            // `crate::{one, two::Three}` names several.
            let end = if rest.starts_with('{') {
                rest.find(';')
            } else {
                rest.find(|c: char| c != '_' && !c.is_alphanumeric())
            };
            let names = rest[..end.unwrap_or(rest.len())].split(|c: char| c != '_' && !c.is_alphanumeric());
            named.extend(names.filter(|name| *name != module).map(str::to_owned));
        }
    }
    imports
}

#[test]
fn no_module_imports_one_that_imports_it() {
    let mut count = 0;
    // The probe has this test of its own, as it is built alone.
    for folder in [".", "crates/base", "crates/stacks", "crates/record", "crates/lab"] {
        let mut imports = imports(folder);
        count += imports.len();
        for (_, from, to, _) in ALLOWED.iter().filter(|(place, ..)| *place == folder) {
            imports.entry((*from).to_owned()).and_modify(|named| _ = named.remove(*to));
        }
        loop {
            let is_leaf = |named: &BTreeSet<String>| !named.iter().any(|name| imports.contains_key(name));
            let leaves: Vec<String> =
                imports.iter().filter(|(_, named)| is_leaf(named)).map(|(module, _)| module.clone()).collect();
            if leaves.is_empty() {
                break;
            }
            leaves.iter().for_each(|module| _ = imports.remove(module));
        }
        assert!(imports.is_empty(), "{folder}: a circle is in {imports:#?}");
    }
    assert!(count > 40, "{count} modules");
    let lab = imports("crates/lab");
    assert!(lab["run"].contains("pipeline") && lab["pipeline"].contains("spawner"), "{lab:?}");
}
