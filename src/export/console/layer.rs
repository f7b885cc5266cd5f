//! What of Tokio's spans and events is for tokio-console: the run's own tasks, by their names.

use std::fmt::{Debug, Write};
use std::thread;

use console_subscriber::ConsoleLayer;

use tracing_core::field::{Field, Value, Visit, display};
use tracing_core::span::{Attributes, Id};
use tracing_core::subscriber::{Interest, Subscriber};
use tracing_core::{Event, Metadata};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::run::LOOP_THREAD;

const SPAWN: &str = "runtime.spawn";
const BLOCK_ON: &str = "block_on";
const TASK_NAME: &str = "task.name";

/// Gives a [`ConsoleLayer`] tasks with names alone: others are the instrument's, such as those of the client that sends probes.
pub(super) struct OfTheRun(ConsoleLayer);

impl OfTheRun {
    /// The layer, with a filter that costs nothing where a span or event is not of interest.
    pub(super) fn filtered<S>(layer: ConsoleLayer) -> impl Layer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let filter: FilterFn = filter_fn(is_seen);
        OfTheRun(layer).with_filter(filter)
    }
}

/// As console-subscriber's own filter, but for closures on blocking threads: a run makes thousands a second, with histograms each.
fn is_seen(metadata: &Metadata<'_>) -> bool {
    let (name, target) = (metadata.name(), metadata.target());
    if metadata.is_event() {
        return target.starts_with("runtime") || target.starts_with("tokio");
    }
    target != "tokio::task::blocking" && (name.starts_with("runtime.") || target.starts_with("tokio"))
}

/// What a task's span says of it, as far as it decides who sees it.
#[derive(Default)]
struct Spawned {
    kind: String,
    name: String,
}

impl Spawned {
    fn is_main(&self) -> bool {
        self.kind == BLOCK_ON && thread::current().name() == Some(LOOP_THREAD)
    }
}

impl Visit for Spawned {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = match field.name() {
            "kind" => &mut self.kind,
            TASK_NAME => &mut self.name,
            _ => return,
        };
        // A string takes whatever is written.
        let _ = write!(text, "{value:?}");
    }
}

/// Gives a root's span on with the name of `main`: Tokio makes it without one. With fields that it does not know, as it is.
fn main_by_name(attributes: &Attributes<'_>, give: impl FnOnce(&Attributes<'_>)) {
    let mut root = Root::default();
    attributes.record(&mut root);
    let Root { task, size, file, line, column } = &root;
    let (kind, name) = (display(BLOCK_ON), display("main"));
    let values: [(&str, &dyn Value); 7] = [
        ("kind", &kind),
        (TASK_NAME, &name),
        ("task.id", task),
        ("size.bytes", size),
        ("loc.file", file),
        ("loc.line", line),
        ("loc.col", column),
    ];
    let known = attributes.metadata().fields();
    let fields = values.map(|(name, _)| known.field(name));
    if let [Some(a), Some(b), Some(c), Some(d), Some(e), Some(f), Some(g)] = &fields {
        let mut values = values.iter().map(|(_, value)| Some(*value));
        let named = [a, b, c, d, e, f, g].map(|field| (field, values.next().flatten()));
        give(&Attributes::new_root(attributes.metadata(), &known.value_set(&named)));
    } else {
        give(attributes);
    }
}

/// What else a root's span says.
#[derive(Default)]
struct Root {
    task: Option<u64>,
    size: Option<u64>,
    file: Option<String>,
    line: Option<u64>,
    column: Option<u64>,
}

impl Visit for Root {
    fn record_debug(&mut self, _field: &Field, _value: &dyn Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "loc.file" {
            self.file = Some(value.to_owned());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        let of = match field.name() {
            "task.id" => &mut self.task,
            "size.bytes" => &mut self.size,
            "loc.line" => &mut self.line,
            "loc.col" => &mut self.column,
            _ => return,
        };
        *of = Some(value);
    }
}

impl<S> Layer<S> for OfTheRun
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        Layer::<S>::register_callsite(&self.0, metadata)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != SPAWN {
            return self.0.on_new_span(attributes, id, context);
        }
        let mut spawned = Spawned::default();
        attributes.record(&mut spawned);
        if !spawned.name.is_empty() {
            self.0.on_new_span(attributes, id, context);
        } else if spawned.is_main() {
            main_by_name(attributes, |attributes| self.0.on_new_span(attributes, id, context));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        self.0.on_event(event, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.0.on_close(id, context);
    }
}
