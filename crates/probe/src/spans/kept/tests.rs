use super::*;

fn known(name: &'static str, parent: u64, fields: &[(&'static str, &str)]) -> Known {
    let mut visited = Visited::default();
    fields.iter().for_each(|(name, value)| visited.take(name, format_args!("{value}")));
    Known { name: name.into(), parent, fields: visited }
}

fn told(keeper: &Keeper, id: u64) -> Option<String> {
    keeper.span(id).map(|span| span.to_string())
}

#[test]
fn what_a_span_does_not_say_those_around_it_do() {
    let keeper = Keeper::new();
    keeper.open(1, known("request", 0, &[("route", "/a"), ("method", "GET"), ("trace_id", "t1"), ("span_id", "s1")]));
    keeper.open(2, known("query", 1, &[("route", "/b")]));
    assert_eq!(told(&keeper, 2).unwrap(), "`query` (route /b, method GET, trace t1)");
    keeper.add(1, known("", 0, &[("method", "PUT")]).fields);
    assert_eq!(told(&keeper, 1).unwrap(), "`request` (route /a, method PUT, trace t1)");
    assert_eq!(keeper.span(2).unwrap().span_id.as_deref(), Some("s1"));
    assert_eq!(told(&keeper, 3), None);
}

#[test]
fn a_circle_of_spans_ends() {
    let keeper = Keeper::new();
    keeper.open(1, known("a", 2, &[]));
    keeper.open(2, known("b", 1, &[]));
    assert_eq!(told(&keeper, 1).unwrap(), "`a`");
}

#[test]
fn no_more_is_told_than_there_is_room_for() {
    let keeper = Keeper::new();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    keeper.open(1, known("around", 0, &names.map(|name| (name, "1"))));
    let long = "日".repeat(100_000);
    keeper.open(2, known("span", 1, &[("a", &long), ("trace_id", &long)]));
    let span = keeper.span(2).unwrap();
    assert_eq!(span.fields.len(), MOST_FIELDS);
    for value in [&span.fields[0].1, span.trace_id.as_ref().unwrap()] {
        assert!(value.len() <= LONGEST_VALUE && value.starts_with("日日") && value.ends_with("日…"), "{value}");
    }
    let exact = "x".repeat(LONGEST_VALUE);
    keeper.open(3, known("span", 0, &[("a", &exact)]));
    assert_eq!(keeper.span(3).unwrap().fields[0].1, exact);
}

/// As one that writes a list of millions: what does not fit is not written out.
#[test]
fn a_long_value_is_not_written_to_its_end() {
    struct Long(std::cell::Cell<u32>);
    impl Debug for Long {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (0..1_000_000).try_for_each(|_| {
                self.0.set(self.0.get() + 1);
                f.write_str("ab")
            })
        }
    }
    let long = Long(std::cell::Cell::new(0));
    let mut visited = Visited::default();
    visited.take("list", format_args!("{long:?}"));
    assert_eq!(long.0.get() as usize, LONGEST_VALUE / 2 + 1);
    assert!(visited.0[0].1.ends_with("aba…"));
}

#[test]
fn a_closed_span_is_known_for_a_while_and_memory_is_bounded() {
    let keeper = Keeper::new();
    let open = |id: u64| keeper.open(id, known("request", 0, &[("route", "/a")]));
    (1..=100_000).for_each(|id| {
        open(id);
        keeper.close(id);
    });
    assert!(told(&keeper, 100_000).is_some() && told(&keeper, 1).is_none());
    let kept = || keeper.shards.iter().map(|shard| shard.lock().unwrap().spans.len()).sum::<usize>();
    assert_eq!((kept(), keeper.refused()), (SHARDS * MOST_CLOSED, 0));
    (200_000..400_000).for_each(open);
    assert_eq!(kept(), SHARDS * (MOST_CLOSED + MOST_OPEN));
    assert_eq!(keeper.refused(), 200_000 - (SHARDS * MOST_OPEN) as u64);
    // One that is not known is not closed either; one that is makes room.
    keeper.close(399_999);
    (200_000..400_000).for_each(|id| keeper.close(id));
    assert_eq!(kept(), SHARDS * MOST_CLOSED);
    open(1);
    assert!(told(&keeper, 1).is_some());
}

#[test]
fn a_number_that_is_given_again_is_the_new_spans() {
    let keeper = Keeper::new();
    keeper.open(7, known("old", 0, &[]));
    keeper.close(7);
    keeper.open(7, known("new", 0, &[]));
    (0..2_000).for_each(|id| {
        keeper.open(1_000 + id, Known::default());
        keeper.close(1_000 + id);
    });
    assert_eq!(told(&keeper, 7).unwrap(), "`new`", "it is open");
}

#[test]
fn somebody_is_asked_for_a_trace_that_no_span_says_and_may_panic() {
    let keeper = Keeper::new();
    keeper.ask_for_traces(Box::new(|id| match id {
        1 => Some(("x".repeat(1_000), "s".to_owned())),
        2 => std::panic::resume_unwind(Box::new("on purpose")),
        _ => None,
    }));
    (1..=3).for_each(|id| keeper.open(id, known("span", 0, &[])));
    keeper.open(4, known("span", 0, &[("trace_id", "mine")]));
    let trace = |id| keeper.open_span(id).unwrap().trace_id;
    assert_eq!(trace(1).map(|trace| trace.len()), Some(LONGEST_VALUE));
    assert_eq!((trace(2), trace(3), trace(4).as_deref()), (None, None, Some("mine")));
    keeper.close(1);
    assert_eq!((trace(1), keeper.span(1).unwrap().trace_id), (None, None), "it may be gone where it is asked for");
}
