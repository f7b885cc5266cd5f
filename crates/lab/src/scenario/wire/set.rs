//! Settings by dotted key: applies `--set`, and lists the settings for a recording.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::ScenarioError;
use crate::scenario::{BlockKind, Settings, SinkSettings, Workload};
use pollscope_record::units::setting_duration;

/// A parsed `--set key=value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    text: String,
    key: String,
    value: Value,
}

impl Override {
    /// Reads `key=value`. The value is TOML if it is a TOML value, and a string otherwise.
    ///
    /// # Errors
    /// When there is no `=`, or no key before it. Only [`super::parse`] checks that the key exists.
    ///
    /// ```
    /// use pollscope_lab::scenario::wire::Override;
    /// assert_eq!(Override::parse("merge.inputs=7")?.key(), "merge.inputs");
    /// assert!(Override::parse("slow_poll=10ms").is_ok(), "strings need no quotes");
    /// assert!(Override::parse("merge.inputs").is_err());
    /// # Ok::<(), pollscope_lab::scenario::wire::ScenarioError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Override, ScenarioError> {
        let error = |reason| ScenarioError::BadOverride { text: text.to_owned(), reason };
        let (key, value) = text.split_once('=').ok_or_else(|| error("it has no `=`"))?;
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty() {
            return Err(error("it has no key before the `=`"));
        }
        let digits = value.strip_prefix(['-', '+']).unwrap_or(value).replace('_', "");
        if digits.parse::<i64>().is_err() && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(error("its number is greater than 2⁶³ - 1, and no setting is"));
        }
        let value = value.parse().unwrap_or_else(|_| Value::String(value.to_owned()));
        Ok(Override { text: text.to_owned(), key: key.to_owned(), value })
    }

    /// The dotted key that it sets.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What was typed.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it sets `key`, a section around it, or a key in it.
    pub(super) fn concerns(&self, key: &str) -> bool {
        let within = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
        self.key == key || within(key, &self.key) || within(&self.key, key)
    }

    fn chooses(&self, key: &str, choice: &str) -> bool {
        self.key == key && self.value.as_str() == Some(choice)
    }

    /// Its key, and the keys within its value.
    pub(super) fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        let mut open = vec![(self.key.split('.').map(str::to_owned).collect::<Vec<_>>(), &self.value)];
        while let Some((path, value)) = open.pop() {
            for (key, value) in value.as_table().into_iter().flatten() {
                open.push((path.iter().cloned().chain([key.clone()]).collect(), value));
            }
            paths.push(path);
        }
        paths
    }

    /// Puts the value into the table; `None` if a part of the key is a value and not a table.
    pub(super) fn apply(&self, table: &mut Table) -> Option<()> {
        let (path, last) = match self.key.rsplit_once('.') {
            Some((path, last)) => (Some(path), last),
            None => (None, self.key.as_str()),
        };
        let mut table = table;
        for part in path.into_iter().flat_map(|path| path.split('.')) {
            table = table.entry(part).or_insert_with(|| Value::Table(Table::new())).as_table_mut()?;
        }
        table.insert(last.to_owned(), self.value.clone());
        Some(())
    }
}

/// Removes what the file says about a choice that an override replaces, such as a FIFO's pause if the sink becomes a file.
/// Otherwise one `--set` would need others to undo the file.
pub(super) fn forget_replaced(table: &mut Table, overrides: &[Override]) {
    const REPLACED: [(&str, &str, &[&str]); 3] = [
        ("merge.sink.kind", "file", &["merge.sink.pause", "merge.sink.every"]),
        ("merge.sink.kind", "fifo", &["merge.sink.sync_every"]),
        ("runtime.flavor", "current_thread", &["runtime.workers"]),
    ];
    for (key, choice, forgotten) in REPLACED {
        if overrides.iter().any(|set| set.chooses(key, choice)) {
            forgotten.iter().for_each(|key| remove(table, key));
        }
    }
}

fn remove(table: &mut Table, key: &str) {
    match key.split_once('.') {
        Some((first, rest)) => {
            if let Some(table) = table.get_mut(first).and_then(Value::as_table_mut) {
                remove(table, rest);
            }
        }
        None => {
            table.remove(key);
        }
    }
}

/// Every setting in use, by its key in the file. `--set key=value` with every entry gives the same settings.
///
/// ```
/// use pollscope_lab::scenario::{builtin, wire};
/// let (name, text) = builtin::find("merge")?;
/// let settings = wire::settings_map(&wire::parse(&name, &text, &[])?.settings);
/// assert_eq!(settings["merge.poll_interval"], "100ms");
/// assert_eq!(settings["modes"], "naive,offloaded");
/// # Ok::<(), wire::ScenarioError>(())
/// ```
pub fn settings_map(settings: &Settings) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    let mut put = |key: &str, value: String| {
        map.insert(key.to_owned(), value);
    };
    let modes: Vec<&str> = settings.modes.iter().map(|mode| mode.as_str()).collect();
    put("modes", modes.join(","));
    put("rounds", settings.rounds.to_string());
    put("warmup", settings.warmup.to_string());
    put("seed", settings.seed.to_string());
    put("slow_poll", setting_duration(settings.slow_poll));
    put("sample_every", setting_duration(settings.sample_every));
    put("runtime.flavor", settings.runtime.flavor.as_str().to_owned());
    put("runtime.workers", settings.runtime.workers.to_string());
    let off = || "off".to_owned();
    put("witness.lag", settings.witness.lag.map_or_else(off, setting_duration));
    put("witness.response", settings.witness.response.map_or_else(off, |response| setting_duration(response.every)));
    if let Some(response) = settings.witness.response {
        put("witness.connections", response.connections.to_string());
    }
    put_workload(&settings.workload, put);
    map
}

fn put_workload(workload: &Workload, mut put: impl FnMut(&str, String)) {
    match workload {
        Workload::Merge(merge) => {
            put("merge.inputs", merge.inputs.to_string());
            put("merge.lines", merge.lines.to_string());
            put("merge.max_wait", setting_duration(merge.max_wait));
            put("merge.letters", merge.letters.to_string());
            put("merge.poll_interval", setting_duration(merge.poll_interval));
            put("merge.batch", merge.batch.to_string());
            put("merge.close_after", setting_duration(merge.close_after));
            match merge.sink {
                SinkSettings::File { sync_every } => {
                    put("merge.sink.kind", "file".to_owned());
                    put("merge.sink.sync_every", sync_every.to_string());
                }
                SinkSettings::Fifo { pause, every } => {
                    put("merge.sink.kind", "fifo".to_owned());
                    put("merge.sink.pause", setting_duration(pause));
                    put("merge.sink.every", setting_duration(every));
                }
            }
        }
        Workload::Block(block) => {
            put("block.tasks", block.tasks.to_string());
            put("block.duration", setting_duration(block.duration));
            let how = match block.how {
                BlockKind::Sleep => "sleep",
                BlockKind::Spin => "spin",
            };
            put("block.how", how.to_owned());
            put("block.after", setting_duration(block.after));
            put("block.run_for", setting_duration(block.run_for));
        }
        Workload::Files(files) => {
            put("files.inputs", files.inputs.len().to_string());
            put("files.output", files.output.display().to_string());
            put("files.poll_interval", setting_duration(files.poll_interval));
            put("files.batch", files.batch.to_string());
            put("files.follow", files.follow.to_string());
        }
    }
}
