//! In which span of `tracing` a slow poll was: whose request it was.

use std::sync::Arc;
use std::time::Duration;

use pollscope_probe::{CAPTURE, Probe, ProbeBuilder, Span, SpanLayer, TOKIO_UNSTABLE};
use tokio::task::yield_now;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::with_default;
use tracing::{Instrument, info_span};
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{Kept, block, current_thread, eventually, multi_thread, slow_polls, spawn, without_capture};

fn layer() -> SpanLayer {
    SpanLayer::new().field("route").field("method")
}

fn with_layer<T>(layer: SpanLayer, run: impl FnOnce() -> T) -> T {
    with_default(tracing_subscriber::registry().with(layer), run)
}

fn threshold() -> ProbeBuilder {
    Probe::builder().slow_poll_threshold(Duration::from_millis(20))
}

/// The spans of the slow polls of a future, and whether somebody looked at them.
fn spans_of(probe: ProbeBuilder, layer: SpanLayer, future: impl Future) -> Vec<(Option<Arc<Span>>, bool)> {
    with_layer(layer, || {
        let (runtime, probe) = current_thread(probe);
        runtime.block_on(probe.watch(future));
        drop(runtime);
        slow_polls(&probe).into_iter().map(|poll| (poll.evidence.span, poll.evidence.span_looks > 0)).collect()
    })
}

/// That of the only slow poll.
fn span_of(probe: ProbeBuilder, future: impl Future) -> Result<(Option<Arc<Span>>, bool), String> {
    let spans = spans_of(probe, layer(), future);
    <[_; 1]>::try_from(spans).map(|[span]| span).map_err(|spans| format!("{spans:?}"))
}

fn text(span: &Option<Arc<Span>>) -> Option<String> {
    span.as_ref().map(ToString::to_string)
}

/// A request in so many spans within one another, which blocks in the innermost.
async fn request(depth: u32, blocks: bool) {
    let innermost = async {
        yield_now().await;
        if blocks {
            block(60);
        }
        yield_now().await;
    };
    let request = info_span!("request", route = "/items/{id}", method = "GET", trace_id = "4bf92f", user = "x");
    match depth {
        1 => innermost.instrument(request).await,
        2 => innermost.instrument(info_span!(parent: &request, "handler")).instrument(request.clone()).await,
        _ => {
            let handler = info_span!(parent: &request, "handler");
            let query = info_span!(parent: &handler, "query", method = "select");
            innermost.instrument(query).instrument(handler.clone()).instrument(request.clone()).await;
        }
    }
}

#[test]
fn a_slow_poll_names_the_innermost_span_and_the_request_around_it() {
    let expected = [
        "`request` (route /items/{id}, method GET, trace 4bf92f)",
        "`handler` (route /items/{id}, method GET, trace 4bf92f)",
        "`query` (method select, route /items/{id}, trace 4bf92f)",
    ];
    for (depth, expected) in (1..).zip(expected) {
        eventually(|| {
            let (span, is_seen) = span_of(threshold(), request(depth, true))?;
            let expected = if CAPTURE { expected } else { expected_unseen() };
            if text(&span).as_deref() == Some(expected) && is_seen == CAPTURE {
                Ok(())
            } else {
                Err(format!("{depth}: {span:?}, {is_seen}"))
            }
        });
    }
}

fn expected_unseen() -> &'static str {
    "`request` (route /items/{id}, method GET, trace 4bf92f)"
}

/// Nobody looks, so that it is what the poll itself entered.
#[test]
fn without_a_look_it_is_the_outermost_span_if_there_was_one_alone() {
    let unseen = || without_capture(threshold());
    for depth in 1..=3 {
        let (span, is_seen) = span_of(unseen(), request(depth, true)).unwrap();
        assert_eq!((text(&span).as_deref(), is_seen), (Some(expected_unseen()), false));
    }
    let both = async {
        info_span!("one").in_scope(|| block(15));
        info_span!("other").in_scope(|| block(15));
    };
    assert_eq!(span_of(unseen(), both).unwrap(), (None, false), "in which of both it took long is not known");
    assert_eq!(span_of(unseen(), async { block(25) }).unwrap(), (None, false));
    // It is over with the poll.
    let closed = async { info_span!("closed", route = "/a").in_scope(|| block(25)) };
    assert_eq!(text(&span_of(unseen(), closed).unwrap().0).as_deref(), Some("`closed` (route /a)"));
}

#[test]
fn a_span_that_is_entered_around_the_loop_is_no_requests() {
    for probe in [threshold(), without_capture(threshold())] {
        let polls = with_layer(layer(), || {
            let (runtime, probe) = current_thread(probe);
            info_span!("main").in_scope(|| runtime.block_on(probe.watch(async { block(30) })));
            slow_polls(&probe)
        });
        assert_eq!((polls.len(), &polls[0].evidence.span), (1, &None));
    }
}

/// Two tasks on one thread, by turns: one of them blocks.
#[test]
fn of_two_requests_by_turns_it_is_the_one_that_blocked() {
    for capture in [true, false] {
        let polls = with_layer(layer(), || {
            let (runtime, probe) = current_thread(if capture { threshold() } else { without_capture(threshold()) });
            let task = |route: &'static str, at: u32| {
                let task = async move {
                    for turn in 0..6 {
                        yield_now().await;
                        if turn == at {
                            block(40);
                        }
                    }
                };
                task.instrument(info_span!("request", route))
            };
            runtime.block_on(async {
                let tasks = [("/quick", 9), ("/slow", 3)].map(|(route, at)| spawn(&probe, task(route, at)));
                for task in tasks {
                    task.await.unwrap();
                }
            });
            slow_polls(&probe)
        });
        let routes: Vec<_> = polls.iter().map(|poll| text(&poll.evidence.span)).collect();
        assert_eq!(routes, [Some("`request` (route /slow)".to_owned())]);
    }
}

/// It is woken, and then has to wait.
#[test]
fn who_waited_longest_is_told_with_its_span() {
    let polls = with_layer(layer(), || {
        let (runtime, probe) = current_thread(without_capture(threshold()));
        let wake = Arc::new(tokio::sync::Notify::new());
        let waits = {
            let wake = Arc::clone(&wake);
            async move { wake.notified().await }.instrument(info_span!("request", route = "/waits"))
        };
        let blocks = async move {
            wake.notify_one();
            block(40);
        };
        runtime.block_on(async {
            let waits = spawn(&probe, waits);
            yield_now().await;
            let blocks = spawn(&probe, blocks.instrument(info_span!("request", route = "/blocks")));
            waits.await.unwrap();
            blocks.await.unwrap();
        });
        slow_polls(&probe)
    });
    // The hooks alone see who waits.
    let waiter = TOKIO_UNSTABLE.then(|| "`request` (route /waits)".to_owned());
    assert_eq!(
        (text(&polls[0].evidence.span).as_deref(), text(&polls[0].waiter_span)),
        (Some("`request` (route /blocks)"), waiter)
    );
}

#[test]
fn a_span_that_is_closed_in_the_poll_is_known_as_it_was() {
    eventually(|| {
        let closed = async { info_span!("closed", route = "/a").in_scope(|| block(60)) };
        let (span, _) = span_of(threshold(), closed)?;
        if text(&span).as_deref() == Some("`closed` (route /a)") { Ok(()) } else { Err(format!("{span:?}")) }
    });
}

/// A watchdog that came says so, also where it is none.
#[test]
fn a_poll_that_was_in_no_span_while_it_was_late_has_none() {
    if !CAPTURE {
        return;
    }
    eventually(|| {
        let outside = async {
            info_span!("before").in_scope(|| {});
            block(60);
        };
        match span_of(threshold(), outside)? {
            (None, true) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn several_spans_within_one_are_that_one() {
    eventually(|| {
        let parts = async {
            for _ in 0..12 {
                info_span!("part").in_scope(|| block(6));
            }
        };
        let request = async { parts.instrument(info_span!("request", route = "/a")).await };
        let (span, _) = span_of(threshold(), request)?;
        if text(&span).as_deref() == Some("`request` (route /a)") { Ok(()) } else { Err(format!("{span:?}")) }
    });
}

#[test]
fn values_are_cut_and_shown_safely_wherever_they_stand() {
    let long = "日".repeat(50_000);
    let kept = Kept::default();
    let probe = without_capture(threshold()).log_to(kept.clone());
    let request = async {
        let _request =
            info_span!("re\u{202e}quest", route = "\x1b[2J\n::error::", method = ?long, trace_id = %"t\n").entered();
        block(25);
    };
    let (span, _) = span_of(probe, request).unwrap();
    let span = span.unwrap();
    let value = |name: &str| span.fields.iter().find(|(field, _)| field == name).unwrap().1.clone();
    assert_eq!(value("route"), "\x1b[2J\n::error::", "as it is, for whoever reads data");
    assert!(value("method").len() <= 128 && value("method").ends_with("日…"), "{}", value("method"));
    let lines = kept.text();
    let shown = r"in span `re\u{202e}quest` (route \u{1b}[2J\n::error::, method ";
    assert!(lines.contains(shown) && lines.contains(r", trace t\n)"), "{lines}");
    assert_eq!(lines.lines().count(), 2, "{lines}");
}

#[test]
fn what_is_said_later_of_a_span_counts() {
    let request = async {
        let request = info_span!("request", route = tracing::field::Empty, trace_id = tracing::field::Empty);
        request.record("trace_id", "abc").record("route", "/early").record("route", "/late");
        request.in_scope(|| info_span!("handler").in_scope(|| block(25)));
    };
    let (span, _) = span_of(without_capture(threshold()), request).unwrap();
    assert_eq!(text(&span).as_deref(), Some("`request` (route /late, trace abc)"));
}

#[test]
fn somebody_can_be_asked_for_the_trace() {
    if !CAPTURE {
        return;
    }
    eventually(|| {
        let asking = layer().trace_by(|id, subscriber| {
            let registry = subscriber.downcast_ref::<tracing_subscriber::Registry>()?;
            let span = tracing_subscriber::registry::LookupSpan::span(registry, id)?;
            Some((format!("trace of {}", span.name()), "7".to_owned()))
        });
        let spans = spans_of(threshold(), asking, async { info_span!("request").in_scope(|| block(60)) });
        let [(Some(span), true)] = &spans[..] else { return Err(format!("{spans:?}")) };
        assert_eq!((span.trace_id.as_deref(), span.span_id.as_deref()), (Some("trace of request"), Some("7")));
        Ok(())
    });
}

#[test]
fn paths_in_fields_are_hidden_where_asked_but_not_routes() {
    let request = async {
        let _request = info_span!("request", route = "/items/{id}", method = "/u/ann").entered();
        block(25);
    };
    let (span, _) = span_of(without_capture(threshold()).redact_paths(true), request).unwrap();
    assert_eq!(text(&span).as_deref(), Some("`request` (route /items/{id}, method <path>)"));
}

#[test]
fn a_stall_that_goes_on_says_its_span() {
    if !CAPTURE {
        return;
    }
    eventually(|| {
        let (tell, told) = std::sync::mpsc::channel();
        let kept = Kept::default();
        let probe = Probe::builder().slow_poll_threshold(Duration::from_millis(10)).log_to(kept.clone());
        let probe = probe.on_stall(move |stall| tell.send(stall.evidence.span.clone()).unwrap());
        span_of(probe, async { info_span!("request", route = "/a").in_scope(|| block(250)) })?;
        let span = told.try_recv().map_err(|error| error.to_string())?;
        assert_eq!(text(&span).as_deref(), Some("`request` (route /a)"));
        assert!(kept.text().contains("in span `request` (route /a)"), "{}", kept.text());
        Ok(())
    });
}

/// On threads of a runtime, in tasks that take their subscriber with them.
#[test]
fn every_worker_tells_its_own_span() {
    let subscriber = tracing::Dispatch::new(tracing_subscriber::registry().with(layer()));
    let routes = ["/0", "/1", "/2", "/3"];
    let probe = without_capture(threshold());
    let polls = {
        let (runtime, probe) = multi_thread(2, probe);
        runtime.block_on(async {
            let task = |route: &'static str| {
                let task = async move {
                    for _ in 0..3 {
                        async { block(25) }.instrument(info_span!("request", route)).await;
                        yield_now().await;
                    }
                };
                spawn(&probe, task.with_subscriber(subscriber.clone()))
            };
            for task in routes.map(task) {
                task.await.unwrap();
            }
        });
        drop(runtime);
        slow_polls(&probe)
    };
    let mut told: Vec<_> = polls.iter().map(|poll| poll.evidence.span.clone().unwrap().fields[0].1.clone()).collect();
    told.sort();
    let expected: Vec<_> =
        routes.iter().flat_map(|route| [route.to_string(), route.to_string(), route.to_string()]).collect();
    assert_eq!(told, expected);
    assert!(TOKIO_UNSTABLE || polls.len() == 12);
}

/// The event is in no span itself: its fields say which one the poll was in.
#[cfg(feature = "tracing")]
#[test]
fn the_event_says_the_span_and_its_trace() {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context, Layer};

    #[derive(Default, Clone)]
    struct Fields(Arc<Mutex<BTreeMap<&'static str, String>>>);
    impl Visit for Fields {
        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.lock().unwrap().insert(field.name(), value.to_owned());
        }
        fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
    }
    impl<S: tracing::Subscriber> Layer<S> for Fields {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            event.record(&mut self.clone());
        }
    }
    let of_event = |request: fn()| {
        let fields = Fields::default();
        with_default(tracing_subscriber::registry().with(layer()).with(fields.clone()), || {
            let (runtime, probe) = current_thread(without_capture(threshold()).tracing(true));
            runtime.block_on(probe.watch(async { request() }));
            drop(runtime);
            slow_polls(&probe);
        });
        let fields = fields.0.lock().unwrap();
        ["span", "span_fields", "trace_id", "span_id"].map(|name| fields.get(name).cloned())
    };
    let told = of_event(|| {
        info_span!("request", route = "/a", method = "GET", trace_id = "t", span_id = "s").in_scope(|| block(25));
    });
    assert_eq!(told.map(Option::unwrap), ["request", "route=/a method=GET", "t", "s"]);
    assert_eq!(of_event(|| _ = info_span!("bare").in_scope(|| block(25))), [Some("bare".to_owned()), None, None, None]);
    assert_eq!(of_event(|| _ = block(25)), [const { None }; 4], "what is not known has no field");
}

/// With spans entered and left in every one of them.
#[test]
fn a_poll_with_spans_allocates_nothing() {
    with_layer(layer(), || {
        let (runtime, probe) = current_thread(crate::support::patient());
        let allocations = runtime.block_on(async {
            let task = async {
                let [request, query] = ["request", "query"].map(|name| info_span!("span", name));
                let mut before = 0;
                for n in 0..21_000 {
                    if n == 1_000 {
                        before = crate::allocations::so_far();
                    }
                    request.in_scope(|| query.in_scope(|| {}));
                    yield_now().await;
                }
                crate::allocations::so_far() - before
            };
            spawn(&probe, task.with_subscriber(tracing::dispatcher::get_default(tracing::Dispatch::clone)))
                .await
                .unwrap()
        });
        assert_eq!(allocations, 0);
    });
}
