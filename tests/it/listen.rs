//! A service that listens: `pollscope record PID` records it for a while.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::recorded::{AS_SERVICE, BLOCKS};
use crate::support::{Folder, Running, assert_ends, finish, run, send, stderr, stdout, wait_until};

/// More blocks than there is time for.
pub(crate) const ENDLESS: u64 = 1_000_000;
/// Whether lines and calls are seen.
const SEES: bool = pollscope_probe::TOKIO_UNSTABLE && cfg!(all(target_os = "linux", target_arch = "x86_64"));

/// A service that listens in a folder, and blocks.
pub(crate) struct Service {
    child: Child,
    pub(crate) folder: Folder,
}

impl Service {
    pub(crate) fn start(blocks: u64) -> Service {
        let folder = Folder::new();
        let mut service = Command::new(std::env::current_exe().expect("this program"));
        service.args(AS_SERVICE).current_dir(folder.path("."));
        service.env(BLOCKS, blocks.to_string()).env("POLLSCOPE", "1").env("POLLSCOPE_SLOW_POLL", "10ms");
        service.env("POLLSCOPE_LISTEN", folder.path("sockets")).env_remove("POLLSCOPE_RECORD");
        service.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = service.spawn().expect("it starts");
        // Its blocks are told; somebody must read that.
        let told = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || told.lines().map_while(Result::ok).for_each(drop));
        let service = Service { child, folder };
        wait_until("a socket", || service.sockets() == 1);
        service
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many sockets there are.
    pub(crate) fn sockets(&self) -> usize {
        fs::read_dir(self.folder.path("sockets")).map_or(0, Iterator::count)
    }

    /// `pollscope COMMAND PID OPTIONS`.
    pub(crate) fn command(&self, name: &str, options: &str) -> Command {
        let pid = self.pid().to_string();
        let words = [name, &pid].into_iter().chain(options.split_whitespace());
        let mut command = self.folder.command(words);
        command.env("XDG_STATE_HOME", self.folder.path("state")).env("TMPDIR", self.folder.path("."));
        command
    }

    pub(crate) fn kill(&mut self) {
        send(&self.child, Signal::KILL);
        self.child.wait().expect("it ends");
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.folder.read("json")).expect("JSON")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_service_that_runs_is_recorded_judged_and_reported() {
    let service = Service::start(ENDLESS);
    let options =
        "--for 3s --label v1 --fail-on slow_polls==0 --fail-on v1.polls.count>0 --json json --html page -o kept";
    let output = run(&mut service.command("record", options));
    assert_ends(&output, 99, &["recording process `", ": its time ends it"]);
    let report = stdout(&output);
    if SEES {
        let answer = report.lines().next().expect("an answer");
        assert!(answer.contains("tests/it/recorded.rs:") && answer.contains("  clock_nanosleep() "), "{report}");
    }
    assert!(report.contains("✗ gate failed: slow_polls==0"), "{report}");
    let recording = service.json();
    let run = &recording["runs"][0];
    assert_eq!(
        (&run["group"], &run["ended"], &run["subject"]["pid"]),
        (&"v1".into(), &"done".into(), &service.pid().into())
    );
    let count = |of: &Value| {
        of.as_array().expect("a list").iter().map(|one| one["polls"]["count"].as_u64()).sum::<Option<u64>>()
    };
    assert_eq!(count(&run["intervals"]), run["polls"]["count"].as_u64());
    // Of polls that end while all of them are read, some are in one of both.
    assert!(count(&run["sites"]) > Some(0));
    assert_eq!(run["slow_polls"].as_array().map(|all| all.len() as u64), run["slow_polls_total"].as_u64());
    // What is kept says the same.
    let kept = service.folder.run("report kept --format json");
    assert_ends(&kept, 0, &[]);
    let kept: Value = serde_json::from_slice(&kept.stdout).expect("JSON");
    assert_eq!(kept["runs"][0]["slow_polls"], run["slow_polls"]);
    assert!(String::from_utf8(service.folder.read("page")).expect("a page").contains("recorded.rs"));
    assert_ends(&self::run(&mut service.command("record", "-o kept")), 110, &["there is a recording already"]);
    assert_eq!(service.sockets(), 1, "it goes on");
}

#[test]
fn ctrl_c_ends_the_recording_and_not_the_service() {
    let service = Service::start(ENDLESS);
    let running = Running::spawn(&mut service.command("record", "--json json"));
    running.wait_until_said("recording process");
    running.send(Signal::TERM);
    assert_ends(&running.finish(), 0, &["Ctrl-C ends it"]);
    assert_eq!(service.json()["runs"][0]["ended"], "done");
    assert_eq!(service.sockets(), 1, "it goes on");
    assert!(service.folder.names().iter().all(|name| ["json", "sockets", "state"].contains(&name.as_str())));
}

#[test]
fn the_end_of_the_service_is_the_end() {
    // One that ends by itself tells its last lines, one that is killed does not.
    let service = Service::start(400);
    let output = run(&mut service.command("record", "--json json"));
    assert_ends(&output, 0, &[]);
    assert_eq!(service.json()["runs"][0]["ended"], "done");
    let mut service = Service::start(ENDLESS);
    let running = Running::spawn(&mut service.command("record", "--json json -o kept"));
    let has_slow_polls =
        |path: &fs::DirEntry| fs::read_to_string(path.path()).is_ok_and(|text| text.contains("{\"slow_poll\":"));
    wait_until("a slow poll", || {
        fs::read_dir(service.folder.path("kept")).is_ok_and(|files| files.flatten().any(|file| has_slow_polls(&file)))
    });
    service.kill();
    assert_ends(&running.finish(), 0, &["is gone: what it told by then is shown"]);
    let run = &service.json()["runs"][0];
    assert_eq!(run["ended"], "gone");
    assert!(run["slow_polls_total"].as_u64() >= Some(1), "{}", run["slow_polls_total"]);
    assert_eq!(service.sockets(), 1, "its socket is left behind");
}

#[test]
fn five_who_read_are_one_too_many() {
    let service = Service::start(ENDLESS);
    let socket =
        fs::read_dir(service.folder.path("sockets")).expect("a folder").next().expect("a socket").expect("one");
    let four: Vec<_> = (0..4).map(|_| UnixStream::connect(socket.path()).expect("it listens")).collect();
    for client in &four {
        let mut line = String::new();
        BufReader::new(client).read_line(&mut line).expect("text");
        assert!(line.starts_with("{\"recording\":"));
    }
    let output = run(&mut service.command("record", "--for 60s"));
    assert_ends(&output, 1, &["four others read it already", "try again when one of them is done"]);
    drop(four);
    wait_until("room", || run(&mut service.command("record", "--for 1ms -q")).status.success());
}

#[test]
fn what_cannot_be_recorded_is_said() {
    let folder = Folder::new();
    let this = std::process::id();
    fs::create_dir(folder.path("run")).expect("a folder");
    let killed = finish(Command::new("true").stdout(Stdio::piped()).spawn().expect("it starts"));
    assert!(killed.status.success());
    drop(UnixListener::bind(folder.path("run/pollscope-2000000000-1.sock")).expect("a socket"));
    let cases = [
        ("record 2000000000".to_owned(), 1, "there is none, but one of that number was killed and left its socket `"),
        ("record 1999999999".to_owned(), 1, "cannot read from process `1999999999`: there is none; `pgrep"),
        (format!("record {this} 12"), 2, "one process is recorded at a time"),
        ("record ./service".to_owned(), 2, "the program stands behind `--`"),
        ("record 0".to_owned(), 2, "write the number of a process"),
        (format!("record {this} -- true"), 2, "cannot be used with"),
        ("record".to_owned(), 2, "or the number of a process"),
    ];
    for (line, code, says) in cases {
        let mut command = folder.command(line.split(' '));
        let output = run(command.env("XDG_RUNTIME_DIR", folder.path("run")).env("TMPDIR", folder.path(".")));
        assert_ends(&output, code, &[says]);
        assert!(output.stdout.is_empty(), "{line}: {}", stdout(&output));
    }
    assert_eq!(folder.names(), ["run"], "nothing is left");
}

#[test]
fn a_service_that_cannot_listen_says_why_and_serves() {
    let folder = Folder::new();
    fs::create_dir(folder.path("open")).expect("a folder");
    fs::set_permissions(folder.path("open"), fs::Permissions::from_mode(0o755)).expect("its mode");
    let mut service = Command::new(std::env::current_exe().expect("this program"));
    service.args(AS_SERVICE).env(BLOCKS, "2").env("POLLSCOPE", "1").env("POLLSCOPE_LISTEN", folder.path("open"));
    let output = run(&mut service);
    assert!(output.status.success() && stdout(&output).contains("blocked 2"));
    assert!(stderr(&output).contains("WARN pollscope: cannot listen in `"), "{}", stderr(&output));
    assert!(stderr(&output).contains("others may use it (mode 755); `chmod 700` it"), "{}", stderr(&output));
    let off = run(service.env("POLLSCOPE_LISTEN", "1").env_remove("POLLSCOPE"));
    assert!(
        stderr(&off).contains("ignored `POLLSCOPE_LISTEN`: nothing is measured without `POLLSCOPE=1`"),
        "{}",
        stderr(&off)
    );
}
