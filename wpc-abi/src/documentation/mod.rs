//! Documentation of functions and types: the doc comments of a guest's source, in a custom section of its own.
//!
//! The section is a sequence of records like the section `wpc`, see [`section`](crate::section). It is separate so that
//! types are compared without it, hosts that do not know it ignore it, and tools can strip it. It has no effect on
//! definitions and calls: a section that is malformed, or that exceeds a limit of this module, is ignored as a whole.

mod comments;
mod encode;

use crate::schema::{Malformed, Source};
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::string::String;

pub use comments::{Comments, FunctionComments};
pub use encode::{custom_section, function_record, type_record};

/// The custom section's name.
pub const SECTION: &str = "wpc.docs";

/// The maximum size of all sections of this name in a module, in bytes.
pub const MAX_SECTION: usize = 1 << 20;

/// The maximum size of one text, in bytes. The SDK leaves out the lines of a doc comment that exceed it.
pub const MAX_TEXT: usize = 4_096;

/// The maximum number of documented items in a module: functions, types, fields and variants.
pub const MAX_ITEMS: usize = 10_000;

const FUNCTION: usize = 1;
const TYPE: usize = 2;

/// The content of the section. The texts are those of the author; they may contain Markdown and any character.
///
/// ```
/// use wpc_abi::documentation::{Documentation, function_record, type_record};
///
/// let mut documentation = Documentation::default();
/// documentation.read(&function_record("area", "Computes the area."));
/// documentation.read(&type_record("Shape", "Circle.radius", "In metres."));
/// assert_eq!(documentation.functions["area"], "Computes the area.");
/// assert_eq!(documentation.types["Shape"].items["Circle.radius"], "In metres.");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Documentation {
    /// The texts of functions by name.
    pub functions: BTreeMap<String, String>,
    /// The texts of structures and enums by name.
    pub types: BTreeMap<String, TypeDocumentation>,
    progress: Progress,
}

/// The documentation of a structure or an enum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypeDocumentation {
    /// The text of the type itself.
    pub text: Option<String>,
    /// The texts of its fields and variants by name; a field of a variant is `Variant.field`.
    pub items: BTreeMap<String, String>,
}

/// How many records have been read, to enforce the limits of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// All sections so far were read.
    Read {
        /// Their length in bytes.
        bytes: usize,
        /// The number of items that they document.
        items: usize,
    },
    /// A section was malformed, or the sections exceeded a limit.
    Ignored,
}

impl Default for Progress {
    fn default() -> Self {
        Self::Read { bytes: 0, items: 0 }
    }
}

impl Documentation {
    /// Adds the records of one section. If several records document one item, the first one counts. Texts lose white space
    /// at both ends.
    ///
    /// If the bytes are malformed, or exceed a limit together with those before them, all sections of the module are
    /// ignored: the documentation is empty and remains so.
    pub fn read(&mut self, bytes: &[u8]) {
        let Progress::Read { bytes: before, items } = self.progress else { return };
        match self.read_records(before, bytes, items) {
            Ok(progress) => self.progress = progress,
            Err(_) => *self = Self { progress: Progress::Ignored, ..Self::default() },
        }
    }

    fn read_records(
        &mut self,
        before: usize,
        bytes: &[u8],
        mut items: usize,
    ) -> Result<Progress, Malformed> {
        let total = before.saturating_add(bytes.len());
        if total > MAX_SECTION {
            return Err(Malformed::OutOfRange);
        }
        let mut section = Source::new(bytes);
        while !section.is_empty() {
            let kind = section.varint()?;
            let mut body = Source::new(section.bytes()?);
            let is_new = match kind {
                FUNCTION => {
                    let entry = self.functions.entry(body.str()?);
                    let text = read_text(&mut body)?;
                    insert(entry, text)
                }
                TYPE => {
                    let of = self.types.entry(body.str()?).or_default();
                    let item = body.str()?;
                    let text = read_text(&mut body)?;
                    if item.is_empty() {
                        let is_first = of.text.is_none();
                        of.text.get_or_insert(text);
                        is_first
                    } else {
                        insert(of.items.entry(item), text)
                    }
                }
                // Added by a later version.
                _ => false,
            };
            items += usize::from(is_new);
            if items > MAX_ITEMS {
                return Err(Malformed::OutOfRange);
            }
        }
        Ok(Progress::Read { bytes: total, items })
    }
}

/// Inserts the text, and returns whether it is the first one of its item.
fn insert(entry: Entry<'_, String, String>, text: String) -> bool {
    match entry {
        Entry::Vacant(vacant) => {
            vacant.insert(text);
            true
        }
        Entry::Occupied(_) => false,
    }
}

fn read_text(body: &mut Source<'_>) -> Result<String, Malformed> {
    let text = core::str::from_utf8(body.bytes()?).map_err(|_| Malformed::NotUtf8)?;
    if text.len() > MAX_TEXT {
        return Err(Malformed::OutOfRange);
    }
    Ok(text.trim().into())
}

#[cfg(test)]
mod tests;
