//! `pollscope init`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Debug)]
pub(crate) struct InitRequest {
    /// Of the package, or of its workspace.
    pub(crate) folder: PathBuf,
    /// Whether the changes are made.
    pub(crate) write: bool,
    /// The probe's folder, where it does not come from crates.io.
    pub(crate) path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CliInit {
    /// The folder of a package that depends on Tokio, or of its workspace
    #[arg(value_name = "FOLDER", default_value = ".", value_hint = ValueHint::DirPath)]
    folder: PathBuf,
    /// Make the changes, all of them or none
    #[arg(long)]
    write: bool,
    /// Take the probe from this folder, such as ../pollscope/crates/probe, and not from crates.io
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    path: Option<PathBuf>,
}

impl From<CliInit> for InitRequest {
    fn from(CliInit { folder, write, path }: CliInit) -> InitRequest {
        InitRequest { folder, write, path }
    }
}
