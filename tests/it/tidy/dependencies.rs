//! What each crate may depend on. `Cargo.toml` makes it so; this makes a change of it deliberate.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::support::root;

/// The workspace's dependencies, as cargo resolves them for all its crates together.
struct Graph(Value);

impl Graph {
    fn new() -> Graph {
        let of = |name: &str, program: &str| Command::new(std::env::var_os(name).unwrap_or_else(|| program.into()));
        let version = of("RUSTC", "rustc").arg("-vV").output().unwrap();
        let version = String::from_utf8(version.stdout).unwrap();
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("the compiler's own platform");
        // What is only for other platforms was never downloaded for this build.
        let output = of("CARGO", "cargo")
            .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", host])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Graph(serde_json::from_slice(&output.stdout).unwrap())
    }

    fn package(&self, name: &str) -> &Value {
        let packages = self.0["packages"].as_array().unwrap();
        packages.iter().find(|package| package["name"] == name).unwrap_or_else(|| panic!("no crate {name}"))
    }

    /// What a crate names as a dependency of every build, whatever its features.
    fn declared(&self, name: &str) -> BTreeSet<&str> {
        let all = self.package(name)["dependencies"].as_array().unwrap();
        let always = all.iter().filter(|dependency| dependency["kind"].is_null() && dependency["optional"] == false);
        always.map(|dependency| dependency["name"].as_str().unwrap()).collect()
    }

    /// The crates that a crate is linked with, and those they are linked with, with every feature that any crate here turns on.
    fn linked(&self, name: &str) -> BTreeSet<&str> {
        let nodes = self.0["resolve"]["nodes"].as_array().unwrap();
        let nodes: BTreeMap<&str, &Value> = nodes.iter().map(|node| (node["id"].as_str().unwrap(), node)).collect();
        let is_normal =
            |dependency: &&Value| dependency["dep_kinds"].as_array().unwrap().iter().any(|of| of["kind"].is_null());
        let mut found = BTreeSet::new();
        let mut next = vec![self.package(name)["id"].as_str().unwrap()];
        while let Some(id) = next.pop() {
            let dependencies = nodes[id]["deps"].as_array().unwrap().iter().filter(is_normal);
            let new = dependencies.map(|dependency| dependency["pkg"].as_str().unwrap()).filter(|id| found.insert(*id));
            next.extend(new);
        }
        let packages = self.0["packages"].as_array().unwrap().iter();
        let found = packages.filter(|package| found.contains(package["id"].as_str().unwrap()));
        found.map(|package| package["name"].as_str().unwrap()).collect()
    }
}

#[test]
fn each_crate_sees_only_what_it_may() {
    let graph = Graph::new();
    assert_eq!(graph.declared("pollscope-base"), BTreeSet::new());
    assert_eq!(graph.declared("pollscope-probe"), BTreeSet::from(["pin-project-lite", "pollscope-base", "tokio"]));
    let never = [
        ("pollscope-stacks", &["tokio", "clap"][..]),
        ("pollscope-record", &["tokio", "clap", "pollscope-probe", "pollscope-stacks", "pollscope-lab"]),
        // The data that its feature `record` writes, and no more of it than `Cargo.toml` says.
        ("pollscope-probe", &["clap", "pollscope-lab"]),
        ("pollscope-lab", &["clap"]),
    ];
    for (name, never) in never {
        let linked = graph.linked(name);
        assert!(!linked.is_empty(), "{name} depends on something");
        let found: Vec<_> = never.iter().filter(|dependency| linked.contains(**dependency)).collect();
        assert!(found.is_empty(), "{name} depends on {found:?}");
    }
    assert!(graph.linked("pollscope-lab").contains("tokio"), "what others depend on is found through them");
}
