//! `pollscope record` of this service under load: the line of the blocker is named, gates end with 99, and without it with 0.
//!
//! The blocker lasts for longer than any machine keeps a thread from its CPU. `POLLSCOPE_BIN` names the program; without it, the
//! project's own build is used.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// How the service blocks, and from when on a poll is slow.
const BLOCK: &str = "1500ms";
const SLOW: &str = "1s";
const ORDERS: usize = 40;

fn pollscope() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/pollscope");
    let program = std::env::var_os("POLLSCOPE_BIN").map_or_else(built, PathBuf::from);
    assert!(
        program.exists(),
        "there is no `{}`: run `cargo build -p pollscope` in the project's folder",
        program.display()
    );
    program
}

/// Where the blocker is, as reports have it.
fn injected_line() -> String {
    let code = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/journal.rs")).expect("the code");
    let at = code.lines().position(|line| line.ends_with("// the injected line")).expect("the injected line");
    format!("src/journal.rs:{}", at + 1)
}

/// A service under `pollscope record`; it is ended also if the test fails.
struct Recorded {
    pollscope: Child,
    stdout: BufReader<std::process::ChildStdout>,
    address: String,
}

impl Recorded {
    fn start(folder: &Path, fault: &[&str]) -> Recorded {
        let mut command = Command::new(pollscope());
        command.args([
            "record",
            "--slow",
            SLOW,
            "--fail-on",
            "slow_polls == 0",
            "--html",
            "r.html",
            "--json",
            "r.json",
        ]);
        command.args(["--no-config", "--", env!("CARGO_BIN_EXE_pollscope-service"), "--port", "0", "--data", "data"]);
        command.args(fault).current_dir(folder).env("XDG_STATE_HOME", folder).env_remove("POLLSCOPE_LABEL");
        let mut pollscope = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut stdout = BufReader::new(pollscope.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on http://").expect("it listens").to_owned();
        Recorded { pollscope, stdout, address }
    }

    /// One request, and the status of its answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> u16 {
        let mut to = TcpStream::connect(&self.address).expect("it listens");
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Type: application/json\r\n"
        );
        write!(to, "{head}Content-Length: {length}\r\n\r\n{body}").expect("it takes requests");
        let mut answer = String::new();
        to.read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
    }

    /// Orders until the blocker was met, with other clients beside: wrk, or our own where it is not there.
    fn load(&self) {
        let is_over = AtomicBool::new(false);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("load.lua");
        let wrk = Command::new("wrk")
            .args(["-t1", "-c8", "-d3s", "-s"])
            .args([script, format!("http://{}", self.address).into()])
            .stdout(Stdio::null())
            .spawn();
        let other = || {
            while !is_over.load(Relaxed) {
                for path in ["/items/7", "/items?after=100&most=5", "/report"] {
                    assert_eq!(self.ask("GET", path, ""), 200, "{path}");
                }
            }
        };
        thread::scope(|scope| {
            if wrk.is_err() {
                (0..4).for_each(|_| _ = scope.spawn(other));
            }
            for order in 1..=ORDERS {
                assert_eq!(self.ask("POST", "/orders", &format!("{{\"item\":{order},\"count\":2}}")), 200);
            }
            is_over.store(true, Relaxed);
        });
        if let Ok(mut wrk) = wrk {
            assert!(wrk.wait().expect("it ends").success(), "wrk");
        }
    }

    /// Ends it as an operator does; the exit code, and what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let asked = Command::new("kill").args(["-TERM", &self.pollscope.id().to_string()]).status();
        assert!(asked.expect("kill").success());
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).expect("text");
        (self.pollscope.wait().expect("it ends").code(), said)
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        // If it were killed, the service would go on; the third signal kills that.
        while matches!(self.pollscope.try_wait(), Ok(None)) {
            let _ = Command::new("kill").args(["-TERM", &self.pollscope.id().to_string()]).status();
            thread::sleep(Duration::from_millis(300));
        }
    }
}

/// The run that was recorded.
fn run(folder: &Path) -> Value {
    let json = fs::read_to_string(folder.join("r.json")).expect("a recording");
    let mut recording: Value = serde_json::from_str(&json).expect("JSON");
    recording["runs"][0].take()
}

#[test]
fn the_line_that_blocks_is_named_and_the_gate_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Recorded::start(folder.path(), &["--block", BLOCK, "--every", "20"]);
    service.load();
    let (code, said) = service.end();
    assert_eq!(code, Some(99), "{said}");
    let line = injected_line();
    assert!(said.starts_with(&format!("✗ {line}  clock_nanosleep() blocked ")), "{said}");
    assert!(said.contains("✗ gate failed: slow_polls == 0"), "{said}");
    let page = fs::read_to_string(folder.path().join("r.html")).expect("a page");
    assert!(page.contains(&line) && page.trim_end().ends_with("</html>"));
    let run = run(folder.path());
    let slow = run["slow_polls"].as_array().expect("a list");
    assert!(!slow.is_empty() && slow.iter().all(|poll| poll["places"][0]["line"] == line), "{slow:?}");
    assert_eq!(run["slow_polls_total"].as_u64(), Some(slow.len() as u64), "each is listed");
}

#[test]
fn without_the_blocker_or_with_its_work_off_the_loop_the_gate_holds() {
    for fault in [&[][..], &["--block", BLOCK, "--every", "20", "--offload"]] {
        let folder = tempfile::tempdir().expect("a folder");
        let service = Recorded::start(folder.path(), fault);
        service.load();
        assert_eq!(service.ask("PUT", "/uploads/note", "paper"), 201);
        assert_eq!(service.ask("GET", "/uploads/note", ""), 200);
        assert_eq!(service.ask("GET", "/uploads/other", ""), 404);
        assert_eq!(service.ask("GET", "/items/1000000", ""), 404);
        let (code, said) = service.end();
        assert_eq!(code, Some(0), "{fault:?}: {said}");
        let run = run(folder.path());
        assert_eq!((&run["slow_polls_total"], &run["ended"]), (&0.into(), &"done".into()));
        let journal = fs::read_to_string(folder.path().join("data/journal")).expect("a journal");
        assert!(journal.lines().filter(|line| line.starts_with("order ")).count() >= ORDERS, "{journal}");
    }
}
