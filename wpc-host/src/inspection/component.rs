//! Reads the imports and exports of a component.

use crate::inspection::declarations::Declarations;
use crate::inspection::list::shown;
use wasmparser::BinaryReader;

/// The length in bytes of the header of a module or a component.
const HEADER: usize = 8;

impl<'a> Declarations<'a> {
    /// Reads the imports and exports of a component up to the first part that cannot be read. They are decoded here,
    /// because `wasmparser` does so only with a feature that makes it much larger.
    pub(super) fn read_component(&mut self, bytes: &'a [u8]) -> Option<()> {
        const IMPORTS: u8 = 10;
        const EXPORTS: u8 = 11;
        let mut rest = BinaryReader::new(bytes.get(HEADER..)?, HEADER);
        while !rest.eof() {
            let id = rest.read_u8().ok()?;
            let mut section = rest.read_reader().ok()?;
            let (list, is_export) = match id {
                IMPORTS => (&mut self.imports, false),
                EXPORTS => (&mut self.component_exports, true),
                _ => continue,
            };
            for _ in 0..section.read_var_u32().ok()? {
                let (name, what) = component_item(&mut section, is_export)?;
                list.push(|| format!("{}: {what}", shown(name)));
            }
        }
        Some(())
    }
}

/// Reads an import or an export of a component: its name and its kind.
fn component_item<'a>(
    reader: &mut BinaryReader<'a>,
    is_export: bool,
) -> Option<(&'a str, &'static str)> {
    let has_options = reader.read_u8().ok()? == 2;
    let name = reader.read_string().ok()?;
    if has_options {
        for _ in 0..reader.read_var_u32().ok()? {
            reader.read_u8().ok()?;
            reader.skip_string().ok()?;
        }
    }
    if !is_export {
        return Some((name, component_type(reader)?));
    }
    let (_, what) = component_sort(reader)?;
    reader.read_var_u32().ok()?;
    if reader.read_u8().ok()? == 1 {
        component_type(reader)?;
    }
    Some((name, what))
}

/// How the type of a component's item is encoded.
enum Sort {
    Value,
    Type,
    /// As the index of a type.
    Indexed,
}

fn component_sort(reader: &mut BinaryReader<'_>) -> Option<(Sort, &'static str)> {
    Some(match reader.read_u8().ok()? {
        0 => {
            reader.read_u8().ok()?;
            (Sort::Indexed, "a core module")
        }
        1 => (Sort::Indexed, "a function"),
        2 => (Sort::Value, "a value"),
        3 => (Sort::Type, "a type"),
        4 => (Sort::Indexed, "a component"),
        5 => (Sort::Indexed, "an instance"),
        _ => return None,
    })
}

/// Reads the kind of a type, and skips the rest of it.
fn component_type(reader: &mut BinaryReader<'_>) -> Option<&'static str> {
    let (sort, what) = component_sort(reader)?;
    match sort {
        Sort::Value => _ = reader.read_var_s33().ok()?,
        // A resource: nothing follows.
        Sort::Type if reader.read_u8().ok()? == 1 => {}
        Sort::Type | Sort::Indexed => _ = reader.read_var_u32().ok()?,
    }
    Some(what)
}
