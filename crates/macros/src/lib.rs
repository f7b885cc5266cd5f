//! The attributes of pollscope-probe, which re-exports them with its feature `macros`: [`macro@main`] in place of `#[tokio::main]`, and
//! [`macro@test`] in place of `#[tokio::test]`.
//!
//! They need no other crate to be read: an attribute's settings are a few words, and of a function only its head is looked at.

#![forbid(unsafe_code)]

use proc_macro::TokenStream;

mod expand;
mod function;
mod settings;

/// Runs an `async fn main` on a runtime with a probe in it, in place of `#[tokio::main]`. The probe follows the environment:
/// `POLLSCOPE=1` switches it on, `POLLSCOPE_SLOW_POLL=50ms` sets what is slow, as
/// [`ProbeBuilder::from_env`](https://docs.rs/pollscope-probe/latest/pollscope_probe/struct.ProbeBuilder.html#method.from_env) says.
///
/// | setting | what it is |
/// |---|---|
/// | `flavor = "current_thread"` | the scheduler; `"multi_thread"` unless set, for which your tokio needs its feature `rt-multi-thread` |
/// | `worker_threads = 4` | how many workers a multi-thread runtime has; one for each CPU unless set |
/// | `threshold = "50ms"` | what is slow, where the environment does not say; 100 ms unless set |
///
/// ```
/// #[pollscope_probe::main(flavor = "current_thread", threshold = "50ms")]
/// async fn main() -> std::io::Result<()> {
///     let answer = tokio::spawn(async { 42 }).await?;
///     assert_eq!(answer, 42);
///     Ok(())
/// }
/// ```
///
/// Where the probe cannot be installed, as when no thread can be started, that is said on stderr, and the runtime is not measured.
///
/// # Panics
/// When the runtime cannot be built, and when the body does.
///
/// # Errors of use
/// Each is told at the word that is wrong.
///
/// ```compile_fail
/// #[pollscope_probe::main]
/// fn main() {} // it is not `async`
/// ```
/// ```compile_fail
/// #[pollscope_probe::main]
/// async fn main(arguments: u8) {} // nobody gives it any
/// ```
/// ```compile_fail
/// #[pollscope_probe::main(flavour = "current_thread")]
/// async fn main() {}
/// ```
/// ```compile_fail
/// #[pollscope_probe::main(flavor = "current_thread", worker_threads = 2)]
/// async fn main() {}
/// ```
/// ```compile_fail
/// #[pollscope_probe::main(start_paused = true)]
/// async fn main() {} // what polls take is measured by the real clock
/// ```
/// ```compile_fail
/// #[pollscope_probe::main(threshold = "50")]
/// async fn main() {}
/// ```
#[proc_macro_attribute]
pub fn main(settings: TokenStream, function: TokenStream) -> TokenStream {
    expand::expand(expand::Kind::Main, settings, function)
}

/// Makes a test of an `async fn`, which also fails when a poll holds up its loop, in place of `#[tokio::test]`.
///
/// | setting | what it is |
/// |---|---|
/// | `threshold = "50ms"` | what a poll must not last; 100 ms unless set |
/// | `flavor = "multi_thread"` | the scheduler; `"current_thread"` unless set |
/// | `worker_threads = 2` | how many workers a multi-thread runtime has; one for each CPU unless set |
///
/// What is seen, and that the machine's doing fails no test, is as
/// [`testing`](https://docs.rs/pollscope-probe/latest/pollscope_probe/testing/index.html) says.
///
/// ```
/// #[pollscope_probe::test(threshold = "1s")]
/// async fn it_answers() {
///     assert_eq!(tokio::spawn(async { 42 }).await.unwrap(), 42);
/// }
/// # fn main() {}
/// ```
///
/// A paused clock is refused: what polls take is measured by the real one.
///
/// ```compile_fail
/// #[pollscope_probe::test(start_paused = true)]
/// async fn it_answers() {}
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn test(settings: TokenStream, function: TokenStream) -> TokenStream {
    expand::expand(expand::Kind::Test, settings, function)
}
