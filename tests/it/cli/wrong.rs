//! Wrong usages: what is wrong, and what to type next. A row has a command line, its exit code, and words of the message.

use crate::support::{Folder, assert_ends, stderr};
use pollscope::scenario::builtin::BUILTIN;

type Row<'a> = (&'a str, i32, &'a [&'a str]);

#[track_caller]
fn check(folder: &Folder, rows: &[Row<'_>]) {
    let before = folder.names();
    for (line, code, says) in rows {
        let output = folder.run(line);
        eprintln!("$ pollscope {line}\n{}", stderr(&output));
        assert_ends(&output, *code, says);
        assert!(!stderr(&output).contains("os error"), "{line}");
        assert!(!stderr(&output).contains("tip:\n"), "{line}");
        assert_eq!(folder.names(), before, "{line}: it left something behind");
    }
}

/// A folder with inputs, and with files of each kind that a command reads.
fn files() -> Folder {
    let folder = Folder::new();
    folder.write("a", "a1\n");
    folder.write("b", "b1\n");
    folder.write("app.log", "2026-01-01 started\n");
    folder.write("bin", b"\x7fELF\xff\xfe");
    folder.write("empty", "");
    folder.write("json", "{\"schema\":\"pollscope.recording/2\"");
    folder.write("page", "<!doctype html>");
    folder.write("mine.toml", BUILTIN[0].1);
    folder.write("bad.toml", "# why\n[merge\n");
    folder
}

#[test]
fn what_is_no_command_may_be_an_argument_of_one() {
    let folder = files();
    // One has the name of a command.
    for (name, _) in BUILTIN.iter().filter(|(name, _)| *name != "merge") {
        check(&folder, &[(name, 2, &[&format!("did you mean `pollscope run {name}`?")])]);
    }
    check(
        &folder,
        &[
            ("slow-sink --rounds 3", 2, &["did you mean `pollscope run slow-sink --rounds 3`?"]),
            ("-q slow-sink", 2, &["did you mean `pollscope -q run slow-sink`?"]),
            ("slow-sinc", 2, &["did you mean `pollscope run slow-sink`?"]),
            ("mine.toml", 2, &["did you mean `pollscope run mine.toml`?"]),
            ("./nowhere.toml", 2, &["did you mean `pollscope run ./nowhere.toml`?"]),
            ("saved.json --fail-on x", 2, &["did you mean `pollscope report saved.json --fail-on x`?"]),
            ("page.html", 2, &["did you mean `pollscope report page.html`?"]),
            ("json", 2, &["`pollscope report json` shows a recording", "`pollscope merge json -o OUT` merges files"]),
            ("a b", 2, &["`pollscope merge a b -o OUT` merges files"]),
            ("PS001", 2, &["did you mean `pollscope explain PS001`?"]),
            ("lock", 2, &["did you mean `pollscope explain lock`?"]),
            ("reprot", 2, &["a similar subcommand exists: 'report'"]),
            ("frobnicate", 2, &["unrecognized subcommand 'frobnicate'", "try '--help'"]),
        ],
    );
}

#[test]
fn an_option_of_another_command_names_those_that_have_it() {
    check(
        &files(),
        &[
            ("report json --mode naive", 2, &["`pollscope compare FILE --mode A,B`", "Usage: pollscope report"]),
            ("report --mode naive json", 2, &["`pollscope compare FILE --mode A,B`"]),
            ("report json --rounds 3", 2, &["`report` has no `--rounds`, but `run` has one"]),
            ("report json --prometheus 1", 2, &["no `--prometheus`, but `run` and `merge` have one"]),
            (
                "confirm a -o b --fail-on x",
                2,
                &["`--fail-on`, but `run`, `record`, `merge`, `report` and `compare` have one"],
            ),
            ("doctor -f", 2, &["`doctor` has no `-f`, but `merge` has one"]),
            ("run -o x", 2, &["`--json FILE` writes the recording", "`pollscope help formats`"]),
            ("run --output x", 2, &["`--json FILE` writes the recording"]),
            ("compare a b -o x", 2, &["write `> FILE` behind the command"]),
            ("compare a b --json x", 2, &["`--format json`"]),
            ("scenarios merge", 2, &["`pollscope run SCENARIO`"]),
            ("report json --frob", 2, &["unexpected argument '--frob'"]),
        ],
    );
}

#[test]
fn an_address_is_never_taken_for_another_argument() {
    check(
        &files(),
        &[
            ("run --console 7000", 2, &["write `--console=7000`", "`./7000`", "Usage: pollscope run"]),
            ("run slow-sink --console 127.0.0.1:7000", 2, &["write `--console=127.0.0.1:7000`"]),
            ("run --console localhost", 2, &["write `--console=127.0.0.1:6669`"]),
            ("merge a --console 7000 -o out", 2, &["write `--console=7000`", "Usage: pollscope merge"]),
            ("run --console=host", 2, &["write a port, or an address and a port"]),
            ("run --console=70000", 2, &["write a port, or an address and a port"]),
            ("run --prometheus host", 2, &["write a port, or an address and a port"]),
        ],
    );
}

#[test]
fn what_a_merge_lacks_is_said_with_the_line_to_type() {
    check(
        &files(),
        &[
            ("merge a b merged.log", 2, &["`merged.log` too", "`pollscope merge a b -o merged.log`"]),
            ("merge a b merged.log --tag", 2, &["`pollscope merge a b --tag -o merged.log`"]),
            ("merge a b", 2, &["name the output: `pollscope merge a b -o OUT`"]),
            ("merge a", 2, &["name the output: `pollscope merge a -o OUT`"]),
            ("merge", 2, &["`pollscope merge a.log b.log -o merged.log`"]),
            ("merge -o out", 2, &["`pollscope merge a.log b.log -o merged.log`"]),
            ("confirm a b", 2, &["`b` too", "`pollscope confirm a -o b`"]),
            ("confirm", 2, &["`pollscope confirm a.log b.log -o merged.log`"]),
            ("merge - -o out", 2, &["`/dev/stdin`", "`./-`", "Usage: pollscope merge"]),
            ("merge a - -o out", 2, &["`/dev/stdin`"]),
            ("merge a -o -", 2, &["cannot merge into stdout", "Usage: pollscope merge"]),
            ("confirm - -o a", 2, &["save it as a file", "`./-`"]),
        ],
    );
}

#[test]
fn values_say_what_to_write() {
    check(
        &files(),
        &[
            ("run --rounds abc", 2, &["write a whole number from 1 to 100"]),
            ("run --rounds 0", 2, &["write a whole number from 1 to 100"]),
            ("run --rounds -1", 2, &["-1"]),
            ("run --warmup 1.5", 2, &["write a whole number from 0 to 100"]),
            ("run --mode niave", 2, &["choose one of `naive`, `offloaded`"]),
            ("report json --format xml", 2, &["choose one of `text`"]),
            ("run --set merge.inpust=3", 2, &["did you mean `merge.inputs`?", "`pollscope help settings`"]),
            ("run --set merge.zzzzzzzzz=3", 2, &["the keys are `merge.inputs`", "`merge.sink.every`\n"]),
            ("run --set zebra.crossing=3", 2, &["the keys are `question`", "`block.tasks`", "`expect.gates`\n"]),
            ("run --set rounds", 2, &["it has no `=`"]),
            ("explain lokc", 2, &["did you mean `lock`?"]),
            ("explain zzzzzzzz", 2, &["`pollscope explain` lists all codes"]),
            ("completions csh", 2, &["bash, elvish, fish, powershell, zsh"]),
            ("man nonsense", 2, &["choose one of `run`"]),
        ],
    );
}

#[test]
fn a_file_of_another_kind_names_the_command_that_takes_it() {
    let report = "show it with `pollscope report";
    let merge = "merge it with `pollscope merge";
    check(
        &files(),
        &[
            ("run app.log", 2, &["write `./app.log`", "`pollscope merge app.log -o OUT`"]),
            ("run ./app.log", 2, &["not TOML", merge]),
            ("run ./bin", 2, &["byte 4 is not UTF-8", merge]),
            ("run json", 2, &[report]),
            ("run ./json", 2, &["not TOML", report]),
            ("run ./page", 2, &["not TOML", report]),
            ("run bad.toml", 2, &["not TOML", "`pollscope help settings`"]),
            ("run -", 2, &["cannot come from stdin"]),
            ("run ./nowhere.toml", 2, &["there is no such file", "`pollscope scenarios`"]),
            ("run mine", 2, &["cannot find scenario `mine`", "`pollscope run mine.toml`"]),
            ("run slow-sinc", 2, &["did you mean `slow-sink`?"]),
            ("report app.log", 1, &["neither a recording nor a page", "give a file that `--json` or `--html` wrote"]),
            ("report bin", 1, &["neither a recording nor a page"]),
            ("report page", 1, &["it is a page without a recording"]),
            ("report empty", 1, &["it ends before its first run does", "make it again"]),
            ("report mine.toml", 1, &["run it with `pollscope run mine.toml`"]),
            ("report bad.toml", 1, &["run it with `pollscope run bad.toml`"]),
            ("report slow-sink", 1, &["`pollscope run slow-sink --json FILE`"]),
            ("compare slow-sink fsync", 1, &["`pollscope run slow-sink --json FILE`"]),
            ("compare a b", 1, &["neither a recording nor a page"]),
        ],
    );
}

/// Each kind of what the system refuses, by each command that people give a name.
#[test]
fn what_the_system_says_has_no_number_and_a_next_step() {
    let folder = files();
    std::fs::create_dir(folder.path("folder")).expect("a folder");
    let folder_of_old = "File exists; name another one";
    check(
        &folder,
        &[
            ("merge missing -o out", 1, &["No such file or directory; name a file that exists"]),
            ("merge a/x -o out", 1, &["Not a directory; name a file that can be opened"]),
            ("merge a -o b", 1, &[folder_of_old]),
            ("merge a -o no/such", 1, &["No such file or directory; make its folder first"]),
            ("merge a -o a/x", 1, &["Not a directory; name a file in a folder"]),
            ("merge a -o folder", 1, &["Is a directory; name a file in it"]),
            ("merge a -o out --json no/such", 110, &["No such file or directory; make its folder first"]),
            ("merge a -o out --json folder", 110, &["Is a directory; name a file in it"]),
            ("merge a -o out --json a/x", 110, &["; name a file in a folder"]),
            ("confirm missing -o a", 1, &["No such file or directory; name a file that exists"]),
            ("confirm a/x -o a", 1, &["Not a directory; name a file that can be read"]),
            ("confirm a -o missing", 1, &["No such file or directory; name a file that exists"]),
            ("report missing", 1, &["No such file or directory; name a file that exists"]),
            (
                "report folder",
                1,
                &["it is a folder without a `.pollscope` file; name one that a recording was written to, or a file"],
            ),
            ("report a/x", 1, &["Not a directory; name a file that can be read"]),
            ("compare missing a", 1, &["No such file or directory; name a file that exists"]),
            ("run ./a/x", 2, &["Not a directory; name a file that can be read"]),
            ("run --html no/such", 110, &["No such file or directory; make its folder first"]),
            ("run --console=192.0.2.1:1 -q", 1, &["name a free address"]),
            ("run --prometheus 192.0.2.1:1 -q", 1, &["name a free address"]),
        ],
    );
}
