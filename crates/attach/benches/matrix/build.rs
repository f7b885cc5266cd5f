//! The programs that are looked at, built with a version of Tokio and a profile.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Builds it; where it is.
///
/// # Errors
/// A sentence.
pub(crate) fn build(tokio: Option<&str>, profile: &str) -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/attached/build");
    let mut command = Command::new(&script);
    command.args([tokio.unwrap_or_default(), profile]).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| format!("cannot run `{}`: {error}", script.display()))?;
    if !output.status.success() {
        return Err(format!("cannot build `contrib/attached` with `{}`: {}", script.display(), output.status));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
