//! Which CPUs a service and its client run on.

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cpus {
    /// A service's other threads, and the client's that waits for the others.
    pub(crate) others: usize,
    pub(crate) worker: usize,
    pub(crate) clients: [usize; 2],
    /// Whether nothing else of this shares the worker's core but `others`, by what the machine says.
    pub(crate) cores: usize,
}

impl Cpus {
    /// `None` where there are fewer than four.
    pub(crate) fn here() -> Option<Cpus> {
        let allowed = sched_getaffinity(None).ok()?;
        let allowed = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        let core = |cpu| {
            let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            std::fs::read_to_string(path).unwrap_or(format!("{cpu}"))
        };
        Cpus::choose(&allowed.map(|cpu| (cpu, core(cpu))).collect::<Vec<_>>())
    }

    /// From CPUs, each with the name of its core. The worker shares its core with no client.
    fn choose(allowed: &[(usize, String)]) -> Option<Cpus> {
        let mut cores: Vec<(&str, Vec<usize>)> = Vec::new();
        for (cpu, name) in allowed {
            match cores.iter_mut().find(|(core, _)| core == name) {
                Some((_, cpus)) => cpus.push(*cpu),
                None => cores.push((name, vec![*cpu])),
            }
        }
        let of_core = |place: usize| cores.iter().filter_map(move |(_, cpus)| cpus.get(place).copied());
        let order: Vec<usize> = match cores.len() {
            // Two to a core: the worker beside the threads that do least.
            ..3 => cores.iter().flat_map(|(_, cpus)| cpus.iter().take(2).copied()).collect(),
            // The first of each core, then the second of each.
            _ => of_core(0).chain(of_core(1)).collect(),
        };
        let [others, worker, one, two] = order.first_chunk().copied()?;
        Some(Cpus { others, worker, clients: [one, two], cores: cores.len() })
    }
}

fn set(cpus: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    set
}

/// This thread, or another. Unpinned, it is only noisier.
pub(crate) fn pin(thread: Option<Pid>, cpus: &[usize]) {
    let _ = sched_setaffinity(thread, &set(cpus));
}

/// Runs `f` with this thread on those CPUs; it is where it was afterwards.
pub(crate) fn pinned<T>(cpus: Option<Vec<usize>>, f: impl FnOnce() -> T) -> T {
    let before = sched_getaffinity(None).ok();
    if let Some(cpus) = cpus {
        pin(None, &cpus);
    }
    let result = f();
    if let Some(before) = before {
        let _ = sched_setaffinity(None, &before);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(allowed: &[(usize, &str)]) -> Option<(usize, usize, [usize; 2])> {
        let allowed: Vec<_> = allowed.iter().map(|(cpu, core)| (*cpu, (*core).to_owned())).collect();
        Cpus::choose(&allowed).map(|cpus| (cpus.others, cpus.worker, cpus.clients))
    }

    #[test]
    fn the_worker_shares_its_core_with_no_client() {
        assert_eq!(choose(&[(0, "0"), (1, "1"), (2, "2"), (3, "3")]), Some((0, 1, [2, 3])));
        assert_eq!(choose(&[(0, "0,1"), (1, "0,1"), (2, "2,3"), (3, "2,3")]), Some((0, 1, [2, 3])));
        assert_eq!(choose(&[(0, "0,2"), (1, "1,3"), (2, "0,2"), (3, "1,3")]), Some((0, 2, [1, 3])));
        let six = [(0, "a"), (1, "a"), (2, "b"), (3, "b"), (4, "c"), (5, "c")];
        assert_eq!(choose(&six), Some((0, 2, [4, 1])));
        assert_eq!(choose(&[(4, "4"), (5, "5"), (6, "6")]), None);
    }
}
