//! What a service left that was ended: the same as it told while it ran, and what its threads were doing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use pollscope_attach::{Obstacle, Target, Tasks};
use pollscope_base::{SeenThread, ThreadDoes};
use pollscope_record::tasks::TaskList;

use crate::service::{self, Service};
use crate::{PATIENCE, STARTED_AT, tasks};

/// The core that the kernel wrote there; `None` where it writes none, or hands them to somebody.
fn left_in(folder: &Path) -> Option<PathBuf> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let core = fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("core")));
    if core.is_none() {
        assert!(pattern.is_empty() || pattern.starts_with(['|', '/']), "the kernel writes `{pattern}`");
        eprintln!("SKIP: the kernel leaves core files elsewhere: `{}`", pattern.trim());
    }
    core
}

/// What a service leaves there that is ended once its tasks wait.
fn bytes_left_in(folder: &Path, how: &str) -> Option<Vec<u8>> {
    let mut service = Service::start_to_leave_a_core(&service::program(), how, folder);
    tasks::read(&service, &[]);
    service.end_with(libc::SIGABRT);
    Some(fs::read(left_in(folder)?).expect("it is there"))
}

fn told(core: &Path, program: Option<&Path>) -> TaskList {
    let target = Target::of_core(core, program, &[]).expect("it is a core");
    Tasks::of(target).read(STARTED_AT).expect("it is one")
}

/// Nothing that depends on when it was read.
fn comparable(list: &TaskList) -> TaskList {
    let mut list = TaskList { took_ns: 0, threads: Vec::new(), ended: false, signal: None, ..list.clone() };
    for task in &mut list.tasks {
        task.waits.iter_mut().for_each(without_time);
    }
    list
}

fn without_time(chain: &mut pollscope_base::Await) {
    chain.leaf.iter_mut().for_each(|leaf| leaf.left_ns = None);
    chain.inside.iter_mut().for_each(without_time);
}

#[test]
fn a_core_tells_what_the_process_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = Service::start_to_leave_a_core(&service::program(), "waits multi", folder.path());
    let before = tasks::read(&service, &[]);
    tasks::check(&before);
    service.end_with(libc::SIGABRT);
    let Some(core) = left_in(folder.path()) else { return };
    let list = told(&core, None);
    tasks::check(&list);
    assert_eq!(comparable(&list), comparable(&before), "a second reading shows the same");
    assert_eq!(list.signal, Some(libc::SIGABRT.cast_unsigned()));
    let threads = &list.threads;
    let does = |what| threads.iter().filter(|thread| thread.does == Some(what)).collect::<Vec<&SeenThread>>();
    assert_eq!(does(ThreadDoes::Parked).len(), 3, "two workers and who waits for them: {threads:#?}");
    let [on_the_pool] = does(ThreadDoes::BlockingPool)[..] else { panic!("{threads:#?}") };
    assert_eq!(crate::at(on_the_pool.line.as_ref().expect("it is known")), service::line_of("blocks the pool"));
}

#[test]
fn a_thread_that_polled_is_told_with_its_task_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = Service::start_to_leave_a_core(&service::program(), "hangs multi", folder.path());
    let target = Target::open(service.pid(), &[]).expect("it may be looked at");
    let mut live = Tasks::of(target);
    let begin = Instant::now();
    let running = loop {
        let list = live.read(STARTED_AT).expect("it runs");
        let is_running = |task: &&pollscope_base::WaitingTask| {
            task.state == pollscope_base::TaskState::Running && task.run_by != Some(pollscope_base::RunBy::BlockingPool)
        };
        if let Some(task) = list.tasks.iter().find(is_running) {
            break task.id;
        }
        assert!(begin.elapsed() < PATIENCE, "{list:#?}");
        std::thread::sleep(Duration::from_millis(5));
    };
    service.end_with(libc::SIGQUIT);
    let Some(core) = left_in(folder.path()) else { return };
    let list = told(&core, None);
    let threads = &list.threads;
    let polled = threads.iter().find(|thread| thread.does == Some(ThreadDoes::Poll)).expect("one hangs");
    assert_eq!(polled.task, Some(running), "{polled:#?}");
    assert_eq!(crate::at(polled.line.as_ref().expect("it is known")), service::line_of("hangs here"), "{polled:#?}");
    assert!(polled.call.as_ref().is_some_and(|call| call.name.contains("nanosleep")), "{polled:#?}");
    assert!(polled.stack.iter().any(|frame| frame.function.as_ref().is_some_and(|name| name.contains("hangs"))));
}

#[test]
fn what_is_no_core_or_of_another_program_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("service");
    fs::copy(service::program(), &program).expect("it is copied");
    let mut service = Service::start_to_leave_a_core(&program, "waits current", folder.path());
    tasks::read(&service, &[]);
    service.end_with(libc::SIGABRT);
    let refused = |core: &Path, program: Option<&Path>| match Target::of_core(core, program, &[]) {
        Err(error @ Obstacle::Core { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let text = folder.path().join("text");
    for (content, said) in [
        (&b""[..], "it is not a core file"),
        (b"nonsense", "it is not a core file"),
        (b"\x28\xb5\x2f\xfd rest", "it is compressed: unpack it with `zstd -d`"),
    ] {
        fs::write(&text, content).expect("it is written");
        assert!(refused(&text, None).contains(said), "{content:?}: {}", refused(&text, None));
    }
    assert!(refused(&program, None).contains("give the core first, and then its program"));
    assert!(refused(folder.path(), None).contains("it is not a file"));
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().is_ok_and(|made| made.success()));
    assert!(refused(&pipe, None).contains("it is not a file"), "and nobody waits for who writes to it");
    let Some(core) = left_in(folder.path()) else { return };
    let moved = folder.path().join("moved");
    fs::rename(&program, &moved).expect("it is moved");
    let gone = refused(&core, None);
    assert!(gone.contains("service`: cannot open it: ") && gone.contains("behind the core"), "{gone}");
    let other = refused(&core, Some("/bin/sh".as_ref()));
    assert!(other.contains("`/bin/sh`: it is of another build than the core"), "{other}");
    tasks::check(&told(&core, Some(&moved)));
    // The same build without its debug information is the same program.
    let stripped = folder.path().join("stripped");
    let strip = Command::new("strip").arg("-g").arg("-o").arg(&stripped).arg(&moved).status();
    if strip.is_ok_and(|status| status.success()) {
        let target = Target::of_core(&core, Some(&stripped), std::slice::from_ref(&moved));
        match target {
            Ok(target) => tasks::check(&Tasks::of(target).read(STARTED_AT).expect("it is one")),
            Err(Obstacle::Core { .. }) => eprintln!("SKIP: the linker gives no build-ids here"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_core_that_breaks_off_says_so_or_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(whole) = bytes_left_in(folder.path(), "waits current") else { return };
    let cut = folder.path().join("cut");
    let mut told = 0;
    for part in 0..20 {
        fs::write(&cut, &whole[..whole.len() * part / 20]).expect("it is written");
        let Ok(target) = Target::of_core(&cut, None, &[]) else { continue };
        let list = Tasks::of(target).read(STARTED_AT).expect("it is one");
        assert!(list.missing.iter().any(|missing| missing.contains("breaks off")), "{part}: {:?}", list.missing);
        told += 1;
    }
    assert!(told > 10, "{told}");
}

#[test]
fn whatever_its_memory_has_is_told_or_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(whole) = bytes_left_in(folder.path(), "waits multi") else { return };
    let changed = folder.path().join("changed");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize % below
    };
    let mut told = 0;
    for part in [100_000, 10_000, 1_000, 300, 100] {
        let mut bytes = whole.clone();
        // The head stays: else it is no core.
        for _ in 0..bytes.len() / part {
            let at = 16_384 + random(bytes.len() - 16_384);
            bytes[at] = random(256) as u8;
        }
        fs::write(&changed, &bytes).expect("it is written");
        // Its program's first page may be another one by now.
        let Ok(target) = Target::of_core(&changed, None, &[]) else { continue };
        let list = Tasks::of(target).read(STARTED_AT).expect("it is one");
        assert!(!list.threads.is_empty(), "they are in the head");
        told += 1;
    }
    assert!(told > 1, "{told}");
}
