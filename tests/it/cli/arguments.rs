//! Wrong arguments, scenarios and outputs; of inputs see `bad_input.rs`.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use crate::support::{Folder, assert_ends, run, stderr, stdout};

/// Every line is refused with the code and the words, before anything is written.
#[track_caller]
fn refused(folder: &Folder, code: i32, cases: &[(&str, &[&str])]) {
    let before = folder.names();
    for (line, says) in cases {
        let output = folder.run(line);
        eprintln!("pollscope {line}\n{}", stderr(&output));
        assert_ends(&output, code, says);
        assert!(output.stdout.is_empty(), "{line}: {}", stdout(&output));
        assert_eq!(folder.names(), before, "{line}: it left something behind");
    }
}

/// A folder with two inputs, `a` and `b`.
fn inputs() -> Folder {
    let folder = Folder::new();
    folder.write("a", "a1\na2\n");
    folder.write("b", "b1\n");
    folder
}

#[test]
fn usage_errors() {
    let cases: &[(&str, &[&str])] = &[
        ("", &["Usage: pollscope", "scenarios"]),
        ("frobnicate", &["unrecognized subcommand 'frobnicate'"]),
        ("--frob", &["unexpected argument '--frob'"]),
        ("run --frob", &["unexpected argument '--frob'"]),
        ("merge", &["--output <OUT>", "<INPUT>..."]),
        ("merge a", &["--output <OUT>"]),
        ("merge a -o out --force --append", &["'--force' cannot be used with '--append'"]),
        ("merge a -o -", &["cannot merge into stdout", "./-"]),
        ("merge a -o out --mode nonsense", &["unknown mode; choose one of `naive`, `offloaded`"]),
        ("merge a -o out --console=zzz", &["invalid value 'zzz'", "--console"]),
        ("merge a -o out --prometheus", &["a value is required for '--prometheus <ADDR>'"]),
        (
            "merge a -o out --prometheus zzz",
            &["invalid value 'zzz'", "write a port, or an address and a port", "`9464`"],
        ),
        ("merge a -o out --prometheus 127.0.0.1", &["invalid value '127.0.0.1'", "`127.0.0.1:9464`"]),
        ("run --prometheus 65536", &["invalid value '65536'", "write a port"]),
        ("run --prometheus ::1:80:", &["invalid value '::1:80:'", "`[::1]:9464`"]),
        ("run --prometheus -1", &["-1"]),
        ("confirm", &["--output <OUT>", "<INPUT>..."]),
        ("confirm a", &["--output <OUT>"]),
        ("confirm a -o -", &["cannot confirm stdout", "./-"]),
        ("confirm a -o out --max-line 0", &["a line must have at least one byte"]),
        ("confirm a -o out --max-line many", &["cannot read `many` as a size", "such as `512B`"]),
        ("confirm a -o out --skip -1", &["unexpected argument '-1'"]),
        ("confirm a -o out --skip 1.5", &["cannot read `1.5` as a size"]),
        ("run merge fsync --json x", &["takes one recording"]),
        ("run --mode nonsense", &["unknown mode; choose one of `naive`, `offloaded`"]),
        ("run --mode io-uring", &["unknown mode; choose one of `naive`, `offloaded`"]),
        ("merge a -o out --mode io-uring", &["unknown mode; choose one of `naive`, `offloaded`"]),
        ("run --mode ,", &["unknown mode"]),
        ("run --mode naive,naive", &["`--mode` names a mode twice"]),
        ("run --rounds 0", &["write a whole number from 1 to 100"]),
        ("run --rounds 5000000000", &["write a whole number from 1 to 100"]),
        ("run --rounds many", &["write a whole number from 1 to 100"]),
        ("run --slow 0", &["the threshold must be from 1us to 1h"]),
        ("run --slow 5", &["cannot read `5` as a duration", "such as `100ms`"]),
        ("run --slow 2h", &["the threshold must be from 1us to 1h"]),
        ("run --color red", &["invalid value 'red'"]),
    ];
    refused(&Folder::new(), 2, cases);
}

#[test]
fn settings_that_are_none() {
    let cases: &[(&str, &[&str])] = &[
        ("run --set foo", &["it has no `=`", "--set merge.inputs=7"]),
        ("run --set =3", &["it has no key before the `=`"]),
        ("run --set merge.inpust=3", &["unknown key `merge.inpust`", "did you mean `merge.inputs`?"]),
        ("run --set zebra.crossing=3", &["unknown key `zebra.crossing`"]),
        ("run --set merge=3", &["`merge` has no usable value", "expected a table"]),
        ("run --set merge.inputs=abc", &["expected a whole number"]),
        ("run --set merge.inputs=1.5", &["expected a whole number"]),
        ("run --set merge.inputs=[1", &["expected a whole number"]),
        ("run --set merge.inputs=0", &["is 0, but must be from 1 to 5,000"]),
        ("run --set merge.inputs=-1", &["is -1, but must be from 1 to 5,000"]),
        ("run --set merge.inputs=5001", &["is 5001, but must be from 1 to 5,000"]),
        (
            "run --set merge.inputs=99999999999999999999999",
            &["cannot read `--set merge.inputs=9", "greater than 2⁶³ - 1"],
        ),
        ("run --set merge.lines=10000000 --set merge.letters=10000", &["must stay within 10 GiB"]),
        ("run --set merge.max_wait=5parsecs", &["cannot read `5parsecs` as a duration"]),
        ("run --set merge.max_wait=100", &["expected a duration such as \"100ms\""]),
        ("run --set merge.max_wait=99h", &["must be from 1us to 1h"]),
        ("run --set merge.sink.kind=fofi", &["is `fofi`, but must be `file` or `fifo`", "did you mean `fifo`?"]),
        ("run --set witness.connections=1001", &["must be from 1 to 1,000"]),
        ("run --set modes=nave", &["`nave`, which is no mode", "did you mean `naive`?"]),
        ("run slow-coroutine --set block.duration=1h", &["must be from 1us to 60s"]),
        ("run slow-coroutine --set block.tasks=10001", &["must be from 1 to 10,000"]),
        ("run slow-coroutine --set merge.inputs=3", &["excludes `merge`"]),
    ];
    refused(&Folder::new(), 2, cases);
}

#[test]
fn scenarios_that_are_none() {
    let folder = Folder::new();
    let scenario = |body: &str| {
        format!("question = \"?\"\nwhy = \"w\"\n{body}\n[expect]\ngates = [\"merge.verdict == ok\"]\n").into_bytes()
    };
    folder.write("key.toml", scenario("[merge]\ninptus = 3"));
    folder.write("type.toml", scenario("[merge]\ninputs = \"many\""));
    folder.write("bound.toml", scenario("rounds = 101"));
    folder.write("huge.toml", scenario("seed = 99999999999999999999999"));
    folder.write("unit.toml", scenario("slow_poll = \"5 parsecs\""));
    folder.write("syntax.toml", "question = \n");
    folder.write("empty.toml", "");
    folder.write("nul.toml", scenario("\0"));
    folder.write("latin.toml", b"why = \"\xe9\"");
    folder.write("gate.toml", "question = \"?\"\nwhy = \"w\"\n[expect]\ngates = [\"merge.verdict = ok\"]\n");
    folder.fifo("fifo.toml");
    fs::create_dir(folder.path("folder.toml")).expect("a folder");
    let cases: &[(&str, &[&str])] = &[
        ("run slow-sinc", &["cannot find scenario `slow-sinc`", "did you mean `slow-sink`?", "`pollscope scenarios`"]),
        ("run merge slow-sinc", &["did you mean `slow-sink`?"]),
        ("run zzzzzzzz", &["cannot find scenario `zzzzzzzz`", "`pollscope scenarios`"]),
        ("run ./missing.toml", &["cannot read scenario file `./missing.toml`: there is no such file"]),
        ("run folder.toml", &["cannot read scenario file `folder.toml`: it is a directory"]),
        ("run fifo.toml", &["`fifo.toml`: it is not a regular file"]),
        ("run /dev/zero", &["`/dev/zero`: it is not a regular file"]),
        ("run key.toml", &["unknown key `merge.inptus`", "key.toml:4:1", "^^^^^^", "did you mean `inputs`?"]),
        ("run type.toml", &["expected a whole number", "type.toml:4:10", "^^^^^^"]),
        ("run bound.toml", &["`rounds` is 101, but must be from 1 to 100", "bound.toml:3:10"]),
        ("run huge.toml", &["huge.toml:3:8", "^"]),
        ("run unit.toml", &["cannot read `5 parsecs` as a duration", "unit.toml:3:13"]),
        ("run syntax.toml", &["not TOML", "syntax.toml:1:"]),
        ("run empty.toml", &["`question` is missing"]),
        ("run nul.toml", &["not TOML", "nul.toml:3:"]),
        ("run latin.toml", &["byte 7 is not UTF-8"]),
        ("run gate.toml", &["gate.toml:4:"]),
        ("run key.toml --json key.toml", &["unknown key"]),
    ];
    refused(&folder, 2, cases);
}

#[test]
fn outputs_that_are_none() {
    let folder = inputs();
    fs::create_dir(folder.path("folder")).expect("a folder");
    folder.write("old", "old\n");
    folder.fifo("fifo");
    symlink("old", folder.path("link")).expect("a link");
    symlink("nowhere", folder.path("dangling")).expect("a link");
    symlink("a", folder.path("to-a")).expect("a link");
    fs::hard_link(folder.path("a"), folder.path("hard-a")).expect("a hard link");
    let exists: &[&str] = &["File exists", "--append to add to it or --force to overwrite it"];
    let is_link: &[&str] = &["it is a symbolic link, which is never followed"];
    let is_folder: &[&str] = &["Is a directory", "name a file in it"];
    let is_input: &[&str] = &["cannot write output `", "it is the same file as input `a`; name another output"];
    let cases: &[(&str, &[&str])] = &[
        ("merge a b -o old", exists),
        ("merge a b -o old --mode naive", exists),
        ("merge a b -o fifo", exists),
        ("merge a b -o /dev/null", exists),
        ("merge a b -o link", is_link),
        ("merge a b -o link --force", is_link),
        ("merge a b -o link --append", is_link),
        ("merge a b -o dangling", is_link),
        ("merge a b -o dangling --force", is_link),
        ("merge a b -o dangling --append", is_link),
        ("merge a b -o folder", is_folder),
        ("merge a b -o folder --force", is_folder),
        ("merge a b -o folder --append", is_folder),
        ("merge a b -o no/such", &["cannot create output `no/such`", "make its folder first"]),
        ("merge a b -o no/such --append", &["cannot open output `no/such`", "make its folder first"]),
        ("merge a b -o a/such", &["cannot create output `a/such`", "Not a directory"]),
        ("merge a b -o a", is_input),
        ("merge a b -o ./a --force", is_input),
        ("merge a b -o to-a --append", is_input),
        ("merge a b -o hard-a --force", is_input),
    ];
    refused(&folder, 1, cases);
    assert_eq!((folder.read("a"), folder.read("old")), (b"a1\na2\n".to_vec(), b"old\n".to_vec()));
}

#[test]
fn a_report_never_replaces_what_the_command_uses() {
    let folder = inputs();
    symlink("a", folder.path("to-a")).expect("a link");
    fs::hard_link(folder.path("b"), folder.path("hard-b")).expect("a hard link");
    fs::copy(crate::support::root().join("scenarios/merge.toml"), folder.path("mine.toml")).expect("copied");
    let cases: &[(&str, &[&str])] = &[
        ("merge a b -o out --json a", &["cannot write report `a`: it would replace `a`", "name another file"]),
        ("merge a b -o out --json ./to-a", &["it would replace `a`"]),
        ("merge a b -o out --json hard-b", &["it would replace `b`"]),
        ("merge a b -o out --json ./out", &["it would replace `out`"]),
        ("run ./mine.toml --json mine.toml", &["it would replace `./mine.toml`"]),
    ];
    refused(&folder, 1, cases);
    assert_eq!(folder.read("a"), b"a1\na2\n");
}

#[test]
fn names_from_outside_move_no_cursor() {
    let folder = Folder::new();
    let odd = "it's \u{1b}[31m\u{202e}\n\u{7}";
    let shown = "it's \\u{1b}[31m\\u{202e}\\n\\u{7}";
    let cases: [(&[&str], i32); 7] = [
        (&["merge", odd, "-o", "out"], 1),
        (&["merge", "a", "-o", odd], 1),
        (&["confirm", odd, "-o", "a"], 1),
        (&["confirm", "a", "-o", odd], 1),
        (&["run", odd], 2),
        (&["run", &format!("/{odd}")], 2),
        (&["run", "--set", odd], 2),
    ];
    folder.write("a", "1\n");
    folder.write(odd, "2\n");
    fs::remove_file(folder.path(odd)).expect("removed");
    symlink("nowhere", folder.path(odd)).expect("a link");
    for (args, code) in cases {
        let output = run(&mut folder.command(args));
        eprintln!("{}", stderr(&output));
        assert_ends(&output, code, &[]);
        if ["merge", "confirm"].contains(&args[0]) {
            assert_ends(&output, code, &[shown]);
        }
    }
}

#[test]
fn names_may_be_anything_that_a_file_system_takes() {
    let folder = Folder::new();
    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe \x1b[2J\r.log");
    let long = std::ffi::OsString::from("n".repeat(255));
    folder.write(odd, "odd\n");
    folder.write(&long, "long\n");
    let out = std::ffi::OsStr::from_bytes(b"\xffout");
    let args = ["merge".as_ref(), odd, &long, "-o".as_ref(), out, "--json".as_ref(), "json".as_ref()];
    let output = run(&mut folder.command(args));
    assert_ends(&output, 0, &[]);
    assert!(!output.stdout.contains(&b'\x1b'), "{}", stdout(&output));
    let mut lines: Vec<_> = folder.read(out).split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    lines.sort();
    assert_eq!(lines, [b"".to_vec(), b"long".to_vec(), b"odd".to_vec()]);
    serde_json::from_slice::<serde_json::Value>(&folder.read("json")).expect("it is JSON");
    let run_invalid = ["run".as_ref(), std::ffi::OsStr::from_bytes(b"\xff")];
    assert_ends(&run(&mut folder.command(run_invalid)), 2, &["invalid UTF-8"]);
}

#[test]
fn help_and_version_go_to_stdout() {
    for (line, says) in [
        ("--help", "Exit codes: 0 pass"),
        ("-V", "pollscope 0."),
        ("run --help", "SCENARIO"),
        ("help merge", "--follow"),
    ] {
        let output = Folder::new().run(line);
        assert_ends(&output, 0, &[]);
        assert!(stdout(&output).contains(says) && output.stderr.is_empty(), "{}", stdout(&output));
    }
}

#[test]
fn altered_settings_say_that_nothing_is_judged() {
    let short =
        "run slow-coroutine --mode offloaded --set block.run_for=0 --set block.after=0 --set block.duration=1ms";
    let folder = Folder::new();
    assert_ends(&folder.run(short), 0, &["note: the expectations are not judged"]);
    assert!(stderr(&folder.run(&format!("{short} -q"))).is_empty());
}
