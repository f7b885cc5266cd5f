//! The folders that units were compiled in.

use std::sync::Arc;

use gimli::Unit;

use super::module::Bytes;

/// The last one that was found: most units of a program have the same.
#[derive(Debug, Default)]
pub(super) struct Folders(Option<Arc<str>>);

impl Folders {
    /// See [`super::Frame::compiled_in`].
    pub(super) fn of(&mut self, unit: &Unit<Bytes>) -> Option<Arc<str>> {
        let name = unit.name?.to_string_lossy();
        let folder = if name.starts_with('/') { "".into() } else { unit.comp_dir?.to_string_lossy() };
        if self.0.as_deref() != Some(&folder) {
            self.0 = Some(Arc::from(&*folder));
        }
        self.0.clone()
    }
}
