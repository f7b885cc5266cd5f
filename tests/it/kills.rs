//! A merge that is asked to end, or killed, at any moment. Asked, it confirms what it took and reports; killed, it leaves whole
//! lines and at most one torn one, and `confirm` says what is missing.
//!
//! `POLLSCOPE_ALL_KILLS` has all moments tried, not only some; `POLLSCOPE_SEED` has others tried.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::support::{Call, Folder, Running, assert_ends, finish, pid, send, stderr, wait_until};

const MODES: &[&str] = &["naive", "offloaded", "spawn-blocking", "tokio-fs"];
const INPUTS: [&str; 3] = ["a", "b", "c"];
/// Far more than a merge here needs to finish, on a loaded machine too.
const GRACE: Duration = Duration::from_secs(30);
/// What a loaded machine may add to a deadline.
const SLACK: Duration = Duration::from_secs(20);
const THREADS: usize = 4;

/// One merge, and when it is to end.
#[derive(Debug)]
struct Case {
    mode: &'static str,
    /// Whether it follows, while others append to its inputs.
    follow: bool,
    batch: usize,
    tag: bool,
    /// From the start of the program to the signal.
    after: Duration,
    /// From the first signal to a second, and which.
    again: Option<(Duration, Signal)>,
    seed: u64,
}

/// How a case came out, in words to count.
type Came = Result<&'static str, String>;

impl Case {
    /// Case `index` of a test: modes and ways take turns, all else is random.
    fn make(index: usize, test: u64) -> Case {
        let seed = std::env::var("POLLSCOPE_SEED").map_or(0, |seed| seed.parse().expect("a number"));
        let mut rng = Rng::with_seed((seed << 32) ^ (test << 16) ^ index as u64);
        let (mode, follow) = (MODES[index % MODES.len()], (index / MODES.len()).is_multiple_of(2));
        let (batch, usual) = rng.choice([(1, 450), (100, 350), (100_000, 300)]).expect("three");
        // The first part of it is the program's start.
        let after = Duration::from_micros(rng.u64(0..=usual * 1_000));
        Case { mode, follow, batch, tag: rng.bool(), after, again: None, seed: rng.u64(..) }
    }

    /// Lines of an input before the merge starts: so many that it takes about as long as the latest signal.
    fn lines(&self) -> usize {
        match (self.follow, self.batch) {
            (true, _) => 50,
            (false, 1) => 1_500,
            (false, 100) => 40_000,
            (false, _) => 100_000,
        }
    }

    fn spawn(&self, folder: &Folder) -> Child {
        let Case { mode, batch, .. } = self;
        let grace = GRACE.as_secs();
        let mut line =
            format!("merge a b c -o out --json json --mode {mode} --batch {batch} --grace {grace}s --interval 2ms");
        line.push_str(if self.follow { " --follow" } else { "" });
        line.push_str(if self.tag { " --tag" } else { "" });
        let mut command = folder.command(line.split(' '));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    }
}

/// The next lines of an input, each with its newline: `<input> <number> <some letters>`.
fn lines(rng: &mut Rng, input: &str, from: usize, count: usize) -> String {
    let mut text = String::new();
    for number in from..from + count {
        let letters = rng.usize(0..60);
        writeln!(text, "{input} {number} {:x<letters$}", "").expect("it fits");
    }
    text
}

/// Appends to all inputs, in pieces that know nothing of lines, until told to stop; then finishes their last lines.
fn append(folder: &Folder, seed: u64, stop: &AtomicBool) {
    let mut rng = Rng::with_seed(seed);
    let mut inputs = INPUTS.map(|input| (input, File::options().append(true).open(folder.path(input)).expect("opens")));
    let (mut number, mut rests) = (1_000_000, INPUTS.map(|_| String::new()));
    while !stop.load(Ordering::Relaxed) {
        for ((input, file), rest) in inputs.iter_mut().zip(&mut rests) {
            let count = rng.usize(0..20);
            rest.push_str(&lines(&mut rng, input, number, count));
            let piece = rng.usize(0..=rest.len());
            file.write_all(rest.drain(..piece).as_str().as_bytes()).expect("written");
        }
        number += 20;
        thread::sleep(Duration::from_micros(rng.u64(0..3_000)));
    }
    for ((_, file), rest) in inputs.iter_mut().zip(&rests) {
        file.write_all(rest.as_bytes()).expect("written");
    }
}

/// What became of the program, and how long each input was when it was told to end.
struct Ended {
    output: Output,
    lengths: [u64; 3],
    took: Duration,
}

/// Starts the merge, ends it by signals at the case's moment, and waits for it.
fn end(folder: &Folder, case: &Case, signal: Signal) -> Ended {
    let mut rng = Rng::with_seed(case.seed);
    for input in INPUTS {
        folder.write(input, lines(&mut rng, input, 0, case.lines()));
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        if case.follow {
            let (seed, stop) = (rng.u64(..), &stop);
            scope.spawn(move || append(folder, seed, stop));
        }
        let child = case.spawn(folder);
        thread::sleep(case.after);
        let lengths = INPUTS.map(|input| fs::metadata(folder.path(input)).expect("it is there").len());
        let asked = Instant::now();
        // It has not been waited for: its id is its own, though it may have ended.
        let _ = kill_process(pid(&child), signal);
        if let Some((after, signal)) = case.again {
            thread::sleep(after);
            let _ = kill_process(pid(&child), signal);
        }
        let output = finish(child);
        stop.store(true, Ordering::Relaxed);
        Ended { output, lengths, took: asked.elapsed() }
    })
}

/// What the output holds of one input, by a reading that has nothing in common with the program's.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    /// Whole lines, each with its newline.
    whole: Vec<u8>,
    /// A last line that ends before the input's line does, without the newline that it was given.
    begun: Option<Vec<u8>>,
}

/// What is in the output of each input, and whether its last line has no newline. An error when it is not, of each input, its
/// first lines, each once, in order, and nothing else.
fn parts(folder: &Folder, tag: bool) -> Result<([Part; 3], bool), String> {
    let out = folder.read("out");
    let inputs = INPUTS.map(|input| folder.read(input));
    let mut parts = INPUTS.map(|_| Part { whole: Vec::new(), begun: None });
    let mut torn = false;
    for line in out.split_inclusive(|&byte| byte == b'\n') {
        let shown = String::from_utf8_lossy(line);
        if !line.ends_with(b"\n") {
            torn = true;
            break;
        }
        let index = INPUTS.iter().position(|input| line.starts_with(input.as_bytes()));
        let index = index.ok_or_else(|| format!("a line of no input: {shown:?}"))?;
        let line = match tag {
            true => line[1..].strip_prefix(b"\t").ok_or_else(|| format!("a line without a tag: {shown:?}"))?,
            false => line,
        };
        let (part, input) = (&mut parts[index], &inputs[index]);
        if part.begun.is_some() {
            return Err(format!("{shown:?} follows half a line"));
        }
        let rest = &input[part.whole.len()..];
        if rest.starts_with(line) {
            part.whole.extend_from_slice(line);
        } else if rest.starts_with(&line[..line.len() - 1]) {
            part.begun = Some(line[..line.len() - 1].to_vec());
        } else {
            let next = rest.split(|&byte| byte == b'\n').next().map(String::from_utf8_lossy);
            return Err(format!("{shown:?} where {next:?} is next"));
        }
    }
    Ok((parts, torn))
}

fn count(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

fn check(is: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if is { Ok(()) } else { Err(why()) }
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("the JSON is not whole: {error}"))
}

/// How often cases came out how; and all that came out wrong.
fn all(test: u64, first: usize, of_all: usize, one: impl Fn(usize) -> (String, Came) + Sync) {
    let cases = if std::env::var_os("POLLSCOPE_ALL_KILLS").is_some() { of_all } else { first };
    let (next, came) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= cases {
                        break;
                    }
                    let one = one(index);
                    came.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                }
            });
        }
    });
    let came = came.into_inner().expect("no panic");
    let mut words: Vec<&str> = came.iter().filter_map(|(_, came)| came.as_ref().ok().copied()).collect();
    words.sort_unstable();
    for same in words.chunk_by(|a, b| a == b) {
        println!("test {test}: {:>3} of {cases}: {}", same.len(), same[0]);
    }
    let wrong = came.iter().filter_map(|(case, came)| Some(format!("{case}: {}", came.as_ref().err()?)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(came.len(), cases);
}

/// That a merge that was asked to end did so, with a report, and took no line that it did not finish.
fn asked(case: &Case) -> Came {
    let folder = Folder::new();
    let Ended { output, lengths, took } = end(&folder, case, Signal::TERM);
    let said = stderr(&output);
    check(took < GRACE + SLACK, || format!("it took {took:?}"))?;
    check(!said.contains("panicked"), || said.clone())?;
    let exists = |name| folder.path(name).exists();
    let code = match (output.status.code(), output.status.signal()) {
        (Some(code), _) => code,
        // Before signals are caught there is nothing to finish.
        (None, Some(15)) if !exists("out") && !exists("json") => return Ok("ended before it began"),
        (None, Some(_)) if said.starts_with("ending after this report (Ctrl-C again to end at once)\n") => {
            return Ok("asked twice while it reported: ended, as it said");
        }
        (_, signal) => return Err(format!("signal {signal:?} ended it: {said}")),
    };
    let recording = json(&fs::read(folder.path("json")).map_err(|error| format!("no report: {error}"))?)?;
    let run = &recording["runs"][0];
    // That of the first signal; of two that come before the first is looked at, either may be that.
    let is_first = code == 143 || (code == 130 && matches!(case.again, Some((_, Signal::INT))));
    // What is followed ends by a signal: where all was read and confirmed, that is no failure.
    let is_meant = !case.follow || run["ended"] == "done";
    check(if is_meant && !run.is_null() { is_first && !case.follow || code == 0 } else { is_first }, || {
        format!("it ended with {code}: {said}")
    })?;
    if run.is_null() {
        check(!exists("out"), || "an output that no run is reported of".to_owned())?;
        return Ok("asked before the run: reported that there was none");
    }
    let merge = &run["merge"];
    let (parts, torn) = if exists("out") { parts(&folder, case.tag)? } else { return Err("no output".to_owned()) };
    let is_partial = case.again.is_some() && merge["verdict"] == "unverifiable";
    if is_partial {
        check(code != 0 && said.contains("reporting at once"), || format!("{code}: {said}"))?;
        return Ok("asked twice: reported at once");
    }
    check(merge["verdict"] == "ok", || format!("{merge}: {said}"))?;
    check(!torn, || "it is torn, and ok".to_owned())?;
    let begun = parts.iter().filter(|part| part.begun.is_some()).count() as u64;
    let lines = parts.iter().map(|part| count(&part.whole)).sum::<u64>() + begun;
    // A line of which nothing but the newline came later was unterminated, too.
    check(merge["lines"] == lines && merge["unterminated"].as_u64() >= Some(begun), || {
        format!("there are {lines} lines, {begun} of them begun: {merge}")
    })?;
    for (part, length) in parts.iter().zip(lengths) {
        let taken = (part.whole.len() + part.begun.as_ref().map_or(0, Vec::len)) as u64;
        check(!case.follow || taken >= length, || format!("{taken} bytes of {length} that were there before"))?;
    }
    Ok(match (code, case.again) {
        (0, _) => "done before it was asked",
        (_, None) => "asked: finished, confirmed, reported",
        (_, Some(_)) => "asked twice: had already finished",
    })
}

#[test]
fn asked_to_end_at_any_moment_it_confirms_what_it_took_and_reports() {
    all(1, 40, 200, |index| {
        let case = Case::make(index, 1);
        (format!("{index}: {case:?}"), asked(&case))
    });
}

#[test]
fn asked_twice_at_any_moments_it_reports_at_once() {
    all(2, 20, 100, |index| {
        let mut case = Case::make(index, 2);
        let mut rng = Rng::with_seed(case.seed);
        let signal = if rng.bool() { Signal::TERM } else { Signal::INT };
        // It is soon done: most of the time goes into the report.
        case.again = Some((Duration::from_micros(rng.u64(0..60_000)), signal));
        (format!("{index}: {case:?}"), asked(&case))
    });
}

/// That a merge that was killed left what it must, and that `confirm` says what is missing.
fn killed(case: &Case) -> Came {
    let folder = Folder::new();
    end(&folder, case, if case.again.is_some() { Signal::TERM } else { Signal::KILL });
    if !folder.path("out").exists() {
        return Ok("killed before there was an output");
    }
    let (parts, torn) = parts(&folder, case.tag)?;
    if let Some(begun) = parts.iter().find(|part| part.begun.is_some())
        && case.again.is_none()
    {
        return Err(format!("half a line with a newline: {begun:?}"));
    }
    let whole: u64 = parts.iter().map(|part| count(&part.whole)).sum();
    let lines: u64 = INPUTS.iter().map(|input| count(&folder.read(input))).sum();
    let missing = lines - whole;
    let output =
        folder.run(if case.tag { "confirm a b c -o out --json - --tag" } else { "confirm a b c -o out --json -" });
    let said = json(&output.stdout)?;
    let merge = &said["merge"];
    let is_whole = missing == 0 && !torn;
    check(output.status.code() == Some(if is_whole { 0 } else { 3 }), || format!("{}", output.status))?;
    if parts.iter().any(|part| part.begun.is_some()) {
        // It was draining, and the writers went on: their lines are no longer what was delivered.
        return Ok("killed while draining, after half a line");
    }
    check(merge["verdict"] == if is_whole { "ok" } else { "failed" }, || format!("{merge}"))?;
    check(merge["lost"] == missing && merge["torn"] == u64::from(torn), || {
        format!("{missing} lines are missing, torn: {torn}: {merge}")
    })?;
    for none in ["duplicated", "reordered", "foreign"] {
        check(merge[none] == 0, || format!("{none}: {merge}"))?;
    }
    Ok(match (missing, torn) {
        (0, false) => "killed when all was written",
        (_, true) => "killed in the middle of a line",
        (_, false) if whole == 0 => "killed before the first line",
        (_, false) => "killed between lines",
    })
}

#[test]
fn killed_at_any_moment_it_leaves_whole_lines_and_confirm_says_what_is_missing() {
    all(3, 40, 200, |index| {
        let mut case = Case::make(index, 3);
        let mut rng = Rng::with_seed(case.seed);
        // In one of four it was asked to end before, and is killed while it drains, confirms or reports.
        if rng.u8(0..4) == 0 {
            case.again = Some((Duration::from_micros(rng.u64(0..40_000)), Signal::KILL));
        }
        (format!("{index}: {case:?}"), killed(&case))
    });
}

/// One write of many MiB is not made at once: a kill cuts it.
#[test]
fn killed_in_the_middle_of_one_write_it_leaves_one_torn_line() {
    let folder = Folder::new();
    let long = vec![b'x'; 48 << 20];
    folder.write("a", [b"first\n", long.as_slice(), b"\nlast\n"].concat());
    for attempt in 1..=20 {
        let _ = fs::remove_file(folder.path("out"));
        let args = "merge a -o out --max-line 64MiB --batch 1 --quiet";
        let mut command = folder.command(args.split(' '));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let begun = |out: fs::Metadata| out.len() > 6;
        while !fs::metadata(folder.path("out")).is_ok_and(begun) {
            thread::sleep(Duration::from_micros(100));
        }
        send(&child, Signal::KILL);
        finish(child);
        let out = folder.read("out");
        assert!(folder.read("a").starts_with(&out), "it is the beginning of its input");
        let lines = count(&out);
        let answer = folder.run("confirm a -o out --max-line 64MiB --json -");
        let merge = &json(&answer.stdout).expect("an answer")["merge"];
        let torn = u64::from(!out.ends_with(b"\n"));
        assert_eq!((&merge["lost"], &merge["torn"]), (&(3 - lines).into(), &torn.into()), "{merge}");
        assert_eq!((&merge["foreign"], &merge["duplicated"], &merge["reordered"]), (&0.into(), &0.into(), &0.into()));
        if torn == 1 {
            println!("torn after {} bytes, at attempt {attempt}", out.len());
            return;
        }
    }
    println!("SKIP: no write could be cut");
}

/// Asked twice, the second time while the report is written already: it is written to its end.
#[test]
fn a_second_signal_never_costs_the_report() {
    let folder = Folder::new();
    folder.write("a", "1\n");
    // A pipe that is full: its reader is there, and does not read yet.
    let fifo = folder.fifo("fifo");
    let mut reader = File::options().read(true).write(true).open(&fifo).expect("both ends");
    rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK).expect("set");
    let mut stuffed = 0;
    while let Ok(length) = rustix::io::write(&reader, &[b' '; 4096]) {
        stuffed += length;
    }
    let running = Running::spawn(&mut following(&folder, "--json fifo"));
    wait_until("the line", || fs::read(folder.path("out")).is_ok_and(|out| out == b"1\n"));
    running.send(Signal::TERM);
    // The report is being written when it is asked once more.
    running.wait_until_said("again to skip the check");
    running.wait_until_blocked_in(Call::Write);
    running.send(Signal::TERM);
    running.wait_until_said("reporting at once (Ctrl-C again to end without");
    rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::empty()).expect("set");
    // The report comes after what the pipe was full of; only its last line is a brace alone.
    let report = thread::spawn(move || {
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        while !bytes.ends_with(b"\n}\n") {
            let length = reader.read(&mut piece).expect("read");
            bytes.extend_from_slice(&piece[..length]);
        }
        bytes.split_off(stuffed)
    });
    let output = running.finish();
    assert_ends(&output, 0, &["again to skip the check", "reporting at once (Ctrl-C again to end without"]);
    let report = json(&report.join().expect("it was read")).expect("it is whole");
    assert!(report["runs"][0]["merge"].is_object(), "{report}");
}

fn following(folder: &Folder, more: &str) -> Command {
    folder.command(format!("merge a -o out --follow --interval 5ms {more}").split(' '))
}

fn follow(folder: &Folder, more: &str) -> Child {
    following(folder, more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

#[test]
fn stopped_and_continued_it_goes_on() {
    for signal in [Signal::TERM, Signal::HUP] {
        let folder = Folder::new();
        let path = folder.write("a", "before\n");
        let child = follow(&folder, "--json json");
        wait_until("the line", || fs::read(folder.path("out")).is_ok_and(|out| out == b"before\n"));
        send(&child, Signal::STOP);
        let stat = || fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it runs");
        wait_until("the stop", || stat().rsplit(") ").next().is_some_and(|state| state.starts_with('T')));
        File::options().append(true).open(path).and_then(|mut a| a.write_all(b"while\nhal")).expect("written");
        thread::sleep(Duration::from_millis(150));
        assert_eq!(folder.read("out"), b"before\n");
        send(&child, Signal::CONT);
        wait_until("the next line", || folder.read("out") == b"before\nwhile\n");
        // Stopped while it is asked to end, too.
        send(&child, Signal::STOP);
        send(&child, signal);
        thread::sleep(Duration::from_millis(50));
        send(&child, Signal::CONT);
        assert_ends(&finish(child), 0, &["stopping"]);
        assert_eq!(folder.read("out"), b"before\nwhile\nhal\n");
        assert_eq!(json(&folder.read("json")).expect("whole")["runs"][0]["merge"]["verdict"], "ok");
    }
}

/// What went away while it ran: who reads the report, and who reads what is said besides.
#[test]
fn readers_that_went_away_cost_neither_a_line_nor_the_report() {
    for (name, gone) in [("stdout", "| true"), ("stderr", "2>&1 >text | true"), ("stderr closed", "2>&-")] {
        let folder = Folder::new();
        folder.write("a", "1\n2\n");
        let merge = "{ sleep 0.2; \"$POLLSCOPE_BIN\" merge a -o out --json json; echo $? > code; }";
        folder.shell(&format!("{merge} {gone}; while ! test -s code; do sleep 0.05; done"));
        assert_eq!((folder.read("code"), folder.read("out")), (b"0\n".to_vec(), b"1\n2\n".to_vec()), "{name}");
        assert_eq!(json(&folder.read("json")).expect("whole")["runs"][0]["merge"]["verdict"], "ok", "{name}");
    }
}
