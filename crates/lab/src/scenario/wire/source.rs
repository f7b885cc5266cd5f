//! Finds where each value of a scenario comes from: the text, an override, or a default.

use std::ops::Range;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table};

use super::check::{Fault, FaultCause};
use super::error::{ScenarioError, TextPlace, ValuePlace};
use super::set::{Override, forget_replaced};
use super::what::What;
use super::{KEYS, ScenarioFile};
use pollscope_record::snippet::{Snippet, nearest};

/// A scenario's text, and the overrides of it.
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    pub(super) overrides: &'a [Override],
}

impl Source<'_> {
    /// Reads the file with the overrides applied. Checks types, but no bounds.
    pub(super) fn read(&self) -> Result<ScenarioFile, ScenarioError> {
        self.check_keys()?;
        // Checks the text before it applies overrides: only now do errors have lines.
        let mut file = toml::from_str(self.text).map_err(|error| self.wrong_type(&error))?;
        if self.overrides.is_empty() {
            return Ok(file);
        }
        let mut table: Table = toml::from_str(self.text).map_err(|error| self.wrong_type(&error))?;
        forget_replaced(&mut table, self.overrides);
        for set in self.overrides {
            file = apply(&mut table, set)?;
        }
        Ok(file)
    }

    /// Makes an error of a fault, with its place.
    pub(super) fn explain(&self, fault: Fault) -> ScenarioError {
        let Fault { key, others, cause } = fault;
        let item = if let FaultCause::Gate(item, _) = &cause { Some(*item) } else { None };
        let place = std::iter::once(key).chain(others.iter().copied()).find_map(|key| self.place_of(key, item));
        let place = place.unwrap_or_else(|| ValuePlace::Scenario(self.name.to_owned()));
        match cause {
            FaultCause::Value { reason, help } => ScenarioError::Value { place, key: key.to_owned(), reason, help },
            FaultCause::Gate(_, error) => ScenarioError::Gate { place, error },
        }
    }

    fn check_keys(&self) -> Result<(), ScenarioError> {
        let table = DeTable::parse(self.text).map_err(|error| ScenarioError::Syntax {
            place: self.text_place(error.span().unwrap_or(0..0)),
            reason: error.message().to_owned(),
            help: self.instead(),
        })?;
        let unknown = entries(table.get_ref()).into_iter().filter(|entry| !is_known(&entry.path));
        match unknown.min_by_key(|entry| entry.key.start) {
            None => Ok(()),
            Some(KeyEntry { path, key, .. }) => {
                let nearest = suggest(&path).map(|(nearest, sibling)| if sibling { last(nearest) } else { nearest });
                let known = known_beside(&path);
                Err(ScenarioError::UnknownKey { place: self.text_place(key), key: path.join("."), nearest, known })
            }
        }
    }

    fn wrong_type(&self, error: &toml::de::Error) -> ScenarioError {
        let span = error.span().unwrap_or(0..0);
        let holds = |entry: &KeyEntry| entry.value.start <= span.start && span.end <= entry.value.end;
        let key = self.entries().into_iter().filter(holds).max_by_key(|entry| entry.path.len());
        let place = self.text_place(span.clone());
        match key {
            Some(entry) => {
                ScenarioError::Value { place, key: entry.path.join("."), reason: unusable(error.message()), help: None }
            }
            None => ScenarioError::Syntax { place, reason: error.message().to_owned(), help: self.instead() },
        }
    }

    /// What a text may be that is not TOML, and what to do with it.
    fn instead(&self) -> String {
        match What::of(self.text.as_bytes()) {
            What::Saved => What::Saved.advice(self.name),
            What::Other if !self.name.ends_with(".toml") => What::Other.advice(self.name),
            What::Other => "correct the line; `pollscope help settings` tells what a scenario has".to_owned(),
        }
    }

    fn entries(&self) -> Vec<KeyEntry> {
        DeTable::parse(self.text).map_or_else(|_| Vec::new(), |table| entries(table.get_ref()))
    }

    fn text_place(&self, span: Range<usize>) -> ValuePlace {
        ValuePlace::Text(Box::new(TextPlace { name: self.name.to_owned(), snippet: Snippet::of_line(self.text, span) }))
    }

    /// Where a key gets its value; `None` if it has its default. `item` is an index into a list.
    fn place_of(&self, key: &str, item: Option<usize>) -> Option<ValuePlace> {
        if let Some(set) = self.overrides.iter().rev().find(|set| set.concerns(key)) {
            return Some(ValuePlace::Set(set.text().to_owned()));
        }
        let entry =
            self.entries().into_iter().find(|entry| entry.path.iter().map(String::as_str).eq(key.split('.')))?;
        let span = item.and_then(|item| entry.items.get(item)).unwrap_or(&entry.value);
        Some(self.text_place(span.clone()))
    }
}

fn unusable(message: &str) -> String {
    format!("has no usable value: {}", message.trim_end())
}

/// A key of a text, and where it is.
struct KeyEntry {
    path: Vec<String>,
    key: Range<usize>,
    value: Range<usize>,
    /// The items of a list.
    items: Vec<Range<usize>>,
}

fn entries(table: &DeTable<'_>) -> Vec<KeyEntry> {
    let mut entries = Vec::new();
    let mut open = vec![(Vec::new(), table)];
    while let Some((prefix, table)) = open.pop() {
        for (key, value) in table {
            let path: Vec<String> = prefix.iter().cloned().chain([key.get_ref().to_string()]).collect();
            let items = value.get_ref().as_array().into_iter().flatten().map(Spanned::span).collect();
            entries.push(KeyEntry { path: path.clone(), key: key.span(), value: value.span(), items });
            if let DeValue::Table(table) = value.get_ref() {
                open.push((path, table));
            }
        }
    }
    entries
}

/// Whether the format has this key or section.
fn is_known(path: &[String]) -> bool {
    KEYS.iter().any(|key| {
        let mut parts = key.split('.');
        path.iter().all(|part| parts.next() == Some(part))
    })
}

/// The keys of the section that a path is in, or all of them if there is no such section.
fn known_beside(path: &[String]) -> Vec<&'static str> {
    let section = path.split_last().map_or(&[][..], |(_, section)| section);
    let is_in = |key: &&str| {
        let mut parts = key.split('.');
        section.iter().all(|part| parts.next() == Some(part)) && !section.is_empty()
    };
    let beside: Vec<&str> = KEYS.into_iter().filter(is_in).collect();
    if beside.is_empty() { KEYS.into() } else { beside }
}

/// The nearest key or section, and whether it is in the same section.
fn suggest(path: &[String]) -> Option<(&'static str, bool)> {
    const SECTIONS: [&str; 6] = ["runtime", "merge", "merge.sink", "block", "witness", "expect"];
    let known = || SECTIONS.into_iter().chain(KEYS);
    let (name, parent) = path.split_last()?;
    let parent = parent.join(".");
    let siblings = || known().filter(|key| key.rsplit_once('.').map_or("", |(parent, _)| parent) == parent);
    let named = |name| move |key: &&'static str| last(key) == name;
    if let Some(near) = nearest(name, siblings().map(last)) {
        return siblings().find(named(near)).map(|key| (key, true));
    }
    if let Some(near) = nearest(&path.join("."), known()) {
        return known().find(|key| *key == near).map(|key| (key, false));
    }
    let near = nearest(name, known().map(last))?;
    known().find(named(near)).map(|key| (key, false))
}

fn last(key: &'static str) -> &'static str {
    key.rsplit_once('.').map_or(key, |(_, last)| last)
}

/// Applies one override and reads everything again, so that an error belongs to this override.
fn apply(table: &mut Table, set: &Override) -> Result<ScenarioFile, ScenarioError> {
    let place = || ValuePlace::Set(set.text().to_owned());
    let error = |reason: String| ScenarioError::Value { place: place(), key: set.key().to_owned(), reason, help: None };
    for path in set.paths() {
        if !is_known(&path) {
            let nearest = suggest(&path).map(|(nearest, _)| nearest);
            let known = known_beside(&path);
            return Err(ScenarioError::UnknownKey { place: place(), key: path.join("."), nearest, known });
        }
    }
    set.apply(table).ok_or_else(|| error("is part of something that is no table".to_owned()))?;
    ScenarioFile::deserialize(table.clone()).map_err(|cause| error(unusable(cause.message())))
}
