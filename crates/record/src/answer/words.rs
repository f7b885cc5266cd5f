//! Sentences of the answer, without full stops.

use pollscope_base::Cause;
use pollscope_base::escape::cut_name;

use super::Held;
use crate::by_group::ByGroup;
use crate::recording::{self, Finding, SlowPoll, Span, Subject};
use crate::units::{format_count, format_ns, format_percent, format_round_ns, join_and, plural};

/// What held the loop, how often and for how long: `write() on sink.fifo blocked the loop 6 times: worst 178 ms, 34 % of the run`.
pub(super) fn held(held: &Held, group: &ByGroup, all: &[ByGroup], is_open: bool) -> String {
    let (mode, holder) = (in_mode(group, all), holder(held.dearest().first));
    let is_one = group.first().subject.workers().is_none_or(|workers| workers == 1);
    let the_loop = if is_one { "the loop" } else { "a worker of the loop" };
    let what = what(held, the_loop);
    let worst = format_ns(held.worst_ns);
    if is_open {
        return format!("{what}{mode} and had not ended when the run did: {worst} by then{holder}");
    }
    let least = if group.slow_is_at_least() || group.slow_dropped() > 0 { "at least " } else { "" };
    let share = share_of_run(held, group).map_or(String::new(), |share| format!(", {share}"));
    match held.polls {
        1 => format!("{what}{mode} {least}once: {worst}{share}{holder}"),
        polls => format!("{what}{mode} {least}{} times: worst {worst}{share}{holder}", format_count(polls)),
    }
}

/// Characters of a trace's id that are enough to find it by.
const OF_TRACE: usize = 16;

/// `, the longest in span `GET /items` (trace 4bf92f3577b34da6…)`, or without `the longest` of one; nothing where it is not known.
pub(super) fn whose(polls: &[&SlowPoll]) -> String {
    let longest = polls.iter().max_by_key(|poll| poll.duration_ns);
    let Some(span) = longest.and_then(|poll| poll.detail.as_ref()?.span.as_deref()) else { return String::new() };
    let which = if polls.len() > 1 { "the longest " } else { "" };
    format!(", {which}in span {}", span_words(span))
}

/// `` `GET /items` (/items/{id}, trace 4bf92f3577b34da6…)``
fn span_words(span: &Span) -> String {
    let start = |trace: &str| match trace.char_indices().nth(OF_TRACE) {
        Some((end, _)) => format!("{}…", &trace[..end]),
        None => trace.to_owned(),
    };
    let trace = span.trace_id.as_deref().map(|trace| format!("trace {}", start(trace)));
    let route = ["route", "http.route"].iter().find_map(|name| span.fields.get(*name));
    let parts: Vec<String> = route.map(|route| cut_name(route).into_owned()).into_iter().chain(trace).collect();
    let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    format!("`{}`{parts}", cut_name(&span.name))
}

/// The part of its group's time that it took; `None` where that is not known.
fn share_of_run(held: &Held, group: &ByGroup) -> Option<String> {
    let available: f64 = group.rounds.iter().map(|run| run.available_ns()).sum::<Option<f64>>()?;
    let of = if group.first().subject.workers() == Some(1) { "of the run" } else { "of all workers' time" };
    Some(format!("{} {of}", format_percent(held.total_ns as f64 / available)))
}

/// Subject and verb.
fn what(held: &Held, the_loop: &str) -> String {
    let blocker = held.dearest();
    let call = blocker.first.syscall.as_deref().map(|call| {
        let on = call.peer.as_deref().or(call.path.as_deref().map(last_part));
        format!("{}(){}", call.name, on.map_or(String::new(), |on| format!(" on {on}")))
    });
    let Some(recording::Cause::Known(cause)) = held.cause() else {
        return match (call, blocker.function) {
            (Some(call), _) => format!("{call} held {the_loop}"),
            (None, Some(function)) => format!("`{function}` held {the_loop}"),
            (None, None) => format!("a poll held {the_loop}"),
        };
    };
    match cause {
        Cause::BlockingCall => format!("{} blocked {the_loop}", call.unwrap_or_else(|| "a system call".to_owned())),
        Cause::Lock => format!("waiting for a lock or another thread blocked {the_loop}"),
        Cause::Cpu => format!("computing held {the_loop}"),
        Cause::Kernel => {
            let within = call.map_or(String::new(), |call| format!(" in {call}"));
            format!("the kernel, at work{within}, held {the_loop}")
        }
        Cause::PageFault => format!("memory that had to be read in (a page fault) held {the_loop}"),
        Cause::Preempted => format!("the machine gave {the_loop} no CPU"),
        Cause::Throttled => format!("a CPU quota that was used up stopped {the_loop}"),
        Cause::Suspended => format!("the process was stopped, and {the_loop} with it,"),
        Cause::BlockInPlace => "`block_in_place` blocked a thread that had handed its worker over".to_owned(),
        Cause::Panic => format!("a panic held {the_loop}"),
    }
}

/// The end of a path.
fn last_part(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().filter(|part| !part.is_empty()).unwrap_or(path)
}

/// Who has what it waits for, as far as that is known.
fn holder(poll: &SlowPoll) -> String {
    let Some(holder) = poll.detail.as_ref().and_then(|detail| detail.holder.as_ref()) else { return String::new() };
    let thread = holder.thread.as_deref().map_or("another thread".to_owned(), |name| format!("thread `{name}`"));
    let at = holder.line.as_deref().map_or(String::new(), |line| format!(" at {line}"));
    // What a call works on is in the tables.
    let doing = holder.doing.as_deref().and_then(|doing| doing.split('(').next());
    let doing = doing.map_or(String::new(), |doing| format!(" ({})", doing.trim_end()));
    let sure = if holder.sure { "" } else { "probably " };
    format!("; {sure}held by {thread}{at}{doing}")
}

/// Which group, where there are several or its name needs words: ` in naive mode (the loop itself blocks)`.
pub(super) fn in_mode(group: &ByGroup, all: &[ByGroup]) -> String {
    match (&group.first().subject, all.len()) {
        (Subject::Scenario(_), _) => format!(" in {}", mode(group)),
        (_, 1) => String::new(),
        _ => format!(" in {}", group.name),
    }
}

/// A mode and what it means.
pub(super) fn mode(group: &ByGroup) -> String {
    let Subject::Scenario(run) = &group.first().subject else { return group.name.to_owned() };
    let means = match run.mode.as_str() {
        "naive" => " (the loop itself blocks)",
        "offloaded" => " (a thread of its own does)",
        "spawn-blocking" => " (Tokio's blocking pool does)",
        "tokio-fs" => " (`tokio::fs` does, on that pool)",
        "block-in-place" => " (the loop, after it handed its worker over)",
        _ => "",
    };
    format!("{} mode{means}", run.mode)
}

/// Who waited for these polls: tasks, and clients that were asked from outside.
pub(super) fn meanwhile(polls: &[&SlowPoll], group: &ByGroup) -> Option<String> {
    let polls = || polls.iter().copied();
    let most = polls().filter_map(|poll| poll.blame().map(|blame| blame.tasks)).max();
    let waited = |poll: &SlowPoll| poll.worst_waiter().map(|by| by.polled_ns.saturating_sub(by.ready_ns));
    let longest = polls().filter_map(waited).max();
    let whose = polls().max_by_key(|poll| waited(poll)).and_then(|poll| poll.worst_waiter()?.span.as_deref());
    let whose = whose.map_or(String::new(), |span| format!(" in span {}", span_words(span)));
    let tasks = most.filter(|tasks| *tasks > 0).map(|tasks| {
        let longest = longest.map_or(String::new(), |ns| format!(", the longest {}{whose}", format_ns(ns)));
        format!("up to {} waited at a time{longest}", plural(tasks, "other task"))
    });
    let felt = witnesses(group);
    match (tasks, felt) {
        (Some(tasks), Some(felt)) => Some(format!("{tasks}; {felt}")),
        (tasks, felt) => tasks.or(felt),
    }
}

/// What the loop's users felt.
pub(super) fn witnesses(group: &ByGroup) -> Option<String> {
    let p99 = |dist: &Option<recording::Dist>| dist.as_ref().and_then(|dist| dist.shown_quantile_ns(0.99));
    if let Some(ns) = p99(&group.response_time) {
        return Some(format!("outside clients: response p99 {}", format_ns(ns)));
    }
    p99(&group.lag).map(|ns| format!("timers: loop lag p99 {}", format_ns(ns)))
}

/// Where the time of the loops went, with the group where there are several.
pub(super) fn loops_time(groups: &[ByGroup]) -> Option<String> {
    let of_group = |group: &ByGroup| {
        let words = group.loops_time()?.words()?;
        Some(if groups.len() > 1 { format!("{}: {words}", group.name) } else { words })
    };
    let all: Vec<String> = groups.iter().filter_map(of_group).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// The spawn site whose polls took most time.
pub(super) fn busiest_site(group: &ByGroup) -> Option<String> {
    let site = group.known_sites().first()?;
    site.spawned_at.contains(':').then(|| site.spawned_at.clone())
}

/// That the loop was late without a slow poll, with whose polls those were.
pub(super) fn many_short_polls(finding: &Finding, group: &ByGroup) -> String {
    let busy = group.known_sites().iter().map(|site| site.polls.sum_ns).sum::<u64>();
    let of_site = group.known_sites().first().filter(|_| busy > 0).map(|site| {
        let share = format_percent(site.polls.sum_ns as f64 / busy as f64);
        format!("; {share} of the time in polls is of tasks spawned here, {}", plural(site.polls.count(), "poll"))
    });
    finding.sentence.clone() + &of_site.unwrap_or_default()
}

/// That nothing held the loop, and what was watched.
pub(super) fn calm(groups: &[&ByGroup]) -> String {
    let threshold = groups.iter().map(|group| group.threshold_ns()).min().unwrap_or_default();
    let names: Vec<String> = groups.iter().map(|group| mode(group)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let modes = if groups.len() > 1 { format!(" in {}", join_and(&names)) } else { String::new() };
    let polls: Option<u64> = groups.iter().map(|group| group.polls.as_ref().map(recording::Dist::count)).sum();
    let watched = polls.map_or(String::new(), |polls| {
        let elapsed = groups.iter().flat_map(|group| &group.rounds).map(|run| run.elapsed_ns).sum();
        format!(": {} watched in {}", plural(polls, "poll"), format_ns(elapsed))
    });
    let longest = groups.iter().filter_map(|group| group.longest_poll_ns()).max();
    let longest = longest.map_or(String::new(), |ns| format!(", the longest {}", format_ns(ns)));
    let felt = match groups {
        [only] => witnesses(only).map_or(String::new(), |felt| format!("; {felt}")),
        _ => String::new(),
    };
    format!("nothing held the loop for {} or longer{modes}{watched}{longest}{felt}", format_round_ns(threshold))
}

/// That nothing was seen, where that does not prove much.
pub(super) fn not_seen(groups: &[&ByGroup]) -> String {
    match groups {
        [] => "nothing was measured".to_owned(),
        _ if groups.iter().any(|group| group.only_wrappers()) => {
            "no slow poll among the futures that are watched; others are not seen in this build (PS006)".to_owned()
        }
        _ if groups.iter().flat_map(|group| &group.rounds).any(|run| run.coverage.source == "attached") => {
            "no slow poll was seen; there may have been some between two looks".to_owned()
        }
        // It breaks off: a probe that sees every poll had no time to write of the last ones.
        _ => "no slow poll was seen; there may have been some in the last moments, of which nothing was written"
            .to_owned(),
    }
}
