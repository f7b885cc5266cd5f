//! What console-subscriber reads from the environment, read here: it panics at a value that it cannot use.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use pollscope_base::reason;
use tokio::sync::Semaphore;

use super::ConsoleError;

const RETENTION: &str = "TOKIO_CONSOLE_RETENTION";
const BIND: &str = "TOKIO_CONSOLE_BIND";
const PUBLISH_INTERVAL: &str = "TOKIO_CONSOLE_PUBLISH_INTERVAL";
const BUFFER_CAPACITY: &str = "TOKIO_CONSOLE_BUFFER_CAPACITY";
const RECORD_PATH: &str = "TOKIO_CONSOLE_RECORD_PATH";

/// How much is kept for a client, and what is sent when.
#[derive(Debug, PartialEq)]
pub(super) struct Settings {
    /// How long a task that has ended stays in the list.
    pub(super) retention: Duration,
    /// How often a client is told what has changed.
    pub(super) publish_interval: Duration,
    /// How many events wait for the aggregator at most; what does not fit is lost, and the client shows how much.
    pub(super) buffer_capacity: usize,
    /// The file for console-subscriber's own recording.
    pub(super) record_path: Option<PathBuf>,
}

/// A value, until it is known to be one that can be used.
struct Value {
    name: &'static str,
    value: OsString,
}

impl Settings {
    /// The address is not asked for: `--console` says it.
    ///
    /// # Errors
    /// When a variable cannot be used, and why.
    pub(super) fn from_environment() -> Result<Settings, ConsoleError> {
        Settings::read(|name| std::env::var_os(name))
    }

    fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Settings, ConsoleError> {
        let value = |name| variable(name).map(|value| Value { name, value });
        // An hour by default, as console-subscriber has it, keeps the histograms of every task of every mode: 54 kB each.
        let retention = value(RETENTION).map(|value| value.duration()).transpose()?;
        let interval = value(PUBLISH_INTERVAL).map(|value| value.interval()).transpose()?;
        let capacity = value(BUFFER_CAPACITY).map(|value| value.capacity()).transpose()?;
        value(BIND).map(|value| value.address()).transpose()?;
        // The last, as it makes a file.
        let record_path = value(RECORD_PATH).map(Value::path).transpose()?;
        Ok(Settings {
            retention: retention.unwrap_or(Duration::from_secs(5)),
            publish_interval: interval.unwrap_or(Duration::from_secs(1)),
            buffer_capacity: capacity.unwrap_or(8192),
            record_path,
        })
    }
}

impl Value {
    fn text(&self, remedy: &'static str) -> Result<&str, ConsoleError> {
        self.value.to_str().ok_or_else(|| self.refused("is not UTF-8", remedy))
    }

    fn refused(&self, cause: impl Into<String>, remedy: &'static str) -> ConsoleError {
        let value = self.value.to_string_lossy().into_owned();
        ConsoleError::Variable { name: self.name, value, cause: cause.into(), remedy }
    }

    fn duration(&self) -> Result<Duration, ConsoleError> {
        let remedy = "write a duration, such as `5s` or `1h`";
        let parsed = humantime::parse_duration(self.text(remedy)?);
        parsed.map_err(|error| self.refused(format!("is no duration ({error})"), remedy))
    }

    fn interval(&self) -> Result<Duration, ConsoleError> {
        match self.duration()? {
            Duration::ZERO => Err(self.refused("is zero", "write a duration above zero, such as `1s`")),
            interval => Ok(interval),
        }
    }

    fn capacity(&self) -> Result<usize, ConsoleError> {
        let remedy = "write a number of events above zero, such as `8192`";
        match self.text(remedy)?.parse() {
            Ok(0) => Err(self.refused("is zero", remedy)),
            Ok(events) if events > Semaphore::MAX_PERMITS => Err(self.refused("is more than a channel holds", remedy)),
            Ok(events) => Ok(events),
            Err(error) => Err(self.refused(format!("is no number of events ({error})"), remedy)),
        }
    }

    /// Only looked at: whoever sets it wants it to be heeded, or to hear that it cannot be.
    fn address(&self) -> Result<(), ConsoleError> {
        let remedy = "write HOST:PORT, such as `localhost:6669`, and give the address with --console=ADDR";
        let (host, port) = self.text(remedy)?.rsplit_once(':').unwrap_or_default();
        match port.parse::<u16>() {
            Ok(_) if !host.is_empty() => Ok(()),
            _ => Err(self.refused("is no HOST:PORT", remedy)),
        }
    }

    /// A file that can be written to; console-subscriber empties it.
    fn path(self) -> Result<PathBuf, ConsoleError> {
        let opened = File::options().write(true).create(true).truncate(false).open(&self.value);
        match opened {
            Ok(_) => Ok(self.value.into()),
            Err(error) => Err(self
                .refused(format!("cannot be written to ({})", reason(error)), "name a file in a folder that is there")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn read(name: &'static str, value: impl Into<OsString>) -> Result<Settings, ConsoleError> {
        let value = value.into();
        Settings::read(|asked| (asked == name).then(|| value.clone()))
    }

    #[test]
    fn values_that_have_a_sense_are_used() {
        assert_eq!(read(RETENTION, "1m 30s").unwrap().retention, Duration::from_secs(90));
        assert_eq!(read(RETENTION, "0s").unwrap().retention, Duration::ZERO);
        assert_eq!(read(PUBLISH_INTERVAL, "200ms").unwrap().publish_interval, Duration::from_millis(200));
        assert_eq!(read(BUFFER_CAPACITY, "100").unwrap().buffer_capacity, 100);
        assert!(read(BIND, "localhost:6669").is_ok());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording");
        assert_eq!(read(RECORD_PATH, &path).unwrap().record_path, Some(path));
    }

    #[test]
    fn values_without_sense_are_refused_by_name() {
        let not_utf8 = || OsString::from_vec(b"1\xff".to_vec());
        let huge = usize::MAX.to_string();
        let cases: [(&'static str, OsString); 16] = [
            (RETENTION, "garbage".into()),
            (RETENTION, "".into()),
            (RETENTION, "5".into()),
            (RETENTION, "99999999999999999999s".into()),
            (RETENTION, not_utf8()),
            (PUBLISH_INTERVAL, "0s".into()),
            (PUBLISH_INTERVAL, "soon".into()),
            (BUFFER_CAPACITY, "0".into()),
            (BUFFER_CAPACITY, "-1".into()),
            (BUFFER_CAPACITY, "many".into()),
            (BUFFER_CAPACITY, huge.into()),
            (BIND, "6669".into()),
            (BIND, ":6669".into()),
            (BIND, "localhost:http".into()),
            (BIND, not_utf8()),
            (RECORD_PATH, "/nowhere/to/be/found".into()),
        ];
        for (name, value) in cases {
            let refused = read(name, value.clone()).expect_err("it has no sense");
            assert_eq!(refused.exit(), crate::exit::Exit::Usage, "{name}={value:?}");
            let message = refused.to_string();
            assert!(message.starts_with(&format!("cannot use the variable `{name}` for `--console`: ")), "{message}");
            assert!(message.ends_with(", or unset it"), "{message}");
        }
    }
}
