//! `POST /orders`: takes items from the stock, writes the order into the journal, and tells the streams.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::database::{self, Taken};
use crate::errors::Refusal;

#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    item: u32,
    count: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Sold {
    /// Of the order.
    number: u64,
    cents: u64,
}

pub(crate) async fn order(State(app): State<App>, Json(order): Json<Order>) -> Result<Json<Sold>, Refusal> {
    if order.count == 0 {
        return Err(Refusal::Wrong("an order is of one item at least".to_owned()));
    }
    let Order { item, count } = order;
    let cents = match app.database.ask(move |connection| database::sell(connection, item, count)).await? {
        Taken::Sold { cents } => cents,
        Taken::TooFew { left } => return Err(Refusal::SoldOut { left }),
        Taken::Unknown => return Err(Refusal::Missing(format!("item {item}"))),
    };
    let number = app.next_order();
    app.journal.append(number, format!("order {number}: {count} of item {item} for {cents}\n")).await?;
    app.ticks.tell(format!("order {number}"));
    Ok(Json(Sold { number, cents }))
}
