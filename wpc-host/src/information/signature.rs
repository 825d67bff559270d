//! The types of a function as data.

use crate::information::DeclaredType;
use postcard_schema::schema::owned::OwnedNamedType;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use wpc_abi::section::{Items, Signature};

/// The types of a function's parameters, result, errors and items.
///
/// Its text has the parameters, the result and the items; `?` stands for a type that is not declared. Like that of a [`DeclaredType`],
/// it is the field `text` in JSON.
///
/// ```
/// use wpc_host::{DeclaredType, FunctionParameter, FunctionSignature};
///
/// let path = FunctionParameter::new("path", Some(DeclaredType::of::<String>()));
/// let signature = FunctionSignature::new(vec![path], Some(DeclaredType::of::<Vec<u8>>()));
/// assert_eq!(signature.to_string(), "(path: String) -> Vec<u8>");
/// assert_eq!(serde_json::to_value(&signature)?["text"], "(path: String) -> Vec<u8>");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[non_exhaustive]
pub struct FunctionSignature {
    /// The parameters, in order.
    pub parameters: Vec<FunctionParameter>,
    /// The type of its result; `None` if it is not declared.
    pub result: Option<DeclaredType>,
    /// The type of the errors that it returns; `None` if it is not declared, or if the function returns none.
    pub error: Option<DeclaredType>,
    /// The items that it yields before its result; `None` if it yields none.
    #[serde(default)]
    pub items: Option<FunctionItems>,
}

/// The items of a [`FunctionSignature`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FunctionItems {
    /// Their type; `None` if it is not declared.
    #[serde(rename = "type")]
    pub ty: Option<DeclaredType>,
}

/// A parameter of a [`FunctionSignature`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FunctionParameter {
    /// Its name in the guest's source; `argument1`, `argument2` and so on if it is not declared.
    pub name: String,
    /// Its type; `None` if it is not declared.
    #[serde(rename = "type")]
    pub ty: Option<DeclaredType>,
}

impl FunctionSignature {
    /// A signature without an error type and items. These fields can be set.
    #[must_use]
    pub fn new(parameters: Vec<FunctionParameter>, result: Option<DeclaredType>) -> Self {
        Self { parameters, result, error: None, items: None }
    }
}

impl FunctionParameter {
    /// A parameter with this name and type.
    #[must_use]
    pub fn new(name: impl Into<String>, ty: Option<DeclaredType>) -> Self {
        Self { name: name.into(), ty }
    }
}

impl fmt::Display for FunctionSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (at, parameter) in self.parameters.iter().enumerate() {
            let separator = if at > 0 { ", " } else { "" };
            write!(f, "{separator}{}: ", parameter.name)?;
            write_type(f, parameter.ty.as_ref())?;
        }
        f.write_str(") -> ")?;
        write_type(f, self.result.as_ref())?;
        if let Some(items) = &self.items {
            f.write_str(" yields ")?;
            write_type(f, items.ty.as_ref())?;
        }
        Ok(())
    }
}

fn write_type(f: &mut fmt::Formatter<'_>, ty: Option<&DeclaredType>) -> fmt::Result {
    match ty {
        Some(ty) => write!(f, "{ty}"),
        None => f.write_str("?"),
    }
}

impl Serialize for FunctionSignature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let has_text = serializer.is_human_readable();
        let fields = 4 + usize::from(has_text);
        let mut signature = serializer.serialize_struct("FunctionSignature", fields)?;
        if has_text {
            signature.serialize_field("text", &self.to_string())?;
        }
        signature.serialize_field("parameters", &self.parameters)?;
        signature.serialize_field("result", &self.result)?;
        signature.serialize_field("error", &self.error)?;
        signature.serialize_field("items", &self.items)?;
        signature.end()
    }
}

impl From<&Signature> for FunctionSignature {
    fn from(signature: &Signature) -> Self {
        let declared = |ty: &Option<OwnedNamedType>| ty.clone().map(DeclaredType);
        let parameters = signature.arguments.iter().map(|argument| FunctionParameter {
            name: argument.name.clone(),
            ty: declared(&argument.ty),
        });
        Self {
            parameters: parameters.collect(),
            result: declared(&signature.result),
            error: declared(&signature.error),
            items: match &signature.items {
                Items::None => None,
                Items::Untyped => Some(FunctionItems { ty: None }),
                Items::Of(ty) => Some(FunctionItems { ty: Some(DeclaredType(ty.clone())) }),
            },
        }
    }
}
