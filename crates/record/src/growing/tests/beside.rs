//! A second run in the same file.

use super::*;

/// What was seen of the process's other threads, beside that.
fn run_beside() -> Run {
    let Subject::Service(target) = run().subject else { panic!("a service") };
    let group = crate::recording::other_threads("api");
    let run = Run { group, subject: Subject::Process(target), intervals: Vec::new(), polls: None, ..run() };
    Run { sites: None, ledger: None, ..run }
}

/// Both runs of a file, line by line in turns, and what they have in common once.
fn both(writer: &mut LineWriter, segment: u64, is_last: bool) -> String {
    let (one, other) = (run(), run_beside());
    let mut text = writer.head(&head(&one, segment)).expect("JSON");
    text += &writer.head_beside(&head(&other, segment)).expect("JSON");
    let told = updates(&Run { intervals: run().intervals, ..other.clone() }).into_iter();
    let told = told.filter(|(update, _)| !matches!(update, Update::Interval(_)));
    let mut beside = told.chain([(Update::Note("sampled".to_owned()), 0)]);
    for (update, now_ns) in updates(&one) {
        text += &writer.lines(&update, now_ns).expect("JSON");
        for (update, now_ns) in beside.by_ref().take(2) {
            text += &writer.beside(&update, now_ns).expect("JSON");
        }
    }
    let end = |run: &Run| [Update::Known(Box::new(run.clone())), Update::End(Ended::Done, None)];
    for (one, other) in end(&one).into_iter().zip(end(&other)).filter(|_| is_last) {
        text += &writer.beside(&other, 0).expect("JSON");
        text += &writer.lines(&one, 0).expect("JSON");
    }
    text
}

#[test]
fn a_run_beside_another_is_read_back_and_neither_has_anything_of_the_other() {
    let text = both(&mut LineWriter::default(), 1, true);
    assert_eq!((text.matches("{\"stack\":").count(), text.matches("{\"beside\":{\"recording\":").count()), (2, 1));
    let saved = saved_of(&text).expect("it is whole");
    assert!(!saved.is_torn);
    let [one, other] = &saved.recording.runs[..] else { panic!("two runs") };
    let mut expected = run_beside();
    expected.coverage.missing.push("sampled".to_owned());
    assert!(json(one) == json(&run()) && json(other) == json(&expected), "{:?}", other.coverage);
    let torn = text.rfind("{\"beside\"").expect("its end");
    let saved = saved_of(&text[..torn]).expect("most of it");
    assert!(saved.is_torn);
    assert_eq!(saved.recording.runs[1].slow_polls.len(), 3);
}

#[test]
fn two_files_with_two_runs_each_are_two_runs() {
    let mut writer = LineWriter::default();
    let files = [both(&mut writer, 1, false), both(&mut writer, 2, true)];
    let length = files.iter().map(|file| file.len() as u64).sum();
    // Each has the same slow polls again, which its totals do not count.
    let why = read(files.iter().map(String::as_bytes), length).map(|saved| saved.recording.runs.len());
    assert_eq!(why.expect("it can be read"), 2);
    for wrong in ["{\"beside\":{\"note\":\"x\"}}\n", "{\"beside\":{\"recording\":1}}\n", "{\"beside\":1}\n"] {
        assert!(read([wrong.as_bytes()], 99).is_err(), "{wrong}");
    }
    let deep = "{\"beside\":".repeat(9_999);
    assert!(read([(deep + "\n").as_bytes()], 99_999).is_err());
}

#[test]
fn a_run_beside_is_followed_as_such() {
    let (mut own, mut beside) = (Vec::new(), Vec::new());
    let text = both(&mut LineWriter::default(), 1, true);
    let of_feed = |fed| {
        match fed {
            Fed::Update(Update::SlowPoll(poll), _) => own.push(poll.id),
            Fed::Beside(fed) => match *fed {
                Fed::Update(Update::SlowPoll(poll), _) => beside.push(poll.id),
                Fed::Head(head) => assert_eq!(head.group, "api (other threads)"),
                _ => {}
            },
            _ => {}
        }
        ControlFlow::Continue(())
    };
    follow(text.as_bytes(), of_feed).expect("it can be read");
    let ids: Vec<u64> = run().slow_polls.iter().map(|poll| poll.id).collect();
    assert_eq!((own, beside), (ids.clone(), ids));
}
