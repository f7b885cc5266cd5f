//! What the tests of saved recordings share.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use pollscope_record::gate::Gate;
use pollscope_record::recording::Recording;
use pollscope_record::report::html::PAGE_MARK;
use pollscope_record::report::{Format, Style, render};
use pollscope_record::saved;
use sha2::{Digest, Sha256};

/// With this variable set, the texts on disk are written and not compared.
const UPDATE: &str = "POLLSCOPE_UPDATE_GOLDENS";

/// The folder of saved recordings of a kind.
pub(crate) fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(kind)
}

/// A saved recording.
pub(crate) fn recording(kind: &str, name: &str) -> Recording {
    let path = folder(kind).join(name).with_extension("json");
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let saved = saved::read(file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(!saved.is_torn, "{}", path.display());
    saved.recording
}

/// The style of a text report that goes to a file.
pub(crate) fn style(width: usize) -> Style {
    Style { width, color: false, unicode: true }
}

pub(crate) fn shown(recording: &Recording, format: Format) -> String {
    String::from_utf8(render(recording, format, &style(100)).expect("a report")).expect("a text")
}

/// What was compressed, as text: how well that was done is no matter.
pub(crate) fn uncompressed(bytes: &[u8]) -> String {
    let mut message = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut message).expect("gzip");
    message.escape_ascii().to_string()
}

/// The recording with gates judged, as `--fail-on` adds them.
pub(crate) fn with_gates(mut recording: Recording, gates: &[&str]) -> Recording {
    let judged = gates.iter().map(|gate| Gate::parse(gate).expect("a gate").judge(&recording.runs));
    let judged: Vec<_> = judged.collect();
    recording.gates.extend(judged);
    recording
}

/// The page without its data, scripts and styles.
pub(crate) fn body(page: &str) -> &str {
    let (_, body) = page.split_once("<body>").expect("a body");
    body.split(PAGE_MARK).next().expect("what stands before the data")
}

/// What a page says, a line each piece of text, without the titles that drawings show when pointed at.
pub(crate) fn page_text(page: &str) -> String {
    let mut text = String::new();
    let mut is_title = false;
    for piece in body(page).split('<') {
        let (tag, said) = piece.split_once('>').unwrap_or(("", piece));
        is_title = tag == "title" || (is_title && tag != "/title");
        if !is_title && !said.trim().is_empty() {
            text += said.trim();
            text.push('\n');
        }
    }
    text
}

/// What a page says, below a digest of all of its body: drawings show in no text.
pub(crate) fn page_facts(page: &str) -> String {
    let digest = Sha256::digest(body(page).as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256 of the body: {digest}\n{}", page_text(page))
}

/// Compares a text with the one on disk.
#[track_caller]
pub(crate) fn check(kind: &str, name: &str, what: &str, text: &str) {
    let path = folder(kind).join(name).with_extension(what);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if text != expected {
        let pairs = text.lines().zip(expected.lines()).enumerate();
        let first =
            pairs.filter(|(_, (is, was))| is != was).map(|(at, (is, was))| format!("{at}: {was}\n   {is}")).next();
        let first = first.unwrap_or_else(|| "one is longer".to_owned());
        panic!("{name}.{what} differs; {UPDATE}=1 writes it. The first line, from 0:\n{first}");
    }
}
