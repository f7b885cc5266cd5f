//! Hand-made recordings for tests: deterministic, and shaped like real ones.

use std::collections::BTreeMap;

use pollscope_base::Cause;

use crate::advice::ADVICE;
use crate::recording::{
    BusyBy, BusyShare, Completeness, Coverage, Dist, Ended, Environment, Frame, Gate, GateVerdict, InputEvents, Kind,
    Lines, Merge, Profile, ProfilePlace, Recording, Run, RuntimeInfo, ScenarioInfo, ScenarioRun, Site, SlowPoll,
    Subject, Target, ThreadState, Verdict,
};

/// Milliseconds in nanoseconds.
pub const MS: u64 = 1_000_000;

/// A distribution of `groups`: each a count and the two ends that its values are spread between, evenly in log scale.
pub fn dist(digits: u8, groups: &[(u64, u64, u64)]) -> Dist {
    let mut dist = Dist::empty(digits);
    for &(count, low, high) in groups {
        let (low, high) = ((low as f64).ln(), (high as f64).ln());
        for i in 0..count {
            let at = if count == 1 { 1.0 } else { i as f64 / (count - 1) as f64 };
            dist.record((low + (high - low) * at).exp().round() as u64);
        }
    }
    dist
}

/// A mode of a scenario, in its first round, on one thread.
pub fn scenario_run(mode: &str) -> Subject {
    let runtime = RuntimeInfo { flavor: "current_thread".to_owned(), workers: 1 };
    Subject::Scenario(ScenarioRun { mode: mode.to_owned(), round: 1, runtime })
}

/// The subject of a scenario's run.
///
/// # Panics
/// When it is another run; like the functions below when what they give is not known.
pub fn subject(run: &mut Run) -> &mut ScenarioRun {
    let Subject::Scenario(subject) = &mut run.subject else { panic!("a scenario's run") };
    subject
}

/// A scenario's run in another round.
pub fn in_round(mut run: Run, round: u32) -> Run {
    subject(&mut run).round = round;
    run
}

/// A run that was interrupted.
pub fn interrupt(run: &mut Run, why: &str) {
    (run.ended, run.ended_why) = (Ended::Interrupted, Some(why.into()));
}

/// The polls of a run.
pub fn polls(run: &mut Run) -> &mut Dist {
    run.polls.as_mut().expect("polls")
}

/// The spawn sites of a run.
pub fn sites(run: &mut Run) -> &mut Vec<Site> {
    run.sites.as_mut().expect("sites")
}

/// The scenario of a recording.
pub fn scenario(recording: &mut Recording) -> &mut ScenarioInfo {
    recording.scenario.as_mut().expect("a scenario")
}

/// A round that nothing is wrong with.
pub fn run(mode: &str) -> Run {
    let sites = made_sites();
    let mut polls = Dist::empty(3);
    for site in &sites {
        polls.add(&site.polls);
    }
    Run {
        group: mode.to_owned(),
        subject: scenario_run(mode),
        started_at: "2026-05-04T10:11:12Z".to_owned(),
        elapsed_ns: 3_020 * MS,
        coverage: coverage(),
        merge: Some(merge()),
        ended: Ended::Done,
        ended_why: None,
        errors: Vec::new(),
        input_events: InputEvents::default(),
        loop_busy_ns: Some(polls.sum_ns),
        busy_share: None,
        polls: Some(polls),
        schedule_latency: Some(dist(3, &[(11_800, 900, 60_000), (110, 60_000, 1_300_000)])),
        lag: Some(dist(3, &[(290, 60_000, 1_090_000), (10, MS, 2 * MS)])),
        lag_raw: Some(dist(3, &[(290, 60_000, 1_090_000), (10, MS, 2 * MS)])),
        response_time: Some(dist(3, &[(590, 80_000, 600_000), (10, 600_000, 5_400_000)])),
        unanswered: Some(0),
        write_latency: Some(dist(3, &[(50, 40_000, 190 * MS)])),
        busy_stretches: Some(dist(3, &[(4_000, 5_000, 900_000)])),
        throughput_bytes_per_s: Some(1_204),
        cpu_user_ns: Some(210 * MS),
        cpu_system_ns: Some(90 * MS),
        context_switches_voluntary: Some(9_000),
        context_switches_involuntary: Some(40),
        pool_wait: Some(dist(3, &[(1_200, 8_000, 300_000)])),
        slow_poll_threshold_ns: 100 * MS,
        slow_polls_total: 0,
        slow_polls_are: Completeness::All,
        slow_polls_dropped: 0,
        slow_poll_lines: Some(Lines::default()),
        slow_polls: Vec::new(),
        stalls_open: Vec::new(),
        ledger: None,
        sites: Some(sites),
        pool: None,
        intervals: Vec::new(),
        fine: Vec::new(),
        profile: None,
        runtime_metrics: None,
    }
}

/// Three spawn sites without a slow poll.
fn made_sites() -> Vec<Site> {
    let tails = dist(2, &[(2_400, 2_000, 30_000), (90, 30_000, 210_000)]);
    let responder = dist(2, &[(9_000, 4_000, 22_000), (120, 22_000, 900_000)]);
    let site = |at: &str, name: &str, polls| Site {
        spawned_at: at.to_owned(),
        task_name: Some(name.to_owned()),
        polls,
        slow: 0,
    };
    vec![
        site("src/witness/responder.rs:74", "responder", responder),
        site("src/pipeline/merge.rs:88", "tail", tails),
        site("src/witness/lag.rs:51", "lag", dist(2, &[(300, 1_500, 9_000)])),
    ]
}

/// What hooks see.
fn coverage() -> Coverage {
    Coverage {
        source: "hooks".to_owned(),
        sees: vec!["every poll of every spawned task".to_owned(), "the future given to block_on".to_owned()],
        blind_to: vec!["tasks of a LocalSet".to_owned()],
        missing: Vec::new(),
        looks_per_s: None,
    }
}

/// A merge that is ok.
pub fn merge() -> Merge {
    Merge { verdict: Verdict::Ok, reason: None, lines: 50, bytes: 1_204, ..Merge::unverifiable(5, "") }
}

/// A round in which polls of `durations` (nanoseconds) of the tails blocked the loop.
pub fn blocked(mode: &str, durations: &[u64]) -> Run {
    let mut run = run(mode);
    let mut start_ns = 180 * MS;
    for (i, &duration_ns) in durations.iter().enumerate() {
        run.polls.as_mut().expect("made above").record(duration_ns);
        let tails = &mut run.sites.as_mut().expect("made above")[1];
        tails.polls.record(duration_ns);
        tails.slow += 1;
        run.loop_busy_ns = run.loop_busy_ns.map(|ns| ns + duration_ns);
        let kind = Kind {
            task_name: Some("tail".into()),
            spawned_at: Some("src/pipeline/merge.rs:88".into()),
            worker: Some(0),
            ..Kind::default()
        };
        let (id, task_id) = (i as u64 + 1, (7 + i as u64 % 5).into());
        run.slow_polls.push(SlowPoll { id, task_id, start_ns, duration_ns, ..SlowPoll::of(kind) });
        start_ns += duration_ns + 31 * MS;
        for dist in [&mut run.response_time, &mut run.lag, &mut run.schedule_latency].into_iter().flatten() {
            for part in 1..=10 {
                dist.record(duration_ns * part / 10);
            }
        }
        run.lag_raw.as_mut().expect("made above").record(duration_ns);
        run.busy_stretches.as_mut().expect("made above").record(duration_ns + 40_000);
    }
    run.slow_polls_total = durations.len() as u64;
    run.slow_poll_lines = Some(Lines { printed: run.slow_polls_total, suppressed: 0 });
    run.sites.as_mut().expect("made above").sort_by_key(|site| std::cmp::Reverse(site.polls.sum_ns));
    run
}

/// Two modes; the first was blocked.
pub fn recording() -> Recording {
    let blocked = blocked("naive", &[503_123_456, 168_400_000, 168_100_000, 131_000_000, 120_900_000, 104_000_000]);
    let mut offloaded = run("offloaded");
    offloaded.write_latency = Some(dist(3, &[(50, 60_000, 184 * MS)]));
    recording_of(vec![blocked, offloaded])
}

/// Where two workers were at 1,000 looks in 20 s: 60 % parked, the rest mostly in `openat` under a future.
pub fn profile() -> Profile {
    let frame = |function: &str, file: &str, line| Frame {
        function: Some(function.into()),
        file: Some(file.into()),
        line: Some(line),
    };
    let (load, answer) =
        (frame("api::conf::load", "src/conf.rs", 41), frame("api::answer::{{closure}}", "src/api.rs", 12));
    let open = frame("open64", "../sysdeps/unix/sysv/linux/open64.c", 41);
    let future = || Some("api::answer::{{closure}}".into());
    let opening = ProfilePlace {
        state: ThreadState::PollOffCpu,
        looks: 240,
        future: future(),
        line: Some("src/conf.rs:41".into()),
        function: Some("api::conf::load".into()),
        call: Some("openat(\"/etc/api/conf.toml\")".into()),
        stack: vec![open.clone(), load.clone(), answer.clone()].into(),
    };
    // The same place, reached in another way.
    let reopening = ProfilePlace {
        looks: 10,
        stack: vec![open, load, frame("api::again", "src/api.rs", 30)].into(),
        ..opening.clone()
    };
    let hashing = ProfilePlace {
        state: ThreadState::PollOnCpu,
        looks: 80,
        future: future(),
        line: Some("src/hash.rs:7".into()),
        function: Some("api::hash::sum".into()),
        call: None,
        stack: vec![frame("api::hash::sum", "src/hash.rs", 7), answer].into(),
    };
    let scheduler = |state, looks, function| ProfilePlace {
        state,
        looks,
        stack: vec![frame(function, "tokio-1.44.2/src/runtime/scheduler/multi_thread/worker.rs", 500)].into(),
        ..ProfilePlace::default()
    };
    let stealing =
        scheduler(ThreadState::SchedulerOnCpu, 20, "tokio::runtime::scheduler::multi_thread::worker::Context::run");
    let elsewhere = ProfilePlace { looks: 10, ..ProfilePlace::default() };
    Profile {
        period_ns: 40 * MS,
        looks: 1_000,
        parked: 600,
        running: 130,
        moved: 7,
        cpu_ns: Some(4_900 * MS),
        run_delay_ns: Some(310 * MS),
        dropped: 3,
        places: vec![opening, hashing, stealing, reopening, elsewhere],
    }
}

/// A process that was looked at from outside, with [`profile`]; nobody saw a slow poll.
pub fn profiled() -> Run {
    let runtimes = vec![RuntimeInfo { flavor: "multi_thread".to_owned(), workers: 2 }];
    let target = Target { name: "api".to_owned(), pid: Some(4_242), runtimes, ..Target::default() };
    Run {
        elapsed_ns: 20_000 * MS,
        ended: Ended::Done,
        coverage: Coverage { source: "attached".to_owned(), looks_per_s: Some(25.0), ..Coverage::default() },
        busy_share: Some(BusyShare { value: 0.33, how: BusyBy::Looks }),
        slow_poll_threshold_ns: 100 * MS,
        profile: Some(Box::new(profile())),
        ..Run::unknown("api", Subject::Process(target), "2026-05-04T10:11:12Z")
    }
}

/// A recording of [`profiled`], of no scenario.
pub fn profiled_recording() -> Recording {
    let runs = vec![profiled()];
    Recording { scenario: None, gates: Vec::new(), ..recording_of(runs) }
}

/// Each row of the table of advice: its cause, and what it says.
pub fn advice() -> Vec<(Cause, &'static str)> {
    ADVICE.iter().map(|row| (row.cause, row.fix)).collect()
}

/// A recording of these runs.
pub fn recording_of(runs: Vec<Run>) -> Recording {
    let gate = |expr: &str, verdict, value| Gate { expr: expr.to_owned(), verdict, value, why: None };
    Recording {
        environment: Environment {
            pollscope: "0.1.0".to_owned(),
            tokio: Some("1.54.0".to_owned()),
            os: "linux x86_64".to_owned(),
            kernel: Some("6.8.0".to_owned()),
            cpus: Some(4),
            clock: "CLOCK_MONOTONIC".to_owned(),
            tokio_unstable: Some(true),
            console_compiled: Some(true),
            console_on: Some(false),
            command: vec!["pollscope".to_owned(), "run".to_owned(), "merge".to_owned()],
        },
        scenario: Some(ScenarioInfo {
            name: "merge".to_owned(),
            why: "What does a write that blocks cost everyone else on the loop? A FIFO whose reader pauses makes it block."
                .to_owned(),
            seed: 42,
            settings: BTreeMap::new(),
            changed: Vec::new(),
        }),
        findings: crate::findings::findings(&runs),
        runs,
        gates: vec![
            gate("naive.slow_polls >= 3", GateVerdict::Pass, Some(6.0)),
            gate("offloaded.slow_polls == 0", GateVerdict::Pass, Some(0.0)),
            gate("offloaded.lag.p99 < 1ms", GateVerdict::Fail, Some(1_560_000.0)),
            gate("offloaded.response_time.p999 < 10ms", GateVerdict::Inconclusive, None),
        ],
    }
}
