//! A request that blocks one of actix's workers has its line, with the worker's thread and the handler.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// Ends the service, also when the test fails.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_request_that_blocks_is_told_with_its_thread_and_line() {
    let mut service = Command::new(env!("CARGO_BIN_EXE_pollscope-actix"));
    service.env("POLLSCOPE", "1").env("POLLSCOPE_SLOW_POLL", "50ms").env("PORT", "0");
    let mut service = Service(service.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(service.0.stdout.take().unwrap()).lines();
    let listening = lines.map_while(Result::ok).find(|line| line.starts_with("listening on ")).expect("it listens");
    let address = listening.trim_start_matches("listening on http://").trim_end_matches("/blocks");
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET /blocks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("blocked\n"), "{answer}");
    let mut said = BufReader::new(service.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let slow =
        said.find(|line| line.starts_with("WARN slow poll: Executing ") && line.contains("> took ")).expect("a line");
    assert!(slow.contains(", thread actix-") && slow.contains("main.rs:"), "{slow}");
    if pollscope_probe::CAPTURE {
        let below = said.next().expect("what was seen");
        assert!(below.contains("blocked in clock_nanosleep") && below.contains("main.rs:"), "{below}");
    }
}
