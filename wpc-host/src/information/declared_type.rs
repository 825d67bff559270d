//! A declared type as data.

use postcard_schema::schema::owned::{
    OwnedDataModelType as Type, OwnedDataModelVariant as Variant, OwnedNamedType,
};
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use wpc_abi::Schema;
use wpc_abi::schema::{MAX_DEPTH, Malformed};
use wpc_abi::text::{NotAType, parse_type, type_text};

/// A type that a module declares, that a Rust type has, or that was parsed from text.
///
/// Its text shows structs and enums by name; [`structure`](Self::structure) has all of it. Formats for people, such as JSON,
/// have the text in the field `text`, which is ignored when the value is read back. A type that nests deeper than 64 levels
/// does not deserialize.
///
/// ```
/// use wpc_host::DeclaredType;
///
/// let ty: DeclaredType = "Map<String, u32>".parse()?;
/// assert_eq!(ty.to_string(), "Map<String, u32>");
/// # Ok::<(), wpc_abi::text::NotAType>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "OwnedNamedType")]
pub struct DeclaredType(pub(crate) OwnedNamedType);

impl DeclaredType {
    /// The type that a module would declare for `T`.
    ///
    /// ```
    /// use wpc_host::DeclaredType;
    /// use wpc_host::postcard_schema::schema::owned::OwnedDataModelType;
    ///
    /// let ty = DeclaredType::of::<Vec<u16>>();
    /// let OwnedDataModelType::Seq(item) = &ty.structure().ty else {
    ///     panic!("a vector is a sequence");
    /// };
    /// assert_eq!(item.name, "u16");
    /// ```
    #[must_use]
    pub fn of<T: Schema>() -> Self {
        Self(T::SCHEMA.into())
    }

    /// Whether its values are byte sequences or strings, which callers can pass and receive as bytes. Requires the feature `json`.
    ///
    /// ```
    /// use wpc_host::DeclaredType;
    ///
    /// assert!(DeclaredType::of::<Vec<u8>>().is_bytes() && DeclaredType::of::<String>().is_bytes());
    /// assert!(!DeclaredType::of::<Vec<u16>>().is_bytes());
    /// ```
    #[cfg(feature = "json")]
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        crate::codec::json::is_bytes(&self.0)
    }

    /// The type with the types that it contains.
    #[must_use]
    pub fn structure(&self) -> &OwnedNamedType {
        &self.0
    }
}

impl std::fmt::Display for DeclaredType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&type_text(&self.0))
    }
}

impl std::str::FromStr for DeclaredType {
    type Err = NotAType;

    fn from_str(text: &str) -> Result<Self, NotAType> {
        parse_type(text).map(Self)
    }
}

impl TryFrom<OwnedNamedType> for DeclaredType {
    type Error = Malformed;

    fn try_from(ty: OwnedNamedType) -> Result<Self, Malformed> {
        let mut level = vec![&ty];
        for _ in 0..=MAX_DEPTH {
            level = level.into_iter().flat_map(inner_types).collect();
            if level.is_empty() {
                return Ok(Self(ty));
            }
        }
        Err(Malformed::TooDeep)
    }
}

impl Serialize for DeclaredType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let has_text = serializer.is_human_readable();
        let mut ty = serializer.serialize_struct("DeclaredType", 2 + usize::from(has_text))?;
        if has_text {
            ty.serialize_field("text", &self.to_string())?;
        }
        ty.serialize_field("name", &self.0.name)?;
        ty.serialize_field("ty", &self.0.ty)?;
        ty.end()
    }
}

/// The types that a type directly contains.
pub(crate) fn inner_types(named: &OwnedNamedType) -> Vec<&OwnedNamedType> {
    match &named.ty {
        Type::Option(inner) | Type::NewtypeStruct(inner) | Type::Seq(inner) => vec![inner],
        Type::Tuple(items) | Type::TupleStruct(items) => items.iter().collect(),
        Type::Map { key, val } => vec![key, val],
        Type::Struct(fields) => fields.iter().map(|field| &field.ty).collect(),
        Type::Enum(variants) => {
            let inner = variants.iter().flat_map(|variant| match &variant.ty {
                Variant::UnitVariant => Vec::new(),
                Variant::NewtypeVariant(inner) => vec![&**inner],
                Variant::TupleVariant(items) => items.iter().collect(),
                Variant::StructVariant(fields) => fields.iter().map(|field| &field.ty).collect(),
            });
            inner.collect()
        }
        _ => Vec::new(),
    }
}
