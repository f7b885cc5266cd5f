//! Slow polls as events: every field, by a subscriber that does nothing but keep them, and from which thread.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pollscope_probe::events::{STALL_TARGET, TARGET};
use pollscope_probe::{Probe, ProbeBuilder, SlowPoll};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::blocking_pool::Gate;
use crate::support::{LONG, OnDrop, block, current_thread, install, multi_thread, ns, wait_until};

/// An event: its fields by name, each with its type, and the thread that it came from.
#[derive(Debug, Default)]
struct Kept {
    level: Option<Level>,
    target: String,
    thread: Option<String>,
    fields: BTreeMap<&'static str, Value>,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Number(u64),
    Text(String),
    Formatted(String),
}

impl Visit for Kept {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.insert(field.name(), Value::Number(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), Value::Text(value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), Value::Formatted(format!("{value:?}")));
    }
}

#[derive(Debug, Clone, Default)]
struct Keeper(Arc<Mutex<Vec<Kept>>>);

impl Subscriber for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        // Tokio has events of its own where somebody turned them on.
        if !event.metadata().target().starts_with("pollscope::") {
            return;
        }
        let mut kept = Kept {
            level: Some(*event.metadata().level()),
            target: event.metadata().target().to_owned(),
            thread: std::thread::current().name().map(str::to_owned),
            fields: BTreeMap::new(),
        };
        event.record(&mut kept);
        self.0.lock().unwrap().push(kept);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What the fields of a slow poll's event are to be.
fn expected(poll: &SlowPoll, spawned_at: String) -> BTreeMap<&'static str, Value> {
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    let number = |number: u64| Some(Value::Number(number));
    let evidence = &poll.evidence;
    [
        ("message", Some(Value::Formatted(poll.to_string()))),
        ("id", number(poll.id)),
        ("task_id", poll.task_id.and_then(number)),
        ("task_name", poll.task_name.as_deref().and_then(text)),
        ("spawned_at", text(&spawned_at)),
        ("worker", poll.worker.map(|worker| Value::Number(worker as u64))),
        ("thread", poll.thread_name.as_deref().and_then(text)),
        ("duration_ns", number(ns(poll.duration))),
        ("cause", evidence.cause.and_then(|cause| text(cause.as_str()))),
        ("syscall", evidence.call.as_ref().and_then(|call| text(&call.text))),
        ("blocking_line", evidence.blocking_line.as_deref().and_then(text)),
        ("function", evidence.function.as_deref().and_then(text)),
        ("missing", evidence.missing.and_then(|missing| text(&missing.to_string()))),
        ("blamed_tasks", poll.blame.and_then(|blame| number(blame.tasks))),
        ("wait_ns", poll.blame.and_then(|blame| number(ns(blame.wait)))),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

/// `file:line` where the task was spawned.
fn place(poll: &SlowPoll) -> String {
    format!("{}:{}", poll.spawned_at.file(), poll.spawned_at.line())
}

fn threshold() -> ProbeBuilder {
    Probe::builder().slow_poll_threshold(Duration::from_millis(20)).tracing(true)
}

#[test]
fn every_slow_poll_is_an_event_with_its_fields_and_off_the_loop() {
    let keeper = Keeper::default();
    let heard: Arc<Mutex<Vec<SlowPoll>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let builder = threshold().on_slow_poll(move |poll| hears.lock().unwrap().push(poll.clone()));
    let (runtime, probe) = tracing::subscriber::with_default(keeper.clone(), || multi_thread(1, builder));
    runtime.block_on(probe.watch(async {
        probe.spawn("named \x1b[2J", async { block(60) }).await.unwrap();
        // Of the root, which has no task id.
        block(60);
    }));
    drop(runtime);
    assert!(probe.flush(LONG));
    let (heard, kept) = (heard.lock().unwrap(), keeper.0.lock().unwrap());
    assert!(heard.len() >= 2, "{heard:#?}");
    assert_eq!(kept.len(), heard.len());
    for (kept, poll) in kept.iter().zip(&*heard) {
        assert_eq!((kept.level, kept.target.as_str()), (Some(Level::WARN), "pollscope::slow_poll"));
        assert_eq!(kept.thread.as_deref(), Some("pollscope-report"));
        assert_eq!(kept.fields, expected(poll, place(poll)));
    }
    let has = |field| kept.iter().filter(|event| event.fields.contains_key(field)).count();
    assert_eq!((has("task_name"), has("task_id")), (1, 1), "what is not known is not there");
    let documented = include_str!("../../src/events.rs");
    for field in kept.iter().flat_map(|event| event.fields.keys()).filter(|field| **field != "message") {
        assert!(documented.contains(&format!("//! | `{field}` |")), "{field}");
    }
}

#[test]
fn no_text_of_an_event_is_longer_than_a_name_may_be() {
    let keeper = Keeper::default();
    let (runtime, probe) = tracing::subscriber::with_default(keeper.clone(), || current_thread(threshold()));
    runtime.block_on(probe.watch(async { block(25) }).named(&"x".repeat(65_536)));
    assert!(probe.flush(LONG));
    let kept = keeper.0.lock().unwrap();
    assert_eq!(kept.len(), 1);
    let Some(Value::Text(name)) = kept[0].fields.get("task_name") else { panic!("{kept:?}") };
    assert!(name.len() <= 256 && name.ends_with('…'), "{}", name.len());
    let Some(Value::Formatted(message)) = kept[0].fields.get("message") else { panic!("{kept:?}") };
    assert!(message.len() < 512, "{}", message.len());
}

#[test]
fn paths_are_hidden_where_asked() {
    let keeper = Keeper::default();
    let builder = threshold().redact_paths(true);
    let (runtime, probe) = tracing::subscriber::with_default(keeper.clone(), || current_thread(builder));
    runtime.block_on(probe.watch(async { block(25) }));
    assert!(probe.flush(LONG));
    let kept = keeper.0.lock().unwrap();
    let texts = kept.iter().flat_map(|event| event.fields.values()).filter_map(|value| match value {
        Value::Text(text) | Value::Formatted(text) => Some(text.clone()),
        Value::Number(_) => None,
    });
    assert!(texts.clone().count() > 1);
    assert!(
        texts.clone().all(|text| !text.contains(" /") && !text.starts_with('/')),
        "{:?}",
        texts.collect::<Vec<_>>()
    );
}

#[test]
fn there_are_none_unless_they_are_asked_for() {
    let keeper = Keeper::default();
    let (runtime, probe) =
        tracing::subscriber::with_default(keeper.clone(), || current_thread(threshold().tracing(false)));
    runtime.block_on(probe.watch(async { block(25) }));
    assert!(probe.flush(LONG));
    assert_eq!((probe.snapshot().slow_polls_total, keeper.0.lock().unwrap().len()), (1, 0));
}

/// While it goes on, and once, whatever is found out of it later.
#[test]
fn a_stall_is_an_event_while_it_lasts() {
    let (keeper, told) = (Keeper::default(), Arc::new(Mutex::new(Vec::new())));
    let hears = Arc::clone(&told);
    let builder = threshold().on_stall(move |stall| hears.lock().unwrap().push(stall.clone()));
    let (runtime, probe) = tracing::subscriber::with_default(keeper.clone(), || multi_thread(1, builder));
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let task = {
        let _inside = runtime.enter();
        probe.spawn("stuck", async move { _ = stopped.recv() })
    };
    wait_until("no event", || !keeper.0.lock().unwrap().is_empty());
    assert_eq!((probe.snapshot().stalls_open, probe.snapshot().slow_polls_total), (1, 0));
    drop(stop);
    runtime.block_on(task).unwrap();
    drop(runtime);
    assert!(probe.flush(LONG));
    let (kept, told) = (keeper.0.lock().unwrap(), told.lock().unwrap());
    let ([begun, ended], [stall]) = (&kept[..], &told[..]) else { panic!("{kept:#?} {told:#?}") };
    assert_eq!((begun.level, begun.target.as_str(), ended.target.as_str()), (Some(Level::WARN), STALL_TARGET, TARGET));
    assert_eq!(begun.thread.as_deref(), Some("pollscope-report"));
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    let evidence = &stall.evidence;
    let spawned_at = format!("{}:{}", stall.spawned_at.file(), stall.spawned_at.line());
    let fields = [
        ("message", Some(Value::Formatted(stall.to_string()))),
        ("task_id", stall.task_id.map(Value::Number)),
        ("task_name", text("stuck")),
        ("spawned_at", text(&spawned_at)),
        ("worker", Some(Value::Number(0))),
        ("elapsed_ns", Some(Value::Number(ns(stall.elapsed)))),
        ("cause", evidence.cause.and_then(|cause| text(cause.as_str()))),
        ("syscall", evidence.call.as_ref().and_then(|call| text(&call.text))),
        ("blocking_line", evidence.blocking_line.as_deref().and_then(text)),
        ("function", evidence.function.as_deref().and_then(text)),
    ];
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    assert_eq!(begun.fields, fields.collect());
    let documented = include_str!("../../src/events.rs");
    let is_documented = |field: &&str| **field == *"message" || documented.contains(&format!("//! | `{field}` |"));
    assert!(begun.fields.keys().all(is_documented), "{begun:?}");
}

struct Panics;

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        std::panic::resume_unwind(Box::new("on purpose"));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_subscriber_that_panics_is_counted_and_the_next_event_comes() {
    let (runtime, probe) = tracing::subscriber::with_default(Panics, || current_thread(threshold()));
    runtime.block_on(probe.watch(async { block(25) }));
    runtime.block_on(probe.watch(async { block(25) }));
    assert!(probe.flush(LONG));
    let snapshot = probe.snapshot();
    assert_eq!((snapshot.slow_polls_total, snapshot.callback_panics), (2, 2));
}

/// A thread of the pool waits until both its closures are queued, and one for it: two events tell of that.
#[test]
fn a_blocking_pool_that_stays_full_is_two_events() {
    if !pollscope_probe::TOKIO_UNSTABLE {
        return;
    }
    let (keeper, gate) = (Keeper::default(), Gate::default());
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.max_blocking_threads(1);
    let (runtime, probe) = tracing::subscriber::with_default(keeper.clone(), || install(builder, threshold()));
    let (kept, opens) = (keeper.clone(), gate.clone());
    let witness = std::thread::spawn(move || {
        let _lets_go = OnDrop(|| opens.open());
        wait_until("no event", || !kept.0.lock().unwrap().is_empty());
    });
    runtime.block_on(async {
        let all: [_; 2] =
            std::array::from_fn(|_| gate.clone()).map(|gate| tokio::task::spawn_blocking(move || gate.pass()));
        for closure in all {
            closure.await.unwrap();
        }
    });
    witness.join().unwrap();
    drop(runtime);
    assert!(probe.flush(LONG));
    let kept = keeper.0.lock().unwrap();
    let [begins, ends] = &kept[..] else { panic!("{kept:#?}") };
    for (event, is_over) in [(begins, "false"), (ends, "true")] {
        assert_eq!((event.level, event.target.as_str()), (Some(Level::WARN), "pollscope::blocking_pool"));
        assert_eq!(event.thread.as_deref(), Some("pollscope-report"));
        let number = |field| match event.fields[field] {
            Value::Number(number) => number,
            ref other => panic!("{field}: {other:?}"),
        };
        assert_eq!((number("saturation"), number("threads")), (1, 1));
        assert!(number("queued") >= 1 && number("lasted_ns") >= 20_000_000, "{event:?}");
        assert_eq!(event.fields["is_over"], Value::Formatted(is_over.to_owned()));
        let documented = include_str!("../../src/events.rs");
        assert!(
            event.fields.keys().all(|field| *field == "message" || documented.contains(&format!("//! | `{field}` |")))
        );
    }
}
