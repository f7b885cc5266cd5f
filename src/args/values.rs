//! Parsers of single arguments, with their error messages.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use pollscope_attach::Hz;

use crate::cut::Moment;
use crate::gate::Gate;
use crate::pipeline::input::{LARGEST_MAX_LINE, SMALLEST_MAX_LINE, Watch};
use crate::pipeline::sink::Mode;
use crate::report::{Format, comparison};
use crate::scenario::builtin::BUILTIN;
use crate::scenario::wire::Override;
use crate::units::{parse_duration, parse_size};

pub(super) fn parse_format(text: &str) -> Result<Format, String> {
    let known = Format::ALL.map(Format::as_str).join("`, `");
    Format::from_name(text).ok_or_else(|| format!("unknown format; choose one of `{known}`"))
}

pub(super) fn parse_comparison_format(text: &str) -> Result<comparison::Format, String> {
    let known = comparison::Format::ALL.map(comparison::Format::as_str).join("`, `");
    comparison::Format::from_name(text).ok_or_else(|| format!("unknown format; choose one of `{known}`"))
}

/// A name that is safe as the name of a file on any system.
pub(super) fn baseline(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=64).contains(&text.len()) && text.chars().all(is_plain) && !text.starts_with(['.', '-']) {
        return Ok(text.to_owned());
    }
    Err("write 1 to 64 letters, digits, `-`, `_` or `.`, beginning with a letter or digit".to_owned())
}

pub(super) fn parse_gate(text: &str) -> Result<Gate, String> {
    Gate::parse(text).map_err(|error| error.to_string())
}

pub(super) fn parse_mode(text: &str) -> Result<Mode, String> {
    let known = Mode::ALL.map(Mode::as_str).join("`, `");
    Mode::from_name(text).ok_or_else(|| format!("unknown mode; choose one of `{known}`"))
}

pub(super) fn parse_modes(text: &str) -> Result<String, String> {
    if text == "all" { Ok(text.to_owned()) } else { parse_mode(text).map(|mode| mode.as_str().to_owned()) }
}

pub(super) fn parse_merge_mode(text: &str) -> Result<Mode, String> {
    match parse_mode(text)? {
        Mode::BlockInPlace => {
            Err("`merge` runs on a current-thread runtime, which has no other worker to hand tasks to".to_owned())
        }
        mode => Ok(mode),
    }
}

/// What names these are, for shells and help.
pub(super) fn formats() -> Vec<&'static str> {
    Format::ALL.map(Format::as_str).to_vec()
}

pub(super) fn comparison_formats() -> Vec<&'static str> {
    comparison::Format::ALL.map(comparison::Format::as_str).to_vec()
}

pub(super) fn modes() -> Vec<&'static str> {
    Mode::ALL.map(Mode::as_str).to_vec()
}

pub(super) fn modes_or_all() -> Vec<&'static str> {
    [modes(), vec!["all"]].concat()
}

pub(super) fn merge_modes() -> Vec<&'static str> {
    modes().into_iter().filter(|mode| parse_merge_mode(mode).is_ok()).collect()
}

pub(super) fn scenarios() -> Vec<&'static str> {
    BUILTIN.iter().map(|(name, _)| *name).collect()
}

pub(super) fn rounds(text: &str) -> Result<u32, String> {
    within(text, 1)
}

pub(super) fn warmup(text: &str) -> Result<u32, String> {
    within(text, 0)
}

fn within(text: &str, least: u32) -> Result<u32, String> {
    let count = text.parse().ok().filter(|count| (least..=100).contains(count));
    count.ok_or_else(|| format!("write a whole number from {least} to 100"))
}

pub(super) fn batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(lines @ 1..=1_000_000) => Ok(lines),
        _ => Err("write a number of lines, from 1 to 1000000".to_owned()),
    }
}

pub(super) fn watch(text: &str) -> Result<Watch, String> {
    match text {
        "inotify" => Ok(Watch::Inotify),
        "poll" => Ok(Watch::Poll),
        _ => Err("unknown way; choose one of `inotify`, `poll`".to_owned()),
    }
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| error.to_string())
}

pub(super) fn line_length(text: &str) -> Result<NonZeroUsize, String> {
    let bytes = usize::try_from(size(text)?).unwrap_or(usize::MAX);
    NonZeroUsize::new(bytes).ok_or_else(|| "a line must have at least one byte".to_owned())
}

pub(super) fn max_line(text: &str) -> Result<NonZeroUsize, String> {
    let bytes = line_length(text)?;
    if (SMALLEST_MAX_LINE..=LARGEST_MAX_LINE).contains(&bytes.get()) {
        return Ok(bytes);
    }
    Err("write a length from 16 to 64MiB, such as `4096`, `64KiB` or `1MiB`".to_owned())
}

pub(super) fn parse_override(text: &str) -> Result<Override, String> {
    Override::parse(text).map_err(|error| error.to_string())
}

/// `9464`, `:9464`, `localhost:9464` or any address with its port.
pub(super) fn serving(text: &str) -> Result<SocketAddr, String> {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let on_loopback = text.strip_prefix("localhost:").or(text.strip_prefix(':')).unwrap_or(text);
    let address = match on_loopback.parse() {
        Ok(port) if is_port(on_loopback) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        _ => text.parse().ok(),
    };
    address.ok_or_else(|| "write a port, or an address and a port: `9464`, `127.0.0.1:9464`, `[::1]:9464`".to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    bounded(text, Duration::from_micros(1), "the threshold")
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    bounded(text, Duration::from_millis(1), "the interval")
}

/// A process's number, where there is nothing else to type.
pub(super) fn pid_alone(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|pid| (1..=i32::MAX as u32).contains(pid));
    number.ok_or_else(|| "write the number of a process, such as `4711`; `pgrep -a NAME` tells numbers".to_owned())
}

/// Whose tasks are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TasksOf {
    /// A process's number.
    Process(u32),
    /// The file that a process left.
    Core(PathBuf),
}

/// What is no number is a file.
pub(super) fn process_or_core(text: &str) -> Result<TasksOf, String> {
    if text.is_empty() || text.bytes().all(|byte| byte.is_ascii_digit()) {
        return pid_alone(text).map(TasksOf::Process);
    }
    Ok(TasksOf::Core(text.into()))
}

/// A process's number.
pub(super) fn pid(text: &str) -> Result<u32, String> {
    pid_alone(text).map_err(|_| {
        "write the number of a process, such as `4711`; the program stands behind `--`: `pollscope record [OPTIONS] -- PROGRAM \
         [ARGUMENTS]`"
            .to_owned()
    })
}

/// How often a second.
pub(super) fn hz(text: &str) -> Result<Hz, String> {
    let hz = text.parse().ok().and_then(Hz::new);
    hz.ok_or_else(|| "write how often a second, from 1 to 1000".to_owned())
}

/// How long something goes on.
pub(super) fn lasting(text: &str) -> Result<Duration, String> {
    within_time(text, Duration::from_millis(1), Duration::from_secs(7 * 24 * 3_600), "it")
}

pub(super) fn moment(text: &str) -> Result<Moment, String> {
    Moment::parse(text)
}

pub(super) fn grace(text: &str) -> Result<Duration, String> {
    bounded(text, Duration::ZERO, "it")
}

fn bounded(text: &str, least: Duration, what: &str) -> Result<Duration, String> {
    within_time(text, least, Duration::from_secs(3_600), what)
}

fn within_time(text: &str, least: Duration, most: Duration, what: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if (least..=most).contains(&duration) {
        Ok(duration)
    } else {
        let hours = most.as_secs() / 3_600;
        Err(format!("{what} must be from {} to {hours}h", crate::units::setting_duration(least)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_the_loopback() {
        for (text, address) in [
            ("9464", "127.0.0.1:9464"),
            (":9464", "127.0.0.1:9464"),
            ("0", "127.0.0.1:0"),
            ("localhost:9464", "127.0.0.1:9464"),
            ("0.0.0.0:9464", "0.0.0.0:9464"),
            ("[::1]:9464", "[::1]:9464"),
        ] {
            assert_eq!(serving(text), Ok(address.parse().expect("an address")), "{text}");
        }
        for text in [
            "", ":", "65536", "-1", "+80", " 80", "80 ", "1.2.3.4", "1.2.3.4:", "::1:80:", "[::1]", "host:80", "::80",
            "٣",
        ] {
            assert!(serving(text).is_err(), "{text}");
        }
    }
}
