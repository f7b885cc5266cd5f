//! What is measured.

use std::path::PathBuf;

/// Versions of Tokio whose insides differ.
pub(crate) const TOKIOS: [&str; 5] = ["1.20.6", "1.28.2", "1.38.2", "1.44.2", "1.54.1"];
/// Builds that tell more or less of themselves; see `contrib/attached/Cargo.toml`.
pub(crate) const PROFILES: [&str; 4] = ["lines", "symbols", "full", "lto"];

/// What was typed after `--`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// As little as the gate has time for.
    pub(crate) is_small: bool,
    /// Whether too little that is right is a failure.
    pub(crate) has_floors: bool,
    /// Only stalls of this way.
    pub(crate) only: Option<String>,
    /// The program, where it is not to be built.
    pub(crate) program: Option<PathBuf>,
    /// Versions of Tokio; `None` is the one in its `Cargo.lock`.
    pub(crate) tokios: Vec<Option<String>>,
    pub(crate) profiles: Vec<String>,
    /// Only this runtime.
    pub(crate) runtime: Option<String>,
    /// How long each run lasts; `None` is as long as it needs.
    pub(crate) seconds: Option<u64>,
    pub(crate) hz: u32,
    /// From here on a poll is slow, in milliseconds.
    pub(crate) slow_ms: u64,
    /// How many of those that are wrong are told of each run.
    pub(crate) wrong: usize,
    /// Which random numbers the program takes.
    pub(crate) seed: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            is_small: false,
            has_floors: false,
            only: None,
            program: None,
            tokios: vec![None],
            profiles: vec!["lines".to_owned()],
            runtime: None,
            seconds: None,
            hz: 100,
            slow_ms: 15,
            wrong: 20,
            seed: 1,
        }
    }
}

impl Options {
    /// # Errors
    /// A sentence.
    pub(crate) fn of(typed: impl IntoIterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::default();
        let mut typed = typed.into_iter();
        while let Some(name) = typed.next() {
            match name.as_str() {
                "--bench" => continue,
                "--small" => options.is_small = true,
                "--floors" => options.has_floors = true,
                _ => {
                    let value =
                        typed.next().ok_or_else(|| format!("`{name}` needs a value, or is none of the options"))?;
                    options.set(&name, value)?;
                }
            }
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        let number = |text: &str| text.parse().map_err(|_| format!("`{name}` needs a number, not `{text}`"));
        let list = |all: &[&str]| match value.as_str() {
            "all" => all.iter().map(|one| (*one).to_owned()).collect(),
            some => some.split(',').map(str::to_owned).collect::<Vec<String>>(),
        };
        match name {
            "--only" => self.only = Some(value),
            "--target" => self.program = Some(value.into()),
            "--tokio" => self.tokios = list(&TOKIOS).into_iter().map(Some).collect(),
            "--profile" => self.profiles = list(&PROFILES),
            "--runtime" => self.runtime = Some(value),
            "--seconds" => self.seconds = Some(number(&value)?),
            "--hz" => self.hz = number(&value)?.try_into().map_err(|_| format!("`--hz {value}` is too much"))?,
            "--slow" => self.slow_ms = number(&value)?,
            "--wrong" => self.wrong = number(&value)? as usize,
            "--seed" => self.seed = number(&value)?,
            _ => return Err(format!("there is no option `{name}`: see `crates/attach/benches/matrix/main.rs`")),
        }
        Ok(())
    }
}
