//! What is drawn, and in which order.

use super::*;

/// A run of 4 s in intervals of one, in which a poll of 2 s ended at 3 s.
fn with_a_long_poll() -> Recording {
    const S: u64 = 1_000 * fixture::MS;
    let mut recording = rich();
    recording.runs.truncate(1);
    let run = &mut recording.runs[0];
    run.elapsed_ns = 4 * S;
    let interval = run.intervals[0].clone();
    let polls = [&[(3, 1, 1)][..], &[], &[(1, 5, 5), (1, 2_000, 2_000)], &[(2, 1, 1)]];
    let of = |(at, ms): (u64, &&[(u64, u64, u64)])| {
        let ns: Vec<_> = ms.iter().map(|(count, low, high)| (*count, low * fixture::MS, high * fixture::MS)).collect();
        Interval { start_ns: at * S, polls: Some(fixture::dist(3, &ns)), lag: None, ..interval.clone() }
    };
    run.intervals = (0..).zip(&polls).map(of).collect();
    run.slow_polls.truncate(1);
    (run.slow_polls[0].start_ns, run.slow_polls[0].duration_ns) = (S, 2 * S);
    (run.slow_polls_total, run.slow_polls_dropped) = (1, 0);
    recording
}

#[test]
fn a_poll_is_drawn_from_its_start_to_its_end() {
    let page = render(&with_a_long_poll()).unwrap();
    // The plot is 436 units wide, from 72 on: a second is 109.
    assert!(
        page.contains("<rect class=\"slow\" x=\"181\"") && page.contains(" height=\"12\" width=\"218\">"),
        "its strip"
    );
    let bars: Vec<&str> =
        page.split("<g class=\"bar m0\">").skip(1).flat_map(|lane| lane.split("<rect ").skip(1)).collect();
    let longest = bars.iter().find(|bar| bar.contains("a slow poll of 2.00 s")).expect("its bar");
    assert!(longest.starts_with("x=\"181\" ") && longest.contains(" width=\"217.4\""), "{longest:.120}");
    let third = bars
        .iter()
        .find(|bar| bar.contains("<title>2.00 s: worst poll"))
        .expect("the other poll of the interval in which it ended");
    assert!(third.contains("worst poll 5.0"), "{third:.160}");
}

/// What the scripts have.
fn data_of(page: &str) -> serde_json::Value {
    serde_json::from_str(data(page, DRAWN)).expect("JSON")
}

#[test]
fn scripts_have_the_recording_s_numbers() {
    let mut recording = with_a_long_poll();
    recording.runs.push(fixture::in_round(rich().runs.remove(0), 2));
    recording.runs[0].stalls_open = vec![SlowPoll::default()];
    let drawn = data_of(&render(&recording).unwrap());
    assert_eq!(drawn["runs"].as_array().expect("runs").len(), recording.runs.len());
    let others: Vec<Option<u64>> =
        drawn["runs"][0]["others"].as_array().unwrap().iter().map(serde_json::Value::as_u64).collect();
    let ms: Vec<Option<u64>> = others.iter().map(|ns| ns.map(|ns| ns / fixture::MS)).collect();
    assert_eq!(ms, [Some(1), None, Some(5), Some(1)]);
    for (drawn, run) in drawn["runs"].as_array().unwrap().iter().zip(&recording.runs) {
        assert_eq!(drawn["elapsed_ns"], run.elapsed_ns);
        assert_eq!(drawn["threshold_ns"], run.slow_poll_threshold_ns);
        assert_eq!(drawn["round"], run.subject.round().unwrap());
        let starts: Vec<u64> = run.intervals.iter().map(|interval| interval.start_ns).collect();
        let lags: Vec<Option<u64>> = run.intervals.iter().map(|interval| interval.lag.as_ref()?.max_ns).collect();
        assert_eq!((&drawn["starts"], &drawn["lags"]), (&serde_json::json!(starts), &serde_json::json!(lags)));
    }
    let place =
        serde_json::json!(drawn["places"].as_array().unwrap().iter().position(|place| place == "src/sink.rs:41"));
    for (drawn, run) in drawn["runs"].as_array().unwrap().iter().zip(&recording.runs) {
        let slow: Vec<_> = run.slow_polls.iter().map(|poll| (poll.start_ns, poll.duration_ns, &place)).collect();
        assert!(!slow.is_empty() && drawn["slow"] == serde_json::json!(slow), "{}", drawn["slow"]);
    }
    assert_eq!(drawn["runs"][0]["open"], serde_json::json!([[0, 0, null]]));
}

/// However many intervals the recording in the page has.
#[test]
fn what_zooms_is_whole_where_the_recording_is_not() {
    let recording = of_twelve_runs(40);
    let page = render(&recording).unwrap();
    assert!(page.contains(" intervals in a row became one."));
    let drawn = data_of(&page);
    let starts = |run: usize| drawn["runs"][run]["starts"].as_array().unwrap().len();
    assert!((0..12).all(|run| starts(run) == recording.runs[run].intervals.len()));
    let runs: Vec<&str> = page.split(" data-runs=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
    assert_eq!(runs, ["0 4 8", "1 5 9", "2 6 10", "3 7 11"], "all rounds are drawn");
}

#[test]
fn many_bars_are_one_outline_and_all_lanes_of_a_mode_have_its_axis() {
    let page = render(&of_twelve_runs(31)).unwrap();
    assert!(page.contains("<path class=\"bar m3\" d=\"m") && !page.contains("<g class=\"bar"));
    assert!(page.contains("Point at a slow poll"));
    for mode in 0..4 {
        assert_eq!(page.matches(&format!("<g id=\"lane-{mode}\">")).count(), 1);
        assert_eq!(page.matches(&format!("<use href=\"#lane-{mode}\"")).count(), 5, "three rounds have six lanes");
    }
    let few = markup(&render(&fixture::recording()).unwrap());
    assert_eq!(few.matches("<title>").count(), few.matches("</title>").count());
    assert!(!few.contains("\"></rect>") && few.contains("</title></rect>"));
    assert!(few.contains("Point at a bar") && few.contains("<g class=\"bar m0\">"));
}

#[test]
fn what_most_readers_want_is_open_and_the_rest_is_folded() {
    let page = markup(&render(&rich()).unwrap());
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}"));
    let ids = ["<h1>", "<section id=\"timeline\">", "<section id=\"blocked\">", "<section id=\"price\">"];
    assert!(ids.map(at).is_sorted());
    for (id, ..) in &SECTIONS[OPEN..] {
        assert!(at(&format!("<section class=\"folded\" id=\"{id}\"><details><summary><h2>")) > at(ids[3]), "{id}");
        assert!(page.contains(&format!("href=\"#{id}-all\"")) && page.contains(&format!(" id=\"{id}-all\"")), "{id}");
    }
    let blocked = &page[at(ids[2])..at(ids[3])];
    assert!(
        blocked.contains("<tr class=\"more\"><td colspan=\"9\"><details open><summary>the stack of its longest poll, "),
        "{blocked}"
    );
}

#[test]
fn what_the_runtime_did_is_one_box_and_names_are_short_and_whole() {
    let mut recording = rich();
    recording.runs.truncate(1);
    let frame =
        |function: &str, file: &str| Frame { function: Some(function.into()), file: Some(file.into()), line: Some(7) };
    let stack = vec![
        frame("std::io::Write::write_all<std::fs::File>", "std/src/io/mod.rs"),
        frame("<app::sink::Naive as app::sink::Sink>::write", "src/sink.rs"),
        frame(
            "<F as core::future::future::Future>::poll<app::Very<app::Long<app::Type>>>",
            "core/src/future/future.rs",
        ),
        frame(
            "tokio::runtime::task::harness::poll_future<app::Very<app::Long>>",
            "tokio-1.54.1/src/runtime/task/harness.rs",
        ),
    ];
    for poll in &mut recording.runs[0].slow_polls {
        poll.kind_mut().stack = stack.clone().into();
    }
    let page = markup(&render(&recording).unwrap());
    let flame = page
        .split_once("<svg class=\"flame\"")
        .and_then(|(_, rest)| rest.split_once("<p class=\"readout"))
        .expect("a graph")
        .0;
    let boxes: Vec<(&str, &str)> = flame
        .split("<svg class=\"")
        .skip(1)
        .map(|drawn| {
            let (class, rest) = drawn.split_once('"').expect("a class");
            assert!(rest.contains(" tabindex=\"0\" role=\"img\"><title>"), "{rest}");
            (class, rest.split_once("<div>").and_then(|(_, rest)| rest.split_once("</div>")).expect("a name").0)
        })
        .collect();
    let expected = [
        ("all", "all slow polls"),
        ("task", "spawned at"),
        ("run", "tokio, core: 2 frames"),
        ("own", "&lt;Naive as Sink&gt;::write"),
        ("sys", "Write::write_all&lt;File&gt;"),
        ("call", "write()"),
    ];
    assert_eq!(boxes.len(), expected.len(), "{boxes:?}");
    for ((class, name), (expected_class, expected_name)) in boxes.iter().zip(expected) {
        assert!(*class == expected_class && name.starts_with(expected_name), "{class} {name}");
    }
    assert!(flame.contains("poll_future&lt;app::Very&lt;app::Long&gt;&gt;"), "whole where it is pointed at");
}

#[test]
fn every_axis_has_a_title() {
    let page = markup(&render(&rich()).unwrap());
    let charts: Vec<&str> =
        page.split("<figure>").skip(1).map(|figure| figure.split("</figure>").next().unwrap()).collect();
    assert!(charts.len() >= 10, "{}", charts.len());
    for chart in charts {
        let titles = |axis: &str| chart.matches(&format!("<text class=\"axis-title {axis}\"")).count();
        // A bar has one axis; the lanes of a timeline have each their own vertical one.
        let has_vertical = !chart.contains("class=\"frame\"");
        assert_eq!((titles("of-x"), titles("of-y") > 0), (1, has_vertical), "{chart:.300}");
    }
    let zooming = SCRIPTS[1];
    assert!(zooming.contains("named(title)") && zooming.contains("named(\"duration, log scale\")"));
}

#[test]
fn ten_series_are_told_apart_by_colour_dashes_and_marks_in_light_and_in_dark() {
    let css = STYLES[1];
    let colours = |scheme: &str| {
        let value = |name: &str| {
            scheme.split_once(&format!("--{name}: #")).and_then(|(_, rest)| rest.split_once(';')).expect("a colour").0
        };
        let all: Vec<&str> = (0..10).map(|mode| value(&format!("c{mode}"))).collect();
        (value("bg").to_owned(), all.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let (light, dark) = css.split_once("prefers-color-scheme: dark").expect("both");
    for (background, colours) in [light, dark].map(colours) {
        assert_eq!(distinct(&colours), 10, "{colours:?}");
        for colour in &colours {
            let contrast = (luminance(colour) + 0.05) / (luminance(&background) + 0.05);
            assert!(contrast.max(1.0 / contrast) >= 3.0, "{colour} on {background}: {contrast}");
        }
    }
    let after = |mark: &str, mode: usize| {
        let (_, rest) = css.split_once(&format!(".m{mode} {{ --c: var(--c{mode}); --dash: ")).expect(mark);
        rest.split_once(['}', ';']).unwrap().0.trim().to_owned()
    };
    assert_eq!(distinct(&(0..10).map(|mode| after("dashes", mode)).collect::<Vec<_>>()), 10);
    let marks: Vec<String> = (0..10).map(|mode| chart::mark(mode, false, 0.0, 0.0).into_string()).collect();
    let shapes: Vec<&str> = marks.iter().map(|mark| mark.split_once(" d=").expect("a shape").1).collect();
    assert_eq!(distinct(&shapes), 10, "{shapes:?}");
    let names: Vec<String> = (0..10).map(|i| format!("mode {i}")).collect();
    let page = render(&fixture::recording_of(names.iter().map(|name| fixture::run(name)).collect())).unwrap();
    assert!((0..10).all(|mode| page.contains(&format!("<path class=\"line m{mode}\""))));
}

fn distinct<T: Ord>(all: &[T]) -> usize {
    all.iter().collect::<std::collections::BTreeSet<_>>().len()
}

/// As WCAG has it, of `fff` or `1b1f24`.
fn luminance(colour: &str) -> f64 {
    let digits: String =
        if colour.len() == 3 { colour.chars().flat_map(|c| [c, c]).collect() } else { colour.to_owned() };
    let linear = |at: usize| {
        let value = f64::from(u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal")) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(0) + 0.7152 * linear(2) + 0.0722 * linear(4)
}
