//! What a request's head asks for, and what it is answered.

use std::fmt::Write;

use super::hosts::{Hosts, host_of};

/// The longest request's head, in bytes.
const MOST_HEAD: usize = 8 * 1024;

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Bad,
    NotFound,
    NotAllowed,
    Misdirected,
    TooLarge,
    Failed,
    Unavailable,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::Bad => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::NotAllowed => "405 Method Not Allowed",
            Status::Misdirected => "421 Misdirected Request",
            Status::TooLarge => "431 Request Header Fields Too Large",
            Status::Failed => "500 Internal Server Error",
            Status::Unavailable => "503 Service Unavailable",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Status::Ok => "",
            Status::Bad => "not an HTTP/1 request",
            Status::NotFound => "the metrics are at /metrics",
            Status::NotAllowed => "only GET is allowed",
            Status::Misdirected => {
                "the request's `Host` is no name of this server: ask by an address, or allow the name (`MetricsServer::allow_host`, \
                 `--prometheus-host`)"
            }
            Status::TooLarge => "the request's head is longer than 8 KiB",
            Status::Failed => "cannot read the metrics",
            Status::Unavailable => "nothing is measured at the moment",
        }
    }
}

/// What a request's head asks for; `None` while it is not whole.
pub(super) fn judge(head: &[u8], hosts: &Hosts) -> Option<Status> {
    let ends = |end: &[u8]| head.windows(end.len()).position(|bytes| bytes == end);
    match ends(b"\r\n\r\n").or_else(|| ends(b"\n\n")) {
        None if head.len() > MOST_HEAD => return Some(Status::TooLarge),
        None => return None,
        Some(end) if end > MOST_HEAD => return Some(Status::TooLarge),
        Some(_) => {}
    }
    let head = String::from_utf8_lossy(head);
    let line = head.split('\n').next().unwrap_or_default();
    let words: Vec<&str> = line.trim_end_matches('\r').split(' ').collect();
    let [method, target, version] = words[..] else { return Some(Status::Bad) };
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let path = target.split('?').next().unwrap_or_default();
    let host = host_of(&head);
    let is_foreign = matches!(host, Ok(Some(host)) if !hosts.include(host));
    Some(match (is_method && matches!(version, "HTTP/1.1" | "HTTP/1.0") && host.is_ok(), path, method) {
        (false, ..) => Status::Bad,
        _ if is_foreign => Status::Misdirected,
        (_, "/metrics", "GET") => Status::Ok,
        (_, "/metrics", _) => Status::NotAllowed,
        _ => Status::NotFound,
    })
}

pub(super) fn response(status: Status, metrics: &str) -> Vec<u8> {
    let advice = if status == Status::Ok { String::new() } else { format!("{}\n", status.advice()) };
    let body = if status == Status::Ok { metrics } else { &advice };
    let kind =
        if status == Status::Ok { "text/plain; version=0.0.4; charset=utf-8" } else { "text/plain; charset=utf-8" };
    let mut text = format!("HTTP/1.1 {}\r\nContent-Type: {kind}\r\n", status.line());
    if status == Status::NotAllowed {
        text.push_str("Allow: GET\r\n");
    }
    write!(text, "Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).expect("a string takes any text");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let hosts = Hosts::of(Ipv4Addr::LOCALHOST.into());
        for (head, status) in [
            ("GET /metrics HTTP/1.1\r\n", None),
            ("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", Some(Status::Ok)),
            ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", Some(Status::Misdirected)),
            ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", Some(Status::Misdirected)),
            ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", Some(Status::Bad)),
            ("GET /metrics?x=1 HTTP/1.0\n\n", Some(Status::Ok)),
            ("GET / HTTP/1.1\r\n\r\n", Some(Status::NotFound)),
            ("GET /metrics/ HTTP/1.1\r\n\r\n", Some(Status::NotFound)),
            ("GET /../metrics HTTP/1.1\r\n\r\n", Some(Status::NotFound)),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", Some(Status::NotAllowed)),
            ("POST /metrics HTTP/1.1\r\n\r\n", Some(Status::NotAllowed)),
            ("get /metrics HTTP/1.1\r\n\r\n", Some(Status::Bad)),
            ("GET /metrics HTTP/2\r\n\r\n", Some(Status::Bad)),
            ("GET  /metrics HTTP/1.1\r\n\r\n", Some(Status::Bad)),
            ("GET /metrics\r\n\r\n", Some(Status::Bad)),
            ("\r\n\r\n", Some(Status::Bad)),
        ] {
            assert_eq!(judge(head.as_bytes(), &hosts), status, "{head:?}");
        }
        assert_eq!(judge(b"\xff\xfe \0\n\n", &hosts), Some(Status::Bad));
        assert_eq!(judge(&[b'a'; MOST_HEAD], &hosts), None);
        assert_eq!(judge(&[b'a'; MOST_HEAD + 1], &hosts), Some(Status::TooLarge));
    }
}
