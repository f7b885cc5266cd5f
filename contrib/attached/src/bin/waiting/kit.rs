//! What a task tells of itself, and how tasks are spawned.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};

/// What one task tells: the lines of the `.await`s that it is suspended at, in the order in which it came to them.
#[derive(Clone)]
pub struct Told(Arc<Mutex<Truth>>);

struct Truth {
    way: &'static str,
    depth: usize,
    lines: Vec<(&'static str, u32)>,
    leaves: &'static [&'static str],
    is_hot: bool,
    /// Those that wait for each other have one name; `None` of those of which lines are told.
    cycle: Option<&'static str>,
}

impl Told {
    /// It comes to the `.await` in this line of this file.
    pub fn at(&self, file: &'static str, line: u32) {
        self.0.lock().expect("nobody panics").lines.push((file, line));
    }

    /// It has passed the `.await` that it came to last.
    pub fn passed(&self) {
        self.0.lock().expect("nobody panics").lines.pop();
    }

    fn text(&self) -> String {
        let truth = self.0.lock().expect("nobody panics");
        let lines: Vec<String> = truth.lines.iter().map(|(file, line)| format!("\"{file}:{line}\"")).collect();
        let leaves: Vec<String> = truth.leaves.iter().map(|leaf| format!("\"{leaf}\"")).collect();
        format!(
            "{{\"way\":\"{}\",\"depth\":{},\"lines\":[{}],\"leaves\":[{}],\"hot\":{},\"cycle\":{}}}",
            truth.way,
            truth.depth,
            lines.join(","),
            leaves.join(","),
            truth.is_hot,
            truth.cycle.map_or("null".to_owned(), |cycle| format!("\"{cycle}\""))
        )
    }
}

/// All that was told, in the order in which tasks were spawned.
#[derive(Default)]
pub struct Kit {
    told: Mutex<Vec<Told>>,
    is_local: AtomicBool,
}

impl Kit {
    /// From now on tasks are spawned in the `LocalSet`.
    pub fn be_local(&self) {
        self.is_local.store(true, Relaxed);
    }

    /// One that waits in this way, within so many functions more; `leaves` is what is at the end of its branches.
    pub fn tells(&self, way: &'static str, depth: usize, leaves: &'static [&'static str]) -> Told {
        let told =
            Told(Arc::new(Mutex::new(Truth { way, depth, lines: Vec::new(), leaves, is_hot: false, cycle: None })));
        self.told.lock().expect("nobody panics").push(told.clone());
        told
    }

    /// One of those that wait for each other, under this name, or under none if it is one that only seems to.
    pub fn tells_of(&self, cycle: &'static str) {
        let told = self.tells("stuck", 0, &[]);
        told.0.lock().expect("nobody panics").cycle = Some(cycle);
    }

    /// Spawns it. That it was told of just before is up to the caller: ids are given in this order.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, future: F) -> JoinHandle<()> {
        if self.is_local.load(Relaxed) { tokio::task::spawn_local(future) } else { tokio::spawn(future) }
    }

    /// The same in a set.
    pub fn spawn_in<F: Future<Output = ()> + Send + 'static>(&self, set: &mut JoinSet<()>, future: F) {
        if self.is_local.load(Relaxed) {
            set.spawn_local(future)
        } else {
            set.spawn(future)
        };
    }

    /// In the order of ids.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().expect("nobody panics").iter().map(Told::text).collect()
    }
}

/// Tasks that are woken as soon as they were polled, each suspended in one of two ways, of which both are told.
pub fn hot(kit: &Kit) {
    for _ in 0..8 {
        let told = kit.tells("hot", 0, &["yield"]);
        told.0.lock().expect("nobody panics").is_hot = true;
        kit.spawn(turns(told));
    }
}

async fn turns(told: Told) {
    told.at(file!(), line!() + 5);
    told.at(file!(), TURN);
    told.at(file!(), line!() + 4);
    told.at(file!(), ONCE_MORE);
    loop {
        turn().await;
        once_more(Duration::from_micros(10)).await;
    }
}

const TURN: u32 = line!() + 2;
async fn turn() {
    tokio::task::yield_now().await;
}

const ONCE_MORE: u32 = line!() + 6;
async fn once_more(time: Duration) {
    let until = std::time::Instant::now() + time;
    while std::time::Instant::now() < until {
        std::hint::spin_loop();
    }
    tokio::task::yield_now().await;
}
