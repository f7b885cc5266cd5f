//! `pollscope tasks`: what every task of a process waits for.

use std::fs;
use std::process::{Child, Command, Output, Stdio};
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
    let output = waiting.tasks("--task 999999999");
    assert_ends(&output, 1, &["cannot show task `999999999` of process `", "it has none of that id now"]);
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
