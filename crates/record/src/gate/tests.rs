use super::*;
use crate::fixture;
use crate::recording::GateVerdict::{self, Fail, Inconclusive, Pass};
use crate::recording::{
    BusyBy, BusyShare, Completeness, Coverage, Dist, Ended, InputEvents, Lines, Merge, Run, Verdict,
};

const MS: u64 = 1_000_000;

fn dist(values: impl IntoIterator<Item = u64>) -> Dist {
    let mut dist = Dist::empty(3);
    values.into_iter().for_each(|ns| dist.record(ns));
    dist
}

/// A run of a mode: 1,000 polls of 1 ms, one lag value of every millisecond up to 200, no response time.
fn run(mode: &str) -> Run {
    Run {
        group: mode.to_owned(),
        subject: fixture::scenario_run(mode),
        started_at: "2025-01-01T00:00:00Z".to_owned(),
        elapsed_ns: 4_000 * MS,
        coverage: Coverage::default(),
        merge: Some(Merge { bytes: 65_536, ..fixture::merge() }),
        ended: Ended::Done,
        ended_why: None,
        errors: Vec::new(),
        input_events: InputEvents::default(),
        polls: Some(dist([MS; 1_000])),
        schedule_latency: Some(dist([])),
        lag: Some(dist((1..=200).map(|ms| ms * MS))),
        lag_raw: None,
        response_time: None,
        unanswered: None,
        write_latency: None,
        busy_stretches: None,
        loop_busy_ns: Some(1_000 * MS),
        busy_share: None,
        throughput_bytes_per_s: Some(2_000_000),
        cpu_user_ns: None,
        cpu_system_ns: None,
        context_switches_voluntary: None,
        context_switches_involuntary: None,
        pool_wait: None,
        slow_poll_threshold_ns: 100 * MS,
        slow_polls_total: 3,
        slow_polls_dropped: 0,
        slow_polls_are: Completeness::All,
        slow_poll_lines: Some(Lines::default()),
        stalls_open: Vec::new(),
        pool: None,
        ledger: None,
        slow_polls: Vec::new(),
        sites: Some(Vec::new()),
        intervals: Vec::new(),
        fine: Vec::new(),
        profile: None,
        runtime_metrics: None,
    }
}

fn parse(text: &str) -> Gate {
    Gate::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn check(runs: &[Run], text: &str, verdict: GateVerdict, value: Option<f64>) {
    let judged = parse(text).judge(runs);
    assert_eq!((judged.expr.as_str(), judged.verdict, judged.value), (text, verdict, value));
}

#[test]
fn a_gate_is_shown_as_it_was_written() {
    for text in ["slow_polls==0", " lag.p99 <  10ms ", "offloaded.lag.p99 < 0.1*naive.lag.p99", "busy < 1e-1"] {
        assert_eq!(parse(text).to_string(), text);
    }
}

#[test]
fn what_is_no_gate_is_refused_at_the_right_place() {
    let table = [
        ("", 0..0, "it ends too early: add a metric"),
        ("3 < slow_polls", 0..1, "`3` is not a metric"),
        ("slow_polls", 10..10, "add a comparison"),
        ("slow_polls ==", 13..13, "add a number"),
        ("slow_polls = 3", 11..12, "write `==`"),
        ("slow_polls => 3", 11..12, "write `==`"),
        ("slow_polls ! 3", 11..12, "`!` has no meaning"),
        ("slow_polls == 3 4", 16..17, "should end before `4`"),
        ("slow_polls == 3 < 4", 16..17, "should end before `<`"),
        ("slow_polls == 10ms", 14..18, "`10ms` is not a number"),
        ("slow_polls == -1", 14..16, "`-1` is not a number"),
        ("slow_polls == 1e999", 14..19, "`1e999` is not a number"),
        ("slow_pols == 3", 0..9, "did you mean `slow_polls`?"),
        ("slow_polls.max == 3", 0..14, "write `slow_polls`"),
        ("naive == 3", 0..5, "unknown metric `naive`; write one of"),
        ("\"naive.slow_polls == 3", 0..22, "no closing"),
        ("\"lag\" == 3", 5..5, "unknown metric ``"),
        ("naive. == 3", 6..6, "unknown metric ``"),
        ("naive.frobnicate == 3", 6..16, "write one of `slow_polls`"),
        ("lag < 10ms", 0..3, "say which of `count`, `min`"),
        ("naive.lag.p98 < 10ms", 10..13, "`p98` is no statistic of `lag`"),
        ("naive.lag.p99.x < 10ms", 10..15, "no statistic"),
        ("lag.p99 < 10", 10..12, "`10` is not a duration"),
        ("lag.p99 < 10 ms", 10..12, "`10` is not a duration"),
        ("lag.p99 < fast", 10..14, "unknown metric `fast`"),
        ("lag.p99 < slow_polls", 10..20, "the left side is a duration"),
        ("lag.p99 < 10ms * naive.lag.p99", 10..14, "`10ms` is not a factor"),
        ("lag.p99 < -1 * naive.lag.p99", 10..12, "a factor: a number of at least 0"),
        ("lag.p99 < 2 *", 13..13, "add a metric"),
        ("lag.p99 < 2 * 3", 14..15, "`3` is not a metric"),
        ("lag.p99 < * 3", 10..11, "`*` is not a duration"),
        ("busy < 50 %", 10..11, "`%` has no meaning"),
        ("busy < 10ms", 7..11, "a percentage"),
        ("merge.verdict == okay", 17..21, "`okay` is not a verdict"),
        ("merge.verdict < ok", 14..15, "a verdict has no order"),
        ("merge.lines == ok", 15..17, "unknown metric `ok`"),
        ("throughput > 5ms", 13..16, "bytes a second"),
        ("slow_polls == 3ä", 14..17, "is not a number"),
        ("größe == 3", 2..4, "`ö` has no meaning"),
    ];
    for (text, span, reason) in table {
        let error = Gate::parse(text).expect_err(text);
        assert_eq!(error.span(), span, "{error}");
        assert!(error.reason().contains(reason), "{error}");
    }
}

#[test]
fn an_error_shows_the_place() {
    let error = Gate::parse("naive.lag < 10ms").expect_err("no statistic");
    let shown = error.to_string();
    assert!(
        shown.starts_with("cannot read the gate `naive.lag < 10ms`: `lag` is a distribution: say which"),
        "{shown}"
    );
    assert!(shown.ends_with("\n  naive.lag < 10ms\n        ^^^"), "{shown}");
}

#[test]
fn every_operator_compares() {
    let runs = [run("naive")];
    for (op, verdicts) in [
        ("<", [Fail, Fail, Pass]),
        ("<=", [Fail, Pass, Pass]),
        (">", [Pass, Fail, Fail]),
        (">=", [Pass, Pass, Fail]),
        ("==", [Fail, Pass, Fail]),
        ("!=", [Pass, Fail, Pass]),
    ] {
        for (limit, verdict) in [2, 3, 4].into_iter().zip(verdicts) {
            check(&runs, &format!("slow_polls {op} {limit}"), verdict, Some(3.0));
        }
    }
}

#[test]
fn every_metric_is_read() {
    let runs = [run("naive")];
    check(&runs, "polls.count == 1000", Pass, Some(1000.0));
    check(&runs, "lag.min == 1ms", Pass, Some(1e6));
    check(&runs, "lag.max == 200ms", Pass, Some(2e8));
    check(&runs, "lag.mean == 100.5ms", Pass, Some(100.5e6));
    check(&runs, "polls.p999 <= 1ms", Pass, Some(1e6));
    check(&runs, "busy < 50%", Pass, Some(0.25));
    check(&runs, "busy >= 0.25", Pass, Some(0.25));
    check(&runs, "throughput >= 2MB/s", Pass, Some(2e6));
    check(&runs, "merge.bytes == 64KiB", Pass, Some(65_536.0));
    check(&runs, "merge.lines == 50", Pass, Some(50.0));
    check(&runs, "merge.lost == 0", Pass, Some(0.0));
    check(&runs, "merge.verdict == ok", Pass, None);
    check(&runs, "merge.verdict != failed", Pass, None);
    check(&runs, "merge.verdict == unverifiable", Fail, None);
}

#[test]
fn a_share_that_looks_found_has_an_interval() {
    let of = |value, looks| {
        let mut run = Run { group: "naive".to_owned(), ..fixture::profiled() };
        run.busy_share = Some(BusyShare { value, how: BusyBy::Looks });
        run.profile.as_mut().expect("a profile").looks = looks;
        [run]
    };
    // Of two workers: of the time of one, twice as much.
    check(&of(0.25, 1_000), "busy < 60%", Pass, Some(0.5));
    check(&of(0.25, 1_000), "busy < 30%", Fail, Some(0.5));
    check(&of(0.25, 8), "busy < 30%", Inconclusive, Some(0.5));
    check(&of(0.0, 8), "busy >= 30%", Inconclusive, Some(0.0));
    check(&of(0.0, 1_000_000), "busy >= 30%", Fail, Some(0.0));
    check(&of(1.0, u64::MAX), "busy < 200%", Fail, Some(2.0));
    let [mut run] = of(0.25, 8);
    // 25 looks a second at two threads, for 20 s.
    run.profile = None;
    check(std::slice::from_ref(&run), "busy < 30%", Fail, Some(0.5));
    run.coverage.looks_per_s = None;
    check(std::slice::from_ref(&run), "busy < 30%", Inconclusive, Some(0.5));
    run.busy_share = Some(BusyShare { value: 0.25, how: BusyBy::Polls });
    check(std::slice::from_ref(&run), "busy < 30%", Fail, Some(0.5));
    run.busy_share = Some(BusyShare { value: 0.25, how: BusyBy::Cpu });
    check(&[run], "busy < 60%", Inconclusive, None);
}

#[test]
fn what_was_not_measured_is_inconclusive() {
    let runs = [Run { merge: None, throughput_bytes_per_s: None, elapsed_ns: 0, ..run("naive") }];
    for text in [
        "response_time.p99 < 1h",
        "response_time.count == 0",
        "schedule_latency.max < 1h",
        "merge.verdict != failed",
        "merge.lost == 0",
        "throughput > 0",
        "busy < 100%",
        "offloaded.slow_polls == 0",
    ] {
        check(&runs, text, Inconclusive, None);
    }
    check(&runs, "schedule_latency.count == 0", Pass, Some(0.0));
    check(&runs, "naive.slow_polls > offloaded.slow_polls", Inconclusive, Some(3.0));
    check(&[], "slow_polls == 0", Inconclusive, None);
    let mut cut_short = run("naive");
    fixture::interrupt(&mut cut_short, "interrupted");
    check(&[cut_short], "slow_polls == 3", Inconclusive, None);
}

#[test]
fn without_a_mode_every_mode_must_do() {
    let runs = [run("naive"), Run { slow_polls_total: 0, ..run("offloaded") }];
    check(&runs, "slow_polls == 0", Fail, Some(3.0));
    check(&runs, "slow_polls <= 3", Pass, Some(3.0));
    check(&runs, "slow_polls >= 1", Fail, Some(0.0));
    check(&runs, "offloaded.slow_polls == 0", Pass, Some(0.0));
    let unmeasured = [run("naive"), Run { lag: None, ..run("offloaded") }];
    check(&unmeasured, "lag.max < 1s", Inconclusive, None);
    check(&unmeasured, "lag.max < 1ms", Fail, Some(2e8));
}

#[test]
fn metrics_are_compared_with_each_other() {
    let quick = Run { lag: Some(dist((1..=200).map(|us| us * 1_000))), ..run("offloaded") };
    let runs = [run("naive"), quick];
    check(&runs, "offloaded.lag.max < 0.1 * naive.lag.max", Pass, Some(2e5));
    check(&runs, "offloaded.lag.max < 0.0001 * naive.lag.max", Fail, Some(2e5));
    check(&runs, "offloaded.lag.max < naive.lag.max", Pass, Some(2e5));
    check(&runs, "lag.max <= 200 * lag.min", Pass, Some(2e8));
    check(&runs, "naive.lag.max > 199 * lag.min", Pass, Some(2e8));
    check(&runs, "naive.slow_polls <= 0 * offloaded.slow_polls", Fail, Some(3.0));
}

#[test]
fn a_percentile_near_its_limit_is_inconclusive() {
    let runs = [run("naive")];
    // 200 values: the 95 % interval of p50 is ranks 86 to 114, and p99's reaches beyond the last value.
    check(&runs, "lag.p50 < 200ms", Pass, Some(100_007_935.0));
    check(&runs, "lag.p50 < 95ms", Inconclusive, Some(100_007_935.0));
    check(&runs, "lag.p50 < 80ms", Fail, Some(100_007_935.0));
    check(&runs, "lag.p50 > 120ms", Fail, Some(100_007_935.0));
    let p99 = parse("lag.p99 > 1h").judge(&runs);
    assert_eq!(p99.verdict, Inconclusive, "200 values say nothing about the slowest 1 %'s upper end");
}

#[test]
fn counts_hold_in_every_round_and_distributions_over_all() {
    let rounds = |totals: [u64; 3]| totals.map(|slow_polls_total| Run { slow_polls_total, ..run("naive") });
    check(&rounds([1, 1, 1]), "slow_polls == 1", Pass, Some(1.0));
    check(&rounds([1, 1, 1]), "merge.lines == 50", Pass, Some(50.0));
    check(&rounds([3, 2, 3]), "naive.slow_polls >= 3", Fail, Some(2.0));

    let with_lag = |ms: u64| Run { lag: Some(dist([ms * MS])), ..run("naive") };
    check(&[with_lag(1), with_lag(9)], "lag.max == 9ms", Pass, Some(9e6));
    check(&[with_lag(1), with_lag(9)], "lag.mean == 5ms", Pass, Some(5e6));
    check(&[with_lag(1), Run { lag: None, ..run("naive") }], "lag.max < 1s", Inconclusive, None);

    let failed = |verdict| {
        let mut run = run("naive");
        run.merge = run.merge.map(|merge| Merge { verdict, ..merge });
        run
    };
    check(&[run("naive"), failed(Verdict::Failed)], "merge.verdict == ok", Fail, None);
    check(&[run("naive"), failed(Verdict::Unverifiable)], "merge.verdict == ok", Fail, None);
}

#[test]
fn counts_compared_with_each_other_are_summed() {
    let run_of = |mode: &str, slow_polls_total| Run { slow_polls_total, ..run(mode) };
    let runs = [run_of("naive", 4), run_of("offloaded", 3), run_of("naive", 6), run_of("offloaded", 1)];
    check(&runs, "offloaded.slow_polls < 0.5 * naive.slow_polls", Pass, Some(4.0));
    check(&runs[..3], "offloaded.slow_polls < naive.slow_polls", Inconclusive, Some(3.0));
}

#[test]
fn no_text_panics() {
    let pieces = [
        "naive",
        "offloaded",
        ".",
        "lag",
        "p99",
        "slow_polls",
        "merge",
        "verdict",
        "busy",
        "<",
        "<=",
        "=",
        "==",
        "!",
        "*",
        " ",
        "10ms",
        "0.1",
        "50%",
        "-",
        "+",
        "1e9",
        "µs",
        "ä",
        "\u{202e}",
        "\n",
        "\0",
        "ok",
        "/s",
        "MB",
    ];
    let mut random = fastrand::Rng::with_seed(1);
    let runs = [run("naive"), run("offloaded")];
    for _ in 0..20_000 {
        let text: String = (0..random.usize(..9)).map(|_| pieces[random.usize(..pieces.len())]).collect();
        match Gate::parse(&text) {
            Ok(gate) => drop(gate.judge(&runs)),
            Err(error) => drop(error.to_string()),
        }
    }
    for seed in ["offloaded.lag.p99 < 0.1 * naive.lag.p99", "merge.verdict == ok", "busy < 50%"] {
        for _ in 0..5_000 {
            let mut chars: Vec<char> = seed.chars().collect();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..chars.len());
                match random.u8(..3) {
                    0 => chars[at] = random.char(..),
                    1 => chars.insert(at, random.char(' '..='~')),
                    _ => drop(chars.remove(at)),
                }
            }
            let text: String = chars.into_iter().collect();
            match Gate::parse(&text) {
                Ok(gate) => drop(gate.judge(&runs)),
                Err(error) => drop(error.to_string()),
            }
        }
    }
}
