//! Every piece of advice is followed: of each row of the table one program blocks as the row says, and others do the same work with
//! what the row says to do. The report of the first has the finding and the row's words; those of the others have neither.

mod allocator;
mod computes;
mod disk;
mod judge;
mod machine;
mod program;
mod resolver;
mod streams;
mod waits;

use std::path::Path;
use std::time::Duration;

use pollscope_base::Cause;
use pollscope_record::fixture;

use crate::faults::disk::Call;
use program::{Program, THRESHOLD};

/// A program that blocks as a row of the table says, and what becomes of it with the row's advice.
struct Case {
    cause: Cause,
    /// The calls in which it blocks, whichever the C library makes; empty where the row is of no call.
    calls: &'static [&'static str],
    /// What only that row says.
    says: &'static str,
    /// Code that the row names and that is no fix.
    leaves: &'static [&'static str],
    threshold: Duration,
    workers: usize,
    around: Around,
    before: Program,
    /// The row's words, without backticks, and the program that follows them.
    afters: &'static [(&'static str, Program)],
}

/// What the one who starts a program has to do with it.
enum Around {
    Nothing,
    /// A variable of its environment.
    Variable(&'static str, &'static str),
    /// A disk on which calls of this kind take long.
    SlowDisk(Call),
    /// A DNS server that answers late.
    Resolver,
    /// Whoever reads its standard output pauses.
    SlowReader,
    /// A control group with a CPU quota, which the fix raises.
    Quota,
    /// It is stopped in the midst of its poll, and with the fix it is not.
    Stop,
}

/// Lines that a program writes to standard output begin so.
const LOG: &str = "a line of the log ";
/// So many: no pipe holds them.
const LOGGED: u64 = 2_000;

impl Case {
    /// A program of a row of that cause, in its simplest form.
    const fn of(cause: Cause) -> Case {
        Case {
            cause,
            calls: &[],
            says: "",
            leaves: &[],
            threshold: THRESHOLD,
            workers: 2,
            around: Around::Nothing,
            before: |_| Box::pin(async { 0 }),
            afters: &[],
        }
    }

    fn is_of(&self, cause: Cause, fix: &str) -> bool {
        self.cause == cause && fix.contains(self.says)
    }

    /// The words of its row.
    fn fix(&self) -> &'static str {
        let row = fixture::advice().into_iter().find(|(cause, fix)| self.is_of(*cause, fix));
        row.expect("every program is of a row").1
    }
}

/// Makes a test of each, and a list of them.
macro_rules! cases {
    ($($name:ident: $case:expr,)*) => {
        const CASES: &[(&str, Case)] = &[$((stringify!($name), $case)),*];
        $(
            #[test]
            fn $name() {
                judge::check(stringify!($name), &$case);
            }
        )*
    };
}

cases! {
    dns: waits::DNS,
    sleep: waits::SLEEP,
    sync: disk::SYNC,
    stdout: streams::STDOUT,
    write: streams::WRITE,
    read_of_a_pipe: streams::READ,
    read_of_a_file: disk::READ,
    open_of_a_fifo: streams::OPEN,
    creation_of_a_file: disk::CREATE,
    close_of_a_file: disk::CLOSE,
    socket: streams::SOCKET,
    process: waits::PROCESS,
    file_lock: waits::FLOCK,
    another_call: streams::OTHER,
    lock: waits::LOCK,
    channel: waits::CHANNEL,
    condition: waits::CONDITION,
    thread_end: waits::JOINED,
    lock_of_the_allocator: allocator::ALLOCATOR,
    cpu: computes::CPU,
    kernel: computes::KERNEL,
    page_fault: disk::MAPPED,
    preempted: machine::PREEMPTED,
    throttled: machine::THROTTLED,
    suspended: machine::SUSPENDED,
    block_in_place: waits::IN_PLACE,
    panic: computes::PANIC,
}

/// One of these programs, where this is started as one.
#[test]
fn program_of_a_case() {
    let (Ok(asked), Some(folder)) = (std::env::var(judge::ASKED), std::env::var_os(judge::FOLDER)) else { return };
    let (name, form) = asked.split_once('/').expect("a case and a form");
    let (_, case) = CASES.iter().chain(&[FIRST]).find(|(known, _)| *known == name).expect("a case");
    let program = match form.parse::<usize>().expect("a number").checked_sub(1) {
        None => case.before,
        Some(after) => case.afters[after].1,
    };
    program::run(program, case, Path::new(&folder));
}

/// Its watchdog waits for the kernel as well, and knows nothing of the poll: that is no stop of the process.
const FIRST: (&str, Case) = ("first", computes::FIRST);

#[test]
fn memory_that_is_given_back_is_no_stop() {
    judge::is_never_stopped(FIRST.0, &FIRST.1);
}

#[test]
fn every_row_of_the_table_has_a_program_that_follows_it() {
    let rows = fixture::advice();
    for (name, case) in CASES {
        let of: Vec<_> = rows.iter().filter(|(cause, fix)| case.is_of(*cause, fix)).collect();
        assert_eq!(of.len(), 1, "{name} is of one row: {of:?}");
        let fix = of[0].1.replace('`', "");
        assert!(!case.afters.is_empty(), "{name}: nothing follows the advice");
        for (words, _) in case.afters {
            assert!(fix.contains(words), "{name}: its row does not say `{words}`: {fix}");
        }
    }
    for (cause, fix) in rows {
        let cases = || CASES.iter().map(|(_, case)| case).filter(|case| case.is_of(cause, fix));
        assert!(cases().next().is_some(), "no program for: {fix}");
        for code in fix.split('`').skip(1).step_by(2) {
            let followed = |case: &Case| case.afters.iter().any(|(words, _)| words.contains(code));
            assert!(
                cases().any(|case| followed(case) || case.leaves.contains(&code)),
                "nothing follows `{code}`: {fix}"
            );
        }
    }
}
