//! tokio-console sees a run: a client over gRPC, as the real one, finds the named tasks and the slow polls, in every mode.

mod real;
mod screen;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use console_api::instrument::instrument_client::InstrumentClient;
use console_api::instrument::{InstrumentRequest, TaskDetailsRequest};
use console_api::tasks::task_details::PollTimesHistogram;
use console_api::{Id, field, tasks};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use tonic::transport::Channel;

use crate::peak;
use crate::support::pollscope;

/// Turns a hang into a failure; nothing is timed.
const PATIENCE: Duration = Duration::from_secs(300);
const MS: u64 = 1_000_000;

/// Interrupts the program when the test is over, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program, with a free address for its console.
fn observed(arguments: &[&str]) -> (Running, String) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut program = pollscope();
    program.arg("run").args(arguments).arg(format!("--console={address}")).stdout(Stdio::null());
    (Running(program.spawn().unwrap()), address)
}

/// Whether the build is one that a console can look at; says so when it is not.
fn has_console() -> bool {
    let has = pollscope_probe::TOKIO_UNSTABLE && pollscope::export::console::COMPILED;
    if !has {
        println!("SKIP: this build has no tokio-console support");
    }
    has
}

const SCENARIO: &str = r#"
question = "Does tokio-console see the tasks and their slow polls?"
why = "Three tasks block the loop for 20 ms each, while a client looks."
modes = ["naive"]

[block]
tasks = 3
duration = "20ms"
after = "50ms"
run_for = "1m"

[expect]
gates = ["slow_polls == 0"]
"#;

#[test]
fn a_client_finds_named_tasks_and_their_slow_polls() {
    if !has_console() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("console.toml");
    std::fs::write(&scenario, SCENARIO).unwrap();
    let (_running, address) = observed(&["--quiet", "--rounds", "1", scenario.to_str().unwrap()]);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let slow = runtime.block_on(async { tokio::time::timeout(PATIENCE, slow_polls_seen(&address)).await });
    assert_eq!(slow.expect("the client sees the tasks in time"), [1, 1, 1]);
}

/// For each of the tasks `blocker 0` to `blocker 2`: how many of its polls took over 15 ms, as the client sees it.
async fn slow_polls_seen(address: &str) -> Vec<u64> {
    let mut client = connect(address).await;
    let mut updates = client.watch_updates(InstrumentRequest {}).await.unwrap().into_inner();
    let mut ids: [Option<Id>; 3] = [None; 3];
    let mut polled = std::collections::HashSet::new();
    let all_polled = |ids: &[Option<Id>; 3], polled: &std::collections::HashSet<u64>| {
        ids.iter().all(|id| id.is_some_and(|id| polled.contains(&id.id)))
    };
    while !all_polled(&ids, &polled) {
        let update = updates.message().await.unwrap().expect("the program still runs");
        let Some(update) = update.task_update else { continue };
        for task in &update.new_tasks {
            for (index, id) in ids.iter_mut().enumerate() {
                if name(task) == format!("blocker {index}") {
                    *id = task.id;
                }
            }
        }
        for (id, stats) in update.stats_update {
            if stats.poll_stats.is_some_and(|polls| polls.polls > 0 && polls.last_poll_ended.is_some()) {
                polled.insert(id);
            }
        }
    }
    let mut seen = Vec::new();
    for id in ids {
        seen.push(slow_polls_of(&mut client, id).await);
    }
    seen
}

async fn connect(address: &str) -> InstrumentClient<Channel> {
    loop {
        match InstrumentClient::connect(format!("http://{address}")).await {
            Ok(client) => return client,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Counts above a limit, not a median: a task that blocks and then yields alternates.
async fn slow_polls_of(client: &mut InstrumentClient<Channel>, id: Option<Id>) -> u64 {
    let mut details = client.watch_task_details(TaskDetailsRequest { id }).await.unwrap().into_inner();
    loop {
        let details = details.message().await.unwrap().expect("the program still runs");
        let Some(PollTimesHistogram::Histogram(polls)) = details.poll_times_histogram else { continue };
        let decoded: Histogram<u64> = Deserializer::new().deserialize(&mut Cursor::new(polls.raw_histogram)).unwrap();
        let slow = decoded.count_between(15 * MS, u64::MAX) + polls.high_outliers;
        if !decoded.is_empty() {
            return slow;
        }
    }
}

/// Six runs, one after the other: five changes of mode, two of them between rounds.
const MODES: [&str; 5] = ["slow-sink", "--quiet", "--warmup=0", "--rounds=2", "--mode=naive,offloaded,spawn-blocking"];
const RUNS: usize = 6;
const TASKS: [&str; 9] =
    ["echo 0", "echo server", "lag timer", "main", "tail 0", "tail 1", "tail 2", "tail 3", "tail 4"];

/// Every mode makes thousands of closures on blocking threads: when those are tasks, too, its own are never shown, and take
/// hundreds of megabytes. `main` has its name, and nothing is listed that has none.
#[test]
fn the_tasks_of_every_mode_are_listed_and_cost_little_memory() {
    if !has_console() {
        return;
    }
    let (mut running, address) = observed(&MODES);
    let mut plain = Running(pollscope().arg("run").args(MODES).stdout(Stdio::null()).spawn().unwrap());
    let peak = |program: &mut Running| peak::wait(&mut program.0, PATIENCE).expect("it ends").1;
    let (lists, [with, without]) = thread::scope(|scope| {
        let peaks = [scope.spawn(move || peak(&mut running)), scope.spawn(move || peak(&mut plain))];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lists = runtime.block_on(async { tokio::time::timeout(PATIENCE, lists(&address)).await });
        (lists.expect("the run ends"), peaks.map(|peak| peak.join().unwrap()))
    });

    assert_eq!(lists.of_mains.len(), RUNS, "{lists:?}");
    let expected = BTreeSet::from(TASKS.map(str::to_owned));
    for (main, seen) in &lists.of_mains {
        assert!(seen.contains(&expected), "the run of task {main}: {lists:?}");
    }
    assert_eq!(lists.names, expected);
    assert_eq!(lists.lost, 0);
    println!("peak memory: {with} bytes with --console, {without} without");
    // 1.2 times on an idle machine, more where the server of the console gets its CPU late; of what it does not drain it were 4.6.
    assert!(with <= without * 2, "{with} bytes with --console, {without} without");
}

/// What a client is told until the program ends.
#[derive(Debug, Default)]
struct Lists {
    /// By the id of each task `main`: the names of the tasks that were alive beside it, as of every update.
    of_mains: BTreeMap<u64, BTreeSet<BTreeSet<String>>>,
    /// Of all tasks.
    names: BTreeSet<String>,
    /// Events of tasks that did not reach the client.
    lost: u64,
}

async fn lists(address: &str) -> Lists {
    let mut client = connect(address).await;
    let mut updates = client.watch_updates(InstrumentRequest {}).await.unwrap().into_inner();
    let (mut lists, mut live) = (Lists::default(), BTreeMap::new());
    // An error is the end of the program, and of the connection.
    while let Ok(Some(update)) = updates.message().await {
        let Some(update) = update.task_update else { continue };
        lists.lost += update.dropped_events;
        for task in &update.new_tasks {
            lists.names.insert(name(task));
            live.insert(task.id.unwrap().id, name(task));
        }
        for (id, stats) in update.stats_update {
            if stats.dropped_at.is_some() {
                live.remove(&id);
            }
        }
        let names: BTreeSet<String> = live.values().cloned().collect();
        for (main, _) in live.iter().filter(|(_, name)| *name == "main") {
            lists.of_mains.entry(*main).or_default().insert(names.clone());
        }
    }
    lists
}

/// Empty for a task without one.
fn name(task: &tasks::Task) -> String {
    let is_name =
        |field: &&console_api::Field| matches!(&field.name, Some(field::Name::StrName(name)) if name == "task.name");
    match task.fields.iter().find(is_name).and_then(|field| field.value.clone()) {
        Some(field::Value::StrVal(name) | field::Value::DebugVal(name)) => name,
        _ => String::new(),
    }
}
