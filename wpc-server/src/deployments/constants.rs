//! Changes to single constants: each creates a revision.

use super::{Change, Deployments, Refusal, source, text_of};
use crate::revisions::{New, Target};
use wpc_deploy::{ConstantEntry, with_constant};

/// A constant to set, or to remove if it has no entry.
#[derive(Debug)]
pub(crate) struct ConstantChange<'a> {
    pub(crate) author: &'a str,
    pub(crate) name: &'a str,
    pub(crate) entry: Option<&'a ConstantEntry>,
    /// The revision that must be active.
    pub(crate) expected: Option<u64>,
    pub(crate) note: Option<&'a str>,
}

/// Constants by name, in the order of their names.
pub(crate) type Constants = Vec<(String, ConstantEntry)>;

impl Deployments {
    /// The active revision, and its constants.
    pub(crate) fn constants(&self) -> Result<(Option<u64>, Constants), Refusal> {
        let Some(active) = self.state().active else { return Ok((None, Vec::new())) };
        let source = source(self.modules(), text_of(self.revisions(), active)?);
        Ok((Some(active), ConstantEntry::all(&source)))
    }

    /// Registers the active revision with another constant, and activates it. A secret is read again, even if its reference is
    /// the same.
    pub(crate) fn change_constant(&self, change: &ConstantChange<'_>) -> Result<Change, Refusal> {
        let ConstantChange { author, name, entry, expected, note } = *change;
        let mut running = self.running();
        self.reconcile(&mut running)?;
        let active = running.active;
        if active != expected {
            return Err(Refusal::Conflict { active });
        }
        let text = match active {
            Some(number) => text_of(self.revisions(), number)?,
            None => String::new(),
        };
        let current = source(self.modules(), text);
        let is_defined = || ConstantEntry::all(&current).iter().any(|(found, _)| found == name);
        if entry.is_none() && !is_defined() {
            return Err(Refusal::NoConstant(name.to_owned()));
        }
        let text = with_constant(&current, name, entry).map_err(|problem| vec![problem])?;
        let done = if entry.is_some() { "set" } else { "removed" };
        let default = format!("constant \"{name}\" {done}");
        let note = Some(note.unwrap_or(&default));
        let target = Target::New(New { parent: active, author, note, origin: None }, &text);
        self.change(&mut running, author, &text, expected, target)
    }
}
