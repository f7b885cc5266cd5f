//! The shop's items in SQLite. Every question is asked on a thread of the blocking pool.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use crate::errors::Refusal;

/// A connection that tasks share.
#[derive(Debug, Clone)]
pub(crate) struct Database(Arc<Mutex<Connection>>);

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Item {
    pub(crate) id: u32,
    pub(crate) name: String,
    /// In cents.
    pub(crate) price: u32,
    pub(crate) stock: u32,
}

/// How an order went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Taken from the stock, for so many cents.
    Sold { cents: u64 },
    /// There are fewer.
    TooFew { left: u32 },
    /// There is no such item.
    Unknown,
}

impl Database {
    /// Opens the file, and fills it with `items` if it is new.
    pub(crate) fn open(path: &Path, items: u32) -> io::Result<Database> {
        let connection = Connection::open(path).map_err(io::Error::other)?;
        fill(&connection, items).map_err(io::Error::other)?;
        Ok(Database(Arc::new(Mutex::new(connection))))
    }

    /// Asks the database, off the loop.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let connection = Arc::clone(&self.0);
        let answer = tokio::task::spawn_blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            question(&connection)
        });
        Ok(answer.await??)
    }
}

fn fill(connection: &Connection, items: u32) -> rusqlite::Result<()> {
    // What a shop loses when the power fails is not what is tried here.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
         CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL, stock INTEGER NOT NULL);
         CREATE TABLE IF NOT EXISTS sales (id INTEGER PRIMARY KEY, item INTEGER NOT NULL, count INTEGER NOT NULL, cents INTEGER NOT NULL);",
    )?;
    let known: u32 = connection.query_row("SELECT count(*) FROM items", [], |row| row.get(0))?;
    connection.execute_batch("BEGIN")?;
    let mut insert = connection.prepare("INSERT INTO items (id, name, price, stock) VALUES (?1, ?2, ?3, ?4)")?;
    for id in known + 1..=items {
        insert.execute(params![id, format!("item {id:05}"), 100 + id * 7_919 % 9_900, 1_000_000])?;
    }
    connection.execute_batch("COMMIT")
}

fn item(row: &rusqlite::Row) -> rusqlite::Result<Item> {
    Ok(Item { id: row.get(0)?, name: row.get(1)?, price: row.get(2)?, stock: row.get(3)? })
}

/// The item of that number.
pub(crate) fn item_of(connection: &Connection, id: u32) -> rusqlite::Result<Item> {
    let mut asked = connection.prepare_cached("SELECT id, name, price, stock FROM items WHERE id = ?1")?;
    asked.query_row([id], item)
}

/// A page of items, in the order of their numbers.
pub(crate) fn page(connection: &Connection, after: u32, most: u32) -> rusqlite::Result<Vec<Item>> {
    let mut asked =
        connection.prepare_cached("SELECT id, name, price, stock FROM items WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    asked.query_map([after, most], item)?.collect()
}

/// Sells `count` of an item, if there are so many.
pub(crate) fn sell(connection: &Connection, id: u32, count: u32) -> rusqlite::Result<Taken> {
    let Some(found) = item_of(connection, id).optional()? else { return Ok(Taken::Unknown) };
    if found.stock < count {
        return Ok(Taken::TooFew { left: found.stock });
    }
    let cents = u64::from(found.price) * u64::from(count);
    let mut update = connection.prepare_cached("UPDATE items SET stock = stock - ?2 WHERE id = ?1")?;
    update.execute([id, count])?;
    let mut insert = connection.prepare_cached("INSERT INTO sales (item, count, cents) VALUES (?1, ?2, ?3)")?;
    insert.execute(params![id, count, cents])?;
    Ok(Taken::Sold { cents })
}

/// The cents of the last sales, the newest first.
pub(crate) fn last_sales(connection: &Connection, most: u32) -> rusqlite::Result<Vec<u64>> {
    let mut asked = connection.prepare_cached("SELECT cents FROM sales ORDER BY id DESC LIMIT ?1")?;
    asked.query_map([most], |row| row.get(0))?.collect()
}

/// Forgets all but the last sales; how many it forgot.
pub(crate) fn forget_sales(connection: &Connection, keep: u32) -> rusqlite::Result<usize> {
    connection.execute("DELETE FROM sales WHERE id <= (SELECT max(id) FROM sales) - ?1", [keep])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sold_is_no_longer_there() {
        let connection = Connection::open_in_memory().expect("memory");
        fill(&connection, 3).expect("a table");
        let before = item_of(&connection, 2).expect("an item");
        let cents = u64::from(before.price) * 5;
        assert_eq!(sell(&connection, 2, 5).expect("it sells"), Taken::Sold { cents });
        assert_eq!(item_of(&connection, 2).expect("an item").stock, before.stock - 5);
        assert_eq!(sell(&connection, 2, u32::MAX).expect("asked"), Taken::TooFew { left: before.stock - 5 });
        assert_eq!(sell(&connection, 4, 1).expect("asked"), Taken::Unknown);
        assert_eq!(last_sales(&connection, 9).expect("sales"), [cents]);
        assert_eq!(page(&connection, 1, 9).expect("items").iter().map(|item| item.id).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(forget_sales(&connection, 0).expect("forgotten"), 1);
    }
}
