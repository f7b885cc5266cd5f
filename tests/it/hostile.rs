//! Files that are made to do harm: each is answered, and takes at most 64 MiB of memory beyond its own size.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use rustix::process::{Signal, kill_process};

use crate::support::{DEADLINE, Folder, pid, root};

const MIB: u64 = 1 << 20;
/// What may be taken beyond the file's size and what the program takes to do nothing.
const ALLOWED: u64 = 64 * MIB;
const POLL: &str = r#"{"id":1,"task_id":null,"task_name":null,"spawned_at":"","worker":null,"start_ns":0,"duration_ns":0,"cpu_ns":null,"run_delay_ns":null,"off_cpu_ns":null,"cause":null,"syscall":null,"blocking_line":null,"stack":[],"stack_complete":null,"blame":null}"#;

/// How a program ended, and the most memory that it had.
struct Ended {
    code: i32,
    peak: u64,
    stderr: String,
}

/// The peak is read again and again while it runs: what the system tells of a child afterwards counts its parent's, too.
fn ended(folder: &Folder, args: &[&str]) -> Ended {
    let stderr = fs::File::create(folder.path("stderr")).expect("created");
    let mut child = folder.command(args).stdout(Stdio::null()).stderr(stderr).spawn().expect("it starts");
    let start = Instant::now();
    let mut peak = 0;
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        if let Some(status) = child.try_wait().expect("it is ours") {
            let stderr = String::from_utf8_lossy(&folder.read("stderr")).into_owned();
            assert!(!stderr.contains("panicked"), "{stderr}");
            return Ended { code: status.code().expect("no signal ended it"), peak, stderr };
        }
        if start.elapsed() > DEADLINE {
            let _ = kill_process(pid(&child), Signal::KILL);
            panic!("{args:?} hangs");
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Reports a file, and asserts what must hold of any; `""` for a report, or why there is none.
#[track_caller]
fn check(name: &str, content: impl AsRef<[u8]>, why: &str) {
    let folder = Folder::new();
    let content = content.as_ref();
    folder.write("file", content);
    let idle = ended(&folder, &["--version"]).peak;
    let Ended { code, peak, stderr } = ended(&folder, &["report", "file"]);
    let most = idle + content.len() as u64 + ALLOWED;
    println!("{name}: a file of {} KiB, a peak of {} KiB", content.len() / 1024, peak.saturating_sub(idle) / 1024);
    assert!(peak <= most, "{name} took {} MiB more than allowed", (peak - most) / MIB);
    if why.is_empty() {
        assert_eq!((code, stderr.as_str()), (0, ""), "{name}");
    } else {
        assert_eq!(code, 1, "{name}: {stderr}");
        assert!(
            stderr.starts_with("error: cannot read recording `file`: ") && stderr.contains(why),
            "{name}: {stderr}"
        );
        assert!(stderr.len() < 600 && stderr.lines().count() == 1, "{name}: {stderr}");
    }
}

/// A recording of one slow poll, on one line.
fn recording() -> String {
    fs::read_to_string(root().join("fuzz/seeds/recording/one-mode")).expect("it is there")
}

/// It, with something else in the place of the first of `from`.
#[track_caller]
fn with(from: &str, to: &str) -> String {
    let json = recording();
    assert!(json.contains(from), "{from}");
    json.replacen(from, to, 1)
}

fn list(element: &str, count: usize) -> String {
    format!("[{}]", vec![element; count].join(","))
}

fn of_slow_polls(polls: &str, count: usize) -> String {
    let json = with("\"slow_polls_total\":1", &format!("\"slow_polls_total\":{count}"));
    let (before, rest) = json.split_once("\"slow_polls\":[").expect("a list");
    let (_, after) = rest.split_once("],\"sites\"").expect("another behind it");
    format!("{before}\"slow_polls\":[{polls}],\"sites\"{after}")
}

/// A recording whose first histogram is of these bytes.
fn of_blob(blob: &[u8]) -> String {
    let json = recording();
    let (before, rest) = json.split_once("\"histogram\":\"").expect("a histogram");
    let (_, after) = rest.split_once('"').expect("it ends");
    format!("{before}\"histogram\":\"{}\"{after}", BASE64_STANDARD.encode(blob))
}

/// A histogram of five digits: what its header says its counts' length is, and the counts.
fn blob(length: u32, counts: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    [0x1c84_9313, length, 0, 5].iter().for_each(|word: &u32| plain.extend(word.to_be_bytes()));
    [1, 3_600_000_000_000, 1f64.to_bits()].iter().for_each(|word| plain.extend(word.to_be_bytes()));
    plain.extend(counts);
    plain
}

fn compressed(plain: &[u8]) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(plain).expect("memory takes it");
    let zlib = zlib.finish().expect("memory takes it");
    [0x1c84_9314, zlib.len() as u32].iter().flat_map(|word: &u32| word.to_be_bytes()).chain(zlib).collect()
}

#[test]
fn deep_nesting() {
    let open = "[".repeat(1_000_000);
    check("[ alone", &open, "expected a string");
    check("[ in a key", with("\"ledger\":null", &format!("\"ledger\":{open}")), "invalid type");
    check("[ in an unknown key", with("\"ledger\":null", &format!("\"ledger\":null,\"x\":{open}")), "expected value");
}

#[test]
fn a_million_empty_objects_in_every_list() {
    for key in ["command", "changed", "sees", "blind_to", "missing", "errors", "slow_polls", "stack", "sites"] {
        let json = recording();
        let (before, rest) = json.split_once(&format!("\"{key}\":[")).expect(key);
        let hostile = format!("{before}\"{key}\":[{}{{}}{rest}", "{},".repeat(1_000_000));
        check(
            key,
            hostile,
            if matches!(key, "slow_polls" | "stack" | "sites") { "missing field" } else { "invalid type" },
        );
    }
    for key in ["runs", "intervals", "findings", "gates"] {
        let json = recording();
        let (before, rest) = json.split_once(&format!("\"{key}\":[")).expect(key);
        check(key, format!("{before}\"{key}\":{}{rest}", list("{}", 1_000_000)), "missing field");
    }
    check(
        "charges",
        with("\"ledger\":null", &format!("\"ledger\":{{\"charges\":{}}}", list("{}", 1_000_000))),
        "missing",
    );
}

#[test]
fn lists_of_next_to_nothing() {
    let polls = list(POLL, 100_000);
    check("slow polls", of_slow_polls(&polls[1..polls.len() - 1], 100_000), "");
    let frame = r#"{"function":null,"file":null,"line":null}"#;
    let deep = POLL.replace("\"stack\":[]", &format!("\"stack\":{}", list(frame, 4_000)));
    let polls = list(&deep, 100);
    check("frames", of_slow_polls(&polls[1..polls.len() - 1], 100), "");
    let json = with("\"errors\":[]", &format!("\"errors\":{}", list("\"\"", 10_000)));
    let (before, rest) = json.split_once("\"runs\":[").expect("runs");
    let (run, after) = rest.split_once("],\"findings\"").expect("behind them");
    let runs = list(run, 100);
    check("texts", format!("{before}\"runs\":{runs},\"findings\"{after}"), "far more elements than text");
}

#[test]
fn long_texts() {
    let long = "k".repeat(20 << 20);
    check("a key", with("\"ledger\":null", &format!("\"ledger\":null,\"{long}\":1")), "longer than 1 MiB");
    check("a name", with("src/main.rs:29", &long), "longer than 1 MiB");
    check("a megabyte", with("src/main.rs:29", &long[..1_000_000]), "");
    check("controls", with("src/main.rs:29", &"\u{202e}".repeat(300_000)), "");
    check("a million words", with("Does", &"k ".repeat(500_000)), "");
}

#[test]
fn histograms() {
    check("a bomb", of_blob(&compressed(&blob(300, &vec![0; 100 << 20]))), "its histogram holds 0");
    check("every bucket", of_blob(&compressed(&blob(3_000_000, &vec![2; 3_000_000]))), "far more than their text");
    check("4 GB", of_blob(&blob(u32::MAX, &[])), "header is not to be believed");
    let json = recording();
    let start = json.find("\"polls\":{").expect("a distribution") + 8;
    let end = start + json[start..].find('}').expect("its end") + 1;
    let interval = format!("{{\"start_ns\":0,\"polls\":{},\"lag\":null,\"busy_ns\":0}}", &json[start..end]);
    check(
        "100,000 of them",
        json.replacen("\"intervals\":[]", &format!("\"intervals\":{}", list(&interval, 100_000)), 1),
        "",
    );
}

#[test]
fn what_is_not_json() {
    for value in ["NaN", "Infinity", "1e999", "-1", "1.5"] {
        let why = if value == "1e999" {
            "out of range"
        } else if value.len() < 4 && value != "NaN" {
            "invalid"
        } else {
            "expected"
        };
        check(value, with("\"elapsed_ns\":1004000000", &format!("\"elapsed_ns\":{value}")), why);
    }
    check("a key twice", with("\"errors\":[]", "\"errors\":[],\"errors\":[]"), "duplicate field `errors`");
    check("a BOM", format!("\u{feff}{}", recording()), "expected value");
    let utf_16: Vec<u8> = recording().encode_utf16().flat_map(u16::to_le_bytes).collect();
    check("UTF-16", [b"\xff\xfe", utf_16.as_slice()].concat(), "expected value");
    check("blanks", vec![b' '; 100 << 20], "it ends before its first run");
}

#[test]
fn pages() {
    let mark = "<script type=\"application/json\" id=\"recording\">";
    let json = recording();
    check("a page without one", "<html>".repeat(1_000), "a page without a recording");
    check("a page with two", format!("<html>{mark}{json}</script>{mark}{json}</script></html>"), "");
}
