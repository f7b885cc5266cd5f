//! What an instrument saw of a slow poll, as a recording keeps it: its texts in a form that slow polls can share.

use pollscope_base as base;
use pollscope_base::duration::to_ns;

use super::{
    Blame, Cause, Charge, Detail, Frame, Holder, Kind, Ledger, Place, Quota, SlowPoll, Span, Syscall, Text, Waiter,
};

impl From<&base::Call> for Syscall {
    fn from(call: &base::Call) -> Syscall {
        Syscall {
            name: call.name.as_str().into(),
            fd: call.fd.map(i64::from),
            path: text(&call.path),
            peer: text(&call.peer),
            bytes: call.bytes,
            text: call.text.as_str().into(),
        }
    }
}

impl From<&base::Frame> for Frame {
    fn from(frame: &base::Frame) -> Frame {
        Frame { function: text(&frame.function), file: text(&frame.file), line: frame.line.map(u64::from) }
    }
}

impl From<&base::Place> for Place {
    fn from(place: &base::Place) -> Place {
        Place {
            line: text(&place.line),
            caller: text(&place.caller),
            function: text(&place.function),
            syscall: place.call.as_ref().map(|call| Syscall::from(call).into()),
            looks: Some(place.looks),
            share_ns: Some(to_ns(place.share)),
            stack: place.stack.iter().map(Frame::from).collect(),
        }
    }
}

impl From<base::Quota> for Quota {
    fn from(quota: base::Quota) -> Quota {
        Quota {
            quota_ns: to_ns(quota.allowed),
            period_ns: to_ns(quota.period),
            periods: quota.periods,
            throttled_periods: quota.throttled_periods,
            throttled_ns: to_ns(quota.throttled),
        }
    }
}

impl From<&base::Holder> for Holder {
    fn from(holder: &base::Holder) -> Holder {
        Holder {
            thread: Some(holder.thread.as_str().into()),
            task_id: holder.task_id,
            line: text(&holder.line),
            doing: Some(holder.doing.as_str().into()),
            sure: holder.sure,
        }
    }
}

impl From<&base::Span> for Span {
    fn from(span: &base::Span) -> Span {
        Span {
            name: span.name.as_str().into(),
            fields: span.fields.iter().cloned().collect(),
            trace_id: text(&span.trace_id),
            span_id: text(&span.span_id),
        }
    }
}

/// What was seen of a slow poll, of which the rest is as `start` has it.
pub fn seen(evidence: &base::Evidence, start: SlowPoll) -> SlowPoll {
    let (first, more) = evidence.places.split_first().unzip();
    let kind = Kind {
        cause: evidence.cause.map(Cause::from),
        syscall: evidence.call.as_ref().map(|call| Syscall::from(call).into()),
        blocking_line: text(&evidence.blocking_line),
        caller: first.and_then(|first| text(&first.caller)),
        function: text(&evidence.function),
        stack: evidence.stack.iter().map(Frame::from).collect(),
        stack_complete: evidence.stack_complete,
        ..(*start.kind).clone()
    };
    let detail = Detail {
        more_places: more.into_iter().flatten().map(Place::from).collect(),
        span: evidence.span.as_deref().map(Span::from).map(Box::new),
        holder: evidence.holder().map(Holder::from).map(Box::new),
        quota: evidence.quota.as_deref().copied().map(Quota::from).map(Box::new),
        ..start.detail.map(|detail| *detail).unwrap_or_default()
    };
    SlowPoll {
        cpu_ns: evidence.cpu_time.map(to_ns).into(),
        run_delay_ns: evidence.run_delay.map(to_ns).into(),
        share_ns: first.map(|first| to_ns(first.share)).into(),
        looks: first.map(|first| first.looks),
        kind: kind.into(),
        detail: detail.boxed(),
        ..start
    }
}

/// All but the one that waited longest, which a recording has beside it.
impl From<base::Blame> for Blame {
    fn from(blame: base::Blame) -> Blame {
        Blame {
            tasks: blame.tasks,
            wait_ns: to_ns(blame.wait),
            late_tasks: blame.late_tasks,
            wait_most_ns: to_ns(blame.wait_most),
            lifo_tasks: blame.lifo_tasks,
        }
    }
}

impl From<base::Waited> for Waiter {
    fn from(waited: base::Waited) -> Waiter {
        Waiter {
            task_id: waited.task_id,
            spawned_at: format!("{}:{}", waited.spawned_at.file(), waited.spawned_at.line()),
            ready_ns: to_ns(waited.ready_at),
            polled_ns: to_ns(waited.polled_at),
            span: None,
        }
    }
}

impl From<&base::Ledger> for Ledger {
    fn from(ledger: &base::Ledger) -> Ledger {
        Ledger {
            charges: ledger.charges.iter().map(Charge::from).collect(),
            unattributed_ns: to_ns(ledger.unattributed),
        }
    }
}

impl From<&base::Charge> for Charge {
    fn from(charge: &base::Charge) -> Charge {
        Charge {
            culprit: place(&charge.culprit).into(),
            waiter: place(&charge.waiter).into(),
            tasks: charge.tasks,
            wait_ns: to_ns(charge.wait),
            late_tasks: charge.late_tasks,
            wait_most_ns: to_ns(charge.wait_most),
        }
    }
}

/// A spawn site, or all those beyond the table's size.
pub fn place(place: &Option<String>) -> &str {
    place.as_deref().unwrap_or("other")
}

fn text(text: &Option<String>) -> Option<Text> {
    text.as_deref().map(Text::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{SlowPoll, wire};

    #[test]
    fn a_span_is_written_with_its_trace_and_read_again() {
        let mut span = base::Span::new("request");
        span.fields.push(("route".to_owned(), "/a\n".to_owned()));
        (span.trace_id, span.span_id) = (Some("t".to_owned()), Some("s".to_owned()));
        let mut evidence = base::Evidence::default();
        evidence.span = Some(std::sync::Arc::new(span));
        let mut recording = crate::fixture::recording();
        recording.runs[0].slow_polls = vec![seen(&evidence, SlowPoll { id: 1, ..SlowPoll::default() })];
        recording.runs[0].slow_polls_total = 1;
        let location = std::panic::Location::caller();
        let waited = base::Waited::new(1, location, std::time::Duration::ZERO, std::time::Duration::from_nanos(9));
        let waiter = Waiter { span: evidence.span.as_deref().map(Span::from).map(Box::new), ..waited.into() };
        recording.runs[0].slow_polls[0].detail_mut().worst_waiter = Some(Box::new(waiter));
        let json = wire::to_json(&recording).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let expected =
            serde_json::json!({"name": "request", "fields": {"route": "/a\n"}, "trace_id": "t", "span_id": "s"});
        assert_eq!(value["runs"][0]["slow_polls"][0]["span"], expected);
        assert_eq!(value["runs"][0]["slow_polls"][0]["worst_waiter"]["span"], expected);
        let read = wire::from_json(json.as_bytes()).unwrap();
        assert_eq!(read.runs[0].slow_polls, recording.runs[0].slow_polls);
    }
}
