//! `pollscope top`: a service as it runs, printed and on a terminal.

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::listen::Service;
use crate::recorded::{AS_SERVICE, BLOCKS, THEN};
use crate::support::{
    Folder, Running, assert_ends, looks_from_outside, read_until, run, send, stderr, stdout, wait_until,
};

/// More blocks than there is time for.
const ENDLESS: u64 = 1_000_000;
/// Whether lines and calls are seen.
const SEES: bool = pollscope_probe::TOKIO_UNSTABLE && cfg!(all(target_os = "linux", target_arch = "x86_64"));

#[test]
fn one_frame_says_what_blocks() {
    let service = Service::start(ENDLESS);
    // The first names of a debug build take a while.
    let is_named = || stdout(&run(&mut service.command("top", "--once"))).contains("clock_nanosleep");
    wait_until("a name", || !SEES || is_named());
    for columns in [60, 80, 120, 200] {
        let mut command = service.command("top", "--once");
        let output = run(command.env("COLUMNS", columns.to_string()));
        assert_ends(&output, 0, &[]);
        let frame = stdout(&output);
        assert!(frame.starts_with("pollscope top  it-"), "{frame}");
        assert!(frame.contains(&format!("pid {}", service.pid())) && frame.contains(" polls/s  "), "{frame}");
        let widths = frame.lines().map(|line| line.chars().count());
        assert!(widths.max() <= Some(columns), "{frame}");
        if SEES {
            // On a busy machine some are over before they are looked at.
            let mut places = frame.lines().skip_while(|line| !line.starts_with("PLACES"));
            assert!(places.any(|row| row.contains("recorded.rs:") && row.contains("clock_nanosleep")), "{frame}");
        }
        assert!(frame.lines().any(|line| line.starts_with("WORKERS, ")), "{frame}");
    }
    assert_eq!(service.sockets(), 1, "it goes on");
}

/// It blocks once, for as long as it lives.
#[test]
fn what_blocks_is_named_while_it_does() {
    let folder = Folder::new();
    let mut command = folder.command(["top", "--once", "--slow", "10ms", "--"]);
    command.arg(std::env::current_exe().expect("this program")).args(["--exact", "top::stuck", "--nocapture"]);
    let output = run(command.env("POLLSCOPE_TEST_STUCK", "1").env("TMPDIR", folder.path(".")));
    assert_ends(&output, 0, &["printed is in `"]);
    let frame = stdout(&output);
    let blocks = frame.lines().skip_while(|line| !line.starts_with("BLOCKS NOW")).nth(1).expect("a row");
    if SEES {
        assert!(blocks.contains("tests/it/top.rs:") && blocks.contains("clock_nanosleep"), "{frame}");
        assert!(frame.contains("stalled"), "{frame}");
    }
    let log = folder.names().into_iter().find(|name| name.starts_with("pollscope-top-")).expect("a log");
    assert!(String::from_utf8(folder.read(&log)).expect("text").contains("stuck now"), "what it prints is kept");
}

/// A service that is stuck in one poll. As a test it does nothing.
#[test]
fn stuck() {
    if std::env::var_os("POLLSCOPE_TEST_STUCK").is_none() {
        return;
    }
    let builder = pollscope_probe::ProbeBuilder::from_env().source_root(env!("CARGO_MANIFEST_DIR"));
    let serve = async {
        println!("stuck now");
        tokio::spawn(async { std::thread::sleep(std::time::Duration::from_secs(3_600)) }).await
    };
    let _ = builder.run(tokio::runtime::Builder::new_multi_thread().worker_threads(1), serve);
}

#[test]
fn frames_are_printed_until_the_service_ends() {
    let mut service = Service::start(ENDLESS);
    let running = Running::spawn(&mut service.command("top", ""));
    running.wait_for_thread("feed");
    std::thread::sleep(std::time::Duration::from_secs(3));
    service.kill();
    let output = running.finish();
    assert_ends(&output, 0, &[]);
    let frames = stdout(&output);
    assert!(frames.matches("BLOCKS NOW").count() >= 2, "{frames}");
    assert!(frames.contains("the service is gone: this is what was known"), "{frames}");
    assert!(!frames.contains('\u{1b}'), "it is no terminal");
}

#[test]
fn what_cannot_be_shown_is_said() {
    let folder = Folder::new();
    for (line, code, says) in [
        ("top", 2, "give the number of a process, or name a program behind `--`"),
        ("top 1 2", 2, "one process is shown at a time"),
        ("top ./service", 2, "write the number of a process"),
        ("top --outside -- ./none", 2, "are for a process that runs already, such as `pollscope top 4711 --outside`"),
        ("top --symbols a -- ./none", 2, "are for a process that runs already"),
        ("top 1 --hz 0", 2, "write how often a second, from 1 to 1000"),
        ("top 1999999999", 1, "cannot read from process `1999999999`: there is none"),
        ("top --once -- ./none", 127, "cannot start `./none`: No such file or directory"),
        ("top --once -- true", 1, "cannot report on `true`: it ended with exit code 0 without a sound from a probe"),
    ] {
        let output = run(folder.command(line.split(' ')).env("TMPDIR", folder.path(".")));
        assert_ends(&output, code, &[says]);
        assert!(output.stdout.is_empty(), "{line}: {}", stdout(&output));
    }
    assert_eq!(folder.names(), [""; 0], "nothing is left");
}

/// How it is looked at from outside: its blocks are short.
const OUTSIDE: &str = "--outside --hz 1000 --slow 5ms";
#[test]
fn one_that_tells_nothing_is_seen_from_outside() {
    if !looks_from_outside() {
        return eprintln!("SKIP: nothing is looked at from outside here");
    }
    let mut service = Service::start(ENDLESS);
    let once = format!("{OUTSIDE} --once");
    let is_named = || stdout(&run(&mut service.command("top", &once))).contains("clock_nanosleep");
    wait_until("a name", is_named);
    let has_place = |frame: &String| {
        let mut places = frame.lines().skip_while(|line| !line.starts_with("PLACES"));
        let is_place = |row: &str| row.trim_start().starts_with('~') && row.contains("recorded.rs:");
        places.any(|row| is_place(row) && row.contains("clock_nanosleep"))
    };
    for columns in [60, 80, 100] {
        let frame = std::cell::RefCell::default();
        // A machine that is busy elsewhere may not let it look for as long as one frame takes.
        wait_until("a frame with its place", || {
            let output = run(service.command("top", &once).env("COLUMNS", columns.to_string()));
            assert_ends(&output, 0, &[]);
            stdout(&output).clone_into(&mut frame.borrow_mut());
            has_place(&frame.borrow())
        });
        let frame = frame.into_inner();
        assert!(frame.starts_with("pollscope top  it-") && frame.contains("  - busy\n"), "{frame}");
        assert!(frame.contains("- polls/s  at least ") && frame.contains("queued - · pool -"), "{frame}");
        assert!(frame.contains("\nWORKERS, -\n") && !frame.contains("parked"), "{frame}");
        assert!(frame.lines().all(|line| line.chars().count() <= columns), "{frame}");
    }
    let own = run(&mut service.command("top", "--once --slow 5ms"));
    assert_ends(&own, 1, &["its probe has a threshold already; leave it out, or look at it with `--outside`"]);
    let running = Running::spawn(&mut service.command("top", OUTSIDE));
    running.wait_for_thread("pollscope-look");
    service.kill();
    let output = running.finish();
    assert_ends(&output, 0, &[]);
    assert!(stdout(&output).contains("the process is gone: this is what was known"), "{}", stdout(&output));
}

#[test]
fn one_without_tokio_is_refused() {
    let folder = Folder::new();
    let mut sleep = Command::new("sleep").arg("600").spawn().expect("`sleep` runs");
    let output = folder.run(&format!("top {} --once", sleep.id()));
    let says = if looks_from_outside() { "there is no Tokio in `" } else { "cannot look at " };
    assert_ends(&output, 1, &[says]);
    assert!(output.stdout.is_empty(), "{}", stdout(&output));
    sleep.kill().and_then(|()| sleep.wait()).expect("it ran");
}

#[test]
fn what_is_seen_from_outside_has_a_screen_and_keys() {
    if !looks_from_outside() {
        return eprintln!("SKIP: nothing is looked at from outside here");
    }
    let service = Service::start(ENDLESS);
    let mut on = OnTerminal::start(service.command("top", OUTSIDE), 80, 24);
    on.until("clock_nanosleep");
    on.press("\r");
    on.until("scroll");
    on.press("\u{1b}");
    on.until("sort");
    on.press("q");
    on.until(LEFT);
    assert!(on.child.wait().expect("it ends").success());
    assert!(on.echoes(), "as before");
}

/// The program on a terminal of its own.
struct OnTerminal {
    child: Child,
    terminal: fs::File,
    theirs: OwnedFd,
}

impl OnTerminal {
    fn start(mut command: Command, columns: u16, rows: u16) -> OnTerminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("it may");
        let name = ptsname(&ours, Vec::new()).expect("a name").into_string().expect("text");
        let theirs: OwnedFd = fs::File::options().read(true).write(true).open(name).expect("it opens").into();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&theirs, size).expect("its size");
        let end = || theirs.try_clone().expect("another");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("it starts");
        OnTerminal { child, terminal: ours.into(), theirs }
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.theirs).expect("its modes").local_modes.contains(LocalModes::ECHO)
    }

    fn press(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).expect("it takes them");
    }

    /// Reads until a word is shown: blanks that are there already are not drawn again.
    fn until(&mut self, text: &str) -> String {
        let mut shown = String::new();
        read_until(&mut self.terminal, &mut shown, text);
        assert!(shown.contains(text), "no `{text}` in {shown:?}");
        shown
    }
}

/// Leaves the other screen.
const LEFT: &str = "\u{1b}[?1049l";

#[test]
fn the_terminal_is_as_before_on_every_way_out() {
    let ways: [(&str, Option<Signal>, i32); 4] =
        [("q", None, 0), ("\u{3}", None, 0), ("", Some(Signal::TERM), 143), ("", Some(Signal::HUP), 129)];
    let service = Service::start(ENDLESS);
    for (keys, signal, code) in ways {
        let mut on = OnTerminal::start(service.command("top", ""), 80, 24);
        on.until("PLACES");
        assert!(!on.echoes(), "it reads keys");
        on.press(keys);
        signal.into_iter().for_each(|signal| send(&on.child, signal));
        on.until(LEFT);
        let status = on.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(code), "{keys:?} {signal:?}");
        assert!(on.echoes(), "as before");
    }
}

#[test]
fn keys_sort_pause_and_open_and_a_terminal_changes_its_size() {
    let service = Service::start(ENDLESS);
    let mut on = OnTerminal::start(service.command("top", ""), 80, 24);
    on.until("clock_nanosleep");
    on.press("p");
    on.until("paused:");
    on.press("\r");
    on.until("scroll");
    on.press("\u{1b}");
    on.until("sort");
    on.press("s");
    on.until("worst");
    let size = Winsize { ws_row: 24, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&on.theirs, size).expect("its size");
    // There is no controlling terminal that would say so.
    send(&on.child, Signal::WINCH);
    on.until("window");
    on.press("q");
    on.until(LEFT);
    assert!(on.child.wait().expect("it ends").success());
}

#[test]
fn a_program_has_no_part_of_the_screen_and_ends_with_it() {
    let folder = Folder::new();
    let mut command = folder.command(["top", "--slow", "10ms", "--"]);
    command.arg(std::env::current_exe().expect("this program")).args(AS_SERVICE);
    command.env(BLOCKS, ENDLESS.to_string()).env(THEN, "").env("TMPDIR", folder.path("."));
    let mut on = OnTerminal::start(command, 100, 24);
    let shown = on.until("polls/s");
    assert!(!shown.contains("blocked 1"), "{shown:?}");
    on.press("q");
    let end = on.until("note: what `");
    assert!(end.contains(LEFT), "{end:?}");
    assert!(on.child.wait().expect("it ends").success());
    let log = folder.names().into_iter().find(|name| name.starts_with("pollscope-top-")).expect("a log");
    assert!(String::from_utf8(folder.read(&log)).expect("text").contains("blocked 1"));
}

#[test]
fn a_run_of_the_lab_listens() {
    let folder = Folder::new();
    let mut command = folder.command(["top", "--once", "--", env!("CARGO_BIN_EXE_pollscope"), "run", "slow-sink"]);
    let output = run(command.env("TMPDIR", folder.path(".")).env("XDG_STATE_HOME", folder.path("state")));
    assert_ends(&output, 0, &[]);
    assert!(stdout(&output).starts_with("pollscope top  pollscope"), "{}", stdout(&output));
    assert!(stderr(&output).contains("printed is in `"));
}
