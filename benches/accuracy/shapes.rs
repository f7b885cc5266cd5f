//! The futures that a load is behind.

use std::pin::Pin;
use std::time::Duration;

use super::cases::Load;
use super::truth::Truth;

pub(crate) const FILE: &str = file!();

pub(crate) type Boxed = Pin<Box<dyn Future<Output = Truth> + Send>>;

pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// The least number of futures within one another.
    pub(crate) depth: usize,
    pub(crate) of: fn(Load) -> Boxed,
}

#[rustfmt::skip]
pub(crate) const SHAPES: [Shape; 5] = [
    Shape { name: "plain", depth: 5, of: |load| Box::pin(five(load)) },
    Shape { name: "boxed", depth: 4, of: |load| boxed(load, 3) },
    Shape { name: "select!", depth: 3, of: |load| Box::pin(selected(load)) },
    Shape { name: "join!", depth: 3, of: |load| Box::pin(joined(load)) },
    Shape { name: "timeout", depth: 4, of: |load| Box::pin(timed(load)) },
];

async fn leaf(load: Load) -> Truth {
    Truth::of(load)
}

async fn two(load: Load) -> Truth {
    leaf(load).await
}

async fn five(load: Load) -> Truth {
    async {
        let inner = async { two(load).await };
        inner.await
    }
    .await
}

async fn selected(load: Load) -> Truth {
    tokio::select! {
        ran = two(load) => ran,
        ran = std::future::pending() => ran,
    }
}

async fn joined(load: Load) -> Truth {
    tokio::join!(two(load), std::future::ready(())).0
}

async fn timed(load: Load) -> Truth {
    tokio::time::timeout(Duration::from_secs(60), async { two(load).await }).await.expect("a minute is enough")
}

fn boxed(load: Load, depth: u32) -> Boxed {
    match depth {
        0 => Box::pin(leaf(load)),
        _ => Box::pin(async move { boxed(load, depth - 1).await }),
    }
}
