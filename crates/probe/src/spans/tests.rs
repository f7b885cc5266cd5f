use super::*;

struct Spans(Here, Arc<Keeper>);

impl Spans {
    fn new() -> Spans {
        Spans(Here::default(), Arc::new(Keeper::new()))
    }

    fn enter(&self, id: u64) {
        self.0.enter(&self.1, id);
    }

    fn exit(&self, id: u64) {
        self.0.exit(&self.1, id);
    }

    fn through(&self, id: u64) {
        self.enter(id);
        self.exit(id);
    }

    fn now(&self) -> (u64, u64) {
        let Inside { innermost, outermost } = self.0.now();
        (innermost, outermost)
    }
}

#[test]
fn leaving_a_span_restores_the_one_around_it() {
    let spans = Spans::new();
    spans.0.begin();
    assert_eq!(spans.now(), (0, 0));
    [1, 2, 3].into_iter().for_each(|id| spans.enter(id));
    assert_eq!(spans.now(), (3, 1));
    spans.exit(3);
    assert_eq!(spans.now(), (2, 1));
    spans.exit(2);
    spans.exit(1);
    assert_eq!(spans.now(), (0, 0));
}

#[test]
fn guards_that_are_dropped_in_another_order_leave_what_is_still_entered() {
    let spans = Spans::new();
    [1, 2, 1, 3].into_iter().for_each(|id| spans.enter(id));
    spans.exit(2);
    assert_eq!(spans.now(), (3, 1));
    spans.exit(1);
    spans.exit(3);
    assert_eq!(spans.now(), (1, 1), "the one that was entered twice");
    spans.exit(9);
    spans.exit(1);
    spans.exit(1);
    assert_eq!((spans.now(), spans.0.depth.load(Relaxed)), ((0, 0), 0), "what was not entered is not left");
}

#[test]
fn the_only_outermost_span_of_a_poll_is_known_after_it() {
    let spans = Spans::new();
    let poll = |ids: &[u64]| {
        let mark = spans.0.begin();
        ids.iter().for_each(|id| spans.through(*id));
        spans.0.only(mark)
    };
    assert_eq!(poll(&[]), 0);
    assert_eq!(poll(&[1]), 1);
    assert_eq!(poll(&[]), 0, "it was another poll's");
    assert_eq!(poll(&[1, 1, 1]), 1);
    assert_eq!(poll(&[1, 2]), 0);
    assert_eq!(poll(&[2, 1, 2]), 0);
    assert_eq!(poll(&[2]), 2);
}

#[test]
fn a_span_that_was_entered_before_the_poll_is_nobodys() {
    let spans = Spans::new();
    spans.enter(1);
    let mark = spans.0.begin();
    assert_eq!((spans.now(), spans.0.only(mark)), ((0, 0), 0));
    spans.enter(2);
    spans.through(3);
    assert_eq!((spans.now(), spans.0.only(mark)), ((2, 2), 2));
    spans.exit(2);
    spans.exit(1);
    spans.through(4);
    assert_eq!(spans.0.only(mark), 2);
}

#[test]
fn a_poll_within_a_poll_has_spans_of_its_own() {
    let spans = Spans::new();
    let outer = spans.0.begin();
    spans.enter(1);
    let inner = spans.0.begin();
    spans.enter(2);
    assert_eq!((spans.now(), spans.0.only(inner)), ((2, 2), 2));
    spans.exit(2);
    spans.0.go_on(outer);
    assert_eq!(spans.now(), (1, 1));
    spans.exit(1);
    assert_eq!(spans.0.only(outer), 0, "which of both it was in is not known");
}

#[test]
fn of_very_many_spans_within_one_another_the_outermost_is_known() {
    let spans = Spans::new();
    let most = DEPTH as u64 + 9;
    (1..=most).for_each(|id| spans.enter(id));
    assert_eq!(spans.now(), (0, 1));
    (1..=most).rev().for_each(|id| {
        spans.exit(id);
        let known = if id - 1 > DEPTH as u64 { 0 } else { id - 1 };
        assert_eq!(spans.now().0, known);
    });
}

#[test]
fn spans_of_one_subscriber_at_a_time_are_followed() {
    let (spans, other) = (Spans::new(), Arc::new(Keeper::new()));
    spans.enter(1);
    spans.0.enter(&other, 1);
    spans.0.exit(&other, 1);
    assert_eq!(spans.now(), (1, 1));
    spans.exit(1);
    let mark = spans.0.begin();
    spans.through(1);
    spans.0.enter(&other, 1);
    spans.exit(1);
    assert_eq!((spans.now(), spans.0.only(mark)), ((1, 1), 0), "one number, and two spans");
}

fn seen(looks: &[(u64, u64, u64)]) -> Option<u64> {
    let (keeper, shown) = (Arc::new(Keeper::new()), Shown::default());
    let name = |id: u64| Known { name: id.to_string().into(), ..Known::default() };
    (1..100).for_each(|id| keeper.open(id, name(id)));
    let here = Here::default();
    here.enter(&keeper, 1);
    shown.show(&here);
    let mut seen = Seen::default();
    for &(at_ns, innermost, outermost) in looks {
        seen.look(at_ns, Inside { innermost, outermost }, &shown);
    }
    assert_eq!(seen.looks() as usize, looks.len());
    seen.span().map(|span| span.name.parse().unwrap())
}

#[test]
fn the_span_is_the_innermost_of_most_of_the_time_or_the_outermost_or_none() {
    assert_eq!(seen(&[]), None);
    assert_eq!(seen(&[(50, 2, 1)]), Some(2));
    assert_eq!(seen(&[(50, 2, 1), (60, 2, 1), (62, 3, 1)]), Some(2));
    assert_eq!(seen(&[(50, 2, 1), (60, 3, 1), (70, 3, 1), (80, 4, 1)]), Some(1), "others, within one");
    assert_eq!(seen(&[(50, 2, 2), (60, 3, 3), (70, 4, 4)]), None);
    assert_eq!(seen(&[(50, 0, 0), (60, 0, 0), (61, 2, 2)]), None, "it was in none");
    assert_eq!(seen(&[(50, 2, 2), (60, 2, 2), (61, 0, 0)]), Some(2));
    let many: Vec<_> = (1..50).map(|n| (n * 10, n + 1, n + 1)).collect();
    assert_eq!(seen(&many), None);
}

/// Nothing is torn, and nothing is seen that was never there.
#[test]
fn another_thread_sees_spans_that_were_entered() {
    let (here, keeper) = (Here::default(), Arc::new(Keeper::new()));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            here.begin();
            for n in 0..200_000 {
                here.enter(&keeper, 10 + n % 2);
                here.enter(&keeper, 20 + n % 2);
                here.exit(&keeper, 20 + n % 2);
                here.exit(&keeper, 10 + n % 2);
            }
        });
        while !writer.is_finished() {
            let Inside { innermost, outermost } = here.now();
            assert!([0, 10, 11].contains(&outermost) && [0, 10, 11, 20, 21].contains(&innermost));
        }
    });
}
