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
    let complete = "COMP_WORDS=(pollscope rep); COMP_CWORD=1; _pollscope pollscope rep pollscope; echo ${COMPREPLY[@]}";
    assert_eq!(stdout(&bash(&format!(". ./script; {complete}"))).trim(), "report");
}

/// What is typed so far, split at blanks, and what is offered then: each of these, and none of those.
const OFFERED: [(&str, &[&str], &[&str]); 12] = [
    ("re", &["record", "report"], &["run"]),
    ("run ", &["slow-sink", "merge"], &["--mode"]),
    ("run slow-s", &["slow-sink"], &["merge"]),
    ("run merge fs", &["fsync"], &["merge"]),
    ("run --mode ", &["naive", "all"], &["merge"]),
    ("merge a -o out --mode off", &["offloaded"], &["naive"]),
    ("report x --format h", &["html", "hlog", "hgrm"], &["json"]),
    ("explain PS00", &["PS001", "PS008"], &["lock"]),
    ("explain la", &["lag"], &["lock"]),
    ("completions ", &["bash", "fish", "zsh"], &["--color"]),
    ("man ", &["run", "confirm"], &["--color"]),
    ("help ", &["gates", "settings", "run"], &["--color"]),
];

/// What is typed so far, where files are offered: those of a folder that has `saved.json` and `mine.toml`.
const FILES: [(&str, &str); 5] = [
    ("run ./m", "mine.toml"),
    ("report s", "saved.json"),
    ("compare saved.json s", "saved.json"),
    ("merge saved.json m", "mine.toml"),
    ("report saved.json --json s", "saved.json"),
];

/// Asks a shell, by a script that has `WORDS` for what is typed, and prints what is offered, one a line.
fn check_offers(shell: &str, ask: impl Fn(&Folder, &str) -> String) {
    if !is_there(shell) {
        println!("SKIP: no `{shell}`");
        return;
    }
    let folder = Folder::new();
    folder.write("script", &folder.run(&format!("completions {shell}")).stdout);
    folder.write("saved.json", "");
    folder.write("mine.toml", "");
    for (typed, offered, others) in OFFERED {
        let said = ask(&folder, typed);
        let words: Vec<&str> = said.split_whitespace().collect();
        for word in offered {
            assert!(words.contains(word), "{shell}: `{typed}` lacks {word}: {said}");
        }
        for word in others {
            assert!(!words.contains(word), "{shell}: `{typed}` has {word}: {said}");
        }
    }
    for (typed, file) in FILES {
        let said = ask(&folder, typed);
        assert!(said.split_whitespace().any(|word| word.ends_with(file)), "{shell}: `{typed}` lacks {file}: {said}");
    }
}

#[test]
fn bash_offers_values_and_files() {
    check_offers("bash", |folder, typed| {
        let words: Vec<&str> = std::iter::once("pollscope").chain(typed.split(' ')).collect();
        let quoted = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let (at, last) = (words.len() - 1, words[words.len() - 1]);
        // Where the function offers nothing, `complete -o default` offers files.
        let script = format!(
            ". ./script; COMP_WORDS=({quoted}); COMP_CWORD={at}; _pollscope pollscope '{last}' '{}'; \
             if [ ${{#COMPREPLY[@]}} -eq 0 ]; then compgen -f -- '{last}'; else printf '%s\\n' \"${{COMPREPLY[@]}}\"; fi",
            words[at - 1]
        );
        let output = run(Command::new("bash").args(["-c", &script]).current_dir(folder.path("")));
        assert!(output.stderr.is_empty(), "{}", stderr(&output));
        stdout(&output)
    });
}

#[test]
fn fish_offers_values_and_files() {
    check_offers("fish", |folder, typed| {
        let script = format!("source ./script; complete -C 'pollscope {typed}'");
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", &script]).current_dir(folder.path("")).env("HOME", folder.path(""));
        let output = run(&mut fish);
        // A name, and behind a tab what it is.
        stdout(&output).lines().filter_map(|line| line.split('\t').next()).collect::<Vec<_>>().join("\n")
    });
}

/// Zsh completes only in a line editor, which needs a terminal: `zpty` gives it one, and what it lists is caught.
#[test]
fn zsh_offers_values_and_files() {
    check_offers("zsh", |folder, typed| {
        folder.write("ask", ZSH);
        let mut zsh = Command::new("zsh");
        zsh.args(["-f", "ask", &format!("pollscope {typed}")])
            .current_dir(folder.path(""))
            .env("HOME", folder.path(""));
        stdout(&run(&mut zsh))
    });
}

const ZSH: &str = r#"
zmodload zsh/zpty
zpty child zsh -f -i
zpty -w child 'PS1=; stty -echo; autoload -Uz compinit; compinit -u -D; . ./script; compdef _pollscope pollscope'
zpty -w child 'compadd() { if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
  typeset -a caught; builtin compadd -A caught "$@"; builtin compadd "$@"; print -r -- "offers ${caught[@]}" >> caught }'
zpty -w child 'report() { print -r -- done >> caught; }; zle -N report; bindkey "^X" report; print ready > caught'
repeat 400 { [[ -e caught ]] && break; sleep 0.05 }
print -n > caught
zpty -w -n child "$1"$'\t'
zpty -w -n child $'\x18'
repeat 400 { grep -q done caught && break; sleep 0.05 }
sed -n 's/^offers //p' caught
rm -f caught
zpty -d child
"#;

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
    assert_ends(
        &folder.run("man nonsense"),
        2,
        &["unknown command; choose one of `run`, `record`, `top`, `tasks`, `merge`"],
    );
}
