//! Outputs that are in the way, run full, or are changed by others while they are written: in every mode of `merge`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Output, Stdio};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use pollscope::pipeline::sink::Mode;
use rustix::process::Signal;
use serde_json::Value;

use super::{End, Tally, private_mounts, skip};
use crate::support::{Folder, assert_ends, finish, send, stderr, wait_until};

/// Those of `merge`: a current-thread runtime has no workers to give tasks to.
fn merge_modes() -> impl Iterator<Item = Mode> {
    Mode::ALL.into_iter().filter(|&mode| mode != Mode::BlockInPlace)
}

/// The same in every mode, each in a thread of its own; what came of it.
fn in_every_mode(test: fn(Mode, &mut Tally)) -> Tally {
    let threads = merge_modes().map(|mode| {
        std::thread::spawn(move || {
            let mut tally = Tally::default();
            test(mode, &mut tally);
            tally
        })
    });
    let mut all = Tally::default();
    for thread in threads.collect::<Vec<_>>() {
        all.0.extend(thread.join().expect("what is said above does not hold").0);
    }
    println!("{}", all.table());
    all
}

fn inputs() -> Folder {
    let folder = Folder::new();
    folder.write("a", "a1\na2\n");
    folder.write("b", "b1\n");
    folder
}

fn recording(folder: &Folder) -> Value {
    serde_json::from_slice(&folder.read("json")).expect("JSON")
}

/// That a command is refused before anything is written, with these words.
#[track_caller]
fn refused(output: &Output, says: &[&str]) -> Result<End, String> {
    assert_ends(output, 1, says);
    Ok(End::Reported)
}

#[test]
fn what_exists_is_not_replaced_unless_asked_to() {
    let tally = in_every_mode(|mode, tally| {
        let folder = inputs();
        folder.write("old", "old\n");
        folder.fifo("fifo");
        fs::create_dir(folder.path("folder")).expect("a folder");
        symlink("old", folder.path("link")).expect("a link");
        symlink("nowhere", folder.path("dangling")).expect("a link");
        let exists = "File exists";
        let cases = [
            ("exists: file", "old", vec!["", exists]),
            ("exists: FIFO", "fifo", vec!["", exists]),
            ("exists: device", "/dev/null", vec!["", exists]),
            ("exists: link", "link", vec!["it is a symbolic link"; 3]),
            ("exists: dangling link", "dangling", vec!["it is a symbolic link"; 3]),
            ("exists: folder", "folder", vec!["Is a directory"; 3]),
        ];
        for (name, out, says) in cases {
            for (flag, says) in ["", "--append", "--force"].iter().zip(says.iter().filter(|says| !says.is_empty())) {
                let output = folder.run(&format!("merge a b -o {out} --mode {mode} {flag}"));
                tally.count(name, mode, refused(&output, &[says, out]));
            }
        }
        assert_eq!(folder.read("old"), b"old\n");
        assert!(!folder.path("nowhere").exists());
    });
    tally.assert_all(End::Reported);
}

#[test]
fn an_input_is_never_written_to() {
    let mut is_mounted = true;
    if let Err(why) = private_mounts() {
        skip("an output that is an input by a bind mount", &why);
        is_mounted = false;
    }
    let mut tally = Tally::default();
    for mode in merge_modes() {
        let folder = inputs();
        symlink("a", folder.path("link")).expect("a link");
        fs::hard_link(folder.path("a"), folder.path("hard")).expect("a hard link");
        let mut cases =
            vec![("is an input: same path", "./a"), ("is an input: link", "link"), ("is an input: hard link", "hard")];
        if is_mounted {
            let bound = folder.write("bound", "");
            let (none, a) = (None::<&str>, folder.path("a"));
            mount(Some(&a), &bound, none, MsFlags::MS_BIND, none).expect("a bind mount");
            cases.push(("is an input: bind mount", "bound"));
        }
        for (name, out) in cases {
            for flag in ["", "--append", "--force"] {
                let output = folder.run(&format!("merge a b -o {out} --mode {mode} {flag}"));
                tally.count(name, mode, refused(&output, &["is the same file as input `a`"]));
                assert_eq!(folder.read("a"), b"a1\na2\n");
            }
        }
        if is_mounted {
            nix::mount::umount(&folder.path("bound")).expect("unmounted");
        }
    }
    println!("{}", tally.table());
    tally.assert_all(End::Reported);
}

/// That a merge of `big` was reported as lost in part, and that what is said to be good is.
fn lost_in_part(folder: &Folder, out: &Path, output: &Output, says: &[&str]) -> Result<End, String> {
    assert_ends(output, 1, says);
    // It came by a pipe, which has no limit.
    let run = &serde_json::from_slice::<Value>(&output.stdout).expect("the report is written")["runs"][0];
    let error = run["errors"][0].as_str().expect("an error");
    if run["merge"]["verdict"] == "ok" {
        return Err(format!("SILENT: {error}, and the merge is ok"));
    }
    let digits = error.split("it is good up to byte ").nth(1).and_then(|rest| rest.split(')').next()).expect(error);
    let good: usize = digits.replace(',', "").parse().expect(error);
    let written = if out.starts_with("/dev") { Vec::new() } else { fs::read(out).expect("the output") };
    let good = written.get(..good).ok_or_else(|| format!("less is there than is said to be good: {error}"))?;
    match folder.read("big").starts_with(good) && (good.is_empty() || good.ends_with(b"\n")) {
        true => Ok(End::Reported),
        false => Err(format!("what is said to be good is not: {error}")),
    }
}

#[test]
fn what_runs_full_is_named_and_what_is_good_is_said() {
    let tally = in_every_mode(|mode, tally| {
        let folder = Folder::new();
        folder.write("big", "0123456789\n".repeat(10_000));
        let merge = |out: &str| format!("merge big -o {out} --append --batch 7 --json - --mode {mode}");
        let limited = folder.shell(&format!("ulimit -f 20; \"$POLLSCOPE_BIN\" {}", merge("out")));
        let says = ["cannot write to output `out`: File too large", "raise the limit (`ulimit -f`)"];
        tally.count("beyond RLIMIT_FSIZE", mode, lost_in_part(&folder, &folder.path("out"), &limited, &says));
        let full = folder.run(&merge("/dev/full"));
        let says = ["cannot write to output `/dev/full`: No space left", "free some space"];
        tally.count("/dev/full", mode, lost_in_part(&folder, Path::new("/dev/full"), &full, &says));
        if let Err(why) = private_mounts() {
            return skip("a tmpfs that runs full", &why);
        }
        fs::create_dir(folder.path("small")).expect("a folder");
        tmpfs(&folder, "small", "size=20k");
        let small = folder.run(&merge("small/out"));
        let says = ["cannot write to output `small/out`: No space left", "free some space"];
        let out = folder.path("small/out");
        tally.count("tmpfs of 20 KiB", mode, lost_in_part(&folder, &out, &small, &says));
        assert_eq!(fs::metadata(out).expect("the output").len(), 20 << 10, "the last write was made in part");
    });
    tally.assert_all(End::Reported);
}

fn tmpfs(folder: &Folder, name: &str, options: &str) {
    mount(Some("none"), &folder.path(name), Some("tmpfs"), MsFlags::empty(), Some(options)).expect("a tmpfs");
}

#[test]
fn a_disk_that_turns_read_only_does_so_before_or_after() {
    let tally = in_every_mode(|mode, tally| {
        let folder = inputs();
        if let Err(why) = private_mounts() {
            return skip("a disk that turns read-only", &why);
        }
        fs::create_dir(folder.path("disk")).expect("a folder");
        tmpfs(&folder, "disk", "size=1m");
        let read_only = || {
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(None::<&str>, &folder.path("disk"), None::<&str>, flags, None::<&str>)
        };
        let merge = format!("merge a b -o disk/out --mode {mode} --json json --interval 5ms");
        let child = follow(&folder, &format!("{merge} --follow"));
        wait_until("all is merged", || fs::read(folder.path("disk/out")).is_ok_and(|out| out.len() == 9));
        // The kernel lets it happen only while nobody has a file open for writing; else see the disk that fails.
        assert_eq!(read_only(), Err(Errno::EBUSY));
        send(&child, Signal::TERM);
        assert_ends(&finish(child), 0, &[]);
        assert_eq!(recording(&folder)["runs"][0]["merge"]["verdict"], "ok");
        tally.count("read-only: refused while open", mode, Ok(End::Survived));
        read_only().expect("nobody has it open");
        for flag in ["--append", "--force"] {
            let output = folder.run(&format!("{merge} {flag}"));
            tally.count("read-only: at open", mode, refused(&output, &["cannot open output `disk/out`: Read-only"]));
        }
    });
    assert!(tally.0.iter().all(|(.., end)| end.is_ok()));
}

fn follow(folder: &Folder, line: &str) -> std::process::Child {
    folder.command(line.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// What another does to an output.
type Meddling = fn(&Path);

#[test]
fn what_another_does_to_the_output_is_never_ok() {
    let tally = in_every_mode(|mode, tally| {
        let cases: [(&str, Meddling); 5] = [
            ("removed by another", |out| fs::remove_file(out).expect("removed")),
            ("replaced by another", |out| {
                fs::copy(out, out.with_extension("new")).expect("copied");
                fs::rename(out.with_extension("new"), out).expect("replaced");
            }),
            ("truncated by another", |out| fs::File::options().write(true).open(out).unwrap().set_len(0).unwrap()),
            ("cut short by another", |out| fs::File::options().write(true).open(out).unwrap().set_len(4).unwrap()),
            ("changed by another", |out| {
                let file = fs::File::options().write(true).open(out).unwrap();
                std::os::unix::fs::FileExt::write_all_at(&file, b"X", 1).unwrap();
            }),
        ];
        for (name, meddle) in cases {
            for flag in ["--append", "--force"] {
                let folder = inputs();
                let line = format!("merge a b -o out --mode {mode} --json json --interval 5ms --follow {flag}");
                let child = follow(&folder, &line);
                let out = folder.path("out");
                wait_until("all is merged", || fs::read(&out).is_ok_and(|out| out.len() == 9));
                meddle(&out);
                let mut a = fs::File::options().append(true).open(folder.path("a")).expect("the input");
                std::io::Write::write_all(&mut a, b"a3\n").expect("a line more");
                std::thread::sleep(std::time::Duration::from_millis(100));
                send(&child, Signal::TERM);
                let output = finish(child);
                let merge = recording(&folder)["runs"][0]["merge"].clone();
                let end = match (merge["verdict"].as_str(), output.status.code()) {
                    (Some("ok"), code) => Err(format!("SILENT: ok, and it ends with {code:?}")),
                    (_, Some(3)) if merge["reason"].is_string() => Ok(End::Reported),
                    (_, code) => Err(format!("it ends with {code:?}: {merge}: {}", stderr(&output))),
                };
                tally.count(name, mode, end.map_err(|why| format!("{flag}: {why}")));
            }
        }
    });
    tally.assert_all(End::Reported);
}

#[test]
fn a_stdout_that_takes_nothing_costs_no_line() {
    let tally = in_every_mode(|mode, tally| {
        for (name, to, code) in [("stdout full", "> /dev/full", 110), ("stdout closed", ">&-", 0)] {
            let folder = inputs();
            let merge = format!("\"$POLLSCOPE_BIN\" merge a b -o out --json json --mode {mode} {to}");
            assert_ends(&folder.shell(&merge), code, &[]);
            let mut merged = folder.read("out");
            merged.sort_unstable();
            let mut all = [folder.read("a"), folder.read("b")].concat();
            all.sort_unstable();
            let is_whole = merged == all && recording(&folder)["runs"][0]["merge"]["verdict"] == "ok";
            tally.count(name, mode, if is_whole { Ok(End::Survived) } else { Err("SILENT".to_owned()) });
        }
    });
    tally.assert_all(End::Survived);
}
