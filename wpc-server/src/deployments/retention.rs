//! How many revisions are kept, and which modules.
//!
//! The transaction that adds a revision removes the oldest ones. Modules are removed afterwards: those that no revision names any
//! more and that were not uploaded or named by a request for [`UNUSED`]. A process that ends meanwhile leaves some of them, which
//! the next removal finds.

use super::{Deployments, Refusal, source};
use crate::modules::ModuleError;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use wpc_deploy::document::{module_name, named_content};
use wpc_host::Sha256Hash;

/// How long a module is kept that no revision names: longer than the time from its upload to the revision that needs it.
const UNUSED: Duration = Duration::from_secs(3600);

/// When modules were last removed. A removal reads every manifest, so it is done at most once per [`UNUSED`].
#[derive(Debug, Default)]
pub(super) struct Removal(Mutex<Option<Instant>>);

impl Removal {
    /// Returns whether a removal is due, and if so records that it was started.
    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.duration_since(last) >= UNUSED);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

impl Deployments {
    /// Sets how many revisions are kept, by default 100, and removes those beyond it. The active one and the one that was active
    /// before it are always kept. Also removes modules that no revision needs. Blocks until that is on disk.
    ///
    /// # Errors
    ///
    /// [`Refusal::Store`] or [`Refusal::Disk`].
    pub fn keep_revisions(&self, count: NonZeroUsize) -> Result<(), Refusal> {
        let removed = self.revisions().keep(count)?;
        if removed > 0 {
            tracing::info!(removed, "removed old revisions");
        }
        self.remove_unused_modules()
    }

    /// Removes what a change made superfluous, from time to time. A failure does not affect the change.
    pub(super) fn tidy(&self) {
        if self.0.removal.is_due(Instant::now())
            && let Err(error) = self.remove_unused_modules()
        {
            tracing::warn!(%error, "failed to remove unused modules");
        }
    }

    fn remove_unused_modules(&self) -> Result<(), Refusal> {
        let mut needed = HashSet::new();
        self.revisions().visit_texts(|text| {
            needed.extend(hashes_in(text));
            // A name may be written with escapes. A manifest of a later version is not parsed.
            let manifest = source(self.modules(), text.to_owned()).parse();
            let files = manifest.map(|manifest| manifest.files()).unwrap_or_default();
            needed.extend(files.iter().filter_map(|file| named_content(file)));
        })?;
        let removed = self.modules().remove_unused(&needed, UNUSED);
        let removed = removed.map_err(|error| match error {
            ModuleError::Store(error) => Refusal::Store(error),
            ModuleError::Disk(error) => Refusal::Disk(error),
            error => Refusal::Disk(std::io::Error::other(error)),
        })?;
        if removed > 0 {
            tracing::info!(removed, "removed modules that no revision needs");
        }
        Ok(())
    }
}

/// The hashes that a text contains as names of modules.
fn hashes_in(text: &str) -> impl Iterator<Item = Sha256Hash> {
    text.match_indices(".wasm").filter_map(|(end, _)| {
        let hash: Sha256Hash = text.get(end.checked_sub(64)?..end)?.parse().ok()?;
        text[..end + ".wasm".len()].ends_with(&module_name(hash)).then_some(hash)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_modules_are_found_wherever_they_are() {
        let hash = Sha256Hash::of(b"a module");
        let name = module_name(hash);
        for text in [name.clone(), format!("# {name}"), format!("ü{name}.wasm"), format!("0{name}")]
        {
            assert_eq!(hashes_in(&text).collect::<Vec<_>>(), [hash], "{text}");
        }
        for text in [".wasm", "é.wasm", &name[1..], &name.to_uppercase()] {
            assert_eq!(hashes_in(text).count(), 0, "{text}");
        }
    }

    #[test]
    fn modules_are_removed_at_most_once_in_the_time_for_which_they_are_kept() {
        let (removal, now) = (Removal::default(), Instant::now());
        assert!(removal.is_due(now));
        assert!(!removal.is_due(now + UNUSED / 2));
        assert!(removal.is_due(now + UNUSED));
    }
}
