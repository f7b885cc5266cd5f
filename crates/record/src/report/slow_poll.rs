//! A slow poll in words.

use std::borrow::Cow;

use pollscope_base::escape::cut_name;

use crate::recording::{Holder, Place, Precision, SlowPoll, Span};
use crate::units::{format_percent, format_seconds, plural};

/// Fields of a span that are shown; whoever wrote the recording may have kept more.
const MOST_FIELDS: usize = 8;

/// A slow poll in the shape of asyncio's debug mode: `Executing <Task 7 writer, spawned at …> took 0.503 seconds`. What is not
/// known is left out. Not escaped: whatever prints it escapes the line.
pub fn executing(slow: &SlowPoll) -> String {
    format!("Executing <{}> took {} seconds", what(slow), seconds(slow))
}

/// The same of one that had not ended.
pub(super) fn still_executing(open: &SlowPoll) -> String {
    format!("Executing <{}> for {} seconds so far", what(open), seconds(open))
}

fn what(slow: &SlowPoll) -> String {
    let task = match (slow.task_id.get(), &slow.spawned_at) {
        (Some(id), _) => Cow::from(format!("Task {id}")),
        (None, Some(_)) => Cow::from("block_on future"),
        (None, None) => Cow::from("future"),
    };
    let name = slow.task_name.as_ref().map_or(String::new(), |name| format!(" {name}"));
    let spawned_at = slow.spawned_at.as_ref().map(|at| format!(", spawned at {at}"));
    let future = slow.future.as_ref().map(|future| format!(", future type {future}"));
    let span = span(slow).map(|span| format!(", in span {span}"));
    let worker = slow.worker.map(|worker| format!(", worker {worker}"));
    let parts: String = [spawned_at, future, span, worker].into_iter().flatten().collect();
    format!("{task}{name}{parts}")
}

/// The span that it was in, with its fields and its trace: `request (route /items/{id}, trace 4bf92f3577b34da6a3ce929d0e0e4736)`.
pub(super) fn span(slow: &SlowPoll) -> Option<String> {
    let Span { name, fields, trace_id, .. } = &**slow.detail.as_ref()?.span.as_ref()?;
    let shown =
        fields.iter().take(MOST_FIELDS).map(|(field, value)| format!("{} {}", cut_name(field), cut_name(value)));
    let more = fields.len().saturating_sub(MOST_FIELDS);
    let more = (more > 0).then(|| format!("{more} more"));
    let trace = trace_id.as_ref().map(|trace| format!("trace {}", cut_name(trace)));
    let parts: Vec<String> = shown.chain(more).chain(trace).collect();
    let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    Some(format!("{}{parts}", cut_name(name)))
}

/// `, at src/shop.rs:7`, or the function where the line is not known; nothing where neither is.
pub(super) fn at(slow: &SlowPoll) -> String {
    match (&slow.blocking_line, &slow.function) {
        (Some(line), _) => format!(", at {line}"),
        (None, Some(function)) => format!(", within {function}"),
        (None, None) => String::new(),
    }
}

/// `~` where an end is known only to within some time.
fn seconds(slow: &SlowPoll) -> String {
    let is_exact = slow.detail.as_ref().is_none_or(|detail| [detail.start_is, detail.end_is] == [Precision::Exact; 2]);
    let about = if is_exact { "" } else { "~" };
    format!("{about}{}", format_seconds(slow.duration_ns))
}

/// What it is called in a trace or a graph: its task, as well as that is known.
pub(super) fn task(slow: &SlowPoll) -> String {
    let future = || slow.future.as_ref().map(|future| future.to_string());
    let name = slow.task_name.as_ref().or(slow.spawned_at.as_ref()).map(|name| name.to_string());
    let id = || slow.task_id.get().map(|id| format!("Task {id}"));
    name.or_else(future).or_else(id).unwrap_or_else(|| "slow poll".to_owned())
}

/// Where its task begins, for stacks: its spawn site, or the type of its future; `None` where neither is known.
pub(super) fn root(slow: &SlowPoll) -> Option<String> {
    let future = || slow.future.as_deref().map(future_type);
    slow.spawned_at.as_ref().map(|at| format!("spawned at {at}")).or_else(future)
}

/// The type of a future, as the root of a stack.
pub(super) fn future_type(of: &str) -> String {
    format!("future type {of}")
}

/// Where its time went, a line a place, most time first; none where that is not known by place.
pub(super) fn places(slow: &SlowPoll) -> Vec<String> {
    if slow.share_ns.get().is_none() && slow.looks.is_none() && slow.more_places().is_empty() {
        return Vec::new();
    }
    let first = first_place(slow);
    std::iter::once(&first).chain(slow.more_places()).map(|place| place_words(place, slow.duration_ns)).collect()
}

fn first_place(slow: &SlowPoll) -> Place {
    Place {
        line: slow.blocking_line.clone(),
        caller: slow.caller.clone(),
        function: slow.function.clone(),
        syscall: slow.syscall.clone(),
        looks: slow.looks,
        share_ns: slow.share_ns.get(),
        stack: slow.stack.clone(),
    }
}

/// `63.6 % at src/stock.rs:118 in futex (31 looks)`
fn place_words(place: &Place, duration_ns: u64) -> String {
    let share = place.share_ns.filter(|_| duration_ns > 0).map(|ns| ns as f64 / duration_ns as f64);
    let share = share.map_or("—".to_owned(), format_percent);
    let line = place.line.as_ref().or(place.function.as_ref()).map_or("?", |line| line.as_str());
    let caller = place.caller.as_ref().filter(|caller| Some(*caller) != place.line.as_ref());
    let caller = caller.map_or(String::new(), |caller| format!(", called at {caller}"));
    let call = place.syscall.as_ref().map_or(String::new(), |call| format!(" in {}", call.text));
    let looks = place.looks.map_or(String::new(), |looks| format!(" ({})", plural(looks.into(), "look")));
    format!("{share} at {line}{call}{caller}{looks}")
}

/// Who has what it waited for: `held by task 12 on thread tokio-runtime-worker at src/stock.rs:96, in `fsync` on fd 9`.
pub(super) fn holder(slow: &SlowPoll) -> Option<String> {
    let Holder { thread, task_id, line, doing, sure } = slow.detail.as_ref()?.holder.as_deref()?;
    let task = task_id.map(|id| format!(" by task {id}"));
    let on = if task.is_some() { "on" } else { "by" };
    let thread = thread.as_ref().map(|thread| format!(" {on} thread {thread}"));
    let line = line.as_ref().map(|line| format!(" at {line}"));
    let doing = doing.as_ref().map(|doing| format!(", {doing}"));
    let parts: String = [task, thread, line, doing].into_iter().flatten().collect();
    Some(format!("{}held{parts}", if *sure { "" } else { "probably " }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Detail, Kind};

    fn poll() -> SlowPoll {
        SlowPoll { duration_ns: 503_000_000, ..SlowPoll::default() }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(executing(&poll()), "Executing <future> took 0.503 seconds");
        let kind = Kind { future: Some("app::handle".into()), worker: Some(2), ..Kind::default() };
        let known = SlowPoll { task_id: 7.into(), kind: kind.into(), ..poll() };
        assert_eq!(executing(&known), "Executing <Task 7, future type app::handle, worker 2> took 0.503 seconds");
        assert_eq!((task(&known), task(&poll())), ("app::handle".to_owned(), "slow poll".to_owned()));
        assert_eq!(root(&poll()), None);
    }

    #[test]
    fn a_span_is_told_with_its_fields_and_its_trace() {
        let told = |fields: &[(&str, &str)], trace_id: Option<&str>| {
            let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let span = Span { name: "request".into(), fields, trace_id: trace_id.map(Into::into), span_id: None };
            let detail = Detail { span: Some(Box::new(span)), ..Detail::default() };
            executing(&SlowPoll { detail: Some(Box::new(detail)), ..poll() })
        };
        assert_eq!(told(&[], None), "Executing <future, in span request> took 0.503 seconds");
        let known = told(&[("route", "/items/{id}"), ("method", "GET")], Some("4bf9"));
        let words = "in span request (method GET, route /items/{id}, trace 4bf9)";
        assert_eq!(known, format!("Executing <future, {words}> took 0.503 seconds"));
        let names: Vec<String> = (10..30).map(|n| n.to_string()).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        assert!(told(&many, None).contains("17 v, 12 more)>"), "{}", told(&many, None));
        assert!(told(&[("a", &"x".repeat(100_000))], None).len() < 400);
    }

    #[test]
    fn ends_that_are_not_exact_are_marked() {
        let detail = Detail { end_is: Precision::WithinNs(1), ..Detail::default() };
        let open = SlowPoll { detail: Some(Box::new(detail)), ..poll() };
        assert_eq!(still_executing(&open), "Executing <future> for ~0.503 seconds so far");
    }

    #[test]
    fn a_holder_is_named_as_far_as_it_is_known() {
        let holder_of = |of: Holder| {
            let detail = Detail { holder: Some(of.into()), ..Detail::default() };
            holder(&SlowPoll { detail: Some(Box::new(detail)), ..poll() })
        };
        let nobody = Holder { thread: None, task_id: None, line: Some("a.rs:1".into()), doing: None, sure: false };
        assert_eq!(holder_of(nobody.clone()).as_deref(), Some("probably held at a.rs:1"));
        let known = Holder { thread: Some("w".into()), task_id: Some(3), sure: true, ..nobody };
        assert_eq!(holder_of(known).as_deref(), Some("held by task 3 on thread w at a.rs:1"));
        assert_eq!(holder(&poll()), None);
    }
}
