//! What the benchmarks share: how much to measure, what it was measured on, and the middle of many values.

use pollscope::environment::environment;

/// Whether to measure. `cargo bench` measures; `cargo test --benches` only checks that everything runs.
pub(crate) fn is_measuring() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}

/// Prints the machine and the build, in a line or two.
pub(crate) fn print_setting() {
    let here = environment(false, Vec::new());
    let on = |on| if on { "on" } else { "off" };
    let cpus = here.cpus.map_or("unknown".to_owned(), |cpus| cpus.to_string());
    println!("{}, kernel {}, {cpus} CPUs", here.os, here.kernel.as_deref().unwrap_or("unknown"));
    println!(
        "tokio {}; task hooks (tokio_unstable) {}; feature `console` {}",
        here.tokio.as_deref().unwrap_or("unknown"),
        on(here.tokio_unstable == Some(true)),
        on(here.console_compiled == Some(true))
    );
}

/// The value that the fraction `q` of all values does not exceed.
///
/// # Panics
/// When there are no values.
pub(crate) fn quantile(values: impl IntoIterator<Item = f64>, q: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q).round() as usize]
}

/// KiB of this process that are in memory.
///
/// # Panics
/// Without `/proc`.
#[allow(dead_code, reason = "not every benchmark looks")]
pub(crate) fn rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
