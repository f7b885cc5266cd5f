//! Whatever becomes of the disk that a service records to, the service goes on, ends, and says once what is wrong.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use fuser::Errno;

use super::start;
use crate::faults;
use crate::faults::disk::{Call, Disk, Fault, Plan};
use crate::support::{Folder, finish, stderr, wait_until};

const BLOCKS: u64 = 30;

/// What the service says of its recording, and what can be read of it. While it runs, `meanwhile` is done once it has blocked twice.
fn serve(folder: &Folder, to: &str, meanwhile: impl FnOnce(), at_its_end: impl FnOnce()) -> (Vec<String>, Option<u64>) {
    let mut service = start(folder, to, BLOCKS);
    let mut lines = BufReader::new(service.stdout.take().expect("a pipe")).lines();
    let mut wait_for = |said: &str| loop {
        let line = lines.next().expect("it goes on").expect("text");
        if line.ends_with(said) {
            break;
        }
    };
    wait_for("blocked 2");
    meanwhile();
    wait_for(&format!("blocked {BLOCKS}"));
    at_its_end();
    let output = finish(service);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    let of_it = said.lines().filter(|line| line.contains("cannot write the recording")).map(str::to_owned).collect();
    let read = folder.run(&format!("report {to} --format json"));
    let json: Option<serde_json::Value> = serde_json::from_slice(&read.stdout).ok();
    let count = |run: &serde_json::Value| {
        let (total, dropped) = (run["slow_polls_total"].as_u64()?, run["slow_polls_dropped"].as_u64()?);
        assert_eq!(run["slow_polls"].as_array().map(|polls| polls.len() as u64 + dropped), Some(total), "{run}");
        Some(total)
    };
    (of_it, json.and_then(|json| count(&json["runs"][0])))
}

#[test]
fn a_service_goes_on_whatever_becomes_of_the_disk() {
    let folder = Folder::new();
    let disk = match faults::disk(&folder.path("."), "x.pollscope") {
        Ok(disk) => disk,
        Err(why) => return faults::skip("a disk that a recording is written to", &why),
    };
    let from_the_second_write = |fault| Plan { call: Call::Write, fault, at: 2, more: u64::MAX };

    disk.reset(from_the_second_write(Fault::Error(Errno::ENOSPC)));
    let (said, _) = serve(&folder, "disk/x.pollscope", || {}, || {});
    assert_eq!(said.len(), 1, "once: {said:?}");
    assert!(said[0].contains("No space left on device") && said[0].contains("make room"), "{said:?}");

    // There is room again: what was not written is counted.
    disk.reset(from_the_second_write(Fault::Error(Errno::ENOSPC)));
    let heal = || {
        disk.heal();
    };
    let (said, total) = serve(&folder, "disk/x.pollscope", heal, || {});
    assert!(said.len() <= 1 && total.is_none_or(|total| total >= BLOCKS), "{said:?}, {total:?}");

    let hangs = |call| {
        disk.reset(Plan { call, fault: Fault::Hang, at: 1, more: u64::MAX });
        let hung = || wait_until("the disk hangs", || disk.faults() > 0);
        // A process that waits for such a disk cannot end: the service itself has served by then.
        serve(&folder, "disk/x.pollscope", hung, || after_a_while(&disk))
    };
    hangs(Call::Create);
    hangs(Call::Write);

    let gone = || fs::remove_dir_all(folder.path("kept")).expect("it is there");
    serve(&folder, "kept", gone, || {});
}

/// Heals the disk when whoever waits for the recording gave up.
fn after_a_while(disk: &Disk) {
    std::thread::sleep(Duration::from_millis(200));
    disk.heal();
}
