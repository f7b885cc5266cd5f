//! All tasks of a process: what each is doing, and what it waits for, from its memory alone. Nothing of it stops.
//!
//! A task begins with a header, which leads to a table of functions, of which the first polls it: one table for each type of future that
//! is spawned. So tables are found among a program's constants, by what their functions are called; headers among what it has
//! allocated, by the address of a table; and what is known of the type of a table's future says where the task is suspended. Tokio 1.28 and later.
//!
//! A process goes on while it is read. What is told of a task was read twice, and was the same both times.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use pollscope_base::{Await, Hold, RunBy, TaskState, WaitingTask};

use crate::address::CodeAddress;
use crate::look::Namer;
use crate::maps::{Maps, regions};
use crate::memory;
use crate::perf::now_ns;
use crate::poll::{self, future_name};
use crate::process::Process;
use crate::symbolize::TypeId;
use crate::task::{RUNNING, Read, Table};

mod chain;
mod heap;
mod leaf;
mod memory_copy;
mod tables;
mod value;

use chain::Walk;
use heap::{CANCELLED, COMPLETE, Header, NOTIFIED, Pages, Search};
use leaf::Known;
use memory_copy::Copied;
use value::{Typed, Value};

/// A task that runs is tried so often: it may be suspended a moment later.
const TRIES: usize = 3;

/// All tasks of a process, as they were when each was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tasks {
    /// By their ids.
    pub tasks: Vec<WaitingTask>,
    /// How many more there were whose memory changed whenever it was read, or that ended meanwhile.
    pub torn: u64,
    /// How many of those that are told of are suspended, with their await chains left out for the same reason.
    pub torn_chains: u64,
    /// How many belong to Tokio itself: what its workers are made of.
    pub of_runtime: u64,
    /// Whether there may be more: no more than a million are told of.
    pub is_limited: bool,
    /// Whether there are types, without which it is not known where tasks are suspended.
    pub has_types: bool,
}

/// All tasks that there are now in the process whose code this names.
///
/// # Errors
/// When the process is gone, or not ours to look at.
pub fn read(namer: &mut Namer) -> io::Result<Tasks> {
    Reader { process: namer.process(), namer }.read()
}

/// Reads the tasks of a process.
struct Reader<'n> {
    process: Process,
    namer: &'n mut Namer,
}

/// What is known of the futures of one table.
struct Kind {
    table: Table,
    future: Option<String>,
    run_by: Option<RunBy>,
    is_of_runtime: bool,
    /// Where a future is in its task, and its type.
    of: Option<(u64, TypeId)>,
    /// Its tasks begin at multiples of this; 1 where that is not known.
    alignment: u64,
    code: u64,
}

/// What debug information tells of the tasks of a table.
struct Layout {
    /// The future's type, whole.
    name: String,
    of: TypeId,
    /// Where the future is, from the header on.
    offset: u64,
    /// 1 where that is not told.
    alignment: u64,
}

impl Reader<'_> {
    fn read(&mut self) -> io::Result<Tasks> {
        let process = self.process;
        let read = move |address: u64, into: &mut [u8]| memory::read(&process, address, into);
        // A library may have been unloaded since, and another one be in its place.
        self.namer.parts().0.refresh()?;
        let (regions, maps) = (regions(&process)?, Maps::read(&process)?);
        if regions.is_empty() {
            // Its number stays until its parent takes notice.
            return Err(io::Error::new(io::ErrorKind::NotFound, "it ended, and has no memory any more"));
        }
        let mut kinds = HashMap::new();
        for (address, table) in tables::tables(&regions, &maps, &read) {
            kinds.extend(self.kind(table, &read).map(|kind| (address, kind)));
        }
        let tables = kinds.iter().map(|(address, kind)| (*address, kind.table)).collect();
        let stacks = heap::stacks(&process, &regions, &read);
        let pages = Pages::of(&process);
        let present = |range: &Range<u64>| pages.present(range);
        let search = Search { tables: &tables, stacks: &stacks, present: &present, read: &read };
        let headers = search.headers(&regions);
        process.confirm().map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
        let mut found = Tasks {
            tasks: Vec::with_capacity(headers.len()),
            torn: 0,
            torn_chains: 0,
            of_runtime: 0,
            is_limited: headers.len() >= heap::MOST,
            has_types: kinds.values().any(|kind| kind.of.is_some()),
        };
        for header in headers {
            let Some(kind) = kinds.get(&header.table).filter(|kind| header.at % kind.alignment == 0) else { continue };
            if kind.is_of_runtime {
                found.of_runtime += 1;
                continue;
            }
            match self.task(header.at, kind, &kinds, &read) {
                Some((task, is_torn)) => {
                    found.tasks.push(task);
                    found.torn_chains += u64::from(is_torn);
                }
                None => found.torn += 1,
            }
        }
        found.tasks.sort_by_key(|task| task.id);
        Ok(found)
    }

    /// What is known of a table; `None` if it is none of a task.
    fn kind(&mut self, table: Table, read: Read) -> Option<Kind> {
        let mut code = table.functions[0];
        let mut named = self.named(code);
        // Where a program is compiled in parts, that function is often but a jump to another one.
        if let Some(target) = jump(code, read)
            && named.iter().any(|function| is_poll(function))
        {
            (code, named) = (target, self.named(target));
        }
        let poll = named.iter().find(|function| is_poll(function))?;
        let arguments: Vec<String> = future_name::arguments(poll).into_iter().map(str::to_owned).collect();
        let layout = self.layout(code, &table);
        let future = layout.as_ref().map(|layout| layout.name.clone()).or_else(|| arguments.first().cloned());
        let pretty = future.as_deref().map(future_name::pretty);
        Some(Kind {
            is_of_runtime: pretty.as_deref().is_some_and(|name| name.starts_with("tokio::runtime::")),
            future: pretty.map(future_name::abridged),
            run_by: arguments.get(1).and_then(|scheduler| run_by(scheduler)),
            alignment: layout.as_ref().map_or(1, |layout| layout.alignment),
            of: layout.map(|layout| (layout.offset, layout.of)),
            table,
            code,
        })
    }

    /// The functions that an address is in, with their type arguments and whole paths.
    fn named(&mut self, code: u64) -> Vec<String> {
        let (symbolizer, rules, _) = self.namer.parts();
        let symbols = symbolizer.symbolize(CodeAddress::Exact(code));
        let paths = poll::functions(&[(CodeAddress::Exact(code), symbols.clone())], rules);
        let whole = symbols.frames.iter().filter_map(|frame| frame.function.clone());
        // A bare name has the module of its file.
        whole
            .zip(paths)
            .map(|(function, path)| match function.split_once('<') {
                Some((name, arguments)) if !name.is_empty() && !name.contains("::") => format!("{path}<{arguments}"),
                _ => function,
            })
            .collect()
    }

    fn layout(&mut self, code: u64, table: &Table) -> Option<Layout> {
        let mut types = self.namer.parts().0.types(code)?;
        let arguments = types.of_function(code);
        let argument = |wanted: &str| arguments.iter().find(|(name, _)| name == wanted).map(|(_, of)| *of);
        let future = argument("T")?;
        let name = types.get(future)?.name.clone();
        let scheduler = types.get(argument("S")?)?.name.clone();
        let cells = types.named(&format!("tokio::runtime::task::core::Cell<{name}, {scheduler}>"));
        let mut is_of_it =
            |cell: &TypeId| types.get(*cell).is_some_and(|cell| cell.arguments.iter().any(|(_, of)| *of == future));
        let cell = cells.into_iter().find(|cell| is_of_it(cell))?;
        // The table was made for this very type, or its function polls several that are alike.
        let is_of_table = types.get(cell)?.field("trailer")?.offset == table.trailer;
        let offset = stage(&mut types, cell, table.id).filter(|_| is_of_table)?;
        let alignment = types.get(cell)?.alignment.filter(|alignment| alignment.is_power_of_two());
        Some(Layout { name: name.to_string(), offset, of: future, alignment: alignment.unwrap_or(1) })
    }

    /// A task, and whether its chain could not be read in one piece.
    fn task(&mut self, at: u64, kind: &Kind, kinds: &HashMap<u64, Kind>, read: Read) -> Option<(WaitingTask, bool)> {
        let mut last = None;
        for _ in 0..TRIES {
            let copied = Copied::new(read);
            let within = |address: u64, into: &mut [u8]| copied.read(address, into);
            let header = Header::read(at, &within)?;
            let of = kind.table.task(at, &within)?;
            if !kinds.get(&header.table).is_some_and(|other| std::ptr::eq(other, kind)) {
                return None;
            }
            let state = state(header.state);
            let (waits, holds) = match (state, kind.of) {
                (TaskState::Idle | TaskState::Ready, Some(of)) => self.chain(at, kind, of, kinds, &copied),
                _ => (None, Vec::new()),
            };
            let task = WaitingTask {
                id: of.id,
                state,
                runtime: (header.owner != 0).then_some(header.owner),
                // Whatever is no closure has a runtime, or a `LocalSet`.
                run_by: kind.run_by.or((header.owner == 0).then_some(RunBy::BlockingPool)),
                future: kind.future.clone(),
                size_bytes: of.size,
                spawned_at: of.spawned_at,
                is_cancelled: header.state & CANCELLED != 0,
                waits,
                holds,
            };
            if copied.is_unchanged() {
                return Some((task, false));
            }
            last = Some(task);
        }
        // Its header alone is one look.
        last.map(|task| (WaitingTask { waits: None, holds: Vec::new(), ..task }, true))
    }

    fn chain(
        &mut self,
        at: u64,
        kind: &Kind,
        (offset, of): (u64, TypeId),
        kinds: &HashMap<u64, Kind>,
        copied: &Copied,
    ) -> (Option<Await>, Vec<Hold>) {
        let (symbolizer, rules, shown) = self.namer.parts();
        let shown = |file: &str| shown.path(file, None, rules).to_owned();
        let task = |header: u64| {
            let found = Header::read(header, &|address, into| copied.read(address, into))?;
            let of = kinds.get(&found.table)?.table.task(header, &|address, into| copied.read(address, into))?;
            Some(of.id)
        };
        // Nothing says when a process left what it did.
        let now_ns = self.process.core().is_none().then(now_ns);
        let known = Known { now_ns, task: &task };
        let Some(mut types) = symbolizer.types(kind.code) else { return (None, Vec::new()) };
        let typed = Typed { types: &mut types, memory: copied };
        let mut walk = Walk::new(typed, &known, &shown);
        let Some(at) = at.checked_add(offset) else { return (None, Vec::new()) };
        let waits = walk.root(Value { at, of });
        (waits, walk.holds)
    }
}

/// Where the future is in a task: in the variant of its stage that says that it is not over.
fn stage(types: &mut crate::symbolize::Types, cell: TypeId, id: u64) -> Option<u64> {
    let mut at = 0_u64;
    let mut of = cell;
    for name in ["core", "stage"] {
        let fields = types.get(of)?;
        let field = fields.field(name)?;
        (at, of) = (at.checked_add(field.offset)?, field.of);
    }
    // An `UnsafeCell` or a type of Tokio's around it.
    for _ in 0..4 {
        let inner = types.get(of)?;
        if let Some(running) = inner.variant_named("Running") {
            let future = types.get(running.of)?.field("__0")?.offset;
            at = at.checked_add(running.offset)?.checked_add(future)?;
            return (at > id).then_some(at);
        }
        let field = inner.only_field()?;
        (at, of) = (at.checked_add(field.offset)?, field.of);
    }
    None
}

fn state(word: u64) -> TaskState {
    if word & COMPLETE != 0 {
        TaskState::Complete
    } else if word & RUNNING != 0 {
        TaskState::Running
    } else if word & NOTIFIED != 0 {
        TaskState::Ready
    } else {
        TaskState::Idle
    }
}

fn is_poll(function: &str) -> bool {
    let path = function.split('<').next().unwrap_or(function).trim_end_matches("::");
    path == "tokio::runtime::task::raw::poll"
        || function.starts_with("tokio::runtime::task::harness::") && function.contains("poll")
        || function.starts_with("<tokio::runtime::task::harness::Harness<") && function.ends_with("::poll")
}

/// Where a function goes that is nothing but a jump.
fn jump(code: u64, read: Read) -> Option<u64> {
    const JUMP: u8 = 0xe9;
    let mut bytes = [0; 5];
    if read(code, &mut bytes) < bytes.len() || bytes[0] != JUMP {
        return None;
    }
    let distance = i32::from_le_bytes(bytes[1..].try_into().ok()?);
    code.checked_add(5)?.checked_add_signed(i64::from(distance))
}

/// What runs a task, by the type of its scheduler.
fn run_by(scheduler: &str) -> Option<RunBy> {
    let is = |part: &[&str]| part.iter().any(|part| scheduler.contains(part));
    if is(&["tokio::task::local::"]) {
        Some(RunBy::LocalSet)
    } else if is(&["::BlockingSchedule", "::NoopSchedule"]) {
        Some(RunBy::BlockingPool)
    } else if is(&["::multi_thread", "::thread_pool"]) {
        Some(RunBy::MultiThread)
    } else if is(&["::current_thread", "::basic_scheduler"]) {
        Some(RunBy::CurrentThread)
    } else {
        None
    }
}

#[cfg(all(test, supported))]
mod tests;
