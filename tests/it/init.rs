//! `pollscope init` over small projects: what it shows is what it writes, all or nothing, and once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Folder, assert_ends, root, run, stderr, stdout};

const MANIFEST: &str = "\
[package]
name = \"shop\"
version = \"0.1.0\"
edition = \"2024\"

[dependencies]
# What runs it.
tokio = { version = \"1.54\", features = [\"full\"] }
";
const MAIN: &str = "\
// #[tokio::main] in a comment stays
#[tokio::main(flavor = \"current_thread\")]
async fn main() {
\tprintln!(\"#[tokio::main]\");
}
";
const CONFIG: &str = "\
# Tokio tells of its polls only with this flag.
[build]
rustflags = [\"--cfg\", \"tokio_unstable\"]
";

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new();
    for (name, text) in files {
        fs::create_dir_all(folder.path(name).parent().unwrap()).unwrap();
        folder.write(name, text);
    }
    folder
}

fn shop() -> Folder {
    folder(&[("Cargo.toml", MANIFEST), ("src/main.rs", MAIN)])
}

/// In an environment that changes nothing.
fn command(folder: &Folder, line: &str) -> Command {
    let mut command = folder.command(line.split_whitespace());
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").env("CARGO_HOME", folder.path("no-home"));
    command
}

fn init(folder: &Folder, line: &str) -> Output {
    run(&mut command(folder, &format!("init {line}")))
}

fn text(folder: &Folder, name: &str) -> String {
    String::from_utf8(folder.read(name)).unwrap()
}

/// Every file below it, with what it says.
fn all(folder: &Folder) -> Vec<(String, Vec<u8>)> {
    fn walk(at: &Path, from: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(from).unwrap().to_string_lossy().into_owned();
            match () {
                () if path.is_dir() => {
                    found.push((name, Vec::new()));
                    walk(&path, from, found);
                }
                () if path.is_file() => found.push((name, fs::read(&path).unwrap())),
                () => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(&folder.path(""), &folder.path(""), &mut found);
    found.sort();
    found
}

#[test]
fn it_shows_what_it_would_change_and_writes_it_when_asked_and_once() {
    let shop = shop();
    let before = all(&shop);
    let shown = init(&shop, "");
    assert_ends(
        &shown,
        0,
        &["would change `Cargo.toml`, `.cargo/config.toml`, `src/main.rs`: `pollscope init --write` does"],
    );
    assert_eq!(all(&shop), before, "it only shows");
    let diff = stdout(&shown);
    for part in [
        "--- a/Cargo.toml\n+++ b/Cargo.toml\n",
        "+pollscope-probe = { version = \"0.1\", features = [\"record\"] }\n+\n+[profile.release]\n+debug = \"line-tables-only\"\n",
        "--- /dev/null\n+++ b/.cargo/config.toml\n",
        "-#[tokio::main(flavor = \"current_thread\")]\n+#[pollscope_probe::main(flavor = \"current_thread\")]\n",
    ] {
        assert!(diff.contains(part), "no {part:?} in\n{diff}");
    }

    let written = init(&shop, "--write");
    assert_ends(&written, 0, &["wrote `Cargo.toml`, `.cargo/config.toml`, `src/main.rs`: build it"]);
    assert_eq!(stdout(&written), diff, "what it shows is what it writes");
    let manifest = format!(
        "{MANIFEST}pollscope-probe = {{ version = \"0.1\", features = [\"record\"] }}\n\n[profile.release]\ndebug = \"line-tables-only\"\n"
    );
    assert_eq!(text(&shop, "Cargo.toml"), manifest);
    assert_eq!(text(&shop, ".cargo/config.toml"), CONFIG);
    assert_eq!(text(&shop, "src/main.rs"), MAIN.replacen("#[tokio::main(", "#[pollscope_probe::main(", 1));
    assert_eq!(shop.names(), [".cargo", "Cargo.toml", "src"], "nothing else is left");

    let done = all(&shop);
    for line in ["", "--write", "--write ."] {
        let again = init(&shop, line);
        assert_ends(&again, 0, &["nothing to change"]);
        assert_eq!((stdout(&again).as_str(), all(&shop) == done), ("", true));
    }
    assert!(stderr(&init(&shop, "--quiet")).is_empty());
}

#[test]
fn its_diff_is_one_that_git_applies() {
    let (shown, written) = (shop(), shop());
    shown.write("diff", init(&shown, "").stdout);
    init(&written, "--write");
    let applied = run(Command::new("git").args(["apply", "diff"]).current_dir(shown.path("")));
    if applied.status.code().is_none_or(|code| code == 127) {
        return println!("SKIP: no git");
    }
    assert!(applied.status.success(), "{}", stderr(&applied));
    fs::remove_file(shown.path("diff")).unwrap();
    assert_eq!(all(&shown), all(&written));
}

#[test]
fn settings_of_cargos_are_merged_with_what_is_there() {
    let two = "\"--cfg\", \"tokio_unstable\"";
    let nothing = None;
    for (name, before, after) in [
        (
            "config.toml",
            "[build]\nrustflags = [\"-Ctarget-cpu=native\"] # fast\n",
            Some(format!("[build]\nrustflags = [\"-Ctarget-cpu=native\", {two}] # fast\n")),
        ),
        (
            "config.toml",
            "[build]\nrustflags = [\n    \"-Dwarnings\", # strict\n]\n",
            Some(
                "[build]\nrustflags = [\n    \"-Dwarnings\",\n    \"--cfg\",\n    \"tokio_unstable\", # strict\n]\n"
                    .to_owned(),
            ),
        ),
        (
            "config.toml",
            "[build]\nrustflags = \"-Dwarnings\"\n",
            Some("[build]\nrustflags = \"-Dwarnings --cfg tokio_unstable\"\n".to_owned()),
        ),
        (
            "config.toml",
            "[build]\njobs = 2\n\n[net]\noffline = true\n",
            Some(format!("[build]\njobs = 2\nrustflags = [{two}]\n\n[net]\noffline = true\n")),
        ),
        ("config.toml", "build.jobs = 2\n", Some(format!("build.jobs = 2\nbuild.rustflags = [{two}]\n"))),
        ("config.toml", "build.rustflags = [\"--cfg=tokio_unstable\"]\n", nothing.clone()),
        ("config.toml", "[build]\nrustflags = \"-g --cfg tokio_unstable\"\n", nothing.clone()),
        ("config", "[build]\nrustflags = []\n", Some(format!("[build]\nrustflags = [{two}]\n"))),
        (
            "config.toml",
            "[build]\r\n# windows\r\njobs = 1\r\n",
            Some(format!("[build]\r\n# windows\r\njobs = 1\r\nrustflags = [{two}]\r\n")),
        ),
    ] {
        let path = format!(".cargo/{name}");
        let shop = folder(&[("Cargo.toml", MANIFEST), ("src/main.rs", MAIN), (&path, before)]);
        assert_ends(&init(&shop, "--write"), 0, &[]);
        let after = after.unwrap_or_else(|| before.to_owned());
        assert_eq!(text(&shop, &path), after);
        assert_eq!(fs::read_dir(shop.path(".cargo")).unwrap().count(), 1, "no second file beside {path}");
        assert_eq!(stdout(&init(&shop, "")), "");
    }
}

#[test]
fn what_would_undo_the_flag_is_said() {
    let shop = shop();
    for (name, value, is_said) in [
        ("RUSTFLAGS", "-Dwarnings", true),
        ("RUSTFLAGS", "", true),
        ("RUSTFLAGS", "-g --cfg tokio_unstable", false),
        ("CARGO_ENCODED_RUSTFLAGS", "-g", true),
        ("CARGO_ENCODED_RUSTFLAGS", "--cfg\x1ftokio_unstable", false),
    ] {
        let output = run(command(&shop, "init").env(name, value));
        assert_ends(&output, 0, &[]);
        let said = format!("note: `{name}` is set, and takes the place of the flags in `.cargo/config.toml`");
        assert_eq!(stderr(&output).contains(&said), is_said, "{name}={value:?}\n{}", stderr(&output));
    }
    let of_target = "[target.x86_64-unknown-linux-gnu]\nrustflags = [\"-g\"]\n[target.'cfg(unix)']\nrustflags = \"--cfg tokio_unstable\"\n";
    fs::create_dir(shop.path(".cargo")).unwrap();
    shop.write(".cargo/config.toml", of_target);
    let said =
        "note: `.cargo/config.toml` has `rustflags` for `[target.x86_64-unknown-linux-gnu]`, which take the place";
    let output = init(&shop, "");
    assert_ends(&output, 0, &[said]);
    assert!(!stderr(&output).contains("cfg(unix)"), "{}", stderr(&output));
    // A folder above counts as well, and so does the user's.
    fs::create_dir(shop.path("no-home")).unwrap();
    shop.write("no-home/config.toml", "[target.'cfg(all())']\nrustflags = [\"-g\"]\n");
    assert_ends(&init(&shop, ""), 0, &["no-home/config.toml` has `rustflags` for `[target.cfg(all())]`"]);
}

#[test]
fn in_a_workspace_what_goes_for_all_is_at_its_root() {
    let member = MANIFEST.replace("shop", "member");
    let library = "[package]\nname = \"library\"\nversion = \"0.1.0\"\n\n[dependencies]\ntokio = \"1\"\n";
    let files = [
        ("Cargo.toml", "[workspace]\nmembers = [\"crates/*\", \"tools\"]\nexclude = [\"crates/left-out\"]\n"),
        ("crates/member/Cargo.toml", member.as_str()),
        ("crates/member/src/main.rs", MAIN),
        ("crates/library/Cargo.toml", library),
        ("crates/library/src/lib.rs", ""),
        ("crates/left-out/Cargo.toml", MANIFEST),
        ("crates/left-out/src/main.rs", MAIN),
    ];
    let changed = "wrote `crates/member/Cargo.toml`, `Cargo.toml`, `.cargo/config.toml`, `crates/member/src/main.rs`";
    for of in [".", "crates/member"] {
        let all = folder(&files);
        assert_ends(&init(&all, &format!("--write {of}")), 0, &[changed]);
        assert!(text(&all, "Cargo.toml").ends_with("\n[profile.release]\ndebug = \"line-tables-only\"\n"));
        assert!(text(&all, "crates/member/Cargo.toml").contains("pollscope-probe"));
        assert_eq!(text(&all, ".cargo/config.toml"), CONFIG);
    }
    let all = folder(&files);
    assert_ends(&init(&all, "crates/left-out"), 0, &["would change `Cargo.toml`, `.cargo/config.toml`, `src/main.rs`"]);
    let several = folder(&files);
    fs::create_dir_all(several.path("tools/src/bin/two")).unwrap();
    several.write("tools/Cargo.toml", MANIFEST);
    several.write("tools/src/bin/two/main.rs", MAIN);
    assert_ends(&init(&several, ""), 1, &["`crates/member`, `tools` have a `#[tokio::main]`; name the folder of one"]);
    let none = folder(&[("Cargo.toml", "[workspace]\nmembers = []\n")]);
    assert_ends(&init(&none, ""), 1, &["cannot choose a package", "none has a `#[tokio::main]`"]);
}

#[test]
fn what_it_does_not_change_it_tells_with_its_line() {
    for (main, says) in [
        ("#[tokio::main(start_paused = true)]\nasync fn main() {}", "`src/main.rs:1` sets `start_paused`, which"),
        ("\n#[actix_web::main]\nasync fn main() {}", "`src/main.rs:2` has `#[actix_web::main]`: its workers"),
        (
            "fn main() {\n    tokio::runtime::Builder::new_multi_thread();\n}",
            "`src/main.rs:2` builds its runtime itself",
        ),
        ("fn main() {}", "no program of `Cargo.toml` has a `#[tokio::main]`"),
    ] {
        let shop = folder(&[("Cargo.toml", MANIFEST), ("src/main.rs", main)]);
        assert_ends(&init(&shop, "--write"), 0, &[says]);
        assert_eq!(text(&shop, "src/main.rs"), main);
        assert!(text(&shop, "Cargo.toml").contains("pollscope-probe"), "the rest is done");
    }
    for (manifest, says) in [
        ("\n[profile.release]\ndebug = false\nstrip = true\n", &["says `debug = false`", "strips release builds"][..]),
        ("\n[profile.release]\ndebug = 0\nstrip = \"none\"\n", &["says `debug = 0`"]),
        ("\n[profile.release]\ndebug = 1\n", &[]),
    ] {
        let shop = folder(&[("Cargo.toml", &format!("{MANIFEST}{manifest}")), ("src/main.rs", MAIN)]);
        let output = init(&shop, "--write");
        assert_ends(&output, 0, says);
        assert_eq!(stderr(&output).matches("note: ").count(), says.len(), "{}", stderr(&output));
        assert!(text(&shop, "Cargo.toml").ends_with(manifest), "what somebody decided stays");
    }
    let locked = shop();
    locked.write("Cargo.lock", "[[package]]\nname = \"tokio\"\nversion = \"1.48.0\"\n");
    assert_ends(&init(&locked, ""), 0, &["has tokio 1.48.0, and the probe needs 1.54: run `cargo update -p tokio`"]);
}

#[test]
fn what_cannot_be_changed_is_an_error_and_nothing_is_half_written() {
    for (name, content, says) in [
        ("Cargo.toml", &b"[package\n"[..], "cannot read `"),
        ("Cargo.toml", b"[package]\nname = \"x\"\n[dependencies]\ntokio = \"1\"\ntokio = \"1\"\n", "line 5: "),
        ("Cargo.toml", b"\xff", "it is not UTF-8"),
        ("Cargo.toml", b"[package]\nname = \"x\"\n", "it does not depend on `tokio`"),
        ("Cargo.toml", b"[other]\n", "neither `[package]` nor `[workspace]`"),
        (".cargo/config.toml", b"build = 3\n", "its `build` is no table"),
        (".cargo/config.toml", b"[build]\nrustflags = 3\n", "neither a list nor a text"),
        (".cargo/config.toml", b"\x1b[2J", "line 1: "),
        ("src/main.rs", b"\xff", "it is not UTF-8"),
        ("Cargo.toml", b"[package]\r\nname = \"x\"\n[dependencies]\ntokio = \"1\"\n", "its line ends are mixed"),
    ] {
        let shop = shop();
        fs::create_dir_all(shop.path(".cargo")).unwrap();
        shop.write(name, content);
        let before = all(&shop);
        assert_ends(&init(&shop, "--write"), 1, &[says]);
        assert_eq!(all(&shop), before, "{says}");
    }
    assert_ends(&init(&Folder::new(), ""), 1, &["cannot find a project in `.`: there is no `Cargo.toml`"]);
    assert_ends(&init(&shop(), "no-such"), 1, &["cannot find a project in `no-such`"]);
    assert_ends(&init(&shop(), "--path src"), 1, &["cannot find the probe in `src`"]);
    let fifo = folder(&[("Cargo.toml", MANIFEST), ("src/lib.rs", "")]);
    fifo.fifo("src/main.rs");
    assert_ends(&init(&fifo, "--write"), 0, &["no program"]);
    // A link to nowhere where a folder is to be, when another file is ready already.
    let in_the_way = shop();
    std::os::unix::fs::symlink("nowhere", in_the_way.path(".cargo")).unwrap();
    let before = all(&in_the_way);
    assert_ends(&init(&in_the_way, "--write"), 110, &["cannot write `", ".cargo/config.toml`: ", "nothing is written"]);
    assert_eq!(all(&in_the_way), before);
}

#[test]
fn permissions_and_links_stay() {
    let shop = shop();
    fs::rename(shop.path("src/main.rs"), shop.path("real.rs")).unwrap();
    std::os::unix::fs::symlink("../real.rs", shop.path("src/main.rs")).unwrap();
    fs::set_permissions(shop.path("Cargo.toml"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_ends(&init(&shop, "--write"), 0, &[]);
    assert!(shop.path("src/main.rs").is_symlink());
    assert!(text(&shop, "real.rs").contains("#[pollscope_probe::main("));
    assert_eq!(fs::metadata(shop.path("Cargo.toml")).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn the_probe_can_come_from_a_folder() {
    let shop = shop();
    let probe = root().join("crates/probe");
    assert_ends(&init(&shop, &format!("--write --path {}", probe.display())), 0, &[]);
    let manifest = text(&shop, "Cargo.toml");
    let line = manifest.lines().find(|line| line.starts_with("pollscope-probe")).unwrap();
    let path = line.split('"').nth(1).unwrap();
    assert_eq!(fs::canonicalize(shop.path(path)).unwrap(), fs::canonicalize(probe).unwrap());
    assert_eq!(stdout(&init(&shop, "")), "", "it is there, wherever it comes from");
}

/// It compiles Tokio and the probe once more: `cargo test --test it init -- --ignored`.
#[test]
#[ignore = "takes a minute"]
fn a_project_that_it_wrote_builds_runs_and_tells_what_blocks() {
    let main = "#[tokio::main]\nasync fn main() {\n    std::thread::sleep(std::time::Duration::from_millis(200));\n}\n";
    let manifest = MANIFEST.replace("\"full\"", "\"rt-multi-thread\"");
    let shop = folder(&[("Cargo.toml", &format!("{manifest}\n[workspace]\n")), ("src/main.rs", main)]);
    fs::copy(root().join("Cargo.lock"), shop.path("Cargo.lock")).unwrap();
    assert_ends(&init(&shop, &format!("--write --path {}", root().join("crates/probe").display())), 0, &[]);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built =
        Command::new(cargo).args(["build", "--offline", "--quiet"]).current_dir(shop.path("")).output().unwrap();
    assert!(built.status.success(), "{}", stderr(&built));
    let output = run(&mut command(&shop, "record -- target/debug/shop"));
    assert_ends(&output, 0, &["src/main.rs:3"]);
    assert!(stdout(&output).contains("src/main.rs:3"), "{}", stdout(&output));
}
