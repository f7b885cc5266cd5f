//! What is compared, under which loads.

/// An instrument, as a row of the table.
#[derive(Debug)]
pub(crate) struct Instrument {
    pub(crate) name: &'static str,
    /// What its program calls it.
    pub(crate) argument: &'static str,
    /// The package of its program; `None` for Python.
    pub(crate) package: Option<&'static str>,
    /// What it is compared with.
    pub(crate) base: &'static str,
    pub(crate) what: &'static str,
}

const fn rust(name: &'static str, package: &'static str, what: &'static str) -> Instrument {
    Instrument { name, argument: name, package: Some(package), base: "bare", what }
}

const fn python(name: &'static str, what: &'static str) -> Instrument {
    Instrument { name, argument: name, package: None, base: "asyncio", what }
}

pub(crate) const INSTRUMENTS: [Instrument; 19] = [
    rust("bare", "plain", "a runtime that nobody looks at"),
    // A claim is only as good as these two are the same.
    Instrument {
        argument: "bare",
        ..rust("bare-again", "plain", "bare once more: how far apart two of the same come out")
    },
    rust(
        "second-thread",
        "plain",
        "bare, and a thread that sleeps: a process of one thread is spared some of a system call",
    ),
    rust("empty-hooks", "plain", "hooks before and after each poll that do nothing"),
    rust("two-clock-reads", "plain", "hooks that call Instant::now() and nothing else"),
    rust(
        "two-counter-reads",
        "plain",
        "hooks that read the processor's counter and nothing else: no poll can be timed with less",
    ),
    rust("tokio-histogram", "plain", "Builder::enable_metrics_poll_time_histogram"),
    rust("tokio-tracking", "tracking", "Builder::track_task_schedule_latency, read by nobody"),
    rust("tracking-and-counter", "tracking", "both: less cannot measure durations and schedule latency"),
    rust("pollscope-durations", "pollscope", "the probe without schedule latency and capture"),
    rust("pollscope-no-latency", "pollscope", "the probe with watchdog and capture, without schedule latency"),
    rust("pollscope-latency", "pollscope", "the probe with schedule latency, without capture"),
    rust("pollscope-capture", "pollscope", "the probe as it is by default: schedule latency, watchdog and capture"),
    rust("task-monitor", "task-monitor", "tokio-metrics: every task in a TaskMonitor"),
    rust("tokio-blocked", "tokio-blocked", "its layer alone, warnings from 100 ms on"),
    rust("dial9", "dial9", "its runtime hooks alone, into memory"),
    rust("console", "console", "console-subscriber, its server on loopback without a client"),
    python("asyncio", "asyncio without its debug mode; a poll is a callback"),
    python("asyncio-debug", "asyncio with its debug mode, beside asyncio without it"),
];

pub(crate) fn instrument(name: &str) -> Option<&'static Instrument> {
    INSTRUMENTS.iter().find(|instrument| instrument.name == name)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Load {
    Yield1,
    Yield4,
    Spawn1,
    Spawn4,
    EchoFull,
    EchoHalf,
}

pub(crate) const LOADS: [Load; 6] =
    [Load::Yield1, Load::Yield4, Load::Spawn1, Load::Spawn4, Load::EchoFull, Load::EchoHalf];

impl Load {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Load::Yield1 => "yield-1",
            Load::Yield4 => "yield-4",
            Load::Spawn1 => "spawn-1",
            Load::Spawn4 => "spawn-4",
            Load::EchoFull => "echo-full",
            Load::EchoHalf => "echo-half",
        }
    }

    pub(crate) fn is_echo(self) -> bool {
        matches!(self, Load::EchoFull | Load::EchoHalf)
    }

    /// Whether an instrument can be under it at all.
    pub(crate) fn suits(self, instrument: &Instrument) -> bool {
        instrument.package.is_some() || self == Load::Yield1
    }

    /// How many units a storm has, of so many yields for the cheap ones.
    pub(crate) fn units(self, instrument: &Instrument, yields: u64) -> u64 {
        let is_spawn = matches!(self, Load::Spawn1 | Load::Spawn4);
        match instrument.name {
            "asyncio" | "asyncio-debug" => yields / 25,
            // It keeps every task that ended for an hour, and goes through all of them every second.
            "console" if is_spawn => yields / 100,
            _ if is_spawn => yields / 5,
            _ => yields,
        }
        .max(1_000)
    }

    /// What is shown of it, the first first.
    pub(crate) fn metrics(self) -> &'static [Metric] {
        match self {
            Load::EchoFull => &[Metric::Throughput, Metric::RequestCpu],
            Load::EchoHalf => &[Metric::P99, Metric::P999, Metric::RequestCpu],
            _ => &[Metric::Cpu, Metric::Wall],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// CPU time of the whole process, per poll or spawn.
    Cpu,
    /// Wall time, times workers, per poll or spawn.
    Wall,
    /// Requests a second.
    Throughput,
    /// CPU time of the worker's thread, per request.
    RequestCpu,
    P99,
    P999,
    /// How late the client itself sent, at its 99.9th percentile. Not shown as a row.
    Lateness,
    /// The part of the time that the worker's thread ran. Not shown as a row.
    Utilization,
    /// CPU time of all of a service's threads while another was asked, as a part of that time. Not shown as a row.
    Idle,
}

impl Metric {
    pub(crate) fn title(self, load: Load) -> &'static str {
        let is_spawn = matches!(load, Load::Spawn1 | Load::Spawn4);
        match self {
            Metric::Cpu if is_spawn => "CPU ns a task",
            Metric::Cpu => "CPU ns a poll",
            Metric::Wall if is_spawn => "wall ns x workers a task",
            Metric::Wall => "wall ns x workers a poll",
            Metric::Throughput => "requests/s",
            Metric::RequestCpu => "worker's CPU ns a request",
            Metric::P99 => "p99, us",
            Metric::P999 => "p99.9, us",
            Metric::Lateness => "client's lateness, us",
            Metric::Utilization => "worker's utilization",
            Metric::Idle => "CPU time while idle",
        }
    }
}
