//! A layer of `tracing-subscriber` that tells the probe which span each thread is in. With the cargo feature `span`.

use std::fmt;
use std::fmt::Debug;
use std::sync::Arc;

use tracing_core::Subscriber;
use tracing_core::dispatcher::Dispatch;
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::spans::{self, Keeper, Known, MOST_FIELDS, Visited};

type AskTrace = Arc<dyn Fn(&Id, &Dispatch) -> Option<(String, String)> + Send + Sync>;

/// Has slow polls say in which span of `tracing` they were: whose request it was.
///
/// A slow poll then has [`Evidence::span`](crate::Evidence::span): the name of the span, the fields that you ask for here, and its
/// trace; so do lines, events, recordings and reports. Add it to the subscriber, beside whatever else is there. It needs no probe,
/// and serves any number of them.
///
/// ```
/// use std::time::Duration;
/// use pollscope_probe::{Probe, SpanLayer};
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let subscriber = tracing_subscriber::registry().with(SpanLayer::new().field("route"));
/// let _default = tracing::subscriber::set_default(subscriber); // `.init()` in a service
///
/// let mut runtime = tokio::runtime::Builder::new_current_thread();
/// let probe = Probe::builder().slow_poll_threshold(Duration::from_millis(5)).install(&mut runtime)?;
/// runtime.build()?.block_on(probe.watch(async {
///     let _request = tracing::info_span!("request", route = "/items/{id}", trace_id = "4bf92f").entered();
///     std::thread::sleep(Duration::from_millis(20));
/// }));
/// let span = probe.snapshot().slow_polls[0].evidence.span.clone().expect("one span alone was entered");
/// assert_eq!(span.to_string(), "`request` (route /items/{id}, trace 4bf92f)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Which span
/// While a poll is late, the watchdog looks every 2 ms at which spans its thread is in. The poll's span is the innermost one, if that
/// was the same for more than half of the time; else the outermost that the poll had entered, if that was; else none is told. Where it
/// did not look, as of a poll that was over before it came, or without the feature `capture`, it is the outermost span that the poll
/// entered, if it entered one alone: also if it blocked before or after. Spans that were entered before the poll began are nobody's.
/// Of spans within one another more than 32 deep, the outermost is known.
///
/// # Fields and traces
/// A field that the span has not is taken from those around it. Where a field is called `trace_id`, and beside it another one
/// `span_id`, these are the trace: `span.record("trace_id", …)` will do. Otherwise [`trace_by`](SpanLayer::trace_by) asks for it.
///
/// # What it costs
/// Some nanoseconds each time that a span is entered and left, without a lock, and two short locks for each new span. Name and fields
/// of 65,536 open spans are kept at most, and of the last 1,024 that were closed; a [`CaptureNote`](crate::CaptureNote) says so if
/// there were more. With a filter, as `SpanLayer::new().with_filter(LevelFilter::INFO)`, spans that are of no interest cost nothing.
#[must_use = "a layer does nothing until it is added to a subscriber"]
pub struct SpanLayer {
    keeper: Arc<Keeper>,
    fields: Vec<String>,
    ask: Option<AskTrace>,
}

impl Debug for SpanLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanLayer").field("fields", &self.fields).finish_non_exhaustive()
    }
}

impl Default for SpanLayer {
    fn default() -> SpanLayer {
        SpanLayer::new()
    }
}

impl SpanLayer {
    /// A layer that keeps the names of spans, and their traces.
    pub fn new() -> SpanLayer {
        SpanLayer { keeper: Arc::new(Keeper::new()), fields: Vec::new(), ask: None }
    }

    /// Keeps the field of that name as well, such as `route`. Of a value the first 128 bytes are kept; of the fields of a span and of
    /// those around it, 8. A name that is given after eight others is ignored.
    pub fn field(mut self, name: &str) -> SpanLayer {
        if self.fields.len() < MOST_FIELDS {
            self.fields.push(name.to_owned());
        }
        self
    }

    /// Whom to ask for the trace of a span that has no field `trace_id`: gives the trace's id and the span's in it, as they are to be
    /// shown. It is asked for spans of late polls alone, while a thread is in them, by the one that looks: it must not wait for anything.
    /// If it panics, the trace is not known.
    ///
    /// With `tracing-opentelemetry`, whose spans have an id from the moment that they are entered:
    ///
    /// ```rust,ignore
    /// use opentelemetry::trace::TraceContextExt;
    ///
    /// SpanLayer::new().trace_by(|id, dispatch| {
    ///     let context = tracing_opentelemetry::get_otel_context(id, dispatch)?;
    ///     let span = context.span().span_context().clone();
    ///     span.is_valid().then(|| (span.trace_id().to_string(), span.span_id().to_string()))
    /// })
    /// ```
    pub fn trace_by(
        self,
        ask: impl Fn(&Id, &Dispatch) -> Option<(String, String)> + Send + Sync + 'static,
    ) -> SpanLayer {
        SpanLayer { ask: Some(Arc::new(ask)), ..self }
    }

    fn visit(&self, record: impl FnOnce(&mut Visitor<'_>)) -> Visited {
        let mut visitor = Visitor { wanted: &self.fields, visited: Visited::default() };
        record(&mut visitor);
        visitor.visited
    }
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        let Some(ask) = self.ask.clone() else { return };
        // A strong one would keep the subscriber, and so this layer, for ever.
        let subscriber = subscriber.downgrade();
        self.keeper.ask_for_traces(Box::new(move |id| ask(&Id::from_u64(id), &subscriber.upgrade()?)));
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let parent = context.span(id).and_then(|span| span.parent()).map_or(0, |parent| parent.id().into_u64());
        let fields = self.visit(|visitor| attributes.record(visitor));
        self.keeper.open(id.into_u64(), Known { name: attributes.metadata().name().into(), parent, fields });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let fields = self.visit(|visitor| values.record(visitor));
        if !fields.is_empty() {
            self.keeper.add(id.into_u64(), fields);
        }
    }

    #[inline]
    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        spans::enter(&self.keeper, id.into_u64());
    }

    #[inline]
    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        spans::exit(&self.keeper, id.into_u64());
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.keeper.close(id.into_u64());
    }
}

/// Takes the fields that are wanted.
struct Visitor<'a> {
    wanted: &'a [String],
    visited: Visited,
}

impl Visitor<'_> {
    fn take(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if Visited::is_of_trace(field.name()) || self.wanted.iter().any(|wanted| wanted == field.name()) {
            self.visited.take(field.name(), value);
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, format_args!("{value:?}"));
    }
}
