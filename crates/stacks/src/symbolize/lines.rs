//! The lines of a unit: run from where the code of an address begins, each time anew. What that comes to is not kept.

use gimli::{CompleteLineProgram, LineRow, LineSequence, UnitRef};

use super::module::Bytes;

/// The line table of a unit.
pub(super) struct Lines {
    program: Option<CompleteLineProgram<Bytes>>,
    /// Its parts, a function each as a rule, by address.
    sequences: Vec<LineSequence<Bytes>>,
}

/// A place in the source.
#[derive(Default)]
pub(super) struct Location {
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) column: Option<u32>,
}

impl Lines {
    pub(super) fn of(unit: &UnitRef<'_, Bytes>) -> gimli::Result<Lines> {
        let Some(program) = unit.line_program.clone() else {
            return Ok(Lines { program: None, sequences: Vec::new() });
        };
        let (program, mut sequences) = program.sequences()?;
        sequences.retain(|sequence| sequence.start < sequence.end);
        sequences.sort_unstable_by_key(|sequence| sequence.start);
        sequences.shrink_to_fit();
        Ok(Lines { program: Some(program), sequences })
    }

    /// Where its code is.
    pub(super) fn ranges(&self) -> impl Iterator<Item = gimli::Range> {
        self.sequences.iter().map(|sequence| gimli::Range { begin: sequence.start, end: sequence.end })
    }

    /// The place that an address is at.
    pub(super) fn at(&self, unit: &UnitRef<'_, Bytes>, address: u64) -> gimli::Result<Option<Location>> {
        let after = self.sequences.partition_point(|sequence| sequence.start <= address);
        let sequence = self.sequences[..after].last().filter(|sequence| address < sequence.end);
        let (Some(program), Some(sequence)) = (&self.program, sequence) else { return Ok(None) };
        let mut rows = program.resume_from(sequence);
        let mut at: Option<LineRow> = None;
        while let Some((_, row)) = rows.next_row()? {
            if row.end_sequence() || row.address() > address {
                break;
            }
            at = Some(*row);
        }
        let Some(row) = at else { return Ok(None) };
        let column = match row.column() {
            gimli::ColumnType::LeftEdge => 0,
            gimli::ColumnType::Column(column) => column.get(),
        };
        Lines::location(unit, Some(row.file_index()), row.line().map_or(0, |line| line.get()), column).map(Some)
    }

    /// A place by the number of its file; a line or a column of 0 is none, and a column alone says nothing.
    pub(super) fn location(
        unit: &UnitRef<'_, Bytes>,
        file: Option<u64>,
        line: u64,
        column: u64,
    ) -> gimli::Result<Location> {
        let number = |number: u64| u32::try_from(number).ok().filter(|number| *number > 0);
        let file = file.map(|file| path(unit, file)).transpose()?.flatten();
        let line = number(line);
        Ok(Location { file, line, column: line.and_then(|_| number(column)) })
    }
}

/// The path of a file as the compiler named it, absolute where that says against which folder.
pub(super) fn path(unit: &UnitRef<'_, Bytes>, index: u64) -> gimli::Result<Option<String>> {
    let Some(header) = unit.line_program.as_ref().map(gimli::IncompleteLineProgram::header) else { return Ok(None) };
    let Some(file) = header.file(index) else { return Ok(None) };
    let mut path = unit.comp_dir.map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
    // Folder 0 is that of the unit.
    if let Some(folder) = file.directory(header).filter(|_| file.directory_index() != 0) {
        push(&mut path, &unit.attr_string(folder)?.to_string_lossy());
    }
    push(&mut path, &unit.attr_string(file.path_name())?.to_string_lossy());
    Ok(Some(path))
}

fn push(path: &mut String, part: &str) {
    if part.starts_with('/') {
        path.clear();
    } else if !path.is_empty() && !path.ends_with('/') {
        path.push('/');
    }
    path.push_str(part);
}
