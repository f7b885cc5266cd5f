//! `pollscope tasks`: what every task of a process waits for.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;

use crate::support::{Folder, assert_ends, looks_from_outside, pollscope, run, stdout, wait_until};

/// Makes this program the one whose tasks wait.
const WAITS: &str = "POLLSCOPE_TEST_WAITS";
const LONG: Duration = Duration::from_secs(3_600);

/// A program whose tasks wait. As a test it does nothing.
#[test]
fn waiting() {
    if std::env::var_os(WAITS).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let lock = Arc::new(Mutex::new(0));
        let guard = lock.clone().lock_owned().await;
        tokio::spawn(keeps(lock.clone()));
        for _ in 0..3 {
            tokio::spawn(asks(lock.clone()));
        }
        tokio::task::yield_now().await;
        drop(guard);
        tokio::time::sleep(LONG).await;
    });
}

async fn keeps(lock: Arc<Mutex<u32>>) {
    let guard = lock.lock().await;
    tokio::time::sleep(LONG).await; // keeps it
    drop(guard);
}

async fn asks(lock: Arc<Mutex<u32>>) {
    *lock.lock().await += 1; // asks for it
}

struct Waiting {
    child: Child,
    folder: Folder,
}

impl Waiting {
    fn start() -> Waiting {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "tasks::waiting", "--nocapture"]).env(WAITS, "1");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
        let waiting = Waiting { child, folder: Folder::new() };
        wait_until("tasks that wait", || stdout(&waiting.tasks("")).contains("3 tasks wait at "));
        waiting
    }

    /// `pollscope tasks PID OPTIONS`, on a narrow terminal.
    fn tasks(&self, options: &str) -> Output {
        let pid = self.child.id().to_string();
        run(self.folder.command(["tasks", &pid].into_iter().chain(options.split_whitespace())).env("COLUMNS", "60"))
    }
}

impl Waiting {
    /// The same, which goes on.
    fn watch(&self, options: &str) -> Watch {
        let pid = self.child.id().to_string();
        let arguments = ["tasks", &pid].into_iter().chain(options.split_whitespace());
        let mut command = self.folder.command(arguments);
        let child =
            command.env("COLUMNS", "100").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        Watch { child, said: String::new() }
    }
}

/// `pollscope tasks --every`.
struct Watch {
    child: Child,
    said: String,
}

impl Watch {
    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        BufReader::new(self.child.stdout.take().expect("it is piped")).lines().map(|line| line.expect("text"))
    }

    /// How it ended.
    fn ends(&mut self) -> ExitStatus {
        let mut stderr = self.child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut self.said).expect("text");
        self.child.wait().expect("it ran")
    }

    fn said(&self) -> &str {
        &self.said
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn place(comment: &str) -> String {
    let line = include_str!("tasks.rs").lines().position(|line| line.ends_with(&format!("// {comment}")));
    format!("tests/it/tasks.rs:{}", line.expect("it is there") + 1)
}

#[test]
fn tasks_are_grouped_shown_as_trees_and_written_as_json() {
    if !looks_from_outside() {
        return eprintln!("SKIP: nothing is looked at from outside here");
    }
    let waiting = Waiting::start();
    let output = waiting.tasks("");
    assert_ends(&output, 0, &[]);
    let shown = stdout(&output);
    assert!(shown.starts_with("pollscope tasks · process ") && shown.contains("4 tasks: 4 idle"), "{shown}");
    assert!(shown.contains(&format!("3 tasks wait at {} for a `Mutex`", place("asks for it"))), "{shown}");
    assert!(shown.contains("has it (it::tasks::keeps)") && shown.contains(&place("keeps it")), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 60), "{shown}");
    let output = waiting.tasks("--json -");
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
    assert_eq!((&list["tasks_schema"], &list["pid"]), (&1.into(), &waiting.child.id().into()));
    assert_eq!((&list["deadlocks"], &list["limited"]), (&Value::Array(Vec::new()), &false.into()));
    let tasks = list["tasks"].as_array().expect("a list");
    let keeps = tasks.iter().find(|task| task["future"] == "it::tasks::keeps").expect("it waits");
    let asks: Vec<&Value> = tasks.iter().filter(|task| task["future"] == "it::tasks::asks").collect();
    assert_eq!((tasks.len(), asks.len(), &keeps["state"]), (4, 3, &"idle".into()));
    let wanted = |task: &Value| task["waits"]["inside"][0]["leaf"]["address"].clone();
    assert!(asks.iter().all(|task| wanted(task) == keeps["holds"][0]["address"]), "{list:#}");
    let id = keeps["id"].as_u64().expect("a number");
    let tree = stdout(&waiting.tasks(&format!("--task {id}")));
    assert!(tree.contains(&format!("\ntask {id} · ")) && tree.matches("\ntask ").count() == 1, "{tree}");
    assert!(tree.contains("tokio::time::sleep::Sleep: a sleep, ") && tree.contains("keeps `guard`"), "{tree}");
    let output = waiting.tasks("--all --json all.json");
    assert_ends(&output, 0, &[]);
    assert_eq!(stdout(&output).matches("\ntask ").count(), 4, "{}", stdout(&output));
    let written: Value = serde_json::from_slice(&waiting.folder.read("all.json")).expect("JSON");
    assert_eq!(written["tasks"].as_array().map(Vec::len), Some(4));
    let mut every = waiting.watch("--every 10ms --json -");
    let readings: Vec<Value> = every.lines().take(3).map(|line| serde_json::from_str(&line).expect("JSON")).collect();
    assert!(readings.iter().all(|list| list["tasks"].as_array().is_some_and(|tasks| tasks.len() == 4)), "{readings:?}");
    // Nobody reads any more.
    assert_eq!(every.ends().code(), Some(0));
    let output = waiting.tasks("--task 999999999");
    assert_ends(&output, 1, &["cannot show task `999999999` of process `", "it has none of that id now"]);
}

#[test]
fn tasks_that_are_read_every_so_often_are_shown_whole_once_and_then_what_moved_until_the_process_ends() {
    if !looks_from_outside() {
        return eprintln!("SKIP: nothing is looked at from outside here");
    }
    let mut waiting = Waiting::start();
    let mut every = waiting.watch("--every 20ms");
    let mut lines = every.lines();
    let first: Vec<String> = lines.by_ref().take_while(|line| !line.contains("4 where they were")).collect();
    assert!(first.iter().any(|line| line.contains("3 tasks wait at ")), "{first:?}");
    assert!(
        lines.by_ref().take(2).all(|line| line.contains("Z · 4 tasks · 4 where they were at the last")),
        "{first:?}"
    );
    waiting.child.kill().expect("it runs");
    // It is not waited for: its number stays.
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().all(|line| !line.contains("3 tasks wait")), "{rest:?}");
    assert_eq!(every.ends().code(), Some(0));
    assert!(every.said().contains(&format!("process {} ended", waiting.child.id())), "{}", every.said());
}

#[test]
fn what_cannot_be_shown_is_said_and_nothing_is_left() {
    let folder = Folder::new();
    for (line, code, says) in [
        ("tasks", 2, "<PID|CORE>"),
        ("tasks 1 2 3", 2, "unexpected argument"),
        (
            "tasks 1 shop",
            1,
            "cannot read the tasks of a process that runs from `shop`: a program is given behind a core file alone",
        ),
        (
            "tasks shop",
            1,
            "cannot read the core file `shop`: there is none; write the number of a process that runs, or the path of a",
        ),
        ("tasks 0", 2, "write the number of a process, such as `4711`"),
        ("tasks .", 1, "cannot read the core file `.`: it is not a file"),
        ("tasks /proc/self/exe", 1, "but a program or a library; give the core first, and then its program"),
        ("tasks 1999999999 --task 1 --all", 2, "cannot be used with"),
        (
            "tasks 1999999999 --every 1s --json a.json",
            1,
            "cannot write every reading of the tasks to `a.json`: a file has one",
        ),
        ("tasks 1999999999 --every 0s", 2, "the interval must be from 1ms to 1h"),
        ("tasks none.core --every 1s", 1, "cannot read the tasks of the core file `none.core` every so often"),
        ("tasks 1999999999 --task x", 2, "invalid value"),
        ("tasks 1999999999", 1, "cannot look at process `1999999999`: there is none"),
        ("tasks 1999999999 --json none/a.json", 110, "cannot write report `none/a.json`"),
    ] {
        let output = folder.run(line);
        assert_ends(&output, code, &[says]);
        assert!(output.stdout.is_empty(), "{line}: {}", stdout(&output));
    }
    if !looks_from_outside() {
        return eprintln!("SKIP: nothing is looked at from outside here");
    }
    let mut sleeps = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("`sleep` runs");
    let of = format!("/proc/{}/comm", sleeps.id());
    wait_until("sleep", || fs::read_to_string(&of).is_ok_and(|name| name.trim() == "sleep"));
    let output = run(pollscope().args(["tasks", &sleeps.id().to_string()]));
    sleeps.kill().expect("it ran");
    sleeps.wait().expect("it ran");
    assert_ends(&output, 1, &["Tokio"]);
    assert_eq!(folder.names(), [""; 0], "nothing is left");
}
