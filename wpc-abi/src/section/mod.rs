//! The custom section in which a module declares its functions, constants and imports. It is read without running the
//! module.
//!
//! The section is a sequence of records. A record is its kind (a varint), the length of its body (a varint) and its
//! body. A reader skips kinds that it does not know, so that later versions can add some. Several sections of that name
//! are read as one.

mod decode;
pub(crate) mod encode;
mod record;

use alloc::string::String;
use alloc::vec::Vec;
use postcard_schema::schema::owned::OwnedNamedType;

pub use encode::custom_section;
pub use record::Record;

/// The custom section's name.
pub const SECTION: &str = "wpc";

const FUNCTION: usize = 1;
const CONSTANT: usize = 2;
const IMPORT: usize = 3;

/// What a module declares about one of its functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The export's name.
    pub name: String,
    /// The arguments' names and types, in order.
    pub arguments: Vec<Argument>,
    /// The result's type; `None` if it has no schema.
    pub result: Option<OwnedNamedType>,
    /// The type of the errors that it returns; `None` if it has no schema or the function returns none.
    pub error: Option<OwnedNamedType>,
    /// The items that it yields before its result.
    pub items: Items,
}

/// What a [`Signature`] declares about the items that a function yields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Items {
    /// It yields none.
    #[default]
    None,
    /// It yields items whose type has no schema.
    Untyped,
    /// It yields items of this type.
    Of(OwnedNamedType),
}

impl Items {
    /// The type of the items, if it is declared.
    #[must_use]
    pub const fn ty(&self) -> Option<&OwnedNamedType> {
        match self {
            Self::None | Self::Untyped => None,
            Self::Of(ty) => Some(ty),
        }
    }
}

/// One argument of a [`Signature`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The argument's name in the guest's source.
    pub name: String,
    /// Its type; `None` if it has no schema.
    pub ty: Option<OwnedNamedType>,
}

/// A constant that a module needs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Constant {
    /// Its name.
    pub name: String,
    /// The type that the module reads it as; `None` if the module does not declare it.
    pub ty: Option<OwnedNamedType>,
}

/// The types that a module declares for a function that it imports with bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Import {
    /// The import module: that of a typed dependency, or of the host's functions.
    pub module: String,
    /// The function's name and types.
    pub signature: Signature,
}

/// The content of the section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// The functions that declare their types.
    pub functions: Vec<Signature>,
    /// The constants that the module needs.
    pub constants: Vec<Constant>,
    /// The imported functions whose types are declared. The module need not import each of them.
    pub imports: Vec<Import>,
}

impl Constant {
    /// A constant of this type.
    #[must_use]
    pub fn new(name: &str, ty: Option<OwnedNamedType>) -> Self {
        Self { name: name.into(), ty }
    }
}

impl Import {
    /// A function of an import module, with the types that the importing module declares.
    #[must_use]
    pub fn new(module: &str, signature: Signature) -> Self {
        Self { module: module.into(), signature }
    }
}

#[cfg(test)]
mod tests;
