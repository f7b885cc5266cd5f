//! What handlers share, and which path leads to which.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::database::Database;
use crate::journal::Journal;
use crate::options::Options;
use crate::ticks::Ticks;
use crate::{items, orders, report, ticks, uploads};

/// Bytes of an upload, at most.
const LARGEST: usize = 1 << 20;

/// What handlers share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) database: Database,
    pub(crate) journal: Journal,
    pub(crate) ticks: Ticks,
    pub(crate) uploads: PathBuf,
    orders: Arc<AtomicU64>,
    parts: Arc<AtomicU64>,
    /// For as long as somebody has it.
    _folder: Arc<Folder>,
}

impl App {
    pub(crate) fn open(options: &Options) -> io::Result<App> {
        let folder = Folder::of(options.data.as_deref())?;
        let uploads = folder.path.join("uploads");
        std::fs::create_dir_all(&uploads)?;
        Ok(App {
            database: Database::open(&folder.path.join("shop.sqlite"), options.items)?,
            journal: Journal::open(&folder.path.join("journal"), options.fault)?,
            ticks: Ticks::new(),
            uploads,
            orders: Arc::default(),
            parts: Arc::default(),
            _folder: Arc::new(folder),
        })
    }

    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/items", get(items::page))
            .route("/items/{id}", get(items::one))
            .route("/orders", post(orders::order))
            .route("/uploads/{name}", get(uploads::get).put(uploads::put))
            .route("/report", get(report::report))
            .route("/ticks", get(ticks::stream))
            .layer(DefaultBodyLimit::max(LARGEST))
            .with_state(self.clone())
    }

    /// The number of a new order, from 1.
    pub(crate) fn next_order(&self) -> u64 {
        self.orders.fetch_add(1, Relaxed) + 1
    }

    /// Orders so far.
    pub(crate) fn orders(&self) -> u64 {
        self.orders.load(Relaxed)
    }

    /// A number that no other upload has.
    pub(crate) fn next_upload(&self) -> u64 {
        self.parts.fetch_add(1, Relaxed)
    }
}

/// Where the data is.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    is_temporary: bool,
}

impl Folder {
    fn of(named: Option<&Path>) -> io::Result<Folder> {
        let own = || std::env::temp_dir().join(format!("pollscope-service-{}", std::process::id()));
        let folder = Folder { path: named.map_or_else(own, Path::to_owned), is_temporary: named.is_none() };
        std::fs::create_dir_all(&folder.path)?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary {
            // Nobody is left to be told.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
