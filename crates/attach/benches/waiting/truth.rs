//! What the program tells of its tasks.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

/// What is true of one task.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Truth {
    pub(crate) way: String,
    /// Within so many functions more.
    pub(crate) depth: usize,
    /// Where it is suspended, `file:line` each, outermost first; of one that is hot, two places and two other ones.
    pub(crate) lines: Vec<String>,
    /// What is at the end of each branch.
    pub(crate) leaves: Vec<String>,
    pub(crate) hot: bool,
    /// Those that wait for each other have one name, and those that only seem to an empty one; `None` of those of which lines are told.
    pub(crate) cycle: Option<String>,
}

/// The program, as it waits.
pub(crate) struct Program {
    child: Child,
    pub(crate) truths: Vec<Truth>,
}

impl Program {
    /// # Errors
    /// A sentence.
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Result<Program, String> {
        let failed = |error: io::Error| format!("cannot run `{}`: {error}", program.display());
        let mut command = Command::new(program);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let stdout = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        let mut program = Program { child, truths: Vec::new() };
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(failed)?;
            match line.as_str() {
                "ready" => {}
                "" => return Ok(program),
                truth => {
                    let truth =
                        serde_json::from_str(truth).map_err(|error| format!("cannot read `{truth}`: {error}"))?;
                    program.truths.push(truth);
                }
            }
        }
        Err(failed(io::ErrorKind::UnexpectedEof.into()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
