//! Running an instrument's program, and reading what it prints.

use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use rustix::thread::Pid;

use crate::catalog::{Instrument, Load, Metric};
use crate::echo::{Cpus, pin};
use crate::fresh::Fresh;
use crate::results::Sample;

/// Why there is no figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The instrument is not to be had here.
    Unavailable(String),
    /// It should have worked: the program failed, or its instrument was blind.
    Failed(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Unavailable(reason) => f.write_str(reason),
            Trouble::Failed(reason) => write!(f, "FAILED, {reason}"),
        }
    }
}

impl From<String> for Trouble {
    fn from(reason: String) -> Trouble {
        Trouble::Failed(reason)
    }
}

/// Where programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) folder: PathBuf,
    pub(crate) python: PathBuf,
    /// Packages that could not be built, and why.
    pub(crate) unbuilt: Vec<(String, String)>,
}

impl Programs {
    /// A command and its first arguments.
    pub(crate) fn command(&self, instrument: &Instrument) -> Result<Vec<OsString>, Trouble> {
        let program = match instrument.package {
            None => vec!["python3".into(), self.python.clone().into_os_string()],
            Some(package) => {
                if let Some((_, reason)) = self.unbuilt.iter().find(|(unbuilt, _)| unbuilt == package) {
                    return Err(Trouble::Unavailable(reason.clone()));
                }
                vec![self.folder.join(format!("overhead-{package}")).into_os_string()]
            }
        };
        Ok(program.into_iter().chain([instrument.argument.into()]).collect())
    }

    /// The same for one run, whose program has a file of its own. Python has the one that is there.
    pub(crate) fn fresh_command(&self, instrument: &Instrument) -> Result<Fresh, Trouble> {
        let command = self.command(instrument)?;
        Ok(if instrument.package.is_some() { Fresh::of(command)? } else { Fresh::as_it_is(command) })
    }

    pub(crate) fn storm(&self, instrument: &Instrument, load: Load, units: u64) -> Result<Sample, Trouble> {
        let fresh = self.fresh_command(instrument)?;
        let output = run(fresh, &[load.name(), &units.to_string()])?;
        let [wall, cpu] = ["ns", "cpu_ns"].map(|key| number(&output, "storm", key));
        Ok(Sample::from([(Metric::Wall, wall?), (Metric::Cpu, cpu?)]))
    }
}

/// What a program printed, if it ended well; the first line of what it said otherwise.
fn run(fresh: Fresh, arguments: &[&str]) -> Result<String, Trouble> {
    let child = spawn(fresh, arguments, Stdio::null())?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    judge(&output)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Starts a program. Its copy goes at once: it needs its file no more, and the one who is interrupted leaves none.
fn spawn(fresh: Fresh, arguments: &[&str], stdin: Stdio) -> Result<Child, String> {
    let mut command = Command::new(&fresh.command[0]);
    command.args(&fresh.command[1..]).args(arguments).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| format!("cannot run `{}`: {error}", fresh.command[0].display()))
}

fn judge(output: &Output) -> Result<(), Trouble> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    // 3 is a program's way to say that the instrument is not to be had; everything else is a failure.
    Err(match output.status.code() {
        Some(3) => Trouble::Unavailable(said.to_owned()),
        _ => Trouble::Failed(format!("{}: {said}", output.status)),
    })
}

/// The value of `key=` in the line that begins with `word`.
pub(crate) fn number(output: &str, word: &str, key: &str) -> Result<f64, String> {
    field(output, word, key)
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| format!("it printed no `{word} {key}=`"))
}

fn field<'a>(output: &'a str, word: &str, key: &str) -> Option<&'a str> {
    let line = output.lines().find(|line| line.split(' ').next() == Some(word))?;
    line.split(' ').find_map(|part| part.strip_prefix(key)?.strip_prefix('='))
}

/// An echo service that runs.
#[derive(Debug)]
pub(crate) struct Service {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Service {
    pub(crate) fn start(fresh: Fresh) -> Result<Service, Trouble> {
        let mut child = spawn(fresh, &["echo"], Stdio::piped())?;
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        let _ = stdout.read_line(&mut line);
        match field(line.trim_end(), "listening", "address").and_then(|address| address.parse().ok()) {
            Some(address) => Ok(Service { child, stdout, address }),
            None => {
                let output = child.wait_with_output().map_err(|error| error.to_string())?;
                Err(judge(&output).err().unwrap_or_else(|| Trouble::Failed("it printed no address".to_owned())))
            }
        }
    }

    /// Times of its worker, which is its main thread. While it runs they may be milliseconds behind.
    pub(crate) fn worker(&self) -> Result<Times, String> {
        times(&self.thread_path(self.child.id()))
    }

    /// CPU time of all its threads.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        // One that has just ended has no more.
        Ok(self.threads()?.filter_map(|thread| Some(times(&self.thread_path(thread)).ok()?.ran)).sum())
    }

    fn threads(&self) -> Result<impl Iterator<Item = u32>, String> {
        let path = format!("/proc/{}/task", self.child.id());
        let threads = std::fs::read_dir(&path).map_err(|error| format!("cannot read `{path}`: {error}"))?;
        Ok(threads.filter_map(|thread| thread.ok()?.file_name().to_str()?.parse().ok()))
    }

    fn thread_path(&self, thread: u32) -> String {
        format!("/proc/{}/task/{thread}/schedstat", self.child.id())
    }

    /// Its worker on a CPU of its own, and its other threads on another.
    pub(crate) fn place(&self, cpus: Cpus) -> Result<(), String> {
        for thread in self.threads()? {
            let cpu = if thread == self.child.id() { cpus.worker } else { cpus.others };
            pin(Pid::from_raw(thread as i32), &[cpu]);
        }
        Ok(())
    }

    /// Lets it end without waiting for that.
    pub(crate) fn tell_to_stop(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Ends it: whether its instrument was awake.
    pub(crate) fn stop(mut self) -> Result<(), Trouble> {
        self.tell_to_stop();
        let mut rest = String::new();
        let _ = self.stdout.read_to_string(&mut rest);
        judge(&self.child.wait_with_output().map_err(|error| error.to_string())?)
    }
}

/// What a thread did since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) ran: Duration,
    /// It could have run, but others had the CPU.
    pub(crate) waited: Duration,
}

fn times(path: &str) -> Result<Times, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read `{path}`: {error}"))?;
    let mut times = text.split(' ').map_while(|ns| ns.parse().ok().map(Duration::from_nanos));
    let both = times.next().zip(times.next());
    both.map(|(ran, waited)| Times { ran, waited }).ok_or_else(|| format!("cannot read `{path}`: it holds no times"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_line_and_key() {
        let output = "storm ns=12.5 cpu_ns=7 units=3\ndone tasks=1 polls=2 seen=Polls(2)\n";
        assert_eq!(number(output, "storm", "ns"), Ok(12.5));
        assert_eq!(number(output, "storm", "cpu_ns"), Ok(7.0));
        assert_eq!(number(output, "done", "polls"), Ok(2.0));
        assert!(number(output, "done", "ns").is_err() && number(output, "sto", "ns").is_err());
    }
}
