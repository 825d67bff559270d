//! The attributes of serde that a schema can express, and the errors for all others.

use crate::case::Case;
use crate::mistakes::Mistakes;
use syn::ext::IdentExt as _;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Path, Token};

/// Attributes that change the encoding of a type, so that it is not that of its fields.
const CHANGES_BYTES: [&str; 20] = [
    "content",
    "deserialize_with",
    "field_identifier",
    "flatten",
    "from",
    "getter",
    "into",
    "other",
    "remote",
    "serialize_with",
    "skip",
    "skip_deserializing",
    "skip_serializing",
    "skip_serializing_if",
    "tag",
    "transparent",
    "try_from",
    "untagged",
    "variant_identifier",
    "with",
];

/// The subset that changes the encoding of a single field only.
const CHANGES_ONE_FIELD: [&str; 4] = ["deserialize_with", "getter", "serialize_with", "with"];

/// Attributes that change neither the encoding nor the JSON form. The host rejects unknown fields of JSON anyway.
const CHANGES_NOTHING: [&str; 5] = ["borrow", "bound", "crate", "deny_unknown_fields", "expecting"];

/// A setting for each direction.
#[derive(Debug, Clone)]
struct Both<T> {
    serialize: Option<T>,
    deserialize: Option<T>,
}

impl<T> Default for Both<T> {
    fn default() -> Self {
        Self { serialize: None, deserialize: None }
    }
}

impl<T: Clone> Both<T> {
    fn or(&self, other: &Self) -> Self {
        Self {
            serialize: self.serialize.clone().or_else(|| other.serialize.clone()),
            deserialize: self.deserialize.clone().or_else(|| other.deserialize.clone()),
        }
    }
}

/// The `#[serde(…)]` attributes of a type, a variant or a field.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    rename: Both<String>,
    rename_all: Both<Case>,
    rename_all_fields: Both<Case>,
    pub(crate) is_transparent: bool,
    pub(crate) is_skipped: bool,
    /// JSON may omit the field; its value is then the default of its type.
    pub(crate) is_defaulted: bool,
}

/// The kind of item that a name belongs to. It determines how `rename_all` applies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named {
    /// A type; `rename_all` does not change its name.
    Type,
    Variant,
    Field,
}

/// The cases of the names inside a type or a variant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cases(Both<Case>);

/// The properties of an attribute's position that determine which attributes are allowed there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Position {
    /// On a struct, which may be `transparent`.
    pub(crate) is_struct: bool,
    /// On a field of the type `Option`, which JSON may omit.
    pub(crate) is_option: bool,
    /// On a field of a transparent struct; all but one may be skipped.
    pub(crate) is_transparent: bool,
    /// On a field whose default the host knows.
    pub(crate) has_known_default: bool,
    /// On a field that is declared to be encoded like another type.
    pub(crate) is_declared: bool,
    /// On a type that is declared to be encoded like another type.
    pub(crate) is_declared_as_whole: bool,
}

impl Attributes {
    pub(crate) fn read(
        attributes: &[Attribute],
        position: Position,
        mistakes: &mut Mistakes,
    ) -> Self {
        let mut read = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
            // serde reports attributes that do not parse.
            let _ = attribute.parse_nested_meta(|meta| read.add(&meta, position, mistakes));
        }
        read
    }

    fn add(
        &mut self,
        meta: &ParseNestedMeta<'_>,
        position: Position,
        mistakes: &mut Mistakes,
    ) -> syn::Result<()> {
        let path = &meta.path;
        if path.is_ident("rename") {
            self.rename = values(meta)?.map(|text| Some(text.value()));
        } else if path.is_ident("rename_all") {
            self.rename_all = cases(meta, mistakes)?;
        } else if path.is_ident("rename_all_fields") {
            self.rename_all_fields = cases(meta, mistakes)?;
        } else {
            let has_value = skip_value(meta)?;
            if path.is_ident("transparent") && position.is_struct {
                self.is_transparent = true;
            } else if path.is_ident("skip") && position.is_transparent {
                self.is_skipped = true;
            } else if path.is_ident("default") && position.is_option && !has_value {
                // JSON may omit it; it is then `None`, with or without the attribute.
            } else if path.is_ident("default") && position.has_known_default && !has_value {
                self.is_defaulted = true;
            } else if position.is_declared_as_whole
                || (position.is_declared
                    && CHANGES_ONE_FIELD.iter().any(|name| path.is_ident(name)))
            {
                // The declared type describes the encoding.
            } else if let Some(why) = refusal(path) {
                mistakes.add(path, why);
            }
        }
        Ok(())
    }

    /// The name, which must be the same in both directions.
    pub(crate) fn name(
        &self,
        ident: &Ident,
        named: Named,
        cases: &Cases,
        mistakes: &mut Mistakes,
    ) -> String {
        let plain = ident.unraw().to_string();
        let name = |renamed: &Option<String>, case: Option<Case>| match (renamed, case, named) {
            (Some(name), ..) => name.clone(),
            (None, Some(case), Named::Variant) => case.of_variant(&plain),
            (None, Some(case), Named::Field) => case.of_field(&plain),
            (None, ..) => plain.clone(),
        };
        let written = name(&self.rename.serialize, cases.0.serialize);
        let read = name(&self.rename.deserialize, cases.0.deserialize);
        // The name of a type is not encoded.
        if written != read && !matches!(named, Named::Type) {
            mistakes.add(
                ident,
                format!("`Schema` needs one name for `{plain}`, but serde writes `{written}` and reads `{read}`; use one name in both directions, or remove `Schema` from the derive"),
            );
        }
        written
    }

    /// The cases of an enum's variants or a struct's fields.
    pub(crate) fn cases(&self) -> Cases {
        Cases(self.rename_all.clone())
    }

    /// The cases of a variant's fields; `self` are the attributes of the enum.
    pub(crate) fn cases_of_fields(&self, variant: &Self) -> Cases {
        Cases(variant.rename_all.or(&self.rename_all_fields))
    }
}

/// The error for an attribute; `None` if the attribute is allowed.
fn refusal(path: &Path) -> Option<String> {
    let name = path.get_ident()?.unraw().to_string();
    if CHANGES_NOTHING.contains(&name.as_str()) {
        return None;
    }
    let why = if CHANGES_BYTES.contains(&name.as_str()) {
        "it changes how the fields are encoded"
    } else if name == "default" {
        "the host only knows the defaults of numbers, `bool`, `char`, `String`, collections and `Option`"
    } else if name == "alias" {
        "callers that use JSON know a single name"
    } else {
        "it may change the encoding or the JSON form"
    };
    Some(format!(
        "`Schema` cannot express `#[serde({name})]`: {why}; remove the attribute, or remove `Schema` from the derive"
    ))
}

impl<T> Both<T> {
    fn map<U>(self, map: impl Fn(T) -> Option<U>) -> Both<U> {
        Both {
            serialize: self.serialize.and_then(&map),
            deserialize: self.deserialize.and_then(&map),
        }
    }
}

/// `= "value"`, or `(serialize = "value", deserialize = "value")`.
fn values(meta: &ParseNestedMeta<'_>) -> syn::Result<Both<LitStr>> {
    if meta.input.peek(Token![=]) {
        let value = text(meta)?;
        return Ok(Both { serialize: value.clone(), deserialize: value });
    }
    let mut both = Both::default();
    meta.parse_nested_meta(|inner| {
        let is_written = inner.path.is_ident("serialize");
        *(if is_written { &mut both.serialize } else { &mut both.deserialize }) = text(&inner)?;
        Ok(())
    })?;
    Ok(both)
}

/// A string value; `None` if it is not a string, which serde reports.
fn text(meta: &ParseNestedMeta<'_>) -> syn::Result<Option<LitStr>> {
    let mut value = meta.value()?.parse()?;
    // A value that a macro inserted is inside a group.
    while let Expr::Group(group) = value {
        value = *group.expr;
    }
    Ok(match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text),
        _ => None,
    })
}

fn cases(meta: &ParseNestedMeta<'_>, mistakes: &mut Mistakes) -> syn::Result<Both<Case>> {
    let values = values(meta)?;
    for value in values.serialize.iter().chain(&values.deserialize) {
        if Case::of(&value.value()).is_none() {
            let known = Case::names();
            mistakes
                .add(value, format!("unknown case {:?}; expected one of {known}", value.value()));
            break;
        }
    }
    Ok(values.map(|value| Case::of(&value.value())))
}

/// Skips the value after a path, and returns whether there is one.
fn skip_value(meta: &ParseNestedMeta<'_>) -> syn::Result<bool> {
    if meta.input.peek(Token![=]) {
        meta.value()?.parse::<Expr>()?;
    } else if meta.input.peek(syn::token::Paren) {
        let content;
        syn::parenthesized!(content in meta.input);
        content.parse::<proc_macro2::TokenStream>()?;
    } else {
        return Ok(false);
    }
    Ok(true)
}
