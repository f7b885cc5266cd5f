//! What a client is told when something goes wrong.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// An answer that is none.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is no such thing.
    Missing(String),
    /// The request makes no sense.
    Wrong(String),
    /// The shop has not so many.
    SoldOut { left: u32 },
    /// The service's own fault.
    Failed(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, why) = match self {
            Refusal::Missing(what) => (StatusCode::NOT_FOUND, format!("there is no {what}")),
            Refusal::Wrong(why) => (StatusCode::BAD_REQUEST, why),
            Refusal::SoldOut { left } => (StatusCode::CONFLICT, format!("only {left} are left")),
            Refusal::Failed(why) => (StatusCode::INTERNAL_SERVER_ERROR, why),
        };
        (status, why + "\n").into_response()
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Refusal {
        match error {
            rusqlite::Error::QueryReturnedNoRows => Refusal::Missing("such item".to_owned()),
            error => Refusal::Failed(format!("cannot ask the database: {error}")),
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Refusal {
        Refusal::Failed(format!("cannot write: {error}"))
    }
}

impl From<tokio::task::JoinError> for Refusal {
    fn from(error: tokio::task::JoinError) -> Refusal {
        Refusal::Failed(format!("a task of the service failed: {error}"))
    }
}
