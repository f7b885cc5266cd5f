//! The words of reports, each in a sentence or two.

/// A word of reports.
#[derive(Debug)]
pub struct Term {
    /// As reports have it.
    pub name: &'static str,
    /// As gates, recordings and people have it.
    pub also: &'static [&'static str],
    /// What it means.
    pub text: &'static str,
}

impl Term {
    /// Whether it is called so, in upper or lower case, with blanks, `-` or `_` between its words.
    pub(super) fn is_called(&self, typed: &str) -> bool {
        let plain = |text: &str| text.to_lowercase().replace(['-', '_'], " ");
        let typed = plain(typed.trim());
        self.names().any(|name| plain(name) == typed)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.also.iter().copied())
    }
}

macro_rules! glossary {
    ($($name:literal $([$($also:literal),*])? = $text:literal;)*) => {
        /// All of them, those that explain the others first.
        pub const GLOSSARY: &[Term] = &[$(Term { name: $name, also: &[$($($also),*)?], text: $text }),*];
    };
}

glossary! {
    "loop" ["event loop"] = "A thread that runs tasks by turns: a worker of a Tokio runtime. While one task holds it, the others wait.";
    "poll" ["polls"] = "One call of a task's `Future::poll` by the runtime: the work from one `.await` that waits to the next.";
    "poll time" = "How long a poll lasted. In gates `polls`.";
    "slow poll" ["slow polls"] = "A poll that lasted at least the threshold (`--slow`, 100 ms unless set): it held up whatever else was \
        ready. In gates `slow_polls`.";
    "slow polls dropped" = "Slow polls that are counted, but not listed one by one: there were too many at once.";
    "stall" = "A slow poll that is seen while it still runs.";
    "schedule latency" = "From the moment a task is woken to the start of its poll: how long a ready task waited for the loop. Known only \
        of a build with `--cfg tokio_unstable`.";
    "loop lag" ["lag"] = "How late a periodic timer on the loop fires. It is what any timer or heartbeat of the service feels. Corrected \
        for coordinated omission: a timer that was held up for a second missed all its ticks of that second, and each counts.";
    "raw lag" ["raw", "lag raw"] = "The loop lag of the ticks that fired, without those that a stall swallowed.";
    "coordinated omission" = "When who measures waits with what is measured, and so asks less often just when answers are slow. Lag and \
        response times are corrected for it.";
    "response time" ["response", "outside client", "outside clients"] = "How long an outside client waits for an echo server on the loop, from when the request was due to be sent.";
    "write latency" = "From when a simulated writer wrote a line to when it appeared in the merged output.";
    "pool wait" = "How long a closure waited for a thread of the blocking pool (`spawn_blocking`).";
    "busy" ["loop busy"] = "The share of the time in which the loop polled tasks.";
    "loops' time" ["wall-clock profile", "profile", "parked"] = "Where the threads of loops were at looks from outside, whatever they did: \
        parked, with nothing to poll; in a poll, off the CPU or on it; in the scheduler. Each look stands for as much time.";
    "busy stretch" ["busy stretches"] = "The time from one wait of a worker for events to the next: many short polls in a row hold up the \
        loop as one long poll does.";
    "longest poll" = "Over time: the longest poll that ended in each moment.";
    "unanswered" = "Requests of the outside client that got no answer before the run was over.";
    "throughput" = "The bytes merged in a second.";
    "price of the fix" ["price"] = "What the better mode costs: throughput, time, CPU time, context switches.";
    "blocking line" ["who blocked the loop"] = "The innermost line of your own code on the stack of a poll that was slow.";
    "cause" = "Why a slow poll took long, told only if it took more than half of the poll for sure: `pollscope explain` lists them.";
    "waits" ["waited", "who waited", "blame"] = "What slow polls made other tasks wait, added up: ten tasks that waited for 1 s each are \
        10 waits and 10 s. One task can wait more than once.";
    "spawn site" ["spawn sites"] = "The line where a task was spawned. Its polls are added up there.";
    "look" ["looks", "watchdog"] = "A thread of the instrument, the watchdog, looks at a late poll again and again: where its thread is, \
        and in which call. `6 of 6 looks here` is how often it was seen at that line. Where it came too late, no line is known.";
    "worker" ["workers"] = "A thread of a Tokio runtime that polls tasks; a current-thread runtime has one.";
    "suppressed" = "Lines that were held back, as one place gets five a minute: what they told of is counted, and in the report.";
    "unknown" ["not known"] = "Nothing showed it for sure. A slow poll whose line is unknown is told with the line that spawned its \
        task: `task of src/main.rs:7`.";
    "holder" = "The thread that has the lock that a slow poll waited for.";
    "mode" ["modes", "naive", "offloaded"] = "How the lab's pipeline does its work: `naive` (blocking calls on the loop), `offloaded` (a thread that owns the \
        file), `spawn-blocking`, `tokio-fs` and `block-in-place`.";
    "round" ["rounds"] = "One run of every mode. Modes take turns round by round, and a ratio gets an interval from three rounds on.";
    "block" ["blocks"] = "Of a service that is compared: some seconds of its time, which stand for a round, as seconds that follow each \
        other are alike.";
    "load" ["load differed"] = "Of a service that is compared: its polls of a second. Where that differs, what more load makes worse by \
        itself counts only if it went the other way.";
    "ratio" ["vs best", "lower", "higher"] = "How many times lower or higher, never below 1. `vs best` is how many times the best \
        mode's value a mode has.";
    "percentile" ["percentiles", "p50", "p90", "p99", "p99.9", "p999"] = "p99 is the value that 99 of 100 values do not exceed. `—`: too \
        few values for it.";
    "finding" ["findings"] = "What a run shows, with a code such as PS001 and what to do: `pollscope explain PS001`.";
    "gate" ["gates"] = "An expectation that decides the exit code, such as `lag.p99 < 10ms`: `pollscope help gates`.";
    "inconclusive" = "The run is too short to tell, or the noise is too great.";
    "baseline" = "A saved recording that later runs are compared with: `--save-baseline`, `--baseline`.";
    "recording" = "All that was seen, as one JSON file: `--json` writes it, `report` and `compare` read it.";
    "unverifiable" = "A merge that cannot be confirmed: an input changed, or cannot be read again.";
    "coverage" = "What this build could see, and what it is blind to.";
}
