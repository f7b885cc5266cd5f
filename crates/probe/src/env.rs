//! Switching a probe on from outside: `POLLSCOPE` and `POLLSCOPE_SLOW_POLL`; where it listens, what its recording is called,
//! `POLLSCOPE_LABEL`, and whether all threads are looked at, `POLLSCOPE_WHOLE_PROCESS`.

use std::ffi::OsString;
#[cfg(feature = "record")]
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use pollscope_base::duration;
use pollscope_base::escape::Escaped;

/// What the environment asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) on: bool,
    pub(crate) slow_poll: Option<Duration>,
    /// What was set but cannot be followed; each a whole sentence.
    pub(crate) warnings: Vec<String>,
}

/// Reads the two variables' values.
pub(crate) fn read(switch: Option<&str>, slow_poll: Option<&str>) -> Request {
    let mut request = Request::default();
    match switch.map(|word| word.trim().to_ascii_lowercase()).as_deref() {
        None | Some("" | "0" | "no" | "off" | "false") => {}
        Some("1" | "yes" | "on" | "true") => request.on = true,
        Some(_) => request.warnings.push(format!(
            "ignored `POLLSCOPE={}`: nothing is measured; set it to 1 to measure, or to 0 to say no more",
            Escaped(switch.unwrap_or_default())
        )),
    }
    let Some(text) = slow_poll else { return request };
    match duration::parse(text).filter(|threshold| !threshold.is_zero()) {
        None => request.warnings.push(format!(
            "ignored `POLLSCOPE_SLOW_POLL={}`: it is not a duration; write one such as 50ms",
            Escaped(text)
        )),
        Some(_) if !request.on => request.warnings.push(
            "ignored `POLLSCOPE_SLOW_POLL`: nothing is measured without `POLLSCOPE=1`; set it as well".to_owned(),
        ),
        threshold => request.slow_poll = threshold,
    }
    request
}

/// By this one all threads of the process are looked at.
pub(crate) const WHOLE_PROCESS: &str = "POLLSCOPE_WHOLE_PROCESS";

/// Whether a word switches something on.
pub(crate) fn is_on(word: &str) -> bool {
    matches!(word.trim().to_ascii_lowercase().as_str(), "1" | "yes" | "on" | "true")
}

/// Why a variable for recordings, which is set, cannot be followed.
pub(crate) fn refused(name: &str, is_on: bool) -> Option<String> {
    let (is_there, feature, cannot) = match name {
        WHOLE_PROCESS => (cfg!(feature = "whole-process"), "whole-process", "look at the whole process"),
        _ => (cfg!(feature = "record"), "record", "record"),
    };
    if !is_there {
        Some(format!(
            "ignored `{name}`: this program's probe cannot {cannot}; build it with the feature `{feature}` of pollscope-probe"
        ))
    } else if !is_on {
        Some(format!("ignored `{name}`: nothing is measured without `POLLSCOPE=1`; set it as well"))
    } else {
        None
    }
}

/// Whether `POLLSCOPE_LISTEN` asks to listen, and in which folder if not in the usual one.
pub(crate) fn listen() -> Option<Option<PathBuf>> {
    listens(std::env::var_os("POLLSCOPE_LISTEN")?)
}

fn listens(value: OsString) -> Option<Option<PathBuf>> {
    match value.to_string_lossy().trim().to_ascii_lowercase().as_str() {
        "" | "0" | "no" | "off" | "false" => None,
        "1" | "yes" | "on" | "true" => Some(None),
        _ => Some(Some(value.into())),
    }
}

/// What a label may be, as a sentence about one that is none ends.
pub(crate) const LABEL: &str = "write 1 to 64 letters, digits, blanks or any of `-_.+:/`";

/// What the environment calls the recording; says so of one that is no label. Of a probe that is off nothing is recorded.
#[cfg(feature = "record")]
pub(crate) fn label(is_on: bool) -> Option<String> {
    let label = std::env::var_os("POLLSCOPE_LABEL").filter(|label| is_on && !label.is_empty())?;
    let label = label.to_string_lossy().into_owned();
    if pollscope_record::recording::is_label(&label) {
        return Some(label);
    }
    // A closed stderr must not stop the host.
    let _ = writeln!(io::stderr(), "WARN pollscope: ignored `POLLSCOPE_LABEL={}`: {LABEL}", Escaped(&label));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_and_the_threshold() {
        let on = |slow_poll| Request { on: true, slow_poll, warnings: vec![] };
        assert_eq!(read(None, None), Request::default());
        assert_eq!(read(Some("0"), None), Request::default());
        assert_eq!(read(Some("1"), None), on(None));
        for word in ["yes", "on", "true", "ON", "True", " 1 ", "1\n"] {
            assert_eq!(read(Some(word), None), on(None), "{word:?}");
        }
        for word in ["no", "off", "false", "OFF", "", " "] {
            assert_eq!(read(Some(word), None), Request::default(), "{word:?}");
        }
        assert_eq!(read(Some("1"), Some("50ms")), on(Some(Duration::from_millis(50))));
    }

    #[test]
    fn a_variable_whose_feature_is_not_there_says_which() {
        let whole = refused(WHOLE_PROCESS, true);
        assert_eq!(whole.is_none(), cfg!(feature = "whole-process"));
        assert!(whole.is_none_or(|why| why.ends_with("with the feature `whole-process` of pollscope-probe")));
        assert_eq!(refused("POLLSCOPE_RECORD", true).is_none(), cfg!(feature = "record"));
        let off = refused(WHOLE_PROCESS, false).unwrap();
        assert_eq!(off.contains("without `POLLSCOPE=1`"), cfg!(feature = "whole-process"), "{off}");
        assert!(is_on(" Yes") && !is_on("0") && !is_on(""));
    }

    #[test]
    fn where_to_listen() {
        for word in ["", "0", "no", "Off", " false "] {
            assert_eq!(listens(word.into()), None, "{word:?}");
        }
        for word in ["1", "yes", "ON", " true"] {
            assert_eq!(listens(word.into()), Some(None), "{word:?}");
        }
        assert_eq!(listens("/run/api".into()), Some(Some("/run/api".into())));
    }

    #[test]
    fn what_cannot_be_followed_is_said() {
        for (switch, slow_poll, word) in [
            (None, Some("50ms"), "without `POLLSCOPE=1`"),
            (Some("maybe"), None, "set it to 1"),
            (Some("2"), None, "ignored `POLLSCOPE=2`"),
            (Some("y es"), None, "nothing is measured"),
            (Some("1"), Some("50"), "not a duration"),
            (Some("1"), Some("0ms"), "not a duration"),
            (Some("1"), Some("\x1b[2J"), r"\u{1b}"),
        ] {
            let request = read(switch, slow_poll);
            assert!(request.warnings.iter().any(|warning| warning.contains(word)), "{request:?}");
            assert_eq!(request.slow_poll, None);
        }
    }
}
