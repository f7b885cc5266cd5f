//! `GET /items` and `GET /items/{id}`.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use crate::app::App;
use crate::database::{self, Item};
use crate::errors::Refusal;

/// Items of a page, unless asked otherwise, and at most.
const PAGE: u32 = 20;
const MOST: u32 = 200;

#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    /// The number of the last item of the page before.
    #[serde(default)]
    after: u32,
    most: Option<u32>,
}

pub(crate) async fn page(State(app): State<App>, Query(page): Query<Page>) -> Result<Json<Vec<Item>>, Refusal> {
    let most = page.most.unwrap_or(PAGE);
    if !(1..=MOST).contains(&most) {
        return Err(Refusal::Wrong(format!("a page has 1 to {MOST} items, not {most}")));
    }
    let items = app.database.ask(move |connection| database::page(connection, page.after, most)).await?;
    Ok(Json(items))
}

pub(crate) async fn one(State(app): State<App>, Path(id): Path<u32>) -> Result<Json<Item>, Refusal> {
    let item = app.database.ask(move |connection| database::item_of(connection, id)).await?;
    Ok(Json(item))
}
