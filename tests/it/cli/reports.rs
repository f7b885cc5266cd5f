//! Where reports go, and what becomes of them when they cannot.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use crate::support::{Folder, assert_ends, finish, shell, stderr, stdout};

/// A folder with the input `a`.
fn input() -> Folder {
    let folder = Folder::new();
    folder.write("a", "a1\na2\n");
    folder
}

fn is_report(text: &str) -> bool {
    text.starts_with(['✓', '✗', '~']) && text.contains("\n  more: ")
}

#[test]
fn a_full_disk_is_named_and_the_report_still_written() {
    for mode in ["naive", "offloaded"] {
        let folder = input();
        let output = folder.run(&format!("merge a -o /dev/full --append --mode {mode} --json json"));
        assert_ends(&output, 1, &["cannot write to output `/dev/full`: No space left", "free some space"]);
        assert!(is_report(&stdout(&output)) && stdout(&output).contains("/dev/full"), "{}", stdout(&output));
        serde_json::from_slice::<serde_json::Value>(&folder.read("json")).expect("it is JSON");
    }
}

#[test]
fn a_file_size_limit_is_an_error_like_any_other() {
    let folder = Folder::new();
    folder.write("big", "0123456789\n".repeat(1_000));
    let output = folder.shell("ulimit -f 1; \"$POLLSCOPE_BIN\" merge big -o out");
    assert_ends(&output, 1, &["cannot write to output `out`: File too large", "ulimit -f"]);
    assert!(is_report(&stdout(&output)), "{}", stdout(&output));
}

#[test]
fn a_report_that_cannot_be_written_does_not_cost_the_other() {
    let folder = input();
    folder.fifo("fifo");
    let cases: [(&str, &[&str]); 2] = [
        ("/dev/full", &["cannot write report `/dev/full`: No space left"]),
        ("fifo", &["cannot write report `fifo`", "nobody reads from it"]),
    ];
    for (json, says) in cases {
        let output = folder.run(&format!("merge a -o out --force --json {json}"));
        assert_ends(&output, 110, says);
        assert!(is_report(&stdout(&output)), "{json}: {}", stdout(&output));
    }
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_anything_runs() {
    let folder = input();
    fs::create_dir(folder.path("read-only")).expect("a folder");
    fs::set_permissions(folder.path("read-only"), PermissionsExt::from_mode(0o555)).expect("set");
    let mut cases: Vec<(&str, &[&str])> = vec![
        ("no/such", &["cannot write report `no/such`: No such file", "make its folder first"]),
        ("a/b", &["cannot write report `a/b`: not a directory"]),
        (".", &["cannot write report `.`: Is a directory", "name a file in it"]),
    ];
    if !rustix::process::geteuid().is_root() {
        cases.push(("read-only/json", &["permission denied", "make its folder writable"]));
    }
    let before = folder.names();
    for command in ["merge a -o out", "run merge"] {
        for (path, says) in &cases {
            for report in ["json", "folded"] {
                let output = folder.run(&format!("{command} --{report} {path}"));
                assert_ends(&output, 110, says);
                assert!(output.stdout.is_empty(), "{path}: {}", stdout(&output));
                assert_eq!(folder.names(), before, "{path}: it left something behind");
            }
        }
    }
}

#[test]
fn a_link_is_written_through_and_never_replaced() {
    let folder = input();
    folder.write("target", "old and longer than nothing");
    symlink("target", folder.path("link")).expect("a link");
    symlink("new", folder.path("dangling")).expect("a link");
    for (link, target) in [("link", "target"), ("dangling", "new")] {
        assert_ends(&folder.run(&format!("merge a -o out --force --json {link}")), 0, &[]);
        assert!(folder.path(link).is_symlink());
        serde_json::from_slice::<serde_json::Value>(&folder.read(target)).expect("it is JSON, and nothing else");
    }
    // As `/dev/stdout` is one, which must not be tried by a test that may be root.
    symlink("/proc/self/fd/1", folder.path("stdout")).expect("a link");
    let output = folder.shell("\"$POLLSCOPE_BIN\" merge a -o out --force --json stdout > both");
    assert_ends(&output, 0, &[]);
    assert!(folder.path("stdout").is_symlink());
    let both = String::from_utf8(folder.read("both")).expect("text");
    let (json, report) = both.split_once("\n}\n").expect("JSON, then the report");
    assert!(json.starts_with("{\n") && is_report(report), "{both}");
}

#[test]
fn json_may_take_the_place_of_the_report() {
    let folder = input();
    let output = folder.run("merge a -o out --json -");
    assert_ends(&output, 0, &[]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    assert_eq!(json["runs"][0]["merge"]["verdict"], "ok");
}

#[test]
fn a_full_stdout_is_an_error() {
    let folder = input();
    for line in ["merge a -o out --force --json json", "scenarios", "--help", "--version"] {
        let output = folder.shell(&format!("\"$POLLSCOPE_BIN\" {line} > /dev/full"));
        assert_ends(&output, 110, &["cannot write to stdout: No space left"]);
    }
    serde_json::from_slice::<serde_json::Value>(&folder.read("json")).expect("the other report was written");
}

#[test]
fn a_closed_stdout_or_stderr_changes_nothing() {
    let folder = input();
    for (line, code) in [
        ("merge a -o out --force", 0),
        ("merge a -o out", 1),
        ("scenarios", 0),
        ("--help", 0),
        ("run slow-sinc", 2),
        ("merge a -o /dev/full --append", 1),
    ] {
        let mut command = folder.command(line.split(' '));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(finish(child).status.code(), Some(code), "{line}");
        let mut closed = shell(&format!("\"$POLLSCOPE_BIN\" {line} >&- 2>&-"));
        closed.current_dir(folder.path("."));
        assert_eq!(finish(closed.spawn().expect("it starts")).status.code(), Some(code), "{line}");
    }
}

#[test]
fn any_width_makes_a_report() {
    let folder = input();
    for columns in ["0", "1", "5", "20", "59", "99999999999", "wide", ""] {
        let mut command = folder.command(["merge", "a", "-o", "out", "--force", "--color", "always"]);
        command.env("COLUMNS", columns);
        let output = crate::support::run(&mut command);
        assert_ends(&output, 0, &[]);
        assert!(output.stdout.len() < 1 << 20, "{columns}");
    }
}

#[test]
fn too_few_file_descriptors() {
    let folder = input();
    for limit in [16, 64] {
        let output = folder.shell(&format!("ulimit -n {limit}; \"$POLLSCOPE_BIN\" run merge"));
        let says = format!("the limit is {limit}; raise it");
        assert_ends(&output, 1, &["files open at once", &says, "use fewer inputs"]);
        assert!(output.stdout.is_empty());
    }
    // The soft limit alone is raised.
    let output = folder.shell("ulimit -Sn 64; \"$POLLSCOPE_BIN\" merge a -o out");
    assert_ends(&output, 0, &[]);
}

#[test]
fn an_address_that_metrics_cannot_be_served_on() {
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = occupied.local_addr().expect("its address").to_string();
    let folder = input();
    // 192.0.2.0/24 is nobody's: an address for documents.
    for (address, cause) in [(&*address, "Address already in use"), ("192.0.2.1:0", "Cannot assign requested address")]
    {
        let cannot = format!("cannot serve metrics on `{address}`: {cause}");
        for command in ["merge a -o out", "run"] {
            let output = folder.run(&format!("{command} --prometheus {address}"));
            assert_ends(&output, 1, &[&cannot, "; name a free address of this machine with `--prometheus ADDR`"]);
            assert!(output.stdout.is_empty());
            assert_eq!(folder.names(), ["a"]);
        }
    }
}

#[test]
fn an_occupied_console_address() {
    let occupied = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = occupied.local_addr().expect("its address").to_string();
    let folder = input();
    let output = folder.run(&format!("merge a -o out --console={address}"));
    if stderr(&output).contains("this build lacks") {
        println!("SKIP: this build has no tokio-console");
        return;
    }
    let listening = format!("cannot listen for tokio-console on `{address}`: Address already in use");
    assert_ends(&output, 1, &[&listening, "--console=ADDR"]);
    assert_eq!(folder.names(), ["a"]);
}

/// Under whatever name: nothing is read, run or written.
#[test]
fn two_outputs_that_go_to_one_place_are_refused() {
    let folder = input();
    fs::create_dir_all(folder.path("sub/deep")).expect("a folder");
    folder.write("old", "old");
    fs::hard_link(folder.path("old"), folder.path("hard")).expect("a link");
    symlink("old", folder.path("link")).expect("a link");
    symlink("new", folder.path("dangling")).expect("a link");
    symlink("dangling", folder.path("chain")).expect("a link");
    symlink("sub", folder.path("other")).expect("a link");
    folder.fifo("fifo");
    let (before, stdout_both) = (folder.names(), "`json` and `html` to stdout both: they would be mixed");
    let one_file = "they are one file, and one would be lost; name another file for one of them";
    for (reports, says) in [
        ("--json x --html x", "cannot write `json` and `html` to `x` both: one would be lost; name another"),
        ("--json x --html ./x", "cannot write `json` to `x` and `html` to `./x`: they are one file"),
        ("--json sub/../x --html x", one_file),
        ("--json sub/x --html other/x", one_file),
        ("--json old --html link", one_file),
        ("--json old --markdown hard", one_file),
        ("--folded new --junit dangling", one_file),
        ("--folded chain --junit ./new", one_file),
        ("--json fifo --html ./fifo", one_file),
        ("--json a1 --html a2 --trace ./a1", one_file),
        ("--json - --html -", stdout_both),
        ("--json x --folded - --trace -", "to stdout both"),
        (
            "--json - --html /proc/self/fd/1",
            "cannot write `html` to `/proc/self/fd/1`: it is stdout, where `json` goes",
        ),
        ("--hgrm p.hgrm --json p.naive.hgrm", "cannot write `hgrm` and `json` to `p.naive.hgrm` both"),
    ] {
        for command in ["merge a -o out", "run merge", "report a"] {
            let output = folder.run(&format!("{command} {reports}"));
            assert_ends(&output, 2, &["error: cannot write ", says]);
            assert_eq!((stdout(&output).as_str(), folder.names()), ("", before.clone()), "{command} {reports}");
        }
    }
    assert_ends(&folder.run("report a -o x --json x"), 2, &["`json` and `text` to `x` both"]);
    fs::create_dir(folder.path(".pollscope")).expect("a folder");
    assert_ends(&folder.run("run merge --save-baseline b --json .pollscope/b.json"), 2, &["`json` and `baseline` to "]);
    assert_eq!(folder.read("old"), b"old");
    let mut command = folder.command(["merge", "a", "-o", "out", "--format", "github", "--markdown", "./summary"]);
    let output = crate::support::run(command.env("GITHUB_STEP_SUMMARY", folder.path("summary")));
    assert_ends(&output, 2, &["`markdown` to `./summary` and `step summary` to `"]);
    // What keeps nothing takes everything, and neighbours are no namesakes.
    assert_ends(
        &folder.run("merge a -o out --json /dev/null --html /dev/null --hgrm p.hgrm --folded p.folded"),
        0,
        &[],
    );
}
