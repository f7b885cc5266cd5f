//! What becomes of an input when inotify fails: it is said once, and looks go on.

use std::fs;

use super::*;
use crate::pipeline::input::{EventKind, Input, Look, ReadSettings, Watch};

/// The lines that looks find until there is nothing more.
fn read(input: &mut Input) -> String {
    let mut all = Vec::new();
    while input.look(false).unwrap() == Look::Data {
        while let Some(lines) = input.next_lines(10) {
            all.extend(lines.bytes);
        }
    }
    String::from_utf8(all).unwrap()
}

/// Why it is not watched, and whether anything says that lines may be lost.
fn told(input: &Input) -> (Vec<String>, u64) {
    let told = input.events().so_far();
    let why = told.events.into_iter().filter_map(|event| match event.kind {
        EventKind::NotWatched { why } => Some(why),
        _ => None,
    });
    (why.collect(), told.possible_losses)
}

#[test]
fn after_a_failed_poll_an_input_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.log");
    fs::write(&path, "1\n").unwrap();
    for watch in [Watch::Inotify, Watch::Poll] {
        let inotify = Inotify::without_thread().unwrap();
        let mut input = Input::open(&path, ReadSettings::following(watch)).unwrap();
        input.watch_by(&inotify);
        let before = read(&mut input);
        inotify.watches.run(&inotify.stop.0, |_| Err(Errno::NOMEM));
        fs::rename(&path, folder.path().join("a.log.1")).unwrap();
        fs::write(&path, "1\n").unwrap();
        assert_eq!((before + &read(&mut input)).as_str(), "1\n1\n");
        assert!(input.name_watch().is_none(), "its tail waits for no event any more");
        read(&mut input);
        let why = "its events cannot be waited for: Cannot allocate memory".to_owned();
        assert_eq!(told(&input), (vec![why], 0), "once, and nothing is lost");
    }
}

#[test]
fn a_poll_that_is_interrupted_is_made_again() {
    let inotify = Inotify::without_thread().unwrap();
    let calls = std::cell::Cell::new(0);
    inotify.watches.run(&inotify.stop.0, |_| {
        calls.set(calls.get() + 1);
        Err(if calls.get() < 3 { Errno::INTR } else { Errno::NOMEM })
    });
    assert_eq!(calls.get(), 3);
}

#[test]
fn events_that_cannot_be_read_end_the_thread_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let unreadable = OwnedFd::from(fs::File::open(folder.path()).unwrap());
    let watches = Watches { inotify: unreadable, table: Mutex::default() };
    watches.run(&eventfd(0, EventfdFlags::CLOEXEC).unwrap(), |fds| poll(fds, None));
    let why = "its events cannot be read: Is a directory";
    assert_eq!(watches.table().broken.as_deref(), Some(why));
}

#[test]
fn an_input_whose_folder_cannot_be_watched_is_looked_at() {
    let around = tempfile::tempdir().unwrap();
    let (folder, away) = (around.path().join("logs"), around.path().join("away"));
    let path = folder.join("a.log");
    fs::create_dir(&folder).unwrap();
    fs::write(&path, "1\n").unwrap();
    let inotify = Inotify::without_thread().unwrap();
    let mut input = Input::open(&path, ReadSettings::following(Watch::Inotify)).unwrap();
    fs::rename(&folder, &away).unwrap();
    input.watch_by(&inotify);
    fs::rename(&away, &folder).unwrap();
    assert!(input.name_watch().is_none());
    fs::write(&path, "1\n2\n").unwrap();
    assert_eq!(read(&mut input), "1\n2\n");
    assert_eq!(told(&input), (vec!["No such file or directory".to_owned()], 0));
}
