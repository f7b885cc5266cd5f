//! Waits in known ways, each in a task of its own, and tells in which: which `.await` lines each is suspended at, outermost first, and
//! what is at their end. Knows nothing of pollscope.
//!
//! It says `ready`, prints JSON, one object a task, and an empty line; then it goes on to wait, until a line comes on stdin, or its end.
//! `waiting [multi|current|local] [--hot|--stuck]`; with `--hot` some tasks are polled all the time, and are told as that; with `--stuck`
//! there are tasks that wait for each other, and tasks that only seem to, instead.

mod kit;
mod nest;
mod stuck;
mod sync;
mod ways;

use std::io::{self, BufRead as _, Write as _};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::kit::Kit;

/// Until then all tasks were polled for the first time.
const SETTLED: Duration = Duration::from_millis(500);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is = |option: &str| arguments.iter().any(|argument| argument == option);
    let flavor = arguments.iter().find(|argument| !argument.starts_with("--")).map_or("multi", String::as_str);
    let mut builder = if flavor == "multi" { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
    let kit = Kit::default();
    let wait = async {
        if is("--stuck") {
            stuck::spawn_all(&kit);
        } else {
            ways::spawn_all(&kit).await;
        }
        if is("--hot") {
            kit::hot(&kit);
        }
        tokio::time::sleep(SETTLED).await;
        tell(&kit).expect("somebody reads");
        // Its reader is a thread of its own: the loop goes on.
        let (tell, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = io::stdin().lock().read_line(&mut String::new());
            let _ = tell.send(());
        });
        let _ = told.await;
    };
    if flavor == "local" {
        let set = LocalSet::new();
        kit.be_local();
        set.block_on(&runtime, wait);
    } else {
        runtime.block_on(wait);
    }
    // Whatever still waits is not waited for.
    let _ = io::stdout().flush();
    std::process::exit(0);
}

fn tell(kit: &Kit) -> io::Result<()> {
    let mut text = "ready\n".to_owned();
    for told in kit.told() {
        text += &told;
        text.push('\n');
    }
    text.push('\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
