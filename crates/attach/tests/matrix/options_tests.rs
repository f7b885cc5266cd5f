//! What `options.rs` of the benchmark promises.

use crate::options::*;

fn options(typed: &str) -> Result<Options, String> {
    Options::of(typed.split_whitespace().map(str::to_owned))
}

#[test]
fn options_are_read_and_others_refused() {
    assert_eq!(options("--bench"), Ok(Options::default()));
    let some = options("--small --only spin --slow 20 --tokio 1.20.6,1.54.1 --profile all --hz 1000 --bench").unwrap();
    assert_eq!((some.is_small, some.only.as_deref(), some.hz, some.slow_ms), (true, Some("spin"), 1_000, 20));
    assert_eq!(some.tokios, [Some("1.20.6".to_owned()), Some("1.54.1".to_owned())]);
    assert_eq!(some.profiles, PROFILES);
    assert!(options("--hz many").unwrap_err().contains("needs a number, not `many`"));
    assert!(options("--smal").is_err() && options("--ony spin").unwrap_err().contains("no option `--ony`"));
}
