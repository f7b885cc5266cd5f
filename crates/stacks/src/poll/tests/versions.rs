//! Stacks of a program that blocks, or waits, in each way, built against versions of Tokio: captured from outside, without the frames
//! of the standard library, of closures, and of what only passes a call on. A file of them is in parts: `== thread | kind | root
//! future | file:line of the blocking line`, `-` where there is none, and the frames below it, innermost first.

use super::*;

fn frame(text: &str) -> Frame {
    let (function, place) = text.rsplit_once(" @ ").expect("a function and a place");
    let (file, line) = place.rsplit_once(':').expect("a file and a line");
    let file = match file {
        own if own.starts_with("src/") => format!("/lab/{own}"),
        system if system.starts_with('.') => system.to_owned(),
        fetched => format!("/c/registry/src/index-1f/{fetched}"),
    };
    Frame {
        function: Some(function.to_owned()),
        file: Some(file).filter(|file| !file.ends_with('/')),
        line: line.parse().ok().filter(|line| *line > 0),
        ..Frame::default()
    }
}

/// What is found in each stack of a file is what its heading says; gives the kinds.
fn check(version: &str, file: &str) -> Vec<Kind> {
    let parts = file.split("== ").filter(|part| !part.is_empty());
    let found = parts.map(|part| {
        let (heading, frames) = part.split_once('\n').expect("frames below a heading");
        let frames: Vec<Frame> = frames.lines().map(frame).collect();
        let stack = frames.into_iter().enumerate().map(|(index, frame)| {
            (CodeAddress::Return(index as u64), Arc::new(Symbols { frames: vec![frame], source: Source::Dwarf }))
        });
        let found = find(&stack.collect::<Vec<_>>(), &Rules::default());
        let at = found.line().and_then(|frame| {
            let (_, name) = frame.file.as_deref()?.rsplit_once('/')?;
            Some(format!("{name}:{}", frame.line?))
        });
        let (thread, _) = heading.split_once(" | ").expect("a thread's name");
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let (root, at) = (or_none(&found.root_future), or_none(&at));
        assert_eq!(format!("{thread} | {:?} | {root} | {at}", found.kind), heading, "Tokio {version}");
        found.kind
    });
    found.collect()
}

#[test]
fn every_version_is_understood() {
    for (version, file, count) in [
        ("1.20, full", include_str!("tokio-1.20.txt"), 34),
        ("1.20, lines", include_str!("tokio-1.20-lines.txt"), 14),
        ("1.28", include_str!("tokio-1.28.txt"), 14),
        ("1.38", include_str!("tokio-1.38.txt"), 14),
        ("1.44", include_str!("tokio-1.44.txt"), 14),
    ] {
        let kinds = check(version, file);
        assert_eq!(kinds.len(), count, "Tokio {version}");
        for kind in
            [Kind::Task, Kind::Root, Kind::Local, Kind::BlockInPlace, Kind::BlockingPool, Kind::Idle, Kind::Scheduler]
        {
            assert!(kinds.contains(&kind), "Tokio {version}: no {kind:?}");
        }
    }
}
