//! Percentile plots: how long, at most, in which share of all cases; modes over one another.

use maud::{Markup, html};

use super::Page;
use super::chart::{LEFT, Log, RIGHT, Steps, at, duration_axis, figure, mark, sample, title_x, title_y};
use super::table::class;
use super::text::name;
use crate::by_group::ByGroup;
use crate::recording::Dist;
use crate::units::format_ns;

const TOP: f64 = 30.0;
const BOTTOM: f64 = 236.0;
const HEIGHT: f64 = 284.0;
/// Points of a curve.
const POINTS: u32 = 90;
/// Points that have a mark, so that curves of many modes are told apart; each mode has its own.
const MARKED: [u32; 4] = [12, 34, 56, 78];

type Measure = fn(&ByGroup<'_>) -> Option<Dist>;

struct Curve {
    mode: usize,
    name: String,
    dist: Dist,
    /// Not corrected for coordinated omission.
    is_raw: bool,
}

/// Loop lag and poll time.
pub(super) fn section(page: &Page) -> Option<Markup> {
    let mut lag = curves(page, |mode| mode.lag.clone(), false);
    lag.extend(curves(page, |mode| mode.lag_raw.clone(), true));
    let plots = [("Loop lag", lag), ("Poll time", curves(page, |mode| mode.polls.clone(), false))];
    (!page.modes.is_empty()).then(|| {
        html! {
            p { "Read it from the right: of 1,000 cases, all but one took no longer than the line is high at 99.9 %. Loop lag is how \
                 late a periodic timer fires; its raw line counts only the firings that there were, and so hides those that a block \
                 kept from happening." }
            div.charts { @for (title, curves) in &plots { (plot(page, title, curves)) } }
        }
    })
}

/// Wake to poll start.
pub(super) fn schedule_latency(page: &Page) -> Option<Markup> {
    let curves = curves(page, |mode| mode.schedule_latency.clone(), false);
    (!page.modes.is_empty()).then(|| {
        html! {
            p { "From the moment that a task is woken to the start of its poll: what every task on the loop waits for the others." }
            div.charts { (plot(page, "Schedule latency", &curves)) }
        }
    })
}

/// What a fix gains and what it costs: how soon others are answered, and how late a line is written.
pub(super) fn gain_and_cost(page: &Page) -> Markup {
    html! {
        (plot(page, "Response time", &curves(page, |mode| mode.response_time.clone(), false)))
        (plot(page, "Write latency", &curves(page, |mode| mode.write_latency.clone(), false)))
    }
}

fn curves(page: &Page, of: Measure, is_raw: bool) -> Vec<Curve> {
    let curve = |(mode, group): (usize, &ByGroup)| {
        let dist = of(group).filter(|dist| dist.count() > 0)?;
        Some(Curve { mode, name: name(group.name), dist, is_raw })
    };
    page.modes.iter().enumerate().filter_map(curve).collect()
}

fn plot(page: &Page, title: &str, curves: &[Curve]) -> Markup {
    if curves.is_empty() {
        return html! { figure { figcaption { h3 { (title) } p.dim { "— not measured" } } } };
    }
    let of = |pick: fn(&Dist) -> Option<u64>| curves.iter().filter_map(move |curve| pick(&curve.dist));
    let low = of(|dist| dist.shown_quantile_ns(0.0)).min().unwrap_or(1);
    let high = of(|dist| dist.max_ns).max().unwrap_or(1);
    let most = curves.iter().map(|curve| curve.dist.count()).max().unwrap_or(1);
    let y = Log::new(low, high, BOTTOM, TOP);
    let x = Log::new(1, most.max(10), LEFT, RIGHT);
    let threshold = page.modes.first().map(ByGroup::threshold_ns).filter(|ns| y.within(*ns).is_some());
    let content = html! {
        (title_y(TOP, &format!("{}, log scale", title.to_lowercase())))
        (duration_axis(&y, 5))
        (title_x(BOTTOM, "share of cases that took no longer, %"))
        @for (cases, place) in x.ticks(4) {
            text x=(at(place)) y=(at(BOTTOM + 19.0)) text-anchor=(anchor(place)) { (share(cases)) }
        }
        @if let Some(ns) = threshold {
            path.threshold d={ "M" (at(LEFT)) " " (at(y.place(ns as f64))) "H" (at(RIGHT)) } {}
            text.dim x=(at(RIGHT)) y=(at(y.place(ns as f64) + 15.0)) text-anchor="end" { "slow from here" }
        }
        @for curve in curves {
            path.line.thin[curve.is_raw].(class(curve.mode)) d=(line(&curve.dist, &x, &y)) { title { (says(curve)) } }
            @for (x, y) in MARKED.iter().filter_map(|point| place(&curve.dist, point + 2 * (curve.mode as u32 % 10), &x, &y)) {
                (mark(curve.mode, curve.is_raw, x, y))
            }
        }
    };
    let all: Vec<String> = curves.iter().map(says).collect();
    let caption = html! {
        h3 { (title) }
        ul.legend { @for curve in curves { li { (sample(curve.mode, curve.is_raw)) (says(curve)) } } }
    };
    figure(caption, &format!("{title}: {}", all.join("; ")), HEIGHT, content)
}

fn says(curve: &Curve) -> String {
    let raw = if curve.is_raw { ", raw" } else { "" };
    let [p50, p99] = [0.5, 0.99].map(|q| super::text::or_unknown(curve.dist.shown_quantile_ns(q).map(format_ns)));
    let max = super::text::or_unknown(curve.dist.max_ns.map(format_ns));
    format!("{}{raw}: p50 {p50}, p99 {p99}, max {max}", curve.name)
}

/// The share of cases that lies below, where one in `cases` lies above.
fn share(cases: u64) -> String {
    match cases.ilog10() {
        0 => "0".to_owned(),
        1 => "90".to_owned(),
        2 => "99".to_owned(),
        nines => format!("99.{}", "9".repeat(nines as usize - 2)),
    }
}

fn anchor(x: f64) -> &'static str {
    match x {
        x if x > RIGHT - 30.0 => "end",
        // The labels of the vertical axis stand to its left.
        x if x < LEFT + 10.0 => "start",
        _ => "middle",
    }
}

/// Where a point of a curve is.
fn place(dist: &Dist, point: u32, x: &Log, y: &Log) -> Option<(f64, f64)> {
    let last = (dist.count() as f64).log10();
    let cases = 10f64.powf(last * f64::from(point) / f64::from(POINTS));
    let ns = if point >= POINTS { dist.max_ns } else { dist.shown_quantile_ns(1.0 - 1.0 / cases) };
    Some((x.place(cases), y.place(ns? as f64)))
}

/// From the minimum to the maximum, which is one case in all.
fn line(dist: &Dist, x: &Log, y: &Log) -> String {
    let mut steps = Steps::new();
    let mut before = None;
    for point in 0..=POINTS {
        let Some((x, y)) = place(dist, point, x, y) else { continue };
        let shown = at(y);
        match &before {
            None => steps.go(x, y),
            // A level stretch is one piece; a step up has its corner.
            Some((_, same)) if *same == shown && point < POINTS => continue,
            Some((level, _)) => {
                steps.line(x, *level);
                steps.line(x, y);
            }
        }
        before = Some((y, shown));
    }
    steps.d()
}
