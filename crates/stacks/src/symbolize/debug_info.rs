//! How much a file can tell about its code, and what to change to learn more.

use std::fmt;

use gimli::Reader;
use pollscope_base::unreadable_help;

/// What the code of a module can be named from, best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DebugInfo {
    /// Full names and lines: `debug = 1` or more.
    Full,
    /// Lines, and bare names for inlined functions: `debug = "line-tables-only"`.
    LineTables,
    /// Function names without lines: `debug = 0`.
    Symbols,
    /// Only what a library exports has a name.
    Stripped,
    /// The file could not be read, or is not the one that is running: why.
    Unreadable(String),
}

impl DebugInfo {
    /// What would make more of the code known: a setting of the profile in `Cargo.toml` that the program was built with.
    ///
    /// ```
    /// use pollscope_stacks::symbolize::DebugInfo;
    /// assert!(DebugInfo::Symbols.advice().unwrap().contains(r#"debug = "line-tables-only""#));
    /// assert_eq!(DebugInfo::Full.advice(), None);
    /// ```
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            DebugInfo::Full => None,
            DebugInfo::LineTables => {
                Some("for full names of inlined functions, set `debug = 1` in the build's profile")
            }
            DebugInfo::Symbols => {
                Some(r#"for files and lines, set `debug = "line-tables-only"` in the build's profile"#)
            }
            DebugInfo::Stripped => Some(
                r#"for names, files and lines, set `debug = "line-tables-only"` and no `strip` in the build's profile, or give an unstripped copy of the same build"#,
            ),
            DebugInfo::Unreadable(why) => Some(unreadable_help(why)),
        }
    }
}

impl fmt::Display for DebugInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DebugInfo::Full => f.write_str("full debug information"),
            DebugInfo::LineTables => f.write_str("line tables only"),
            DebugInfo::Symbols => f.write_str("symbols only, no lines"),
            DebugInfo::Stripped => f.write_str("stripped"),
            DebugInfo::Unreadable(why) => write!(f, "unreadable: {why}"),
        }
    }
}

/// Whether a program's own crate has full debug information or line tables, `None` if neither. The linker is given its
/// objects before those of its dependencies. The units of the precompiled standard library, which every program has, do
/// not count.
pub(super) fn of_units<R: Reader>(dwarf: &gimli::Dwarf<R>) -> gimli::Result<Option<DebugInfo>> {
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        let unit = unit.unit_ref(dwarf);
        if is_standard_library(&unit)? {
            continue;
        }
        if let Some(found) = detail(&unit)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn is_standard_library<R: Reader>(unit: &gimli::UnitRef<'_, R>) -> gimli::Result<bool> {
    let text = |text: &Option<R>| text.as_ref().map(|text| text.to_string_lossy().map(|text| text.into_owned()));
    let folder = text(&unit.comp_dir).transpose()?.unwrap_or_default();
    let name = text(&unit.name).transpose()?.unwrap_or_default();
    Ok([folder, name].iter().any(|path| path.starts_with("/rustc/") || path.starts_with("/rust/deps/")))
}

/// With line tables only, functions stand right below their unit; else namespaces (or, in C, types) do as well.
fn detail<R: Reader>(unit: &gimli::UnitRef<'_, R>) -> gimli::Result<Option<DebugInfo>> {
    let mut entries = unit.entries_raw(None)?;
    let mut found = None;
    for _ in 0..ENTRIES {
        if entries.is_empty() {
            break;
        }
        let depth = entries.next_depth();
        let Some(abbreviation) = entries.read_abbreviation()? else { continue };
        match abbreviation.tag() {
            gimli::DW_TAG_namespace | gimli::DW_TAG_base_type | gimli::DW_TAG_structure_type if depth == 1 => {
                return Ok(Some(DebugInfo::Full));
            }
            gimli::DW_TAG_subprogram if depth == 1 => found = Some(DebugInfo::LineTables),
            _ => {}
        }
        entries.skip_attributes(abbreviation.attributes())?;
    }
    Ok(found)
}

/// So many entries of a unit tell: what is not among the first of them is not there.
const ENTRIES: usize = 64;
