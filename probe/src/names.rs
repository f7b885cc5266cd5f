//! Task names, interned: a poll carries a number, and only a spawn touches the table.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Names kept; tasks with further ones count as unnamed.
const CAPACITY: usize = 16_384;

/// A name's number; 0 is no name.
pub(crate) type NameId = u32;

/// No name.
pub(crate) const UNNAMED: NameId = 0;

#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    ids: HashMap<Arc<str>, NameId>,
    names: Vec<Arc<str>>,
    refused: u64,
}

impl Names {
    pub(crate) fn intern(&self, name: &str) -> NameId {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&id) = table.ids.get(name) {
            return id;
        }
        if table.names.len() == CAPACITY {
            table.refused += 1;
            return UNNAMED;
        }
        let name: Arc<str> = name.into();
        table.names.push(Arc::clone(&name));
        let id = table.names.len() as NameId;
        table.ids.insert(name, id);
        id
    }

    pub(crate) fn get(&self, id: NameId) -> Option<Arc<str>> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (id as usize).checked_sub(1).and_then(|index| table.names.get(index).cloned())
    }

    /// Named spawns that found the table full.
    pub(crate) fn refused(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_counts_what_it_refuses() {
        let names = Names::default();
        for i in 0..CAPACITY + 3 {
            names.intern(&format!("task {i}"));
        }
        assert_eq!(names.refused(), 3);
        assert_eq!(names.get(names.intern("task 7")).as_deref(), Some("task 7"));
        assert_eq!(names.get(UNNAMED), None);
    }
}
