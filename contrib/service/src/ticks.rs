//! `GET /ticks?most=20`: a stream of what happens, line by line. Who reads too slowly misses some, and is told how many.

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_stream::wrappers::ReceiverStream;

use crate::app::App;

/// Events that wait for a reader.
const WAITING: usize = 256;

/// Where events are told.
#[derive(Debug, Clone)]
pub(crate) struct Ticks(broadcast::Sender<String>);

impl Ticks {
    pub(crate) fn new() -> Ticks {
        Ticks(broadcast::Sender::new(WAITING))
    }

    pub(crate) fn tell(&self, what: String) {
        // Nobody may listen.
        let _ = self.0.send(what);
    }

    pub(crate) fn listeners(&self) -> usize {
        self.0.receiver_count()
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Most {
    most: Option<usize>,
}

pub(crate) async fn stream(State(app): State<App>, Query(Most { most }): Query<Most>) -> Response {
    let mut told = app.ticks.0.subscribe();
    let (lines, body) = tokio::sync::mpsc::channel::<Result<String, std::convert::Infallible>>(16);
    tokio::spawn(async move {
        let mut left = most.unwrap_or(usize::MAX);
        while left > 0 {
            let line = match told.recv().await {
                Ok(what) => format!("{what}\n"),
                Err(RecvError::Lagged(missed)) => format!("missed {missed}\n"),
                Err(RecvError::Closed) => return,
            };
            // A client that went away.
            if lines.send(Ok(line)).await.is_err() {
                return;
            }
            left -= 1;
        }
    });
    Response::new(Body::from_stream(ReceiverStream::new(body)))
}
