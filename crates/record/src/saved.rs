//! Reading what was saved: a JSON file, a page that carries one, or a recording that grows.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use crate::findings::findings;
use crate::growing::{self, is_growing};
use crate::recording::paged::Paged;
use crate::recording::read::{Plain, read_from};
pub use crate::recording::read::{ReadError, Saved};
use crate::report::html::PAGE_MARK;

/// What a page's recording stood behind as JSON, until it was compressed.
const JSON_MARK: &str = "<script type=\"application/json\" id=\"recording\">";

/// Reads a recording. A file that ends early gives the runs that are whole, if there are any, with the findings of those.
///
/// ```
/// use pollscope_record::saved::{ReadError, read};
/// let error = read(std::io::Cursor::new("{}")).unwrap_err();
/// assert!(matches!(error, ReadError::Format(_)));
/// ```
///
/// # Errors
/// See [`ReadError`].
pub fn read(file: impl Read + Seek) -> Result<Saved, ReadError> {
    let mut file = BufReader::with_capacity(64 << 10, file);
    file.seek(SeekFrom::Start(0))?;
    if is_growing(file.fill_buf()?) {
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        return growing::read([file], length);
    }
    let mut saved = match first(&mut file)? {
        Some(b'<') => match after_mark(&mut file)? {
            (PAGE_MARK, start) => read_from(&mut Paged::at(&mut file, start)?)?,
            (_, start) => read_from(&mut Plain::at(&mut file, start)?)?,
        },
        // Nothing at all is a recording that ends early.
        Some(b'{' | b'[') | None => read_from(&mut Plain::at(&mut file, 0)?)?,
        Some(_) => return Err(ReadError::Foreign),
    };
    if saved.is_torn {
        saved.recording.findings = findings(&saved.recording.runs);
    }
    Ok(saved)
}

/// The first byte of what is in a file, as far as its beginning has one: a page's is `<`, that of JSON here `{`.
fn first(file: &mut impl BufRead) -> io::Result<Option<u8>> {
    let start = file.fill_buf()?;
    Ok(start.iter().find(|byte| !byte.is_ascii_whitespace() && !b"\xef\xbb\xbf".contains(byte)).copied())
}

/// The first mark of a page's recording, and the offset behind it.
fn after_mark(file: &mut impl BufRead) -> Result<(&'static str, u64), ReadError> {
    let mut marks = [(PAGE_MARK, 0), (JSON_MARK, 0)];
    let mut offset = 0;
    loop {
        let chunk = file.fill_buf()?;
        if chunk.is_empty() {
            return Err(ReadError::Format("it is a page without a recording".to_owned()));
        }
        for (index, byte) in chunk.iter().enumerate() {
            for (mark, matched) in &mut marks {
                let text = mark.as_bytes();
                // A mark's first byte occurs in it only once, so a mismatch can only be a new beginning.
                *matched = if *byte == text[*matched] { *matched + 1 } else { usize::from(*byte == text[0]) };
                if *matched == text.len() {
                    return Ok((mark, offset + index as u64 + 1));
                }
            }
        }
        let length = chunk.len();
        offset += length as u64;
        file.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::fixture;
    use crate::recording::{Recording, paged, wire};

    fn saved(text: impl AsRef<[u8]>) -> Result<Saved, ReadError> {
        read(Cursor::new(text.as_ref().to_vec()))
    }

    fn json() -> String {
        wire::to_json(&fixture::recording()).unwrap()
    }

    #[test]
    fn what_was_written_is_read_back_whole() {
        let read = saved(json()).unwrap();
        assert!(!read.is_torn);
        assert_eq!(wire::to_json(&read.recording).unwrap(), json());
    }

    /// Found by fuzzing: it was read as 0.9872981294820717.
    #[test]
    fn a_number_is_read_as_it_was_written() {
        let mut recording = fixture::recording();
        recording.gates[0].value = Some(0.987_298_129_482_071_6);
        let value = saved(wire::to_json(&recording).unwrap()).unwrap().recording.gates[0].value;
        assert_eq!(value, recording.gates[0].value);
    }

    /// What stands in a page.
    fn paged(recording: &Recording) -> String {
        paged::write(recording).unwrap()
    }

    fn page(mark: &str, data: &str) -> String {
        format!("<!doctype html><script>let a;</script>{mark}{data}</script><script>let b;</script></html>")
    }

    #[test]
    fn a_page_gives_its_recording_compressed_or_not() {
        let recording = fixture::recording();
        for page in [page(PAGE_MARK, &paged(&recording)), page(JSON_MARK, &wire::to_compact_json(&recording).unwrap())]
        {
            let read = saved(page).unwrap();
            assert!(!read.is_torn);
            assert_eq!(wire::to_json(&read.recording).unwrap(), json());
        }
        assert!(matches!(saved("<html></html>"), Err(ReadError::Format(_))));
    }

    #[test]
    fn a_torn_page_gives_the_runs_that_are_whole() {
        let whole = fixture::recording();
        let data = paged(&whole);
        let (mut none, mut some) = (0, 0);
        for end in (0..data.len()).step_by(31) {
            let page = page(PAGE_MARK, &data);
            let start = page.find(PAGE_MARK).unwrap() + PAGE_MARK.len();
            match saved(&page[..start + end]) {
                Err(ReadError::Torn) => none += 1,
                Ok(read) => {
                    // Behind the last run is only what tells whether it is right.
                    some += 1;
                    let first = serde_json::to_string(&read.recording.runs[0]).unwrap();
                    assert_eq!(first, serde_json::to_string(&whole.runs[0]).unwrap());
                }
                Err(error) => panic!("at {end}: {error}"),
            }
        }
        assert!(none > 0 && some > 0, "{none} {some}");
    }

    #[test]
    fn a_page_that_was_changed_is_refused_or_reads_as_it_was() {
        let mut recording = fixture::recording();
        recording.runs.truncate(1);
        let data = paged(&recording).into_bytes();
        let json = wire::to_json(&recording).unwrap();
        let mut random = fastrand::Rng::with_seed(9);
        let (mut refused, mut foreign) = (0, 0);
        for _ in 0..300 {
            let mut changed = data.clone();
            let at = random.usize(..changed.len());
            changed[at] = random.u8(0x20..0x7f);
            match saved(page(PAGE_MARK, std::str::from_utf8(&changed).unwrap())) {
                // A `<` ends the text: then it is torn.
                Ok(read) => assert!(read.is_torn || wire::to_json(&read.recording).unwrap() == json, "at {at}"),
                Err(ReadError::Format(what)) if what.contains("inflated") => refused += 1,
                Err(_) => foreign += 1,
            }
        }
        assert!(refused > 100, "{refused} {foreign}");
    }

    #[test]
    fn a_page_that_inflates_without_end_or_to_nothing_is_refused() {
        let recording = fixture::recording();
        let json = wire::to_compact_json(&recording).unwrap();
        let blanks = " ".repeat(80 << 20);
        let none = [[0; 4]; 3].concat();
        for (bytes, expected) in [
            ([none.as_slice(), blanks.as_bytes(), json.as_bytes()].concat(), "far more memory than its text"),
            ([&[0xff; 4][..], &none[..8], blanks.as_bytes()].concat(), "far more memory than its text"),
            ([none.as_slice(), json.as_bytes()].concat(), "the histogram ends early"),
            ([none.as_slice(), b"nonsense"].concat(), "expected"),
            (none, "ends before its first run"),
            (b"few".to_vec(), "ends before its first run"),
        ] {
            let error = saved(page(PAGE_MARK, &paged::compressed(&[&bytes]))).unwrap_err().to_string();
            assert!(error.contains(expected) && error.len() < 400, "{expected}: {error}");
        }
        for text in ["", "<", "a", "=====", "not & letters", &"A".repeat(10_000), &json] {
            assert!(saved(page(PAGE_MARK, text)).is_err(), "{text:.20}");
        }
    }

    #[test]
    fn a_torn_file_gives_the_runs_that_are_whole() {
        let json = json();
        let whole = fixture::recording();
        assert!(whole.runs.len() > 1);
        let (mut none, mut some) = (0, 0);
        for end in (0..json.trim_end().len()).step_by(97) {
            match saved(&json[..end]) {
                Err(ReadError::Torn) => none += 1,
                Ok(read) => {
                    some += 1;
                    assert!(read.is_torn && !read.recording.runs.is_empty());
                    let first = serde_json::to_string(&read.recording.runs[0]).unwrap();
                    assert_eq!(first, serde_json::to_string(&whole.runs[0]).unwrap());
                }
                Err(error) => panic!("at {end}: {error}"),
            }
        }
        assert!(none > 0 && some > 0, "{none} {some}");
    }

    /// Found by fuzzing: its findings added up what had not been checked.
    #[test]
    fn a_torn_file_is_checked_too() {
        let mut recording = fixture::recording();
        recording.runs = vec![fixture::run("naive"), fixture::run("naive"), fixture::run("naive")];
        fixture::polls(&mut recording.runs[0]).clamped = u64::MAX;
        fixture::polls(&mut recording.runs[1]).clamped = u64::MAX;
        let json = wire::to_json(&recording).unwrap();
        assert!(matches!(saved(&json[..json.len() - 1_000]), Err(ReadError::Impossible(_))));
    }

    #[test]
    fn what_is_foreign_says_what_it_is_not() {
        let json = json();
        for (text, expected) in [
            ("[1]", "expected a string"),
            ("{\"a\":1}", "missing field `schema`"),
            ("nonsense", "neither a recording nor a page"),
            ("{nonsense", "key must be a string"),
            (&json.replace("recording/2", "recording/3"), "its schema is `pollscope.recording/3`"),
            (&json.replacen("\"round\": 1", "\"round\": -1", 1), "invalid value: integer `-1`"),
            (&json.replacen("\"round\": 1", "\"round\": NaN", 1), "expected value"),
            (&"[".repeat(100_000), "expected a string"),
        ] {
            let error = saved(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.len() < 400, "{expected}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let changed = |change: fn(&mut Recording)| {
            let mut recording = fixture::recording();
            change(&mut recording);
            saved(wire::to_json(&recording).unwrap())
        };
        let refused = |change| matches!(changed(change), Err(ReadError::Impossible(_)));
        assert!(refused(|recording| recording.runs[0].elapsed_ns = u64::MAX));
        assert!(refused(|recording| recording.runs[0].slow_polls_dropped += 1));
        assert!(refused(|recording| recording.runs[0].group.clear()));
        // Found by fuzzing.
        assert!(refused(|recording| fixture::polls(&mut recording.runs[0]).clamped = u64::MAX));
        assert!(refused(|recording| recording.runs[0].merge.as_mut().unwrap().unterminated = u64::MAX));
        for change in
            [(|recording| fixture::polls(&mut recording.runs[0]).max_ns = Some(1)) as fn(&mut Recording), |recording| {
                fixture::polls(&mut recording.runs[0]).min_ns = None
            }]
        {
            assert!(matches!(changed(change), Err(ReadError::Format(_))));
        }
    }

    #[test]
    fn an_element_takes_no_more_room_than_its_text() {
        let json = json();
        let places = format!("\"places\": [{}", "{},".repeat(5));
        assert!(saved(json.replacen("\"places\": [", &places, 1)).unwrap_err().to_string().contains("missing field"));
        let errors = format!("\"errors\": [{}\"\"", "\"\",".repeat(10_000));
        let error = saved(json.replacen("\"errors\": [", &errors, 1)).unwrap_err().to_string();
        assert!(error.contains("a list of at most 10000"), "{error}");
    }
}
