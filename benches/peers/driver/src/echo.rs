//! The echo service under each instrument, all at once, and asked by turns.
//!
//! A machine that others work on is now faster and now slower: two services that are measured one second after the other
//! differ by what changed in between. So in a round all services are there, and the client, another process on other CPUs,
//! goes from one to the next every few hundredths of a second. A service that nobody asks waits for its events.

mod client;
mod cpus;
mod slices;

use std::thread;
use std::time::{Duration, Instant};

pub(crate) use self::cpus::{Cpus, pin};
pub(crate) use self::slices::Cut;

use self::client::Client;
use self::cpus::pinned;
use self::slices::Slice;
use crate::catalog::{Instrument, Load, Metric};
use crate::program::{Programs, Service, Trouble};
use crate::results::Sample;

/// Once in a round, for each service.
const WARM_UP: Duration = Duration::from_millis(50);
/// Before each slice: what the service before had in the caches.
const RETURN: Duration = Duration::from_millis(2);
/// After each slice: until the worker has parked, when the kernel knows how long it ran.
const PARK: Duration = Duration::from_micros(100);

/// A slice that the machine spoiled is tried again at once, up to so many times in all.
const TRIES: usize = 4;

/// What a round came to, in the instruments' order.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) samples: Vec<Result<Sample, Trouble>>,
    /// Slices of each that count, and that were left out.
    pub(crate) slices: Vec<(usize, usize)>,
}

/// A service, and its client's side.
struct Running {
    service: Service,
    client: Client,
    cpus: Option<Cpus>,
    /// What all its threads had run when its last slice ended, and when that was.
    rested: (Duration, Instant),
    /// CPU time between its slices, and how long they were apart.
    idle: (Duration, Duration),
}

impl Running {
    /// `rate`: requests a second at half load.
    fn start(
        programs: &Programs,
        instrument: &Instrument,
        load: Load,
        rate: f64,
        cpus: Option<Cpus>,
    ) -> Result<Running, Trouble> {
        let fresh = programs.fresh_command(instrument)?;
        let service = pinned(cpus.map(|cpus| vec![cpus.others, cpus.worker]), || Service::start(fresh))?;
        let client = match load {
            Load::EchoHalf => Client::at_rate(service.address, rate),
            _ => Client::saturating(service.address),
        }?;
        let mut running =
            Running { service, client, cpus, rested: (Duration::ZERO, Instant::now()), idle: Default::default() };
        running.client.slice(WARM_UP, cpus)?;
        running.rested = (running.service.cpu()?, Instant::now());
        Ok(running)
    }

    fn slice(&mut self, length: Duration) -> Result<Slice, String> {
        let (cpu, since) = self.rested;
        self.idle.0 += self.service.cpu()?.saturating_sub(cpu);
        self.idle.1 += since.elapsed();
        if let Some(cpus) = self.cpus {
            self.service.place(cpus)?;
        }
        self.client.slice(RETURN, self.cpus)?;
        thread::sleep(PARK);
        let before = self.service.worker()?;
        let mut slice = self.client.slice(length, self.cpus)?;
        thread::sleep(PARK);
        let after = self.service.worker()?;
        (slice.cpu, slice.waited) = (after.ran - before.ran, after.waited - before.waited);
        self.rested = (self.service.cpu()?, Instant::now());
        Ok(slice)
    }
}

/// One round; `seed` has the order of the turns in it.
pub(crate) fn round(
    programs: &Programs,
    instruments: &[&Instrument],
    load: Load,
    rate: f64,
    cut: Cut,
    seed: u64,
) -> Round {
    let cpus = Cpus::here();
    // This thread sleeps through the slices; what it does between them, it does beside the services' other threads.
    pinned(cpus.map(|cpus| vec![cpus.others]), || {
        let start = |instrument: &&Instrument| Running::start(programs, instrument, load, rate, cpus);
        let mut services: Vec<_> = instruments.iter().map(start).collect();
        let mut kept: Vec<Vec<Slice>> = services.iter().map(|_| Vec::new()).collect();
        let mut unused = vec![0; services.len()];
        let (mut cycles, mut left_out) = (0, 0);
        let orders = slices::orders(cut.cycles, services.len(), seed);
        while slices::goes_on(cut, cycles, left_out) {
            // One that was left out is repeated in the same order.
            let turns = cycle(&mut services, &orders[cycles], load, cut);
            let is_whole = turns.iter().all(|turn| turn.slice.is_some());
            *(if is_whole { &mut cycles } else { &mut left_out }) += 1;
            for Turn { index, slice, tries } in turns {
                let slice = slice.filter(|_| is_whole);
                unused[index] += tries - usize::from(slice.is_some());
                kept[index].extend(slice);
            }
        }
        // All are told before one is waited for.
        services.iter_mut().flatten().for_each(|running| running.service.tell_to_stop());
        let samples = services.into_iter().zip(&kept).map(|(running, slices)| sample(running?, load, slices)).collect();
        Round { samples, slices: kept.iter().map(Vec::len).zip(unused).collect() }
    })
}

/// A service's turn in a cycle.
struct Turn {
    index: usize,
    /// `None` when every try was spoiled.
    slice: Option<Slice>,
    tries: usize,
}

/// A turn of every service; the last one is that which was spoiled in every try, and leaves out the others' too.
fn cycle(services: &mut [Result<Running, Trouble>], order: &[usize], load: Load, cut: Cut) -> Vec<Turn> {
    let mut turns = Vec::with_capacity(order.len());
    for &index in order {
        let Ok(running) = &mut services[index] else { continue };
        match slices::first_unspoiled(TRIES, load, || running.slice(cut.slice)) {
            Ok((slice, tries)) => turns.push(Turn { index, slice, tries }),
            Err(error) => services[index] = Err(error.into()),
        }
        if turns.last().is_some_and(|turn| turn.slice.is_none()) {
            break;
        }
    }
    turns
}

fn sample(running: Running, load: Load, slices: &[Slice]) -> Result<Sample, Trouble> {
    let Running { service, client, idle, .. } = running;
    drop(client);
    service.stop()?;
    let nothing = || Trouble::Unavailable("every cycle of a round was left out".to_owned());
    let mut sample = slices::pool(load, slices).ok_or_else(nothing)?;
    sample.insert(Metric::Idle, idle.0.as_secs_f64() / idle.1.as_secs_f64());
    Ok(sample)
}
