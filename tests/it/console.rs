//! tokio-console sees a run: a client over gRPC, as the real one, finds the named tasks and the slow polls.

use std::io::Cursor;
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::Duration;

use console_api::instrument::instrument_client::InstrumentClient;
use console_api::instrument::{InstrumentRequest, TaskDetailsRequest};
use console_api::tasks::task_details::PollTimesHistogram;
use console_api::{Id, field, tasks};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use tonic::transport::Channel;

use crate::support::pollscope;

/// Turns a hang into a failure; nothing is timed.
const PATIENCE: Duration = Duration::from_secs(60);
const MS: u64 = 1_000_000;

/// Interrupts the program when the test is over, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
    if !(pollscope_probe::TOKIO_UNSTABLE && pollscope::export::console::COMPILED) {
        println!("SKIP: this build has no tokio-console support");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("console.toml");
    std::fs::write(&scenario, SCENARIO).unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let program = pollscope()
        .args(["run", "--quiet", "--rounds", "1", &format!("--console={address}")])
        .arg(&scenario)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _running = Running(program);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let slow = runtime.block_on(async { tokio::time::timeout(PATIENCE, slow_polls_seen(&address.to_string())).await });
    assert_eq!(slow.expect("the client sees the tasks in time"), [1, 1, 1]);
}

/// For each of the tasks `blocker 0` to `blocker 2`: how many of its polls took over 15 ms, as the client sees it.
async fn slow_polls_seen(address: &str) -> Vec<u64> {
    let mut client = loop {
        match InstrumentClient::connect(format!("http://{address}")).await {
            Ok(client) => break client,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
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
                if is_named(task, &format!("blocker {index}")) {
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

fn is_named(task: &tasks::Task, name: &str) -> bool {
    task.fields.iter().any(|field| match &field.value {
        Some(field::Value::StrVal(value) | field::Value::DebugVal(value)) => value == name,
        _ => false,
    })
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
