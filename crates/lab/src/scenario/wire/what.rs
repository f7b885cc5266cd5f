//! What a file is that is no scenario, by its beginning, and which command takes it.

use pollscope_record::interval_log::is_log;

/// What a file may be that is no scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scenario) enum What {
    /// A recording, a page with one, or an interval log.
    Saved,
    /// Anything else, such as a log to merge.
    Other,
}

impl What {
    /// By the first bytes of a file.
    pub(in crate::scenario) fn of(start: &[u8]) -> What {
        let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
        // A scenario may begin with a comment, too.
        let is_log = is_log(start) && (!text.starts_with(b"#") || text.starts_with(b"#[StartTime"));
        let is_saved = text.starts_with(b"{") || text.starts_with(b"<") || is_log;
        if is_saved { What::Saved } else { What::Other }
    }

    /// What to type instead.
    pub(in crate::scenario) fn advice(self, name: &str) -> String {
        match self {
            What::Saved => format!("it looks like a recording: show it with `pollscope report {name}`"),
            What::Other => {
                format!("a scenario is a TOML file; if it is a log, merge it with `pollscope merge {name} -o OUT`")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::What;

    #[test]
    fn what_a_report_can_show_is_told_from_the_rest() {
        let saved: [&[u8]; 4] =
            [b"{\"schema\":", b"\xef\xbb\xbf\n {", b"<!doctype html>", b"#[StartTime: 1.0 (seconds since epoch)]\n"];
        assert!(saved.iter().all(|start| What::of(start) == What::Saved));
        let other: [&[u8]; 5] = [b"", b"# why\n[merge]\n", b"2026-01-01 started\n", b"[merge]\n", b"\x7fELF"];
        assert!(other.iter().all(|start| What::of(start) == What::Other));
    }
}
