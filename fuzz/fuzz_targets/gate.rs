//! Gates: whatever was typed is a gate, which is written as it was, or an error that can be printed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pollscope::gate::Gate;
use pollscope_base::escape::escape;

fuzz_target!(|text: &str| match Gate::parse(text) {
    Ok(gate) => assert_eq!(Gate::parse(&gate.to_string()).as_ref(), Ok(&gate)),
    Err(error) => {
        let shown = error.to_string();
        assert!(shown.lines().all(|line| escape(line) == line), "{shown:?}");
        assert!(text.get(error.span()).is_some(), "{:?}", error.span());
    }
});
