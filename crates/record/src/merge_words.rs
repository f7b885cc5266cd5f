//! What became of a merge, in words.

use crate::by_group::ByGroup;
use crate::recording::{InputEvents, Merge, Run, Verdict};
use crate::units::{format_bytes, format_count, format_ns, join_and, plural};

/// One sentence for all rounds whose merge is ok.
pub(crate) fn confirmed(mode: &ByGroup) -> Option<String> {
    let ok = mode.rounds.iter().filter_map(|run| run.merge.as_ref()).filter(|merge| merge.verdict == Verdict::Ok);
    let ok: Vec<&Merge> = ok.collect();
    let (first, equal) = (*ok.first()?, ok.iter().all(|merge| merge == &ok[0]));
    let rounds = match (ok.len(), equal) {
        (1, _) => String::new(),
        (rounds, true) => format!(" in {rounds} rounds, each of"),
        (rounds, false) => format!(" in {rounds} rounds, the first of"),
    };
    Some(ok_words(first, &rounds))
}

/// That a merge is ok, in these rounds if there were several.
pub(crate) fn ok_words(merge: &Merge, rounds: &str) -> String {
    let colon = if rounds.is_empty() { ":" } else { "" };
    // In the words of the counts: none lost or torn, none twice, none reordered, and nothing foreign.
    let what = "each whole, once, in order";
    format!("merge ok{rounds}{colon} {}, {what}{}", size(merge), as_delivered(merge))
}

fn size(merge: &Merge) -> String {
    if merge.verdict == Verdict::Unverifiable {
        let inputs = plural(merge.inputs, "input");
        // Nothing was compared, so lines were not counted.
        return match &merge.written {
            Some(written) => {
                let lines = plural(written.lines, "line");
                format!("{inputs}, {lines} and {} written", format_bytes(written.bytes))
            }
            None => inputs,
        };
    }
    let bytes = format_bytes(merge.bytes);
    format!("{}, {}, {bytes}", plural(merge.inputs, "input"), plural(merge.lines, "line"))
}

/// What was not delivered as it was.
fn as_delivered(merge: &Merge) -> String {
    let unterminated = || format!("{} ended without a newline", plural(merge.unterminated, "input"));
    let long_lines = merge.written.as_ref().map_or(merge.long_lines, |written| written.long_lines);
    let long = || format!("{} longer than the limit, split", plural(long_lines, "line"));
    let parts = [(merge.unterminated > 0).then(unterminated), (long_lines > 0).then(long)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join("; ")) }
}

pub(crate) fn not_confirmed(mode: &ByGroup, run: &Run, merge: &Merge) -> String {
    let round = if mode.rounds.len() > 1 { round_of(run, " in round ", "") } else { String::new() };
    not_ok_words(merge, &round)
}

/// That a merge is not ok, in this round if there were several.
pub(crate) fn not_ok_words(merge: &Merge, round: &str) -> String {
    let wrong = [
        (merge.lost, "lost"),
        (merge.duplicated, "duplicated"),
        (merge.reordered, "reordered"),
        (merge.torn, "torn"),
        (merge.foreign, "foreign"),
    ];
    let wrong: Vec<String> =
        wrong.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", format_count(*n))).collect();
    let wrong = join_and(&wrong.iter().map(String::as_str).collect::<Vec<_>>());
    let parts = [size(merge), wrong, merge.reason.as_deref().unwrap_or_default().to_owned()];
    let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    format!("merge {}{round}: {}{}", merge.verdict.as_str(), parts.join("; "), as_delivered(merge))
}

/// The round of a run that has one, between two texts.
pub(crate) fn round_of(run: &Run, before: &str, after: &str) -> String {
    run.subject.round().map_or(String::new(), |round| format!("{before}{round}{after}"))
}

/// How many of a run's events a report for people shows: those that may have cost lines first.
const EVENTS: usize = 6;

/// What happened to the inputs, each a sentence.
pub(crate) fn what_happened(mode: &ByGroup) -> Vec<String> {
    let mut sentences = Vec::new();
    for run in &mode.rounds {
        let round = if mode.rounds.len() > 1 { round_of(run, "round ", ": ") } else { String::new() };
        let InputEvents { events, dropped, possible_losses, possible_repeats, repeated_bytes_at_most } =
            &run.input_events;
        let count = events.len() as u64 + dropped;
        if count == 0 {
            continue;
        }
        let losses = match possible_losses {
            0 => "none of which cost lines".to_owned(),
            n => format!("{} of which may have cost lines", format_count(*n)),
        };
        let repeats = match repeated_bytes_at_most {
            Some(bytes) if *possible_repeats > 0 => {
                format!("; by {} at most {} came twice", format_count(*possible_repeats), format_bytes(*bytes))
            }
            _ => String::new(),
        };
        sentences.push(format!("{round}{} while the inputs were followed, {losses}{repeats}", plural(count, "event")));
        let (worse, others): (Vec<_>, Vec<_>) = events.iter().partition(|event| event.may_lose);
        let shown = worse.into_iter().chain(others).take(EVENTS);
        sentences.extend(shown.map(|event| format!("after {}: {}", format_ns(event.at_ns), event.text)));
        if count > EVENTS as u64 {
            sentences.push(format!("and {} more", format_count(count - EVENTS as u64)));
        }
    }
    sentences
}
