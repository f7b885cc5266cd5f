//! `pollscope tasks`: what every task of a process waits for, and who holds it; of one that ended, by its core file.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use pollscope_attach::{Obstacle, Target, Tasks};
use pollscope_base::duration::to_ns;
use pollscope_record::report::Style;
use pollscope_record::report::tasks::{Shown, render, render_moved};
use pollscope_record::tasks::{Moves, TaskList};

use super::CmdError;
use super::output::{Terminal, refuse_unwritable};
use crate::args::{TasksOf, TasksRequest};
use crate::exit::Exit;
use crate::recording::Run;
use crate::stderr::say;

pub(super) fn execute(request: &TasksRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    if let Some(path) = request.json.as_ref().filter(|path| request.every.is_some() && *path != Path::new("-")) {
        return Err(CmdError::EveryToFile { path: path.clone() });
    }
    refuse_unwritable(request.json.as_deref())?;
    let target = match (&request.of, &request.program) {
        (TasksOf::Process(_), Some(program)) => return Err(CmdError::ProgramWithoutCore { program: program.clone() }),
        (TasksOf::Core(core), _) if request.every.is_some() => return Err(CmdError::CoreEvery { core: core.clone() }),
        (TasksOf::Process(pid), None) => Target::open(*pid, &request.symbols),
        (TasksOf::Core(path), program) => Target::of_core(path, program.as_deref(), &request.symbols),
    };
    let mut tasks = Tasks::of(target.map_err(CmdError::Obstacle)?);
    let list = read(&mut tasks).map_err(CmdError::Obstacle)?;
    let shown = match request.task {
        Some(id) if list.task(id).is_none() => return Err(CmdError::NoTask { id, pid: list.pid }),
        Some(id) => Shown::One(id),
        None if request.all => Shown::All,
        None => Shown::Groups,
    };
    if let Some(every) = request.every {
        return watch(&mut tasks, list, (every, shown, request.json.is_some()), terminal);
    }
    if let Some(path) = &request.json {
        terminal.write(path, json(&list).map_err(CmdError::unwritable(path))?)?;
    }
    if request.json.as_deref() != Some(Path::new("-")) {
        terminal.to_stdout(&render(&list, shown, &terminal.style()))?;
    }
    Ok(Exit::Pass)
}

/// Reads again and again, until the process or the task that is shown ends, or nobody reads what is written.
fn watch(
    tasks: &mut Tasks,
    first: TaskList,
    (every, shown, is_json): (Duration, Shown, bool),
    terminal: &Terminal,
) -> Result<Exit, CmdError> {
    let (begin, pid, mut moves) = (Instant::now(), first.pid, Moves::default());
    let (mut next, mut list) = (begin, first);
    loop {
        if let Shown::One(id) = shown
            && list.task(id).is_none()
        {
            say(format!("task {id} of process {pid} ended"));
            return Ok(Exit::Pass);
        }
        let text = match shown {
            _ if is_json => json_line(&list).map_err(CmdError::unwritable("-"))?,
            Shown::Groups => moved(&mut moves, list, to_ns(begin.elapsed()), &terminal.style()),
            Shown::All | Shown::One(_) => render(&list, shown, &terminal.style()) + "\n",
        };
        if !terminal.next_to_stdout(&text)? {
            return Ok(Exit::Pass);
        }
        // One that took longer than that is followed by the next at once.
        next = (next + every).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
        list = match read(tasks) {
            Ok(list) => list,
            Err(Obstacle::NoProcess { .. }) => {
                say(format!("process {pid} ended"));
                return Ok(Exit::Pass);
            }
            Err(obstacle) => return Err(CmdError::Obstacle(obstacle)),
        };
    }
}

/// The first reading whole, and of the others what moved.
fn moved(moves: &mut Moves, list: TaskList, at_ns: u64, style: &Style) -> String {
    let moved = moves.add(list, at_ns);
    match (moves.last(), moved) {
        (Some(list), Some(moved)) => render_moved(list, &moved, style),
        (Some(list), None) => render(list, Shown::Groups, style) + "\n",
        (None, _) => String::new(),
    }
}

fn read(tasks: &mut Tasks) -> Result<TaskList, Obstacle> {
    tasks.read(&Run::written(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()))
}

fn json(list: &TaskList) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(list)? + "\n")
}

fn json_line(list: &TaskList) -> serde_json::Result<String> {
    Ok(serde_json::to_string(list)? + "\n")
}
