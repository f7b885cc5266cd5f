//! The program that is looked at, which knows nothing of that.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::truth::{self, Counted, Stall};

/// One that runs.
pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Program {
    /// Until it is [told to go](Program::go) it waits, its runtime being there.
    pub(crate) fn start(program: &Path, arguments: &[String]) -> io::Result<Program> {
        let mut command = Command::new(program);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
        let mut program = Program { child, stdin, stdout };
        let mut ready = String::new();
        program.stdout.read_line(&mut ready)?;
        if ready != "ready\n" {
            return Err(io::Error::other(format!("`{}` ended early", arguments.join(" "))));
        }
        Ok(program)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn go(&mut self) -> io::Result<()> {
        self.stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(b"go\n"))
    }

    /// Waits until it is over, for what it tells then. It goes on to exist until it [ends](Program::end).
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn told(&mut self) -> Result<(Vec<Stall>, Counted), String> {
        let mut lines = Vec::new();
        for line in (&mut self.stdout).lines() {
            let line = line.map_err(|error| format!("cannot read what the program tells: {error}"))?;
            let is_last = line.starts_with("{\"begin_ns\"");
            lines.push(line);
            if is_last {
                break;
            }
        }
        truth::read(lines.iter().map(String::as_str))
    }

    pub(crate) fn end(mut self) -> io::Result<()> {
        drop(self.stdin.take());
        self.child.wait().map(drop)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
