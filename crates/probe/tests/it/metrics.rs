//! The page of metrics, and clients that mean no good.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_probe::{MetricsServer, Probe, ServeError};

use crate::support::eventually;

/// Far beyond what a scrape takes: turns a hang into a failure.
const DEADLINE: Duration = Duration::from_secs(30);
const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).expect("it listens");
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.set_write_timeout(Some(DEADLINE)).unwrap();
    client
}

fn hear(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer that ends");
    answer
}

fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut client = connect(address);
    client.write_all(request).expect("it reads");
    hear(client)
}

fn measured() -> Probe {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let probe = Probe::builder().slow_poll_threshold(Duration::from_millis(1)).install(&mut runtime).unwrap();
    let task = probe.watch(async { thread::sleep(Duration::from_millis(3)) });
    runtime.build().unwrap().block_on(task);
    probe
}

#[test]
fn a_scrape_has_the_metrics() {
    let probe = measured();
    let server = probe.serve_prometheus(LOOPBACK).unwrap();
    let answer = ask(server.local_addr(), GET);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for line in [
        "Content-Type: text/plain; version=0.0.4; charset=utf-8",
        "Connection: close",
        &format!("Content-Length: {}", body.len()),
    ] {
        assert!(head.lines().any(|l| l == line), "no `{line}` in:\n{head}");
    }
    assert!(
        body.contains("\npollscope_poll_duration_seconds_count 1\n")
            && body.contains("\npollscope_slow_polls_total 1\n")
    );
}

/// What a task could not: tell of the loop while it is blocked.
#[test]
fn a_blocked_loop_is_scraped_all_the_same() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let probe = Probe::builder().install(&mut runtime).unwrap();
    let server = probe.serve_prometheus(LOOPBACK).unwrap();
    let (go_on, blocked) = std::sync::mpsc::channel::<()>();
    let task = probe.watch(async move { blocked.recv().unwrap() });
    let under_way = || {
        let answer = ask(server.local_addr(), GET);
        let of_name = answer.lines().find_map(|line| line.strip_prefix("pollscope_poll_under_way_seconds "));
        of_name.unwrap().parse::<f64>().unwrap()
    };
    assert_eq!(under_way(), 0.0);
    let looping = thread::spawn(move || runtime.build().unwrap().block_on(task));
    let start = Instant::now();
    while under_way() < 0.05 {
        assert!(start.elapsed() < DEADLINE);
    }
    go_on.send(()).unwrap();
    looping.join().unwrap();
    assert_eq!(under_way(), 0.0);
}

#[test]
fn other_requests_are_refused() {
    let server = Probe::off().serve_prometheus(LOOPBACK).unwrap();
    let large = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &vec![b'x'; 1 << 20], b"\r\n\r\n"].concat();
    let rows: [(&[u8], &str); 5] = [
        (b"GET /other HTTP/1.1\r\n\r\n", "404 "),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 "),
        (b"\x16\x03\x01\0\n\n", "400 "),
        (b"GET /metrics HTTP/9\r\n\r\n", "400 "),
        (&large, "431 "),
    ];
    for (request, status) in rows {
        let answer = ask(server.local_addr(), request);
        let start = String::from_utf8_lossy(&request[..request.len().min(40)]);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{start:?}: {answer}");
    }
    // Half of a request, and then nothing more.
    let mut client = connect(server.local_addr());
    client.write_all(b"garbage").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(hear(client).starts_with("HTTP/1.1 400 "));
}

/// Each of the hostile clients would take far longer than a scrape; the number of scrapes makes it certain that some
/// were answered in the midst of them.
#[test]
fn hostile_clients_hold_up_nobody() {
    eventually(|| {
        let (longest, slow) = scraped_among_hostile_clients();
        let is_quick = longest < Duration::from_secs(2) && slow < Duration::from_secs(10);
        if is_quick { Ok(()) } else { Err(format!("a scrape took {longest:?}, a slow client had {slow:?}")) }
    });
}

/// The longest scrape, and how long the slow client was heard.
fn scraped_among_hostile_clients() -> (Duration, Duration) {
    let server = measured().serve_prometheus(LOOPBACK).unwrap();
    let address = server.local_addr();
    let over = AtomicBool::new(false);
    let lasted = thread::scope(|scope| {
        // One byte a second; it is closed upon long before its request is whole.
        let slow = scope.spawn(|| {
            let mut client = connect(address);
            let start = Instant::now();
            for byte in GET {
                if client.write_all(&[*byte]).is_err() {
                    break;
                }
                thread::sleep(Duration::from_secs(1));
            }
            start.elapsed()
        });
        // Ask, and never read.
        let mut deaf: Vec<TcpStream> = (0..10).map(|_| connect(address)).collect();
        deaf.iter_mut().for_each(|client| client.write_all(GET).unwrap());
        // Headers without end; more and more who say nothing.
        scope.spawn(|| {
            let mut client = connect(address);
            while !over.load(Relaxed) {
                if client.write_all(&[b'x'; 4096]).is_err() {
                    break;
                }
            }
        });
        let (mut silent, mut longest) = (Vec::new(), Duration::ZERO);
        for _ in 0..50 {
            silent.extend((0..4).map(|_| connect(address)));
            let start = Instant::now();
            let answer = ask(address, GET);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("} 1\n"), "{answer}");
            longest = longest.max(start.elapsed());
        }
        over.store(true, Relaxed);
        (longest, slow.join().unwrap())
    });
    assert!(ask(address, GET).starts_with("HTTP/1.1 200 OK\r\n"));
    lasted
}

#[test]
fn a_slow_client_has_two_seconds() {
    eventually(|| {
        let server = measured().serve_prometheus(LOOPBACK).unwrap();
        let mut slow = connect(server.local_addr());
        let start = Instant::now();
        slow.write_all(b"GET /metr").unwrap();
        let scrape = ask(server.local_addr(), GET);
        let scraped = start.elapsed();
        assert!(scrape.starts_with("HTTP/1.1 200 OK\r\n"), "{scrape}");
        assert_eq!(slow.read(&mut [0]).unwrap_or(0), 0);
        let lasted = start.elapsed();
        assert!(lasted >= Duration::from_millis(1_900), "{lasted:?}");
        let is_quick = scraped < Duration::from_secs(2) && lasted < Duration::from_secs(10);
        if is_quick { Ok(()) } else { Err(format!("the scrape took {scraped:?}, the slow client had {lasted:?}")) }
    });
}

#[test]
fn dropping_it_ends_it() {
    for clients in [0, 3] {
        eventually(|| {
            let server = Probe::off().serve_prometheus(LOOPBACK).unwrap();
            let address = server.local_addr();
            let _clients: Vec<TcpStream> = (0..clients).map(|_| connect(address)).collect();
            let start = Instant::now();
            drop(server);
            let dropped = start.elapsed();
            // Another test can be given the port meanwhile, for as long as it takes.
            while TcpListener::bind(address).is_err() {
                assert!(start.elapsed() < DEADLINE, "the address is not free again");
                thread::sleep(Duration::from_millis(20));
            }
            if dropped < Duration::from_secs(1) { Ok(()) } else { Err(format!("its end took {dropped:?}")) }
        });
    }
}

#[test]
fn an_address_in_use_is_refused_with_its_name() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Probe::off().serve_prometheus(address).unwrap_err();
    let ServeError::Listen { address: named, error: cause } = &error else { panic!("{error:?}") };
    assert_eq!((*named, cause.kind()), (address, ErrorKind::AddrInUse));
    assert_eq!(error.source().map(ToString::to_string), Some(cause.to_string()));
    assert!(error.to_string().starts_with(&format!("cannot serve metrics on `{address}`: ")), "{error}");
    assert_eq!(io::Error::from(error).kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_source_without_metrics_is_no_harm() {
    let mut times = 0;
    let source = move || {
        times += 1;
        assert!(times != 2, "on purpose");
        (times == 3).then(|| Probe::off().snapshot())
    };
    let server = MetricsServer::start(LOOPBACK, source).unwrap();
    for status in ["503 ", "500 ", "200 "] {
        let answer = ask(server.local_addr(), GET);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

/// As a page does that made its name lead here.
#[test]
fn a_foreign_host_is_refused_on_any_address_and_gets_nothing() {
    let probe = measured();
    for address in [[127, 0, 0, 1], [0, 0, 0, 0]] {
        let server = probe.serve_prometheus((address, 0)).unwrap();
        let here = SocketAddr::from(([127, 0, 0, 1], server.local_addr().port()));
        let ask_for = |host: &str| ask(here, format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", ""] {
            let answer = ask_for(host);
            assert!(answer.starts_with("HTTP/1.1 421 ") && !answer.contains("pollscope_"), "{host}: {answer}");
        }
        for host in ["localhost", &here.to_string(), "[::1]:9", "10.0.0.1"] {
            assert!(ask_for(host).starts_with("HTTP/1.1 200 "), "{host}");
        }
        server.allow_host("metrics.example.org");
        assert!(ask_for("metrics.example.org:9464").starts_with("HTTP/1.1 200 "));
        // Within a network others have names for this machine that it does not know.
        let is_open = address == [0, 0, 0, 0];
        assert_eq!(ask_for("web.default.svc").starts_with("HTTP/1.1 200 "), is_open);
        assert_eq!(server.exposure().is_some(), is_open);
    }
}
