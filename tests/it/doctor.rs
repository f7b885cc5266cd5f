//! The doctor finds what it injects, in this build and on this machine.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;

use crate::listen::{ENDLESS, Service};
use crate::support::{
    DEADLINE, Folder, alone, assert_ends, finish, looks_from_outside, run, send, stderr, stdout, wait_until,
};

/// Rows of the table: mark and name in front, flavour behind.
fn rows(page: &str) -> Vec<&str> {
    page.lines().filter(|line| line.starts_with(['✓', '✗', '–', '~'])).collect()
}

#[test]
fn every_injected_stall_is_seen_as_it_was() {
    let _alone = alone();
    let output = Folder::new().run("doctor");
    let page = stdout(&output);
    eprintln!("{page}");
    assert_ends(&output, 0, &[]);
    assert!(stderr(&output).is_empty(), "{}", stderr(&output));
    let rows = rows(&page);
    assert_eq!(rows.len(), 23, "twelve stalls on two flavours, but one on the other alone");
    // What this machine was too slow for is not judged, and is said to be so at the end.
    let too_slow: Vec<&&str> = rows.iter().filter(|row| row.starts_with('~')).collect();
    too_slow.iter().for_each(|row| println!("SKIP: this machine had no CPU to see in time: {row}"));
    assert_eq!(page.contains("\ntoo slow here: "), !too_slow.is_empty(), "{page}");
    for flavor in ["current_thread", "multi_thread"] {
        for stall in ["sleep", "lock", "full pipe", "spin", "LocalSet task", "root future"] {
            let is = |row: &&&str| row.contains(stall) && row.contains(flavor);
            let row = rows.iter().find(is).unwrap_or_else(|| panic!("no {stall} on {flavor}"));
            assert!(row.starts_with(['✓', '~']), "{row}");
        }
        let may_be_refused = [
            ("long copy", "not tried: cannot"),
            ("page fault", "not tried: cannot"),
            ("CPU quota", "not tried: no cgroup can be made:"),
            ("process stop", "not tried: cannot"),
        ];
        for (stall, refused) in may_be_refused {
            let row = rows.iter().find(|row| row.contains(stall) && row.contains(flavor)).expect(stall);
            assert!(row.starts_with(['✓', '~']) || row.contains(refused), "{row}");
        }
    }
    let blind = page.split("Blind to\n").nth(1).expect("it is blind somewhere");
    assert_eq!(blind.contains("lacks `--cfg tokio_unstable`"), !pollscope_probe::TOKIO_UNSTABLE, "{blind}");
    assert!(blind.contains("block_on"), "{blind}");
}

/// The control groups that a doctor has made and not removed.
fn groups(doctor: &Child) -> Vec<PathBuf> {
    fn walk(folder: &Path, of: &str, found: &mut Vec<PathBuf>) {
        // One that is gone by now is somebody else's.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_str().is_some_and(|name| name.starts_with(of)) {
                    found.push(entry.path());
                }
                walk(&entry.path(), of, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), &format!("pollscope-{}-", doctor.id()), &mut found);
    found
}

/// The children of a process.
fn children(process: &Child) -> String {
    fs::read_to_string(format!("/proc/{0}/task/{0}/children", process.id())).unwrap_or_default()
}

/// Asked to end while a child of it is in a control group, the doctor removes that first.
#[test]
fn a_doctor_that_is_ended_leaves_nothing_behind() {
    let _alone = alone();
    let folder = Folder::new();
    let mut doctor = folder.command(["doctor"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    let made = loop {
        let (made, child) = (groups(&doctor), children(&doctor));
        if !made.is_empty() && !child.is_empty() {
            break made;
        }
        if doctor.try_wait().unwrap().is_some() {
            println!("SKIP: no control group can be made here");
            return;
        }
        assert!(start.elapsed() < DEADLINE, "it neither makes one nor ends");
    };
    let child = children(&doctor);
    let was = format!("/proc/{}", child.trim());
    send(&doctor, Signal::TERM);
    let output = finish(doctor);
    assert_eq!(output.status.signal(), Some(Signal::TERM.as_raw()), "{output:?}");
    assert!(made.iter().all(|group| !group.exists()), "{made:?}");
    assert!(!Path::new(&was).exists(), "{was} goes on");
}

#[test]
fn a_child_that_nobody_speaks_to_says_so_and_ends() {
    for asked in ["CPU quota, multi_thread", "process stop, current_thread", "nothing", ""] {
        let output = run(Folder::new().command(["doctor"]).env("POLLSCOPE_DOCTOR_INJECTS", asked));
        assert_ends(&output, 0, &[]);
        let expected =
            format!("{{\"Err\":\"cannot inject `{asked}`: only `pollscope doctor` sets POLLSCOPE_DOCTOR_INJECTS\"}}\n");
        assert_eq!(stdout(&output), expected);
    }
}

#[test]
fn a_narrow_page_stays_narrow() {
    let _alone = alone();
    let output = run(Folder::new().command(["doctor"]).env("COLUMNS", "60").env("LC_ALL", "C"));
    let page = stdout(&output);
    assert!(page.is_ascii() && page.lines().all(|line| line.len() <= 60), "{page}");
}

/// The page on a process, and how that ended.
fn examined(options: &str) -> (std::process::Output, String) {
    let output = Folder::new().run(&format!("doctor {options}"));
    let page = stdout(&output);
    (output, page)
}

#[test]
fn a_process_with_tokio_is_examined_and_not_disturbed() {
    let service = Service::start(ENDLESS);
    let (output, page) = examined(&service.pid().to_string());
    assert_ends(&output, 0, &[]);
    assert!(page.starts_with(&format!("pollscope doctor · process {} (it", service.pid())), "{page}");
    assert!(page.contains("✓ probe       it listens, and tells every poll\n"), "{page}");
    assert!(page.contains(&format!("\n1. `pollscope record {}` and", service.pid())), "{page}");
    if looks_from_outside() {
        assert!(page.contains("✓ Tokio       1.") && page.contains("✓ names       functions, "), "{page}");
        assert!(page.contains("samples     polls that compute can") && page.contains("✓ access      "), "{page}");
    }
    assert_eq!(service.sockets(), 1, "it goes on");
    send_to(service.pid(), Signal::STOP);
    wait_until("a stop", || {
        let (_, page) = examined(&service.pid().to_string());
        page.contains("~ process ") && page.contains(&format!("`kill -CONT {}`", service.pid()))
    });
    send_to(service.pid(), Signal::CONT);
}

#[test]
fn what_cannot_be_looked_at_is_told_with_what_to_do() {
    let mut sleep = Command::new("sleep").arg("600").stdout(Stdio::null()).spawn().expect("`sleep` runs");
    let (pid, is) = (sleep.id(), pollscope_stacks::SUPPORTED);
    let says = if looks_from_outside() { "there is no Tokio in `" } else { "cannot look at " };
    let (output, page) = examined(&pid.to_string());
    assert_ends(&output, 1, &[says]);
    assert!(page.contains("cannot be looked at\n") && page.contains("✗ access      "), "{page}");
    sleep.kill().expect("it ran");
    // It is a zombie, once it has ended: nobody waits for it.
    wait_until("its end", || {
        let (output, page) = examined(&pid.to_string());
        assert_ends(&output, 1, &[]);
        !is || page.contains("it has ended, and its parent took no notice")
    });
    sleep.wait().expect("it ran");
    for (options, code, says) in [
        ("1999999999", 1, if is { "there is none; `pgrep -a NAME` tells numbers" } else { "that needs Linux" }),
        ("./service", 2, "write the number of a process"),
        ("0", 2, "write the number of a process"),
        ("1 2", 2, "one process is examined at a time"),
        ("--symbols a", 2, "`--symbols` is for the program of a process"),
    ] {
        assert_ends(&examined(options).0, code, &[says]);
    }
}

fn send_to(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a number");
    rustix::process::kill_process(pid, signal).expect("it runs");
}
