use super::*;
use crate::fixture::{self, MS, blocked, dist, recording_of, run};
use crate::recording::Merge;
use crate::recording::{Kind, SlowPoll};

/// The findings as `CODE sentence`.
fn found(runs: &[Run]) -> Vec<String> {
    findings(runs).into_iter().map(|finding| format!("{} {}", finding.code, finding.sentence)).collect()
}

fn codes(runs: &[Run]) -> Vec<String> {
    findings(runs).into_iter().map(|finding| format!("{} {}", finding.code, finding.group)).collect()
}

fn verdict_of(runs: Vec<Run>) -> String {
    verdict(&recording_of(runs))
}

/// A round of 30 ready tasks of 10 ms each.
fn crowded(mode: &str) -> Run {
    let mut run = run(mode);
    for _ in 0..30 {
        fixture::polls(&mut run).record(10_100_000);
    }
    run.lag.as_mut().unwrap().record(301 * MS);
    run.busy_stretches.as_mut().unwrap().record(303 * MS);
    run
}

#[test]
fn codes_are_unique_ordered_and_complete() {
    let codes: Vec<&str> = DIAGNOSES.iter().map(|diagnosis| diagnosis.code).collect();
    assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
    assert!(DIAGNOSES.iter().all(|diagnosis| !diagnosis.advice.contains("  ")));
    assert_eq!(diagnosis("PS004").map(|diagnosis| diagnosis.severity), Some(Severity::Error));
    assert!(diagnosis("PS999").is_none());
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(found(&[]), [""; 0]);
    assert_eq!(found(&[run("offloaded")]), [""; 0]);
    assert_eq!(verdict_of(vec![]), "nothing was measured");
    assert_eq!(
        verdict_of(vec![run("offloaded")]),
        "the loop stayed responsive: no slow poll, response p99 1.25 ms, longest poll 900 µs"
    );
}

#[test]
fn ps001_names_the_spawn_site_once_a_mode() {
    let rounds = [blocked("naive", &[503_123_456, 120 * MS]), blocked("naive", &[101 * MS])];
    let slow = &findings(&rounds)[0];
    assert_eq!(
        slow.sentence,
        "naive: 3 slow polls of 100 ms or more, the worst 503 ms, in tasks spawned at src/pipeline/merge.rs:88 (`tail`)"
    );
    assert_eq!(slow.at.as_deref(), Some("src/pipeline/merge.rs:88"));
    assert_eq!(found(&rounds).iter().filter(|text| text.starts_with("PS001")).count(), 1);
}

#[test]
fn ps001_names_the_function_where_no_line_is_known() {
    let mut run = blocked("naive", &[503 * MS]);
    let function = Some("shop::db::query".into());
    let kind = Kind { function, ..Kind::default() };
    run.slow_polls = vec![SlowPoll { duration_ns: 503 * MS, ..SlowPoll::of(kind) }];
    let slow = &findings(&[run])[0];
    assert_eq!(slow.sentence, "naive: 1 slow poll of 100 ms or more within `shop::db::query`, the worst 503 ms");
    assert_eq!(slow.at, None, "a place is a line");
}

#[test]
fn ps001_says_what_to_do_where_the_cause_is_known_and_no_line() {
    let of = |cause: &str| {
        let mut run = blocked("naive", &[503 * MS]);
        let (cause, spawned_at) = (Some(cause.into()), Some("src/a.rs:7".into()));
        let kind = Kind { cause, spawned_at, ..Kind::default() };
        run.slow_polls = vec![SlowPoll { duration_ns: 503 * MS, ..SlowPoll::of(kind) }];
        findings(&[run]).swap_remove(0)
    };
    let (stopped, computed) = (of("suspended"), of("cpu"));
    assert_eq!(
        stopped.sentence,
        "naive: 1 slow poll of 100 ms or more, cause suspended, the worst 503 ms, of tasks spawned at src/a.rs:7"
    );
    assert!(stopped.advice.ends_with("nothing in this code did"), "{}", stopped.advice);
    assert_eq!((stopped.at, computed.at.as_deref()), (None, Some("src/a.rs:7")));
    assert!(computed.advice.starts_with("compute in"), "{}", computed.advice);
}

#[test]
fn ps001_names_three_sites_at_most_the_most_frequent_first() {
    let mut run = blocked("naive", &[110 * MS]);
    let sites = fixture::sites(&mut run);
    let tails = sites.iter().position(|site| site.slow > 0).unwrap();
    let polls = sites[tails].polls.clone();
    for (line, slow) in [(1, 4), (2, 3), (3, 9), (4, 2)] {
        let spawned_at = format!("src/x.rs:{line}");
        fixture::sites(&mut run).push(Site { spawned_at, task_name: None, slow, polls: polls.clone() });
        run.slow_polls_total += slow;
    }
    let at: Vec<_> = findings(&[run]).into_iter().filter(|f| f.code == "PS001").map(|f| f.at.unwrap()).collect();
    assert_eq!(at, ["src/x.rs:3", "src/x.rs:1", "src/x.rs:2"]);
}

#[test]
fn ps001_works_without_sites_and_blames_no_line_for_the_other_row() {
    let mut run = blocked("naive", &[110 * MS]);
    for site in fixture::sites(&mut run) {
        site.spawned_at = "other".to_owned();
    }
    assert_eq!(findings(std::slice::from_ref(&run))[0].at, None);
    fixture::sites(&mut run).clear();
    assert_eq!(found(&[run])[0], "PS001 naive: 1 slow poll, the worst 110 ms");
}

#[test]
fn ps002_fires_for_a_busy_loop_without_a_slow_poll() {
    assert_eq!(
        found(&[crowded("naive")]),
        ["PS002 naive: the loop kept others waiting 301 ms without one slow poll; the longest poll took 10.1 ms"]
    );
    let mut no_timer = crowded("naive");
    (no_timer.lag, no_timer.lag_raw) = (None, None);
    assert!(found(&[no_timer])[0].starts_with("PS002 naive: the loop was busy 303 ms"));
    assert_eq!(
        verdict_of(vec![crowded("naive")]),
        "the loop did not keep up: kept others waiting 301 ms without one slow poll"
    );
}

#[test]
fn ps002_does_not_blame_polls_when_the_process_did_not_run() {
    let mut suspended = run("naive");
    suspended.lag.as_mut().unwrap().record(900 * MS);
    let finding = &findings(&[suspended])[0];
    assert_eq!(
        finding.sentence,
        "naive: the loop was late by 900 ms without one slow poll, and not busy that long; \
         the longest poll took 900 µs"
    );
    assert_eq!(finding.advice, NOT_RUNNING);
}

#[test]
fn ps002_is_silent_when_a_slow_poll_explains_it_or_nobody_was_late() {
    assert!(!codes(&[blocked("naive", &[503 * MS])]).contains(&"PS002 naive".to_owned()));
    let mut never_idle = run("naive");
    never_idle.busy_stretches.as_mut().unwrap().record(3_000 * MS);
    assert_eq!(found(&[never_idle]), [""; 0], "timers fired in time");
    let mut almost = run("naive");
    almost.lag.as_mut().unwrap().record(100 * MS - 1);
    assert_eq!(found(&[almost]), [""; 0]);
}

#[test]
fn ps003_fires_at_the_threshold() {
    let mut late = run("naive");
    late.schedule_latency = Some(dist(3, &[(95, 1_000, 2_000), (5, 120 * MS, 120 * MS)]));
    assert_eq!(
        found(&[late.clone()]),
        ["PS003 naive: one wake-up in a hundred waited 120 ms or longer for the loop (schedule latency p99)"]
    );
    late.schedule_latency = Some(dist(3, &[(95, 1_000, 2_000), (5, 99 * MS, 99 * MS)]));
    assert_eq!(found(&[late.clone()]), [""; 0]);
    late.schedule_latency = None;
    assert_eq!(found(&[late]), [""; 0]);
}

#[test]
fn ps004_fires_for_every_merge_that_is_not_ok() {
    let with = |verdict, reason: Option<&str>| {
        let mut run = run("naive");
        run.merge = run.merge.map(|merge| Merge { verdict, reason: reason.map(Into::into), ..merge });
        run
    };
    let failed = with(Verdict::Failed, Some("line 7 of a.log is missing"));
    assert_eq!(
        found(&[failed.clone(), run("naive")]),
        ["PS004 naive: the merge failed in 1 of 2 rounds: line 7 of a.log is missing"]
    );
    let unverifiable = with(Verdict::Unverifiable, None);
    let unknown = findings(std::slice::from_ref(&unverifiable)).swap_remove(0);
    assert!(unknown.advice.starts_with("check the output before it is used: `pollscope confirm"), "{}", unknown.advice);
    assert_eq!(found(&[unverifiable]), ["PS004 naive: the merge could not be verified"]);
    let mut nothing = run("naive");
    nothing.merge = None;
    assert_eq!(found(&[nothing]), [""; 0], "a workload that merges nothing");
    assert!(verdict_of(vec![failed]).ends_with("; but the merge is not confirmed (naive)"));
}

#[test]
fn ps005_counts_what_was_dropped_and_clamped() {
    let mut run = blocked("naive", &[110 * MS]);
    (run.slow_polls_total, run.slow_polls_dropped) = (112, 12);
    run.lag_raw.as_mut().unwrap().clamped = 3;
    assert!(
        found(&[run]).contains(
            &"PS005 naive: 12 of 112 slow polls counted but not kept one by one; \
          3 durations outside 1 ns to 1 h counted at that bound"
                .to_owned()
        )
    );
}

#[test]
fn ps006_fires_for_wrappers_only() {
    let mut wrapped = run("naive");
    wrapped.coverage.source = "wrappers".to_owned();
    assert_eq!(codes(&[wrapped.clone(), run("offloaded")]), ["PS006 naive", "PS008 naive"]);
    assert!(verdict_of(vec![wrapped]).contains("no slow poll that could be seen"));
}

#[test]
fn ps007_compares_with_the_best_mode() {
    let response = |mode: &str, ns| {
        let mut run = run(mode);
        run.response_time = Some(dist(3, &[(100, ns, ns)]));
        run
    };
    let runs = [response("naive", 50 * MS), response("spawn-blocking", 9 * MS), response("offloaded", 5 * MS)];
    assert_eq!(found(&runs)[0], {
        "PS007 naive: outside clients wait 10x as long as in offloaded mode: response time p99 50.0 ms against 5.00 ms"
    });
    let runs = [response("naive", 49 * MS), response("offloaded", 5 * MS)];
    assert_eq!(codes(&runs), ["PS008 naive"]);
    assert_eq!(codes(&[response("naive", 50 * MS)]), [""; 0], "nothing to compare with");
}

#[test]
fn ps008_says_so_when_blocking_did_no_harm() {
    let runs = vec![run("naive"), run("offloaded")];
    assert_eq!(
        found(&runs),
        [
            "PS008 naive: blocking did no harm here (no slow poll, loop lag p99 1.59 ms against 1.59 ms in offloaded mode)"
        ]
    );
    assert!(verdict_of(runs).starts_with("naive did no harm here: no slow poll, loop lag p99"));
}

#[test]
fn silence_of_an_instrument_that_saw_nothing_is_no_verdict() {
    let mut unseen = run("naive");
    unseen.polls = Some(Dist::empty(3));
    assert_eq!(found(&[unseen.clone(), run("offloaded")]), [""; 0]);
    assert_eq!(verdict_of(vec![unseen.clone()]), "nothing was measured");
    assert!(verdict_of(vec![unseen, run("offloaded")]).ends_with("; no poll was seen (naive)"));
}

#[test]
fn ps008_is_silent_where_harm_was_done_or_cannot_be_excluded() {
    let offloaded = run("offloaded");
    for harmed in [blocked("naive", &[110 * MS]), crowded("naive")] {
        assert!(!codes(&[harmed, offloaded.clone()]).contains(&"PS008 naive".to_owned()));
    }
    let mut slower = run("naive");
    slower.lag = Some(dist(3, &[(100, 4 * MS, 4 * MS)]));
    assert_eq!(found(&[slower.clone(), offloaded.clone()]), [""; 0]);
    slower.lag = None;
    assert_eq!(found(&[slower, offloaded]), [""; 0], "an unknown lag excuses nothing");
    assert_eq!(found(&[run("naive")]), [""; 0], "nothing to compare with");
}

#[test]
fn the_verdict_compares_modes() {
    let naive = || blocked("naive", &[503_123_456, 168 * MS, 131 * MS, 120 * MS, 104 * MS, 110 * MS]);
    assert_eq!(
        verdict_of(vec![naive(), run("offloaded")]),
        "offloaded keeps the loop responsive, naive does not: response p99 1.25 ms instead of 201 ms, \
         0 slow polls instead of 6, in one round; `--rounds 5` gives an interval"
    );
    assert_eq!(
        verdict_of(vec![naive(), run("spawn-blocking"), run("offloaded")]),
        "spawn-blocking and offloaded keep the loop responsive, naive does not: response p99 1.25 ms instead of 201 ms, \
         0 slow polls instead of 6 (spawn-blocking beside naive), in one round; `--rounds 5` gives an interval"
    );
    assert_eq!(verdict_of(vec![blocked("naive", &[503 * MS])]), "the loop was blocked: 1 slow poll, worst 503 ms");
    assert_eq!(
        verdict_of(vec![blocked("naive", &[503 * MS]), crowded("offloaded")]),
        "no mode keeps the loop responsive: naive (1 slow poll, worst 503 ms) and \
         offloaded (kept others waiting 301 ms without one slow poll)"
    );
    let mut early = run("offloaded");
    fixture::interrupt(&mut early, "SIGINT");
    assert!(verdict_of(vec![early]).ends_with("; ended early (offloaded)"));
}

#[test]
fn the_verdict_of_several_rounds_has_an_interval() {
    let stall = |ms: u64| blocked("naive", &[ms * MS; 6]);
    let runs = (1..=3).flat_map(|round| {
        let rounds = [stall(160 + 10 * u64::from(round)), run("offloaded")];
        rounds.map(|run| fixture::in_round(run, round))
    });
    let sentence = verdict_of(runs.collect());
    assert!(sentence.contains("not: response p99 ") && sentence.contains("x lower ["), "{sentence}");
    assert!(sentence.contains(" to ") && sentence.ends_with("], 0 slow polls instead of 18"), "{sentence}");
}
