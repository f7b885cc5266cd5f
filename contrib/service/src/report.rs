//! `GET /report`: what was sold of late. It computes on the loop, for some 50 µs: short enough.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::app::App;
use crate::database;
use crate::errors::Refusal;

/// Sales that are looked at.
const SALES: u32 = 500;
/// Bars of the histogram; the last holds all that is more.
const BARS: usize = 16;
const CENTS_A_BAR: u64 = 5_000;

#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    sales: usize,
    /// Cents; `None` where nothing was sold.
    median: Option<u64>,
    mean: Option<f64>,
    deviation: Option<f64>,
    bars: [u64; BARS],
}

pub(crate) async fn report(State(app): State<App>) -> Result<Json<Report>, Refusal> {
    let sales = app.database.ask(|connection| database::last_sales(connection, SALES)).await?;
    Ok(Json(Report::of(sales)))
}

impl Report {
    fn of(mut sales: Vec<u64>) -> Report {
        sales.sort_unstable();
        let n = sales.len() as f64;
        let mean = (n > 0.0).then(|| sales.iter().sum::<u64>() as f64 / n);
        let squares = |mean: f64| sales.iter().map(|cents| (*cents as f64 - mean).powi(2)).sum::<f64>();
        let mut bars = [0; BARS];
        for cents in &sales {
            bars[usize::try_from(cents / CENTS_A_BAR).map_or(BARS - 1, |bar| bar.min(BARS - 1))] += 1;
        }
        Report {
            sales: sales.len(),
            median: sales.get(sales.len() / 2).copied(),
            mean,
            deviation: mean.map(|mean| (squares(mean) / n).sqrt()),
            bars,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_nothing_has_no_mean() {
        let nothing = Report::of(Vec::new());
        assert_eq!((nothing.sales, nothing.median, nothing.mean, nothing.deviation), (0, None, None, None));
        let some = Report::of(vec![30_000, 10_000, 1_000_000]);
        assert_eq!((some.median, some.bars[2], some.bars[6], some.bars[15]), (Some(30_000), 1, 1, 1));
    }
}
