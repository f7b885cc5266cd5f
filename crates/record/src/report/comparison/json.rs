//! A comparison as JSON, for other tools. Keys may be added; none is renamed. Unknown is `null`, never 0.
//!
//! `schema` is `pollscope.comparison/1`. Each of `comparisons` has `mode` (`null` where its sides are modes), `a` and `b` (names),
//! `rounds` of both, `interleaved`, `verdict`, `conclusion`, `notes` and `metrics`. A metric has `key`, `unit` (`ns`, `count`,
//! `bytes_per_s`, `fraction`), `a` and `b` in that unit, `ratio` (b by a), `low` and `high` (the ends of its 95 % interval; `null`
//! beside the other is an open end), `interval_of` (`rounds`, `blocks`, `samples`, `none`), `better` (`lower`, `higher`), `verdict`, and `why`
//! that is inconclusive (`few`, `spans 1`, `chance`, `small`, `short`, `starts`, `load`; `null` where it is not). Texts say `ratio` as a factor that is
//! never below 1, with the word `lower` where that is its inverse.
//! `service` is `null` of scenarios, and of what is not known by interval: else it has `compared_ns` and `recorded_ns` of both sides (how
//! long is compared, and was recorded), `blocks_ns` (the shortest and the longest; `null` where recordings are the rounds),
//! `polls_per_s` of both and `load_differs`.
//! `gates` are those of `--fail-on`, as in a recording: `expr`, `verdict` (`pass`, `fail`, `inconclusive`) and `value`.

use serde_json::{Value, json};

use super::Compared;
use crate::compare::{Comparison, Open, Rounds, Row, Served, conclusion, noted};
use crate::escape;

pub(super) fn render(compared: &Compared) -> serde_json::Result<String> {
    let comparisons = compared.comparisons.iter().map(|(mode, compared)| comparison(mode, compared));
    let document = json!({
        "schema": "pollscope.comparison/1",
        "scenario": compared.scenario,
        "sides": compared.sides,
        "environments_differ": compared.environments,
        "comparisons": comparisons.collect::<Vec<_>>(),
        "gates": compared.gates,
    });
    Ok(escape::json(serde_json::to_string_pretty(&document)? + "\n"))
}

fn comparison(mode: &str, compared: &Comparison) -> Value {
    json!({
        "mode": (!mode.is_empty()).then_some(mode),
        "a": compared.a,
        "b": compared.b,
        "rounds": compared.rounds,
        "interleaved": compared.lie == Rounds::Interleaved,
        "service": compared.served.as_ref().map(service),
        "verdict": compared.verdict().as_str(),
        "conclusion": conclusion(compared),
        "notes": compared.notes.iter().map(noted).collect::<Vec<_>>(),
        "metrics": compared.rows.iter().map(metric).collect::<Vec<_>>(),
    })
}

fn service(served: &Served) -> Value {
    json!({
        "compared_ns": served.compared_ns,
        "recorded_ns": served.recorded_ns,
        "blocks_ns": served.blocks_ns,
        "polls_per_s": served.polls_per_s,
        "load_differs": served.load_differs,
    })
}

fn metric(row: &Row) -> Value {
    let end = |index: usize| row.interval.map(|interval| interval[index]).filter(|end| *end > 0.0 && end.is_finite());
    json!({
        "key": row.metric.key,
        "unit": row.metric.unit.suffix(),
        "a": row.a,
        "b": row.b,
        "ratio": row.ratio,
        "low": end(0),
        "high": end(1),
        "interval_of": row.basis.as_str(),
        "better": if row.metric.more_is_better { "higher" } else { "lower" },
        "verdict": row.verdict.as_str(),
        "why": row.open.map(Open::as_str),
    })
}
