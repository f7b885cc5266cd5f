//! What the threads of a process do, or were doing when it ended.

use pollscope_base::{SeenThread, ThreadDoes};
use pollscope_stacks::core_file::CoreThread;
use pollscope_stacks::look::{Look, Looker, Namer, call_of, futex_of};
use pollscope_stacks::memory;
use pollscope_stacks::poll::Kind;
use pollscope_stacks::process::Process;
use pollscope_stacks::sample::Copied;
use pollscope_stacks::thread::ThreadRef;
use pollscope_stacks::unwind::StackPointers;

/// So many threads are told of.
const MOST: usize = 10_000;
/// So much of a stack is looked at first, in bytes; and of one that is deeper.
const FIRST: usize = 256 << 10;

/// All threads: of a core file in its order, of a process that runs by their numbers. A thread that runs does not tell where.
pub(crate) fn of(process: Process, namer: &mut Namer) -> Vec<SeenThread> {
    let mut looker = Looker::new(process);
    if let Some(core) = process.core() {
        return core.threads().iter().take(MOST).map(|thread| stopped(thread, process, &mut looker, namer)).collect();
    }
    let mut tids = process.tids().unwrap_or_default();
    tids.sort_unstable();
    tids.into_iter().take(MOST).map(|tid| blocked(&process.thread(tid), &mut looker, namer)).collect()
}

fn blocked(thread: &ThreadRef, looker: &mut Looker, namer: &mut Namer) -> SeenThread {
    match looker.look_blocked(thread, 0) {
        Some((look, pointers)) => seen(thread.tid, (&look, &pointers), &[], looker, namer),
        None => unknown(thread.tid),
    }
}

fn unknown(tid: u32) -> SeenThread {
    SeenThread {
        tid,
        does: None,
        task: None,
        future: None,
        call: None,
        futex: None,
        line: None,
        function: None,
        stack: Vec::new(),
    }
}

fn stopped(thread: &CoreThread, process: Process, looker: &mut Looker, namer: &mut Namer) -> SeenThread {
    let call = thread.syscall.map(|(number, args)| call_of(&process, number, args));
    let looked = look(thread, process, looker, FIRST);
    let is_cut = looked.as_ref().is_some_and(|(look, _)| look.stack.as_ref().is_some_and(|stack| stack.is_cut()));
    let looked = if is_cut { look(thread, process, looker, memory::MOST as usize) } else { looked };
    let futex = thread.syscall.and_then(|(number, args)| futex_of(number, args)).map(hex);
    let Some((mut look, pointers)) = looked else { return SeenThread { call, futex, ..unknown(thread.tid) } };
    look.call.clone_from(&call);
    let registers: Vec<u64> = thread.registers.values().collect();
    SeenThread { futex, ..seen(thread.tid, (&look, &pointers), &registers, looker, namer) }
}

/// What a look at a thread shows.
fn seen(
    tid: u32,
    (look, pointers): (&Look, &StackPointers),
    registers: &[u64],
    looker: &mut Looker,
    namer: &mut Namer,
) -> SeenThread {
    let named = namer.name(look);
    let polls = named.poll_returns_to.filter(|_| matches!(named.kind, Some(Kind::Task | Kind::Local)));
    let task = polls.and_then(|returns_to| looker.task(look, pointers, registers, returns_to));
    SeenThread {
        tid,
        does: named.kind.map(does),
        task: task.map(|task| task.id),
        future: named.root_future,
        call: look.call.clone(),
        futex: look.futex.map(|wait| hex(wait.address)),
        line: named.blocking_line,
        function: named.function,
        stack: named.stack,
    }
}

/// As a lock's address is told.
fn hex(address: u64) -> String {
    format!("{address:#x}")
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
