//! Files that are made to do harm: the program answers each, and takes at most 64 MiB of memory beyond the file's size.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use rustix::process::{Signal, kill_process};

use crate::peak;
use crate::support::{DEADLINE, Folder, pid, root};

const MIB: u64 = 1 << 20;
/// What may be taken beyond the file's size, all told.
const ALLOWED: u64 = 64 * MIB;
const POLL: &str = r#"{"id":1,"task_id":null,"task_name":null,"spawned_at":"","worker":null,"start_ns":0,"duration_ns":0,"cpu_ns":null,"run_delay_ns":null,"off_cpu_ns":null,"cause":null,"syscall":null,"blocking_line":null,"stack":[],"stack_complete":null,"blame":null}"#;

/// What is said of a file that ends early, with a report of what is there.
const TORN: &str = "note: `file` ends early: its complete runs are shown, without its gates\n";
const MORE_THAN_TEXT: &str = "far more memory than its text";

/// How a program ended, and its peak memory.
struct Ended {
    code: i32,
    peak: u64,
    stderr: String,
}

fn ended(folder: &Folder, args: &[&str]) -> Ended {
    let stderr = fs::File::create(folder.path("stderr")).expect("created");
    let mut child = folder.command(args).stdout(Stdio::null()).stderr(stderr).spawn().expect("it starts");
    let Some((status, peak)) = peak::wait(&mut child, DEADLINE) else {
        let _ = kill_process(pid(&child), Signal::KILL);
        panic!("{args:?} hangs");
    };
    let stderr = String::from_utf8_lossy(&folder.read("stderr")).into_owned();
    assert!(!stderr.contains("panicked"), "{stderr}");
    Ended { code: status.code().expect("no signal ended it"), peak, stderr }
}

/// Reports a file, and checks what must hold of any file; returns `""` for a report, or the reason why there is no report.
#[track_caller]
fn check(name: &str, content: impl AsRef<[u8]>, why: &str) {
    let folder = Folder::new();
    let content = content.as_ref();
    folder.write("file", content);
    let Ended { code, peak, stderr } = ended(&folder, &["report", "file"]);
    let most = content.len() as u64 + ALLOWED;
    println!("{name}: a file of {} KiB, a peak of {} KiB", content.len() / 1024, peak / 1024);
    assert!(peak <= most, "{name} took {} MiB more than allowed", (peak - most) / MIB);
    if why == TORN {
        assert_eq!((code, stderr.as_str()), (0, TORN), "{name}");
    } else if why.is_empty() {
        assert_eq!((code, stderr.as_str()), (0, ""), "{name}");
    } else {
        assert_eq!(code, 1, "{name}: {stderr}");
        assert!(
            stderr.starts_with("error: cannot read ") && stderr.contains(" `file`: ") && stderr.contains(why),
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
    let runs = list(run, 1_000);
    check("texts", format!("{before}\"runs\":{runs},\"findings\"{after}"), "far more memory than its text");
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
    check("every bucket", of_blob(&compressed(&blob(3_000_000, &vec![2; 3_000_000]))), "its histogram holds 3000000");
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
    check("UTF-16", [b"\xff\xfe", utf_16.as_slice()].concat(), "neither a recording nor a page");
    check("blanks", vec![b' '; 100 << 20], "it ends before its first run");
}

#[test]
fn pages() {
    let mark = "<script type=\"application/json\" id=\"recording\">";
    let json = recording();
    check("a page without one", "<html>".repeat(1_000), "a page without a recording");
    check("a page with two", format!("<html>{mark}{json}</script>{mark}{json}</script></html>"), "");
}

/// What a page has of its recording: the lengths of three runs of bytes, these, and the JSON; compressed, in letters.
fn compressed_page(parts: [&[u8]; 3], json: &[u8]) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    for bytes in parts.iter().map(|part| (part.len() as u32).to_be_bytes()) {
        encoder.write_all(&bytes).expect("into memory");
    }
    parts.iter().chain([&json]).for_each(|part| encoder.write_all(part).expect("into memory"));
    let letters: Vec<char> = ('!'..='~').filter(|letter| !"<>&".contains(*letter)).collect();
    let (mut bits, mut count, mut text) = (0u32, 0, String::new());
    for byte in encoder.finish().expect("into memory").into_iter().chain([0; 2]) {
        bits |= u32::from(byte) << count;
        count += 8;
        if count >= 13 {
            let pair = (bits & 0x1fff) as usize;
            text.extend([letters[pair / 91], letters[pair % 91]]);
            (bits, count) = (bits >> 13, count - 13);
        }
    }
    format!("<html><script type=\"application/zlib\" id=\"recording\">{text}</script></html>")
}

#[test]
fn compressed_pages() {
    let json = recording();
    let none: [&[u8]; 3] = [&[]; 3];
    let blanks = vec![b' '; 300 << 20];
    check("a page of blanks", compressed_page(none, &blanks), MORE_THAN_TEXT);
    check("a page of histograms", compressed_page([&blanks, &[], &[]], json.as_bytes()), MORE_THAN_TEXT);
    let (most, blank) = (vec![b' '; 15 << 20], vec![b' '; 200 << 20]);
    check("a page of fewer histograms", compressed_page([&most, &[], &[]], &blank), MORE_THAN_TEXT);
    check("a page without histograms", compressed_page(none, json.as_bytes()), "the histogram ends early");
    let runs = of_runs(40 * MIB as usize, "\"errors\":[]", "\"errors\":[]");
    let (heads, gaps, counts) = ([3, 1].repeat(1 << 20), [100].repeat(1 << 20), [1].repeat(1 << 20));
    check("a page of many runs", compressed_page([&heads, &gaps, &counts], runs.as_bytes()), MORE_THAN_TEXT);
    let one = compressed_page([&heads, &gaps, &counts], json.as_bytes());
    check("a page of one run", one, "");
    let page = compressed_page(none, json.as_bytes());
    check("a page of other bytes", page.replace("</script>", "&</script>"), "cannot be inflated");
    check("a page that ends early", &page[..page.len() / 2], "it ends before its first run");
}

/// So much text of elements, one after the other.
fn text_of(size: usize, element: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(size + 4_096);
    for index in 0.. {
        if text.len() >= size {
            break;
        }
        if index > 0 {
            text.push(',');
        }
        text.push_str(&element(index));
    }
    text
}

/// A recording of runs that have something else in the place of `from`, as many as there is text for.
fn of_runs(size: usize, from: &str, to: &str) -> String {
    let json = recording();
    let (before, rest) = json.split_once("\"runs\":[").expect("runs");
    let (run, after) = rest.split_once("],\"findings\"").expect("behind them");
    let run = run.replacen(from, to, 1);
    format!("{before}\"runs\":[{}],\"findings\"{after}", text_of(size, |_| run.clone()))
}

/// The least that is a slow poll, at a line and with a stack.
fn least(line: &str, stack: &str) -> String {
    let poll = POLL.replace("\"run_delay_ns\":null,\"off_cpu_ns\":null,", "");
    poll.replace("\"blocking_line\":null,\"stack\":[]", &format!("\"blocking_line\":{line},\"stack\":[{stack}]"))
}

fn of_many_polls(size: usize, poll: impl Fn(usize) -> String) -> String {
    let polls = text_of(size, poll);
    let count = polls.matches("\"id\":").count();
    of_slow_polls(&polls, count)
}

/// The same of the schema that is written: slow polls without a place, and with one whose stack comes later or never.
#[test]
fn many_slow_polls_of_the_present_schema() {
    const POLL: &str = r#"{"id":1,"task_id":null,"spawned_at":null,"worker":null,"start_ns":0,"duration_ns":0,"start_is":"exact","end_is":"exact","cpu_ns":null,"cause":null,"places":[],"stack_complete":null,"blame":null}"#;
    let json = fs::read_to_string(root().join("fuzz/seeds/recording/schema-2")).expect("it is there");
    let of_size = |size: usize, poll: &dyn Fn(usize) -> String| {
        let polls = text_of(size, poll);
        let count = polls.matches("\"id\":").count();
        let json = json.replacen("\"slow_polls_total\":1", &format!("\"slow_polls_total\":{count}"), 1);
        let (before, rest) = json.split_once("\"stacks\":{").expect("stacks");
        let (stacks, rest) = rest.split_once("},\"slow_polls\":[").expect("slow polls");
        let (_, after) = rest.split_once("],\"stalls_open\"").expect("others");
        format!("{before}\"slow_polls\":[{polls}],\"stacks\":{{{stacks}}},\"stalls_open\"{after}")
    };
    check_sizes("least", |size| of_size(size, &|_| POLL.to_owned()), "", "");
    let place = |stack| format!("\"places\":[{{\"line\":null,\"syscall\":null,\"stack\":{stack}}}]");
    let later = |_| POLL.replace("\"places\":[]", &place(1));
    check_sizes("a stack that comes later", |size| of_size(size, &later), "", MORE_THAN_TEXT);
    let never = |_| POLL.replace("\"places\":[]", &place(9));
    check("a stack that never comes", of_size(1 << 20, &never), "refers to stack 9, which is not there");
}

/// Of each shape a small file and a large one: what it may take grows with its size.
#[track_caller]
fn check_sizes(name: &str, of_size: impl Fn(usize) -> String, small: &str, large: &str) {
    check(name, of_size(1 << 20), small);
    check(name, of_size(70 << 20), large);
}

#[test]
fn many_slow_polls() {
    check_sizes("least", |size| of_many_polls(size, |_| least("null", "")), "", "");
    check_sizes("a line each", |size| of_many_polls(size, |i| least(&format!("\"{i}\""), "")), "", MORE_THAN_TEXT);
    let waiter = r#""blame":null,"worst_waiter":{"task_id":0,"spawned_at":"a","ready_ns":0,"polled_ns":0}"#;
    let waited_for = |_| least("null", "").replace("\"blame\":null", waiter);
    check_sizes("a waiter each", |size| of_many_polls(size, waited_for), "", "");
}

#[test]
fn many_frames() {
    let frame = |i: usize| format!(r#"{{"function":"{i}","file":"{i:x}","line":{i}}}"#);
    let stack = |i: usize| (i * 64..i * 64 + 64).map(frame).collect::<Vec<_>>().join(",");
    check_sizes("a name each", |size| of_many_polls(size, |i| least("null", &stack(i))), "", MORE_THAN_TEXT);
    let frame = |i: usize| format!(r#"{{"function":null,"file":null,"line":{i}}}"#);
    let stack = |i: usize| (i..i + 4_000).map(frame).collect::<Vec<_>>().join(",");
    check_sizes("a line each", |size| of_many_polls(size, |i| least("null", &stack(i))), "", "");
}

#[test]
fn many_texts_metrics_and_charges() {
    let missing = format!("\"missing\":{}", list("\"\"", 1_000));
    check_sizes("texts", |size| of_runs(size, "\"missing\":[]", &missing), "", MORE_THAN_TEXT);
    let metrics = (0..10_000).map(|i| format!("\"{i}\":0")).collect::<Vec<_>>().join(",");
    let metrics = format!("\"runtime_metrics\":{{{metrics}}}");
    check_sizes("metrics", |size| of_runs(size, "\"runtime_metrics\":null", &metrics), "", MORE_THAN_TEXT);
    let charge =
        |i| format!(r#"{{"culprit":"{i}","waiter":"","tasks":0,"wait_ns":0,"late_tasks":0,"wait_most_ns":0}}"#);
    let charges = (0..5_000).map(charge).collect::<Vec<_>>().join(",");
    let ledger = format!("\"ledger\":{{\"charges\":[{charges}],\"unattributed_ns\":0}}");
    check_sizes("charges", |size| of_runs(size, "\"ledger\":null", &ledger), "", MORE_THAN_TEXT);
}

#[test]
fn many_runs_whole_and_torn() {
    check("runs", of_runs(40 << 20, "", ""), "");
    let torn = of_runs(40 << 20, "", "");
    check("torn", &torn[..torn.len() - 3_000], TORN);
}

#[test]
fn many_histograms() {
    // Each inflates to a thousand times its text.
    let bomb = BASE64_STANDARD.encode(compressed(&blob(1_000_000, &vec![2; 1_000_000])));
    let dist = format!(r#"{{"count":1000000,"min_ns":1,"max_ns":1,"sum_ns":1,"clamped":0,"histogram":"{bomb}"}}"#);
    let interval = format!("{{\"start_ns\":0,\"polls\":{dist},\"lag\":null,\"busy_ns\":0}}");
    let of_size = |size| {
        let intervals = text_of(size, |_| interval.clone());
        with("\"intervals\":[]", &format!("\"intervals\":[{intervals}]"))
    };
    check_sizes("bombs", of_size, "far more than their text", "far more than their text");
}

#[test]
fn interval_logs() {
    // Of each of 2,000 tags a histogram that takes a thousand times its text.
    let bomb = BASE64_STANDARD.encode(compressed(&blob(1_000_000, &vec![2; 1_000_000])));
    for size in [1 << 20, 70 << 20] {
        let lines = text_of(size, |i| format!("\nTag={i},0.1,1.0,1.0,{bomb}")).replace(",\nTag", "\nTag");
        check("bombs in a log", format!("#{lines}\n"), "far more than their text");
    }
    let lines: String = (0..20).map(|i| format!("Tag={},0.1,1.0,1.0,{bomb}\n", i % 3)).collect();
    check("of few tags", format!("#\n{lines}"), "");
}
