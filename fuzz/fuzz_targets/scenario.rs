//! Scenarios: a text, and behind a NUL one `--set`, are a scenario within its ranges, or an error that can be printed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pollscope::scenario::wire::{Override, parse, settings_map};
use pollscope_base::escape::escape;

fuzz_target!(|input: &str| {
    let (text, typed) = input.split_once('\0').unwrap_or((input, ""));
    let overrides: Vec<Override> = Override::parse(typed).into_iter().collect();
    match parse("fuzzed.toml", text, &overrides) {
        Ok(scenario) => assert!(!settings_map(&scenario.settings).is_empty()),
        Err(error) => {
            let shown = error.to_string();
            assert!(shown.lines().all(|line| escape(line) == line), "{shown:?}");
        }
    }
});
