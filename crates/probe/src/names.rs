//! Task names, interned: a poll carries a number, and only a spawn touches the table. A name that is long, as one that holds a
//! request is, enters it cut: so it is bounded in lines, events, metrics and recordings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pollscope_base::escape::cut_name;

/// Names kept; tasks with further ones count as unnamed.
const CAPACITY: usize = 16_384;
/// Their bytes, all together.
const MOST_BYTES: usize = 1 << 20;

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
    bytes: usize,
    refused: u64,
}

impl Names {
    pub(crate) fn intern(&self, name: &str) -> NameId {
        let name = &*cut_name(name);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&id) = table.ids.get(name) {
            return id;
        }
        if table.names.len() == CAPACITY || name.len() > MOST_BYTES - table.bytes {
            table.refused += 1;
            return UNNAMED;
        }
        table.bytes += name.len();
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
    use pollscope_base::escape::LONGEST_NAME;

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

    /// As names that hold a request would be.
    #[test]
    fn long_names_are_refused_once_their_bytes_are_too_many() {
        let names = Names::default();
        let long = |n: usize| format!("{n:04}{}", "x".repeat(LONGEST_NAME - 4));
        let most = MOST_BYTES / LONGEST_NAME;
        let kept = (0..most + 12).filter(|n| names.intern(&long(*n)) != UNNAMED).count();
        assert_eq!((kept, names.refused()), (most, 12));
        assert_ne!(names.intern(&long(0)), UNNAMED, "one that is known is not refused");
        assert_eq!((names.intern("a"), names.refused()), (UNNAMED, 13));
    }

    #[test]
    fn a_name_of_64_kib_is_cut_and_says_so() {
        let names = Names::default();
        let long = format!("GET {}", "日".repeat(65_536 / 3));
        let id = names.intern(&long);
        let kept = names.get(id).unwrap();
        assert!(kept.len() <= LONGEST_NAME && kept.starts_with("GET 日") && kept.ends_with("日…"), "{kept}");
        assert_eq!((names.intern(&format!("{long}x")), names.refused()), (id, 0), "they look the same");
    }
}
