//! The probe around real runtimes, checked against witnesses of its own: futures that count their polls, tokio-metrics,
//! clocks in the tasks. Builds with and without task hooks run the same tests; what differs is told apart at run time.

mod allocations;
#[cfg(feature = "macros")]
mod attributes;
mod blamed;
mod blocking_pool;
mod chained;
mod counts;
mod durations;
mod environment;
#[cfg(feature = "tracing")]
mod events;
mod examples;
#[cfg(feature = "metrics")]
mod facade;
mod identities;
mod interrupted;
mod lifetimes;
mod metrics;
mod nested;
mod portable;
mod reporting;
#[cfg(feature = "tower")]
mod requests;
#[cfg(feature = "serde")]
mod serialised;
#[cfg(feature = "span")]
mod spans;
mod stalls;
mod stretches;
mod support;
mod testing;
mod threads;
mod tidy;
#[cfg(all(feature = "capture", target_os = "linux", target_arch = "x86_64", not(pollscope_portable)))]
mod watchdog;
#[cfg(all(feature = "capture", target_os = "linux", target_arch = "x86_64", not(pollscope_portable)))]
mod web;
