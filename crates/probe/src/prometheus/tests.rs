use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::clock::Clock;
use crate::histogram::{HIGHEST_NS, pair};
use crate::shared::Shared;
use crate::snapshot::Site;

fn empty() -> Snapshot {
    Shared::new(Clock::monotonic(), 100_000_000, 8).snapshot()
}

fn distribution(values: impl IntoIterator<Item = u64>) -> Distribution {
    let (mut writer, reader) = pair();
    values.into_iter().for_each(|ns| writer.record(ns));
    reader.read()
}

fn site(place: Option<&str>, slow: u64, ns: u64) -> Site {
    Site { spawned_at: place.map(str::to_owned), task_name: None, polls: distribution([ns]), slow }
}

/// One sample as it was written: its name, its labels, its value.
type Sample = (String, BTreeMap<String, String>, f64);

fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads labels up to their closing brace: they, and what comes after it.
fn labels(text: &str) -> (BTreeMap<String, String>, &str) {
    let (mut labels, mut rest) = (BTreeMap::new(), text);
    loop {
        let (name, after) = rest.split_once("=\"").expect("a label");
        assert!(is_name(name), "{name:?}");
        let (mut value, mut chars) = (String::new(), after.char_indices());
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match chars.next().expect("what is escaped").1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("`\\{c}` is no escape"),
                }),
                (_, c) => value.push(c),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "`{name}` twice");
        rest = &after[end..];
        match rest.split_at(1) {
            (",", more) => rest = more,
            ("}", more) => return (labels, more),
            (other, _) => panic!("{other:?} after a label"),
        }
    }
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect("a name's end");
    let (name, rest) = line.split_at(end);
    assert!(is_name(name) && name.starts_with("pollscope_"), "{name:?}");
    let (labels, rest) = rest.strip_prefix('{').map_or((BTreeMap::new(), rest), labels);
    let value = rest.strip_prefix(' ').expect("one blank before the value");
    assert!(value.chars().all(|c| c.is_ascii_digit() || c == '.'), "{value:?} is no plain number");
    (name.to_owned(), labels, value.parse().expect("a number"))
}

/// Reads a text as strictly as the format is written down: every family once, its help and type before its samples, no sample
/// twice, histograms whole.
#[track_caller]
fn parse(text: &str) -> Vec<Sample> {
    assert!(text.ends_with('\n') && !text.contains('\r'));
    let (mut families, mut samples, mut seen) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
    let (mut family, mut kind) = ("", "");
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split_once(' ').expect("a help").0;
            let kinds = lines.next().and_then(|line| line.strip_prefix("# TYPE ")).expect("a type after the help");
            kind = kinds.strip_prefix(family).and_then(|rest| rest.strip_prefix(' ')).expect("the same name");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
            assert!(families.insert(family.to_owned(), kind.to_owned()).is_none(), "{family} twice");
            continue;
        }
        let (name, labels, value) = sample(line);
        let suffix = name.strip_prefix(family).expect("a sample of the family above");
        let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(suffixes.contains(&suffix), "{name} in {family}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        assert!(seen.insert((name.clone(), labels.clone())), "{line} twice");
        samples.push((name, labels, value));
    }
    for (family, _) in families.iter().filter(|(_, kind)| *kind == "histogram") {
        whole(&samples, family);
    }
    samples
}

/// A histogram's bounds and counts rise, and end in the count.
#[track_caller]
fn whole(samples: &[Sample], family: &str) {
    let buckets: Vec<(f64, f64)> = samples
        .iter()
        .filter(|(name, ..)| *name == format!("{family}_bucket"))
        .map(|(_, labels, count)| (labels["le"].replace("+Inf", "inf").parse().expect("a bound"), *count))
        .collect();
    assert_eq!(buckets.len(), BOUNDS_NS.len() + 1);
    assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{buckets:?}");
    let (bound, last) = buckets[BOUNDS_NS.len()];
    assert_eq!((bound, last), (f64::INFINITY, value(samples, &format!("{family}_count"), "")));
}

/// The value of the only sample of a name, or of the one with this label value.
#[track_caller]
fn value(samples: &[Sample], name: &str, label: &str) -> f64 {
    let mut found = samples.iter().filter(|(found, labels, _)| {
        found == name && (labels.is_empty() && label.is_empty() || labels.values().any(|value| value == label))
    });
    let value = found.next().unwrap_or_else(|| panic!("no {name} {label}")).2;
    assert!(found.next().is_none(), "two {name} {label}");
    value
}

fn sites(samples: &[Sample], name: &str) -> BTreeMap<String, f64> {
    let of_name = samples.iter().filter(|(found, ..)| found == name);
    of_name.map(|(_, labels, value)| (labels["site"].clone(), *value)).collect()
}

#[test]
fn an_empty_snapshot_is_valid_and_has_no_unknowns() {
    let text = Snapshot { schedule_latency: None, ..empty() }.to_prometheus();
    let samples = parse(&text);
    assert_eq!(value(&samples, "pollscope_poll_duration_seconds_count", ""), 0.0);
    assert_eq!(value(&samples, "pollscope_slow_poll_threshold_seconds", ""), 0.1);
    assert_eq!(value(&samples, "pollscope_info", env!("CARGO_PKG_VERSION")), 1.0);
    for absent in ["schedule_latency", "longest", "NaN", "site=", "inf "] {
        assert!(!text.contains(absent), "{absent}");
    }
}

#[test]
fn a_bucket_is_counted_at_the_first_bound_that_it_does_not_pass() {
    // 100 ms shares its bucket with values above it; 99 ms does not.
    let polls = distribution([0, 999, 1_000, 99_000_000, 100_000_000, 10_100_000_000, HIGHEST_NS * 2]);
    let snapshot = Snapshot { schedule_latency: Some(distribution([1])), polls, ..empty() };
    let samples = parse(&snapshot.to_prometheus());
    let at = |bound: &str| value(&samples, "pollscope_poll_duration_seconds_bucket", bound);
    assert_eq!([at("0.000001"), at("0.05"), at("0.1"), at("0.2"), at("10"), at("+Inf")], [3., 3., 4., 5., 5., 7.]);
    assert_eq!(value(&samples, "pollscope_schedule_latency_seconds_count", ""), 1.0);
    assert_eq!(value(&samples, "pollscope_poll_longest_seconds", ""), 7200.0);
    for (index, bound) in BOUNDS_NS.into_iter().enumerate() {
        let below = snapshot.polls.buckets.iter().filter(|b| b.high_ns <= bound).map(|b| b.count).sum::<u64>();
        assert_eq!(at(&seconds(bound)), below as f64, "bound {index}");
    }
}

#[test]
fn sums_are_exact() {
    assert_eq!(seconds(0), "0");
    assert_eq!(seconds(1), "0.000000001");
    assert_eq!(seconds(1_500_000_000), "1.5");
    assert_eq!(seconds(u64::MAX), "18446744073.709551615");
}

#[test]
fn a_label_cannot_break_out_of_its_quotes() {
    let places = ["C:\\src\\x.rs:1", "a\"} 7\nforged 1:2", "\u{1b}[2J\u{202e}x.rs:3"];
    let rows = places.iter().map(|place| site(Some(place), 1, 1)).collect();
    let samples = parse(&Snapshot { sites: rows, ..empty() }.to_prometheus());
    let seen: Vec<String> = sites(&samples, "pollscope_site_slow_polls_total").into_keys().collect();
    assert_eq!(seen, ["C:\\src\\x.rs:1", "\\u{1b}[2J\\u{202e}x.rs:3", "a\"} 7\\nforged 1:2"]);
    assert_eq!(label_value("a\nb"), "a\\nb");
}

#[test]
fn fifty_sites_have_labels_and_the_rest_is_other() {
    let mut rows: Vec<Site> = (0..200).map(|n| site(Some(&format!("x.rs:{n}")), n / 100, n + 1)).collect();
    rows.push(site(None, 7, 1));
    rows.push(site(Some("x.rs:199"), 1, 5));
    let samples = parse(&Snapshot { sites: rows, ..empty() }.to_prometheus());
    let slow = sites(&samples, "pollscope_site_slow_polls_total");
    assert_eq!(slow.len(), MOST_SITES + 1);
    // Of the 100 sites that are slow once, those with the most time; one that comes twice is one.
    assert_eq!((slow["x.rs:150"], slow["x.rs:199"], slow["other"]), (1.0, 2.0, 57.0));
    let polls = sites(&samples, "pollscope_site_polls_total");
    assert_eq!(polls.values().sum::<f64>(), 202.0);
}

#[test]
fn no_count_shrinks_when_ranks_change() {
    let mut exposition = Exposition::default();
    let rows = |slow: fn(u64) -> u64| Snapshot {
        sites: (0..60).map(|n| site(Some(&format!("x.rs:{n}")), slow(n), 1)).collect(),
        ..empty()
    };
    let before = parse(&exposition.text(&rows(|n| n)));
    let after = parse(&exposition.text(&rows(|n| n + 1_000 * u64::from(n < 10))));
    let [before, after] = [before, after].map(|samples| sites(&samples, "pollscope_site_slow_polls_total"));
    assert!(before.keys().eq(after.keys()));
    assert!(before.iter().all(|(site, slow)| after[site] >= *slow), "{before:?} {after:?}");
    // Another probe begins again.
    let other = Snapshot { sites: vec![site(Some("y.rs:1"), 1, 1)], ..empty() };
    assert_eq!(sites(&parse(&exposition.text(&other)), "pollscope_site_slow_polls_total").len(), 1);
}
