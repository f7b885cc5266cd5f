//! `--prometheus`: a run that a real Prometheus scrapes, and what `contrib` has for it, checked by its own tool.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{DEADLINE, Folder, finish, root, run, send, stderr, stdout, wait_until};

/// Whether a program of Prometheus is here; if not, says so.
fn has(program: &str) -> bool {
    let has = Command::new(program).arg("--version").output().is_ok();
    if !has {
        eprintln!("SKIP: {program} is not installed");
    }
    has
}

/// Ends a program when the test is over, however it ends.
struct Running(Option<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The program with these arguments, any port for its metrics, and the address that it then says.
fn serving(folder: &Folder, line: &str) -> (Running, SocketAddr) {
    let mut command = folder.command(line.split_whitespace().chain(["--prometheus", "0"]));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    let (send, said) = mpsc::channel();
    // To the end: a pipe that nobody reads would hold it up.
    thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| _ = send.send(line)));
    let running = Running(Some(child));
    let address = loop {
        let line = said.recv_timeout(DEADLINE).expect("a line with the address");
        if let Some(url) = line.strip_prefix("metrics on http://") {
            break url.strip_suffix("/metrics").expect("its path").parse().expect("an address");
        }
    };
    (running, address)
}

/// Interrupts a merge that follows, and waits for its end.
fn end(mut running: Running) -> Option<i32> {
    let child = running.0.take().expect("it runs");
    send(&child, Signal::INT);
    finish(child).status.code()
}

/// What is served at a path: its status line, and its body.
fn get(address: SocketAddr, path: &str) -> Option<(String, String)> {
    let mut client = TcpStream::connect(address).ok()?;
    client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    write!(client, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.lines().next()?.to_owned(), body.to_owned()))
}

/// The metrics, once a run has begun.
fn scrape(address: SocketAddr) -> String {
    let mut metrics = String::new();
    wait_until("metrics", || match get(address, "/metrics") {
        Some((status, body)) if status == "HTTP/1.1 200 OK" => {
            metrics = body;
            true
        }
        _ => false,
    });
    metrics
}

fn value(metrics: &str, name: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// The instant values that Prometheus answers a query with.
fn query(prometheus: SocketAddr, expression: &str) -> Vec<f64> {
    let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let Some((_, body)) = get(prometheus, &format!("/api/v1/query?query={encoded}")) else { return Vec::new() };
    let Ok(answer) = serde_json::from_str::<Value>(&body) else { return Vec::new() };
    let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    series.iter().filter_map(|series| series["value"][1].as_str()?.parse().ok()).collect()
}

const SCENARIO: &str = r#"
question = "Are runs seen from outside?"
why = "Three tasks block the loop for 20 ms each, in two runs, one after the other."
modes = ["naive"]
rounds = 2
warmup = 0
slow_poll = "5ms"

[block]
tasks = 3
duration = "20ms"
after = "50ms"
run_for = "1500ms"

[expect]
gates = ["slow_polls >= 1"]
"#;

#[test]
fn each_run_has_metrics_of_its_own() {
    let folder = Folder::new();
    let scenario = folder.write("blocks.toml", SCENARIO);
    let (running, address) = serving(&folder, &format!("run {}", scenario.display()));
    let polls = |metrics: &str| value(metrics, "pollscope_poll_duration_seconds_count").expect("a count");
    let (mut most, mut restarts, mut slow) = (0.0, 0, 0.0_f64);
    let start = Instant::now();
    while let Some((status, metrics)) = get(address, "/metrics") {
        if status == "HTTP/1.1 200 OK" {
            let count = polls(&metrics);
            restarts += u32::from(count < most);
            most = count;
            slow = slow.max(value(&metrics, "pollscope_slow_polls_total").expect("a count"));
        }
        assert!(start.elapsed() < DEADLINE);
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(restarts, 1, "each run has a probe");
    if pollscope_probe::TOKIO_UNSTABLE {
        assert!(slow >= 3.0, "{slow}");
    }
    drop(running);
}

#[test]
fn nothing_of_a_folder_is_served_with_redact() {
    let folder = Folder::new();
    folder.write("a", "a1\n");
    let (running, address) = serving(&folder, "merge --follow a -o out --redact");
    wait_until("polls", || scrape(address).contains("{site=\""));
    let metrics = scrape(address);
    assert!(!metrics.contains("=\"/"), "{metrics}");
    end(running);
}

#[test]
fn a_prometheus_scrapes_a_merge_that_follows() {
    if !has("prometheus") {
        return;
    }
    let folder = Folder::new();
    let input = folder.write("a", "a1\n");
    let (merging, address) = serving(&folder, "merge --follow a -o out --slow 1us");
    let config = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
         scrape_configs: [{{job_name: pollscope, static_configs: [{{targets: ['{address}']}}]}}]\n"
    );
    folder.write("prometheus.yml", config);
    // Free now; should another program take it, the wait below fails with what Prometheus says.
    let listen = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a free port");
    let log = fs::File::create(folder.path("log")).expect("created");
    let prometheus = Command::new("prometheus")
        .arg(format!("--config.file={}", folder.path("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.path("data").display()))
        .arg(format!("--web.listen-address={listen}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("it starts");
    let _prometheus = Running(Some(prometheus));

    let start = Instant::now();
    let mut appended = fs::OpenOptions::new().append(true).open(input).expect("opened");
    let mut expressions = [
        "up == 1",
        "scrape_samples_scraped == scrape_samples_post_metric_relabeling",
        "pollscope_poll_duration_seconds_count > 0",
        "histogram_quantile(0.99, sum by (le) (rate(pollscope_poll_duration_seconds_bucket[5s]))) > 0",
        "sum(rate(pollscope_slow_polls_total[5s])) > 0",
    ]
    .map(str::to_owned)
    .to_vec();
    // Each has something to show, not only a meaning.
    expressions.extend(dashboard().into_iter().chain(queries()));
    if !pollscope_probe::TOKIO_UNSTABLE {
        expressions.retain(|expression| !expression.contains("schedule_latency"));
    }
    for expression in expressions {
        loop {
            writeln!(appended, "a line").expect("written");
            let values = query(listen, &expression);
            if !values.is_empty() && values.iter().all(|value| value.is_finite()) {
                break;
            }
            let log = || String::from_utf8_lossy(&folder.read("log")).into_owned();
            assert!(start.elapsed() < DEADLINE, "{expression}: {values:?}\n{}", log());
            thread::sleep(Duration::from_millis(50));
        }
    }
    assert_eq!(end(merging), Some(0));
}

#[test]
fn its_own_tool_has_no_complaint_of_a_scrape() {
    if !has("promtool") {
        return;
    }
    let folder = Folder::new();
    folder.write("a", "a1\n");
    let (merging, address) = serving(&folder, "merge --follow a -o out --slow 1us");
    wait_until("slow polls", || value(&scrape(address), "pollscope_slow_polls_total").is_some_and(|slow| slow > 0.0));
    folder.write("metrics", scrape(address));
    let mut check = Command::new("promtool");
    let metrics = fs::File::open(folder.path("metrics")).expect("opened");
    let checked = run(check.args(["check", "metrics"]).stdin(metrics));
    assert_eq!((checked.status.code(), stdout(&checked), stderr(&checked)), (Some(0), String::new(), String::new()));
    end(merging);
}

/// Every value of this key, wherever it is.
fn values_of<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| values_of(value, key, found)),
        Value::Object(fields) => {
            found.extend(fields.get(key).and_then(Value::as_str));
            fields.values().for_each(|value| values_of(value, key, found));
        }
        _ => {}
    }
}

/// The expressions of the dashboard, with what Grafana puts in for its variables.
fn dashboard() -> Vec<String> {
    let text = fs::read_to_string(root().join("contrib/grafana-dashboard.json")).expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut expressions = Vec::new();
    values_of(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() >= 10, "{expressions:?}");
    let filled = |text: &str| text.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*");
    expressions.into_iter().map(filled).collect()
}

/// The queries in `contrib/README.md`.
fn queries() -> Vec<String> {
    let text = fs::read_to_string(root().join("contrib/README.md")).expect("a README");
    let queries = text.split("```promql\n").nth(1).and_then(|rest| rest.split("```").next()).expect("queries");
    let queries = queries.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    queries.map(str::to_owned).collect()
}

/// Names such as `pollscope_slow_polls_total`.
fn names(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("pollscope_") && *word != "pollscope_probe").collect()
}

#[test]
fn what_contrib_asks_for_is_there() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let probe = pollscope_probe::Probe::builder().install(&mut builder).expect("a probe");
    let runtime = builder.enable_time().build().expect("a runtime");
    // The pool is asked for now and then, while its runtime runs.
    let is_whole =
        |metrics: &str| !pollscope_probe::TOKIO_UNSTABLE || metrics.contains("pollscope_blocking_queue_depth");
    let start = std::time::Instant::now();
    let mut metrics = runtime.block_on(probe.watch(async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let metrics = probe.snapshot().to_prometheus();
            if is_whole(&metrics) {
                return metrics;
            }
            assert!(start.elapsed() < std::time::Duration::from_secs(60), "nobody asks for the pool: {metrics}");
        }
    }));
    if !pollscope_probe::TOKIO_UNSTABLE {
        metrics.push_str("pollscope_schedule_latency_seconds_bucket pollscope_blocking_queue_depth");
    }
    let alerts = fs::read_to_string(root().join("contrib/alerts.yml")).expect("alerts");
    let known = names(&metrics);
    for text in dashboard().iter().chain(&queries()).chain([&alerts]) {
        for name in names(text) {
            assert!(known.contains(&name), "there is no metric {name}: {text}");
        }
    }
}

#[test]
fn its_own_tool_takes_every_expression() {
    if !has("promtool") {
        return;
    }
    let check = |file: &std::path::Path| {
        let checked = run(Command::new("promtool").args(["check", "rules"]).arg(file));
        assert!(checked.status.success(), "{}{}", stdout(&checked), stderr(&checked));
        stdout(&checked)
    };
    let alerts = check(&root().join("contrib/alerts.yml"));
    assert!(alerts.contains("SUCCESS: 6 rules found"), "{alerts}");
    let mut test = Command::new("promtool");
    let tested = run(test.args(["test", "rules"]).arg(root().join("contrib/alerts-test.yml")));
    assert!(tested.status.success(), "{}{}", stdout(&tested), stderr(&tested));
    let expressions = [dashboard(), queries()].concat();
    let mut rules = "groups:\n  - name: all\n    rules:\n".to_owned();
    for (index, expression) in expressions.iter().enumerate() {
        let quoted = serde_json::to_string(expression).expect("JSON, which YAML takes");
        rules.push_str(&format!("      - record: expression:{index}\n        expr: {quoted}\n"));
    }
    let folder = Folder::new();
    let found = check(&folder.write("rules.yml", rules));
    assert!(found.contains(&format!("SUCCESS: {} rules found", expressions.len())), "{found}");
}

/// Where more than this machine can ask, it is said once who can read what.
#[test]
fn who_can_read_the_metrics_is_said_once() {
    let folder = Folder::new();
    folder.write("a", "a1\n");
    for (address, warnings) in [("127.0.0.1:0", 0), ("[::1]:0", 0), ("0.0.0.0:0", 1)] {
        let output =
            folder.run(&format!("merge a -o out --force --prometheus {address} --prometheus-host web.example"));
        let said = stderr(&output);
        if said.contains("cannot serve metrics on `[::1]:0`") {
            eprintln!("SKIP: no IPv6 here");
            continue;
        }
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!(said.matches("warning: whoever can reach port ").count(), warnings, "{address}: {said}");
        assert_eq!(said.matches("can read the metrics").count(), warnings, "{address}: {said}");
    }
    let alone = folder.run("merge a -o out --prometheus-host web.example");
    assert_eq!(alone.status.code(), Some(2), "{}", stderr(&alone));
}
