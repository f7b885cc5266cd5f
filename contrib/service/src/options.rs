//! What can be asked on the command line.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str = "usage: pollscope-service [--port N] [--data FOLDER] [--workers N] [--items N]
                         [--block DURATION [--every N] [--offload]]";

/// What the service does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// 0 for any.
    pub(crate) port: u16,
    /// Where the database, the journal and the uploads are; `None` for a folder of its own, which is removed at the end.
    pub(crate) data: Option<PathBuf>,
    /// Threads of the runtime.
    pub(crate) workers: usize,
    /// How many the shop has.
    pub(crate) items: u32,
    /// What an order has to wait for in the journal, now and then.
    pub(crate) fault: Option<Fault>,
}

/// A journal that is held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// For how long.
    pub(crate) lasts: Duration,
    /// At every so manieth order.
    pub(crate) every: u64,
    /// Whether on a thread of the blocking pool.
    pub(crate) is_offloaded: bool,
}

impl Options {
    /// Reads the arguments, without the program's name.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options { port: 3000, data: None, workers: 2, items: 2_000, fault: None };
        let (mut block, mut every, mut is_offloaded) = (None, 40, false);
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("`{argument}` needs a value"));
            match argument.as_str() {
                "--port" => options.port = number(&argument, &value()?)?,
                "--data" => options.data = Some(value()?.into()),
                "--workers" => options.workers = number::<u16>(&argument, &value()?)?.max(1).into(),
                "--items" => options.items = number::<u32>(&argument, &value()?)?.max(1),
                "--block" => block = Some(duration(&value()?)?),
                "--every" => every = number::<u64>(&argument, &value()?)?.max(1),
                "--offload" => is_offloaded = true,
                _ => return Err(format!("`{argument}` is no option")),
            }
        }
        if is_offloaded && block.is_none() {
            return Err("`--offload` says where `--block` is done; add that".to_owned());
        }
        options.fault = block.map(|lasts| Fault { lasts, every, is_offloaded });
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{option} {text}` is not a number that it can be"))
}

/// A number of milliseconds or seconds, such as `120ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write one such as 120ms");
    let (digits, unit_ms) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1_000),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_fault_is_read_with_where_it_is() {
        let fault = |line| parse(line).expect("right").fault;
        assert_eq!(fault("--port 0"), None);
        let blocks = Fault { lasts: Duration::from_millis(120), every: 40, is_offloaded: false };
        assert_eq!(fault("--block 120ms"), Some(blocks));
        let moved = Fault { lasts: Duration::from_secs(1), every: 7, is_offloaded: true };
        assert_eq!(fault("--offload --every 7 --block 1s"), Some(moved));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, word) in [
            ("--offload", "add that"),
            ("--block", "needs a value"),
            ("--block 120", "such as 120ms"),
            ("--port 70000", "not a number that it can be"),
            ("--colour", "is no option"),
        ] {
            let why = parse(line).expect_err(line);
            assert!(why.contains(word), "{line}: {why}");
        }
    }
}
