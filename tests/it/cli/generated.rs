//! Completions and manual pages, given to those who read them.

use std::process::{Command, Stdio};

use crate::support::{Folder, assert_ends, run, stderr, stdout};

/// Whether a program is there to read it.
fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

#[test]
fn bash_reads_its_completions_and_completes() {
    let folder = Folder::new();
    let output = folder.run("completions bash");
    assert_ends(&output, 0, &[]);
    folder.write("script", &output.stdout);
    if !is_there("bash") {
        return;
    }
    let bash = |script: &str| run(Command::new("bash").args(["-c", script]).current_dir(folder.path("")));
    let checked = bash("bash -n script");
    assert!(checked.status.success() && checked.stderr.is_empty(), "{}", stderr(&checked));
    let complete = "COMP_WORDS=(pollscope re); COMP_CWORD=1; _pollscope pollscope re pollscope; echo ${COMPREPLY[@]}";
    assert_eq!(stdout(&bash(&format!(". ./script; {complete}"))).trim(), "report");
}

#[test]
fn every_shell_has_completions_and_another_is_refused() {
    let folder = Folder::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = folder.run(&format!("completions {shell}"));
        assert_ends(&output, 0, &[]);
        let script = stdout(&output);
        assert!(script.contains("fail-on") && script.contains("scenarios"), "{shell}");
    }
    assert_ends(&folder.run("completions csh"), 2, &["invalid value 'csh'", "bash"]);
}

#[test]
fn manual_pages_render() {
    let folder = Folder::new();
    for (command, name, says) in [
        ("man", "pollscope", "Exit codes"),
        ("man run", "pollscope-run", "--rounds"),
        ("man merge", "pollscope-merge", "--follow"),
    ] {
        let output = folder.run(command);
        assert_ends(&output, 0, &[]);
        let roff = stdout(&output);
        assert!(roff.contains(&format!(".TH {name} ")), "{command}: {roff:.200}");
        folder.write("page", &roff);
        if is_there("man") {
            let mut man = Command::new("man");
            let page = run(man
                .args(["-l", "page"])
                .current_dir(folder.path(""))
                .env("MANPAGER", "cat")
                .env("MANWIDTH", "100"));
            // A machine without manual pages can have a `man` that only says so.
            let text = stdout(&page).replace('\u{2010}', "-").split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(!page.status.success() || text.contains(says) || text.contains("minimized"), "{command}: {text}");
        }
    }
    assert_ends(&folder.run("man nonsense"), 2, &["unknown command; choose one of `run`, `merge`"]);
}
