//! Revisions that restore an earlier one, or one item of it.

use super::Registry;
use super::revision::Revision;
use crate::error::Error;
use std::path::PathBuf;
use wpc_deploy::document::with_earlier;
use wpc_deploy::{Item, Kind, Problem, Source};

/// What to roll back.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Rollback {
    /// The revision to return to; `None` for the one that was active before.
    pub to: Option<u64>,
    /// The function to roll back; `None` for everything. The item of the manifest that defines it is taken from the earlier revision.
    pub function: Option<String>,
    /// Why, for the history; `None` for a text that states what was rolled back.
    pub note: Option<String>,
}

impl Rollback {
    /// Everything, to the revision that was active before.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Registry {
    /// Registers a revision that restores an earlier one. Nothing is activated.
    ///
    /// # Errors
    ///
    /// [`Error::NothingBefore`] if no revision was active before; [`Error::UnknownRevision`]; [`Error::Problems`] if neither revision
    /// has the function; otherwise [`Error::Registry`] or [`Error::Denied`].
    pub async fn roll_back(&self, rollback: &Rollback, author: &str) -> Result<Revision, Error> {
        let active = self.active().await?.ok_or(Error::NothingBefore)?;
        let to = rollback.to.or(active.previous).ok_or(Error::NothingBefore)?;
        let mut text = self.document(&self.revision(to).await?).await?;
        let mut note = format!("rolled back to revision {to}");
        if let Some(function) = &rollback.function {
            let current = self.document(&self.revision(active.revision).await?).await?;
            let (current, earlier) = (source(current), source(text));
            let functions = self.index(active.index).await?.functions;
            let found = functions.into_iter().find(|it| it.information.name == *function);
            let item = found.map(|found| found.item);
            let item = item.unwrap_or_else(|| Item::new(Kind::Function, function));
            let problems = |problem: Problem| Error::Problems(vec![problem]);
            text = with_earlier(&current, &earlier, &item).map_err(problems)?;
            note = format!("{item} rolled back to revision {to}");
        }
        let note = rollback.note.as_deref().unwrap_or(&note);
        self.register(&text, author, Some(note)).await
    }
}

fn source(text: String) -> Source {
    Source::new(PathBuf::from(wpc_deploy::MANIFEST_NAME), text)
}
