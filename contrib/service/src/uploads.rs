//! `PUT /uploads/{name}` writes a file, and `GET` reads it: by `tokio::fs`, and so on threads of the blocking pool.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use tokio::fs;
use tokio::io::AsyncWriteExt;

use crate::app::App;
use crate::errors::Refusal;

/// Letters of a name, at most.
const LONGEST: usize = 64;

/// A name that leads nowhere else.
fn checked(name: &str) -> Result<&str, Refusal> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=LONGEST).contains(&name.len()) && name.chars().all(is_plain) {
        Ok(name)
    } else {
        Err(Refusal::Wrong(format!("a name has 1 to {LONGEST} letters, digits, - and _")))
    }
}

pub(crate) async fn put(State(app): State<App>, Path(name): Path<String>, body: Bytes) -> Result<StatusCode, Refusal> {
    let path = app.uploads.join(checked(&name)?);
    // Beside it, so that nobody reads half of it.
    let part = path.with_extension(format!("part-{}", app.next_upload()));
    let mut file = fs::File::create(&part).await?;
    file.write_all(&body).await?;
    file.sync_data().await?;
    fs::rename(&part, &path).await?;
    app.ticks.tell(format!("upload {name}"));
    Ok(StatusCode::CREATED)
}

pub(crate) async fn get(State(app): State<App>, Path(name): Path<String>) -> Result<Vec<u8>, Refusal> {
    let path = app.uploads.join(checked(&name)?);
    match fs::read(&path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Refusal::Missing(format!("upload {name}"))),
        read => Ok(read?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        assert!(checked("photo-1_b").is_ok());
        for name in ["", "..", "a/b", "a.b", "ä", &"a".repeat(LONGEST + 1)] {
            assert!(checked(name).is_err(), "{name}");
        }
    }
}
