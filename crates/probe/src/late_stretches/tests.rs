use pollscope_base::Cause;

use super::*;

fn stretch() -> BusyStretch {
    let polls = SeenPolls {
        count: 1_300,
        longest: Some(Duration::from_micros(2_100)),
        threads: 1,
        place: Some(("src/import.rs", 12)),
        percent: 98,
    };
    BusyStretch {
        number: 1,
        is_over: true,
        is_first: false,
        worker: 0,
        start: Duration::from_secs(7),
        lasted: Duration::from_millis(2_650),
        polls: Some(polls),
        evidence: Evidence::default(),
        sources: Arc::default(),
    }
}

#[test]
fn its_text_has_what_is_known() {
    assert_eq!(
        stretch().to_string(),
        "busy stretch: worker 0 did not park for 2.650 s; 1,300 polls, the longest 2.1 ms, mostly of tasks spawned at \
         src/import.rs:12 (98 %)"
    );
    let polls = SeenPolls { threads: 4, percent: 31, place: Some(("/secret/src/x.rs", 1)), ..stretch().polls.unwrap() };
    let other = BusyStretch {
        is_over: false,
        sources: Arc::new(Sources::new(Vec::new(), true)),
        polls: Some(polls),
        ..stretch()
    };
    assert_eq!(
        other.to_string(),
        "busy stretch: worker 0 has not parked for 2.650 s; 1,300 polls on 4 threads, the longest 2.1 ms, most of tasks spawned \
         at <path>/x.rs:1 (31 %)"
    );
}

#[test]
fn what_was_seen_stands_below() {
    let mut seen = BusyStretch { polls: None, ..stretch() };
    let line = "WARN busy stretch: worker 0 did not park for 2.650 s; what it polled is not watched\n";
    assert_eq!(seen.lines(), line);
    (seen.evidence.cause, seen.evidence.blocking_line) = (Some(Cause::Cpu), Some("src/import.rs:13".to_owned()));
    assert_eq!(seen.lines(), format!("{line}     cpu at src/import.rs:13\n"));
}

#[test]
fn what_finds_no_room_is_counted() {
    let stretches = LateStretches::default();
    (0..MOST_TOLD + 3).for_each(|_| stretches.tell(stretch()));
    assert!(!stretches.is_quiet());
    let (told, untold) = stretches.take_told();
    assert_eq!(told.len(), MOST_TOLD);
    assert!(untold.is_some_and(|line| line.starts_with("WARN busy stretch: 3 more were late")));
    assert!(stretches.is_quiet());
    assert_eq!(stretches.take_told(), (Vec::new(), None));
    (0..MOST_LISTED + 2).for_each(|_| stretches.list(&stretch()));
    stretches.list(&BusyStretch { is_over: false, ..stretch() });
    let (listed, total) = stretches.listed();
    assert_eq!((listed.len(), total), (MOST_LISTED, MOST_LISTED as u64 + 2));
    assert_eq!((listed[0].duration, listed[0].polls), (Duration::from_millis(2_650), Some(1_300)));
}

#[test]
fn what_is_awaited_comes_or_does_not() {
    let stretches = LateStretches::default();
    (0..3).for_each(|_| stretches.await_one());
    stretches.found(None);
    assert!(stretches.is_awaited() && !stretches.is_quiet());
    stretches.found(Some(stretch()));
    assert_eq!(stretches.take_told().0, [stretch()]);
    stretches.abandon();
    assert!(!stretches.is_awaited() && stretches.is_quiet());
}

#[test]
fn what_was_seen_is_of_the_stretch_that_it_was_seen_of() {
    let stretches = LateStretches::default();
    let mut evidence = Evidence::default();
    evidence.captures = 3;
    stretches.learn(5, 70, evidence.clone(), false);
    assert_eq!(stretches.known(5, 70), (evidence.clone(), true));
    assert_eq!(
        [stretches.known(5, 71), stretches.known(4, 70)],
        [(Evidence::default(), false), (Evidence::default(), false)]
    );
    stretches.learn(5, 70, evidence.clone(), true);
    stretches.forget(5, 71);
    assert_eq!(stretches.known(5, 70), (evidence.clone(), false));
    stretches.forget(5, 70);
    assert_eq!(stretches.known(5, 70), (Evidence::default(), false));
    stretches.learn(6, 80, evidence.clone(), false);
    stretches.abandon();
    assert_eq!(stretches.known(6, 80), (evidence, false), "nobody looks any more");
}
