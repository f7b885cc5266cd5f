//! Who is looked at, in turns; and what that comes to.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::BEFORE;
use crate::roles::{ask, said};

/// What was typed after `--`.
pub(crate) struct Options {
    pairs: usize,
    seconds: u64,
    hz: u32,
    /// Milliseconds from one reading of its tasks to the next, which then takes the place of looks.
    tasks_ms: Option<u32>,
}

impl Options {
    /// # Errors
    /// A sentence.
    pub(crate) fn of(words: &[&str]) -> Result<Options, String> {
        let mut options = Options { pairs: 20, seconds: 4, hz: 100, tasks_ms: None };
        let mut words = words.iter().filter(|word| **word != "--bench");
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("`{word}` needs a number"))?;
            let number: u32 = value.parse().map_err(|_| format!("`{value}` is no number"))?;
            // One pair has no spread.
            let least = if *word == "--pairs" { 2 } else { 1 };
            if number < least {
                return Err(format!("`{word} {value}` is too few: {least} at least"));
            }
            match *word {
                "--pairs" => options.pairs = number as usize,
                "--seconds" => options.seconds = number.into(),
                "--hz" => options.hz = number,
                "--tasks" => options.tasks_ms = Some(number),
                _ => return Err(format!("`{word}` is none of `--pairs`, `--seconds`, `--hz`, `--tasks`")),
            }
        }
        Ok(options)
    }
}

/// A child that ends with its stdin.
struct Running(Child);

impl Running {
    fn start(arguments: &[&str]) -> Result<Running, String> {
        let own = std::env::current_exe().map_err(said)?;
        let mut command = Command::new(own);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().map(Running).map_err(said)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Whether it goes on; what it says of its end is on stderr.
    fn check(&mut self) -> Result<(), String> {
        match self.0.try_wait().map_err(said)? {
            None => Ok(()),
            Some(status) => Err(format!("process `{}` ended: {status}", self.pid())),
        }
    }

    /// CPU time of all of its threads.
    fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).into_iter().flatten().flatten();
        let of = |path: &Path| -> Option<u64> {
            let text = fs::read_to_string(path.join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse().ok()
        };
        Duration::from_nanos(tasks.filter_map(|task| of(&task.path())).sum())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        _ = self.0.wait();
    }
}

struct Service {
    running: Running,
    address: SocketAddr,
}

impl Service {
    fn start() -> Result<Service, String> {
        let mut running = Running::start(&["serve"])?;
        let mut line = String::new();
        let stdout = running.0.stdout.take().ok_or("no stdout")?;
        BufReader::new(stdout).read_line(&mut line).map_err(said)?;
        let address = line.trim().parse().map_err(|_| format!("the service says `{line}`"))?;
        Ok(Service { running, address })
    }
}

/// Prints a row for each load and each who is looked at.
pub(crate) fn measure(options: &Options) -> Result<(), String> {
    let other = Service::start()?;
    println!("{:<26} {:>16} {:>9} {:>16} {:>8}", "echo service", "answers/s alone", "median", "mean", "looker");
    for (load, clients, pause) in [("paced", 128, Duration::from_millis(2)), ("all CPUs taken", 16, Duration::ZERO)] {
        let service = Service::start()?;
        let answers = ask(service.address, clients, pause);
        std::thread::sleep(BEFORE);
        for (whom, pid) in [("looked at", service.running.pid()), ("another is", other.running.pid())] {
            let pairs: Vec<Pair> =
                (0..options.pairs).map(|turn| pair(options, &answers, pid, turn % 2 == 0)).collect::<Result<_, _>>()?;
            println!("{:<26} {}", format!("{load}, {whom}"), row(&pairs));
        }
    }
    Ok(())
}

/// Answers a second, left alone and looked at, and what part of a core the one who looks took.
struct Pair {
    alone: f64,
    looked_at: f64,
    share: f64,
}

fn pair(options: &Options, answers: &AtomicU64, pid: u32, is_alone_first: bool) -> Result<Pair, String> {
    let count = || {
        let (begun, before) = (Instant::now(), answers.load(Relaxed));
        std::thread::sleep(Duration::from_secs(options.seconds));
        (answers.load(Relaxed) - before) as f64 / begun.elapsed().as_secs_f64()
    };
    let mut alone = None;
    if is_alone_first {
        alone = Some(count());
    }
    let (role, often) = options.tasks_ms.map_or(("look", options.hz), |ms| ("tasks", ms));
    let mut looking = Running::start(&[role, &pid.to_string(), &often.to_string()])?;
    std::thread::sleep(BEFORE);
    let before = looking.cpu();
    let looked_at = count();
    let share = looking.cpu().saturating_sub(before).as_secs_f64() / options.seconds as f64;
    looking.check()?;
    drop(looking);
    let alone = alone.unwrap_or_else(|| {
        std::thread::sleep(BEFORE / 3);
        count()
    });
    Ok(Pair { alone, looked_at, share })
}

fn row(pairs: &[Pair]) -> String {
    let mut ratios: Vec<f64> = pairs.iter().map(|pair| pair.looked_at / pair.alone).collect();
    ratios.sort_by(f64::total_cmp);
    let count = ratios.len() as f64;
    let mean = ratios.iter().sum::<f64>() / count;
    let error = (ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / (count - 1.0) / count).sqrt();
    let alone = pairs.iter().map(|pair| pair.alone).sum::<f64>() / count;
    let share = pairs.iter().map(|pair| pair.share).sum::<f64>() / count;
    let median = ratios[ratios.len() / 2];
    format!("{alone:>16.0} {median:>9.4} {:>16} {:>6.2} %", format!("{mean:.4} ± {error:.4}"), 100.0 * share)
}
