//! `pollscope tasks`: what every task of a process waits for, and who holds it; of one that ended, by its core file.

use std::path::Path;
use std::time::SystemTime;

use pollscope_attach::{Target, Tasks};
use pollscope_record::report::tasks::{Shown, render};
use pollscope_record::tasks::TaskList;

use super::CmdError;
use super::output::{Terminal, refuse_unwritable};
use crate::args::{TasksOf, TasksRequest};
use crate::exit::Exit;
use crate::recording::Run;

pub(super) fn execute(request: &TasksRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    refuse_unwritable(request.json.as_deref())?;
    let target = match (&request.of, &request.program) {
        (TasksOf::Process(_), Some(program)) => return Err(CmdError::ProgramWithoutCore { program: program.clone() }),
        (TasksOf::Process(pid), None) => Target::open(*pid, &request.symbols),
        (TasksOf::Core(path), program) => Target::of_core(path, program.as_deref(), &request.symbols),
    };
    let target = target.map_err(CmdError::Obstacle)?;
    let now = Run::written(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok());
    let list = Tasks::of(target).read(&now).map_err(CmdError::Obstacle)?;
    let shown = match request.task {
        Some(id) if list.task(id).is_none() => return Err(CmdError::NoTask { id, pid: list.pid }),
        Some(id) => Shown::One(id),
        None if request.all => Shown::All,
        None => Shown::Groups,
    };
    if let Some(path) = &request.json {
        terminal.write(path, json(&list).map_err(CmdError::unwritable(path))?)?;
    }
    if request.json.as_deref() != Some(Path::new("-")) {
        terminal.to_stdout(&render(&list, shown, &terminal.style()))?;
    }
    Ok(Exit::Pass)
}

fn json(list: &TaskList) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(list)? + "\n")
}
