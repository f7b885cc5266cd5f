//! What blocks in other people's frameworks is told by the user's own line, whoever spawned the task.

mod axum_middleware;
mod axum_requests;
mod tonic_service;
mod tower_service;
