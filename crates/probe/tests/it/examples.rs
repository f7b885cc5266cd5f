//! The examples, run as they are: `cargo test` builds them. With `--test it` it does not, and these tests run what was built last.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_probe::{CAPTURE, TOKIO_UNSTABLE};

use crate::support::{LONG, eventually};

/// An example's program, beside the folder of this one; without it, says so.
fn program(example: &str) -> Option<PathBuf> {
    let this = std::env::current_exe().unwrap();
    let program =
        this.ancestors().nth(2)?.join("examples").join(example).with_extension(std::env::consts::EXE_EXTENSION);
    if !program.exists() {
        eprintln!("SKIP: the example `{example}` is not built");
        return None;
    }
    Some(program)
}

/// A server that is an example. Ended with the test, however that ends.
struct Server {
    child: Child,
    address: SocketAddr,
    stderr: Receiver<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(example: &str) -> Option<Server> {
        let mut child = Command::new(program(example)?)
            .env("PORT", "0")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, stderr) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| _ = tell.send(line)));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on http://").and_then(|rest| rest.split_once(": "));
        let address = address.unwrap_or_else(|| panic!("{line:?}")).0.parse().unwrap();
        Some(Server { child, address, stderr })
    }

    /// The head and the body of what it answers.
    fn ask(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        (head.to_owned(), body.to_owned())
    }

    /// Whether it says such a line on stderr before it says nothing more for longer than a line waits for names.
    fn says(&self, what: impl Fn(&str) -> bool) -> bool {
        std::iter::from_fn(|| self.stderr.recv_timeout(Duration::from_secs(12)).ok()).any(|line| what(&line))
    }
}

/// The number of a metric without labels.
fn value(page: &str, metric: &str) -> f64 {
    let value = page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {metric}: {page}")).parse().unwrap()
}

#[test]
fn a_page_of_metrics_that_a_service_has_shows_the_loop_too() {
    let Some(server) = Server::start("metrics") else { return };
    let page = || {
        let (head, body) = server.ask("/metrics");
        assert!(
            head.to_ascii_lowercase().contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8"),
            "{head}"
        );
        body
    };
    // The first page can be of a moment at which no poll had ended.
    let start = Instant::now();
    let mut before = page();
    while value(&before, "pollscope_poll_duration_seconds_count") == 0.0 {
        assert!(start.elapsed() < LONG, "{before}");
        before = page();
    }
    for _ in 0..3 {
        assert_eq!(server.ask("/blocks").1, "blocked\n");
    }
    let after = page();
    assert_eq!((value(&before, "requests_total"), value(&after, "requests_total")), (0.0, 3.0));
    for page in [&before, &after] {
        // The last bucket has all, and each no fewer than the one before.
        let buckets: Vec<f64> = page
            .lines()
            .filter_map(|line| line.strip_prefix("pollscope_poll_duration_seconds_bucket{")?.rsplit_once(' '))
            .map(|(_, count)| count.parse().unwrap())
            .collect();
        assert!(buckets.len() > 20 && buckets.is_sorted(), "{buckets:?}");
        assert_eq!(buckets.last(), Some(&value(page, "pollscope_poll_duration_seconds_count")));
        let sites = page.lines().filter(|line| line.starts_with("pollscope_site_polls_total{")).count();
        assert!((1..=51).contains(&sites), "{page}");
    }
    if TOKIO_UNSTABLE {
        // A worker answers before it has left the poll.
        let grew = |metric| value(&page(), metric) - value(&before, metric);
        let start = Instant::now();
        while grew("pollscope_slow_polls_total") < 3.0 || grew("pollscope_poll_duration_seconds_sum") < 0.06 {
            assert!(start.elapsed() < LONG, "{}", page());
        }
        assert!(grew("pollscope_poll_duration_seconds_count") >= 3.0);
    }
}

/// The lines of a function in an example, from its first to its last.
fn lines_of(source: &str, function: &str) -> std::ops::RangeInclusive<usize> {
    let lines: Vec<&str> = source.lines().collect();
    let first = lines.iter().position(|line| line.contains(&format!("fn {function}("))).unwrap();
    let last = first + lines[first..].iter().position(|line| *line == "}").unwrap();
    first + 1..=last + 1
}

/// The number after `place:`.
fn line_number(said: &str, place: &str) -> usize {
    let rest = said.split_once(place).unwrap().1;
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// Eight clients for a second; whether all was answered, and well.
fn wrk(url: &str) {
    let wrk = ["--threads", "1", "--connections", "8", "--duration", "1s", url];
    let wrk = Command::new("wrk").args(wrk).output().unwrap();
    let report = String::from_utf8_lossy(&wrk.stdout);
    let requests = report.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<u32>().ok());
    assert!(wrk.status.success() && requests.is_some_and(|requests| requests > 0), "{report}");
    // What it could not connect, read or write, or was answered badly, would be a line.
    assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
}

#[test]
fn under_wrk_a_web_server_names_the_lines_that_block() {
    if Command::new("wrk").arg("--version").output().is_err() {
        eprintln!("SKIP: wrk is not installed");
        return;
    }
    for path in ["blocks", "computes"] {
        let Some(server) = Server::start("axum") else { return };
        let url = format!("http://{}/{path}", server.address);
        let (place, lines) = ("examples/axum.rs:", lines_of(include_str!("../../examples/axum.rs"), path));
        let is_named = |line: &str| match CAPTURE {
            // What was seen of a slow poll stands below its own line.
            true => line.starts_with("     ") && line.contains(place) && lines.contains(&line_number(line, place)),
            false => line.starts_with("WARN slow poll: Executing <Task ") && line.contains("axum-"),
        };
        let run = || {
            wrk(&url);
            server.says(is_named)
        };
        // The connection's task is spawned by axum, so nobody can watch it: without hooks, looks at the worker tell.
        if TOKIO_UNSTABLE || CAPTURE {
            eventually(|| if run() { Ok(()) } else { Err(format!("no line of `{path}` is named")) });
        } else {
            assert!(!run());
        }
    }
}

#[test]
fn each_way_to_block_is_told_with_its_line() {
    let Some(program) = program("blocking") else { return };
    let source = include_str!("../../examples/blocking.rs");
    let place = "examples/blocking.rs:";
    let told = || {
        let output = Command::new(&program).output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && out.ends_with(" slow polls\n"), "{out}{said}");
        for name in ["sleeps", "computes", "locks"] {
            assert!(said.contains(&format!(" {name}, spawned at ")), "{name}: {said}");
        }
        let are_named = [("sleeps", "blocked in "), ("locks", "blocked in futex")].iter().all(|(function, cause)| {
            let is_named = |line: &str| lines_of(source, function).contains(&line_number(line, place));
            said.lines().filter(|line| line.contains(cause) && line.contains(place)).any(is_named)
        });
        if are_named { Ok(()) } else { Err(said) }
    };
    if CAPTURE {
        eventually(told);
    } else {
        let _ = told();
    }
}
