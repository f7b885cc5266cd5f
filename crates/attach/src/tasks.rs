//! What every task of a process waits for.

use std::time::{Duration, Instant};

use pollscope_base::{CaptureNote, WaitingTask};
use pollscope_record::tasks::{Stuck, TaskList, is_same_chain};
use pollscope_stacks::tasks::{self, Tasks as Read};

use crate::obstacle::Obstacle;
use crate::target::Target;
use crate::threads;

/// Tasks are read one after another while they go on: that some wait for each other is told once it was so in so many readings.
const READINGS: usize = 3;
/// So long between two of them.
const BETWEEN: Duration = Duration::from_millis(60);
/// The first version whose tasks say where their parts are.
const OLDEST: u32 = 28;

/// Reads the tasks of one process, now and again.
#[derive(Debug)]
pub struct Tasks {
    target: Target,
}

impl Tasks {
    /// Nothing is read yet.
    pub fn of(target: Target) -> Tasks {
        Tasks { target }
    }

    /// All tasks that there are now; `read_at` is the time of day that is told. Where some wait for each other, it reads again, for a few
    /// tenths of a second.
    ///
    /// ```no_run
    /// use pollscope_attach::{Target, Tasks};
    /// let target = Target::open(4711, &[])?;
    /// let list = Tasks::of(target).read("2026-12-01T02:03:04.000Z")?;
    /// assert!(list.tasks.iter().all(|task| task.id > 0));
    /// # Ok::<(), pollscope_attach::Obstacle>(())
    /// ```
    ///
    /// # Errors
    /// When the process is gone.
    pub fn read(&mut self, read_at: &str) -> Result<TaskList, Obstacle> {
        let begin = Instant::now();
        let read = self.read_once()?;
        let took = begin.elapsed();
        let mut list = self.list(read, read_at);
        list.took_ns = pollscope_base::duration::to_ns(took);
        list.deadlocks = list.stuck();
        // Nothing of it goes on: what was so at one moment is so.
        let more = if self.target.process().core().is_some() { 0 } else { READINGS - 1 };
        for _ in 0..more {
            if list.deadlocks.is_empty() {
                break;
            }
            std::thread::sleep(BETWEEN);
            let again = self.read_once()?;
            let again = self.list(again, read_at);
            let still = again.stuck();
            list.deadlocks
                .retain(|stuck| still.iter().any(|other| is_same(stuck, other, &list_of(&list.tasks, &again.tasks))));
        }
        Ok(list)
    }

    fn read_once(&mut self) -> Result<Read, Obstacle> {
        let pid = self.target.process().pid();
        tasks::read(self.target.namer()).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Obstacle::NoProcess { pid },
            _ => Obstacle::Unreadable { pid, why: pollscope_base::reason(&error) },
        })
    }

    fn list(&mut self, read: Read, read_at: &str) -> TaskList {
        let missing = self.missing(&read);
        let threads = threads::of(self.target.process(), self.target.namer());
        let Read { tasks, torn, torn_chains, of_runtime, is_limited, .. } = read;
        TaskList {
            tasks_schema: TaskList::SCHEMA,
            pid: self.target.process().pid(),
            name: self.target.name().to_owned(),
            tokio: self.target.tokio().map(str::to_owned),
            read_at: read_at.to_owned(),
            took_ns: 0,
            tasks,
            torn,
            torn_chains,
            of_runtime,
            limited: is_limited,
            deadlocks: Vec::new(),
            threads,
            ended: self.target.process().core().is_some(),
            signal: self.target.process().core().and_then(|core| core.signal()),
            missing,
        }
    }

    fn missing(&mut self, read: &Read) -> Vec<String> {
        let mut missing = self.target.notes();
        let cut = self.target.process().core().map_or(0, |core| core.cut());
        if cut > 0 {
            missing.push(format!(
                "the core file breaks off: {cut} bytes of the process's memory are not in it, and what was there is not told"
            ));
        }
        if self.target.tokio().is_some_and(|version| minor(version).is_some_and(|minor| minor < OLDEST)) {
            missing.push(format!(
                "its Tokio is older than 1.{OLDEST}, and its tasks do not say where their parts are: none is found"
            ));
        } else if !read.has_types && !read.tasks.is_empty() {
            missing.push(
                "its debug information has no types, so that it is not known where tasks are suspended: build it with `debug = \"full\"` \
                 in its profile, or give such a copy of the same build with `--symbols`; the program that runs may be stripped"
                    .to_owned(),
            );
        }
        if let Some((_, Some(note @ CaptureNote::ProgramUnreadable(_)))) = self.target.names() {
            missing.push(note.to_string());
        }
        missing
    }
}

/// The minor number of a version 1.
fn minor(version: &str) -> Option<u32> {
    let (major, rest) = version.split_once('.')?;
    rest.split('.').next()?.parse().ok().filter(|_| major == "1")
}

/// What two readings say of the tasks that both have.
fn list_of<'a>(one: &'a [WaitingTask], other: &'a [WaitingTask]) -> impl Fn(u64) -> bool + 'a {
    let find = |all: &'a [WaitingTask], id| {
        all.binary_search_by_key(&id, |task: &WaitingTask| task.id).ok().map(|at| &all[at])
    };
    move |id| match (find(one, id), find(other, id)) {
        (Some(one), Some(other)) => one.holds == other.holds && is_same_chain(one.waits.as_ref(), other.waits.as_ref()),
        _ => false,
    }
}

/// Whether it is the same cycle, and none of it went on meanwhile.
fn is_same(one: &Stuck, other: &Stuck, is_same_task: &impl Fn(u64) -> bool) -> bool {
    one.cycle == other.cycle && one.cycle.iter().all(|id| is_same_task(*id))
}
