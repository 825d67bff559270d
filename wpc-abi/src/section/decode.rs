//! Reads the records of a section.

use super::{Argument, CONSTANT, Constant, FUNCTION, IMPORT, Import, Items, Section, Signature};
use crate::schema::{MAX_DEPTH, Malformed, Source};
use postcard_schema::schema::owned::OwnedNamedType;

impl Section {
    /// Adds the records of one section.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are not a sequence of records; the records before the error are kept.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut section = Source::new(bytes);
        while !section.is_empty() {
            let kind = section.varint()?;
            let mut body = Source::new(section.bytes()?);
            match kind {
                FUNCTION => self.functions.push(read_function(&mut body)?),
                CONSTANT => self.constants.push(read_constant(&mut body)?),
                IMPORT => self
                    .imports
                    .push(Import { module: body.str()?, signature: read_function(&mut body)? }),
                _ => {}
            }
        }
        Ok(())
    }
}

fn read_function(body: &mut Source<'_>) -> Result<Signature, Malformed> {
    Ok(Signature {
        name: body.str()?,
        arguments: body
            .list(|body| Ok(Argument { name: body.name()?, ty: read_optional_type(body)? }))?,
        result: read_optional_type(body)?,
        // Added later, and omitted by functions without one.
        error: if body.is_empty() { None } else { read_optional_type(body)? },
        items: if body.is_empty() {
            Items::None
        } else {
            read_optional_type(body)?.map_or(Items::Untyped, Items::Of)
        },
    })
}

fn read_constant(body: &mut Source<'_>) -> Result<Constant, Malformed> {
    let name = body.str()?;
    // A record of an older guest ends here.
    let ty = if body.is_empty() { None } else { read_optional_type(body)? };
    Ok(Constant { name, ty })
}

fn read_optional_type(body: &mut Source<'_>) -> Result<Option<OwnedNamedType>, Malformed> {
    match body.byte()? {
        0 => Ok(None),
        1 => body.named_type(MAX_DEPTH).map(Some),
        _ => Err(Malformed::OutOfRange),
    }
}
