//! The service, run as it is, and a collector that decodes what it is sent.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use pollscope_probe::{CAPTURE, TOKIO_UNSTABLE};
use prost::Message;

/// Longer than anything here lasts: a test that waits this long has failed.
const LONG: Duration = Duration::from_secs(60);
const SERVICE: &str = include_str!("../src/main.rs");

/// A log record, and whose it is.
#[derive(Debug)]
struct Received {
    service: String,
    scope: String,
    record: LogRecord,
}

impl Received {
    fn body(&self) -> &str {
        text(self.record.body.as_ref()).unwrap_or_else(|| panic!("no text: {self:?}"))
    }

    fn text(&self, key: &str) -> Option<&str> {
        text(attribute(&self.record.attributes, key))
    }

    fn number(&self, key: &str) -> Option<i64> {
        match attribute(&self.record.attributes, key)?.value.as_ref()? {
            Value::IntValue(number) => Some(*number),
            _ => None,
        }
    }
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a AnyValue> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()
}

fn text(value: Option<&AnyValue>) -> Option<&str> {
    match value?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Listens where nobody else does, and gives every record that it is sent.
fn collector() -> (SocketAddr, Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = channel();
    thread::spawn(move || {
        for client in listener.incoming() {
            collect(client.unwrap(), &tell);
        }
    });
    (address, told)
}

/// One request, and a connection that is closed after it.
fn collect(client: TcpStream, tell: &Sender<Received>) {
    client.set_read_timeout(Some(LONG)).unwrap();
    let mut client = BufReader::new(client);
    let mut head = Vec::new();
    while head.last().is_none_or(|line: &String| !line.is_empty()) {
        let mut line = String::new();
        client.read_line(&mut line).unwrap();
        head.push(line.trim_end().to_ascii_lowercase());
    }
    assert_eq!(head[0], "post /v1/logs http/1.1");
    assert!(head.iter().any(|line| line == "content-type: application/x-protobuf"), "{head:?}");
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.expect("a length")];
    client.read_exact(&mut body).unwrap();
    for of_resource in ExportLogsServiceRequest::decode(body.as_slice()).expect("protobuf").resource_logs {
        let resource = of_resource.resource.unwrap_or_default();
        let service = text(attribute(&resource.attributes, "service.name")).unwrap_or_default();
        for of_scope in of_resource.scope_logs {
            let scope = of_scope.scope.unwrap_or_default().name;
            for record in of_scope.log_records {
                // When the test is over, nobody hears it.
                let _ = tell.send(Received { service: service.to_owned(), scope: scope.clone(), record });
            }
        }
    }
    // An answer without a body: all was taken.
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    client.get_mut().write_all(answer.as_bytes()).unwrap();
}

/// The service, and where it listens. Ended with the test, however that ends.
struct Service {
    child: Child,
    address: SocketAddr,
}

impl Service {
    fn start(collector: SocketAddr) -> Service {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pollscope-otlp"))
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"))
            .env("PORT", "0")
            .env("NO_PROXY", "127.0.0.1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim_end().strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/blocks"));
        let address = address.unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
        Service { child, address }
    }

    fn ask(&self) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(b"GET /blocks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// As Ctrl-C does; whether it then ended well.
    fn interrupt(&mut self) -> bool {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        sent.success() && self.child.wait().unwrap().success()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line of the service that blocks, as a compiler names it.
fn blocking_line() -> String {
    let index = SERVICE.lines().position(|line| line.contains("std::thread::sleep")).unwrap();
    format!("src/main.rs:{}", index + 1)
}

/// The next record of a poll that the handler blocked. A busy machine has others.
fn of_the_handler(records: &Receiver<Received>) -> Received {
    loop {
        let received = records.recv_timeout(LONG).expect("a record");
        if !CAPTURE || received.text("blocking_line") == Some(&blocking_line()) {
            return received;
        }
        eprintln!("another: {received:?}");
    }
}

#[test]
fn a_slow_poll_is_a_log_record_that_names_its_line() {
    let () = const {
        assert!(TOKIO_UNSTABLE, "the project's .cargo/config.toml reaches this folder, unless RUSTFLAGS replaces it")
    };
    let (address, records) = collector();
    let mut service = Service::start(address);
    assert!(service.ask().ends_with("blocked\n"));
    // While the service runs.
    let first = of_the_handler(&records);
    assert_eq!((first.service.as_str(), first.scope.as_str()), ("pollscope-otlp", "pollscope::slow_poll"));
    assert_eq!((first.record.severity_number(), first.record.severity_text.as_str()), (SeverityNumber::Warn, "WARN"));
    assert_eq!(first.record.event_name, "slow_poll");
    assert!(first.body().starts_with("Executing <Task "), "{}", first.body());
    assert!(first.number("duration_ns").is_some_and(|ns| ns >= 50_000_000), "{first:?}");
    assert!(first.number("task_id").is_some() && first.number("worker").is_some(), "{first:?}");
    assert!(first.text("spawned_at").is_some_and(|place| place.contains("axum")), "{first:?}");
    if CAPTURE {
        assert_eq!(first.text("cause"), Some("blocking-call"));
        assert!(first.text("syscall").is_some_and(|call| call.contains("nanosleep")), "{first:?}");
        assert_eq!(first.text("blocking_line"), Some(blocking_line().as_str()));
        assert!(first.text("function").is_some_and(|function| function.contains("blocks")), "{first:?}");
        assert_eq!((first.text("span"), first.text("span_fields")), (Some("GET /blocks"), Some("route=/blocks")));
        let is_id = |name, digits| {
            let is_hex = |id: &str| id.len() == digits && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            first.text(name).is_some_and(is_hex)
        };
        assert!(is_id("trace_id", 32) && is_id("span_id", 16), "{first:?}");
    }
    // The service ends at once: what it still has is sent before it is gone.
    assert!(service.ask().ends_with("blocked\n"));
    assert!(service.interrupt());
    let last = of_the_handler(&records);
    assert!(last.number("id") > first.number("id"), "{last:?}");
    assert!(!CAPTURE || last.text("trace_id") != first.text("trace_id"), "another request: {last:?}");
}

#[test]
fn what_the_probes_readme_shows_is_of_the_service() {
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    let readme = include_str!("../../../crates/probe/README.md");
    let shown = readme.split("```rust,ignore\n").find(|part| part.contains("LogExporter")).expect("a snippet");
    let shown = shown.split("```").next().unwrap();
    for line in shown.lines() {
        let code = line.split(" // ").next().unwrap();
        assert!(bare(SERVICE).contains(&bare(code)), "{code}");
    }
}
