//! How a process is looked at from outside: what `record`, `top` and `doctor` share.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use pollscope_attach::Hz;

use super::values::hz;

/// How a process is looked at from outside.
#[derive(Debug, Clone)]
pub(crate) struct Outside {
    /// Also one that would tell by itself.
    pub(crate) always: bool,
    pub(crate) hz: Hz,
    /// Files, and folders with files, that have names for its program.
    pub(crate) symbols: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CliOutside {
    /// Look at it from outside, even if it has a probe that would tell: nothing is written to it, and it is not stopped
    #[arg(long)]
    outside: bool,
    /// How often a second it is looked at from outside, 1 to 1000
    #[arg(long, value_name = "N", default_value = "100", value_parser = hz, value_hint = ValueHint::Other, hide_short_help = true)]
    hz: Hz,
    #[command(flatten)]
    symbols: CliSymbols,
}

#[derive(Debug, Args)]
pub(super) struct CliSymbols {
    /// The unstripped copy of the same build of its program, or its debug file, or a folder with it; may be repeated
    #[arg(long = "symbols", value_name = "PATH", value_hint = ValueHint::AnyPath, hide_short_help = true)]
    paths: Vec<PathBuf>,
}

impl CliOutside {
    /// Whether it was asked for.
    pub(super) fn is_asked(&self) -> bool {
        self.outside || self.symbols.is_asked()
    }
}

impl CliSymbols {
    /// Whether there are some.
    pub(super) fn is_asked(&self) -> bool {
        !self.paths.is_empty()
    }
}

impl From<CliOutside> for Outside {
    fn from(of: CliOutside) -> Outside {
        Outside { always: of.outside, hz: of.hz, symbols: of.symbols.into() }
    }
}

impl From<CliSymbols> for Vec<PathBuf> {
    fn from(of: CliSymbols) -> Vec<PathBuf> {
        of.paths
    }
}
