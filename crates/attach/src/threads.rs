//! What the threads of a process were doing when it ended.

use pollscope_base::{StoppedThread, ThreadDoes};
use pollscope_stacks::core_file::CoreThread;
use pollscope_stacks::look::{Look, Looker, Namer, call_of};
use pollscope_stacks::memory;
use pollscope_stacks::poll::Kind;
use pollscope_stacks::process::Process;
use pollscope_stacks::sample::Copied;
use pollscope_stacks::unwind::StackPointers;

/// So many threads are told of.
const MOST: usize = 10_000;
/// So much of a stack is looked at first, in bytes; and of one that is deeper.
const FIRST: usize = 256 << 10;

/// All threads of a core file, in its order; none of a process that runs.
pub(crate) fn of(process: Process, namer: &mut Namer) -> Vec<StoppedThread> {
    let Some(core) = process.core() else { return Vec::new() };
    let mut looker = Looker::new(process);
    core.threads().iter().take(MOST).map(|thread| stopped(thread, process, &mut looker, namer)).collect()
}

fn stopped(thread: &CoreThread, process: Process, looker: &mut Looker, namer: &mut Namer) -> StoppedThread {
    let call = thread.syscall.map(|(number, args)| call_of(&process, number, args));
    let looked = look(thread, process, looker, FIRST);
    let is_cut = looked.as_ref().is_some_and(|(look, _)| look.stack.as_ref().is_some_and(|stack| stack.is_cut()));
    let looked = if is_cut { look(thread, process, looker, memory::MOST as usize) } else { looked };
    let Some((mut look, pointers)) = looked else {
        return StoppedThread {
            tid: thread.tid,
            does: None,
            task: None,
            future: None,
            call,
            line: None,
            function: None,
            stack: Vec::new(),
        };
    };
    look.call.clone_from(&call);
    let named = namer.name(&look);
    let registers: Vec<u64> = thread.registers.values().collect();
    let polls = named.poll_returns_to.filter(|_| matches!(named.kind, Some(Kind::Task | Kind::Local)));
    let task = polls.and_then(|returns_to| looker.task(&look, &pointers, &registers, returns_to));
    StoppedThread {
        tid: thread.tid,
        does: named.kind.map(does),
        task: task.map(|task| task.id),
        future: named.root_future,
        call,
        line: named.blocking_line,
        function: named.function,
        stack: named.stack,
    }
}

fn look(thread: &CoreThread, process: Process, looker: &mut Looker, most: usize) -> Option<(Look, StackPointers)> {
    let mut stack = vec![0; most];
    let length = memory::read(&process, thread.registers.sp()?, &mut stack);
    stack.truncate(length);
    looker.look_at_sample(Copied { process, registers: thread.registers, stack: &stack, most }, 0)
}

fn does(kind: Kind) -> ThreadDoes {
    match kind {
        Kind::Task | Kind::Local => ThreadDoes::Poll,
        Kind::Root => ThreadDoes::BlockOn,
        Kind::BlockInPlace => ThreadDoes::BlockInPlace,
        Kind::BlockingPool => ThreadDoes::BlockingPool,
        Kind::Idle => ThreadDoes::Parked,
        Kind::Scheduler => ThreadDoes::Scheduler,
        Kind::NotTokio => ThreadDoes::Other,
    }
}
