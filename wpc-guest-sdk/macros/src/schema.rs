//! `#[derive(wpc::Schema)]`: a type as a constant. Guests need no other crate for it, and it refuses
//! what would make the constant lie.

use crate::mistakes::Mistakes;
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Data, DeriveInput, Field, Fields, GenericArgument, Ident, PathArguments, Token,
    Type, TypePath, parse_quote,
};

/// Attributes of serde's after which the bytes are no longer those of the fields.
const CHANGES_BYTES: [&str; 15] = [
    "content",
    "deserialize_with",
    "flatten",
    "from",
    "into",
    "remote",
    "serialize_with",
    "skip",
    "skip_deserializing",
    "skip_serializing",
    "skip_serializing_if",
    "tag",
    "try_from",
    "untagged",
    "with",
];

/// The generic types whose schema holds those of their arguments.
const HOLDS_ITS_ARGUMENTS: [&str; 9] =
    ["BTreeMap", "BTreeSet", "Box", "Cow", "HashMap", "HashSet", "Option", "Result", "Vec"];

pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    let input = match syn::parse2::<DeriveInput>(tokens) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let mut mistakes = Mistakes::default();
    let name = name(&input.ident, &input.attrs, &mut mistakes);
    let kind = match &input.data {
        Data::Struct(data) => kind("Struct", &data.fields, &mut mistakes),
        Data::Enum(data) => {
            let variants = data.variants.iter().map(|variant| {
                let name = self::name(&variant.ident, &variant.attrs, &mut mistakes);
                let kind = self::kind("Variant", &variant.fields, &mut mistakes);
                quote! {
                    &::wpc::__private::schema::NamedVariant {
                        name: #name,
                        ty: &::wpc::__private::schema::DataModelVariant::#kind,
                    }
                }
            });
            let variants = variants.collect::<Vec<_>>();
            quote! { Enum(&[#(#variants),*]) }
        }
        Data::Union(_) => {
            mistakes
                .add(&input.ident, "a union cannot be carried: its bytes do not tell what it is");
            TokenStream::new()
        }
    };
    refuse_itself(&input, &mut mistakes);
    if let Some(errors) = mistakes.into_tokens() {
        return errors;
    }
    let mut generics = input.generics;
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(::wpc::Schema));
    }
    let (impl_generics, arguments, bounds) = generics.split_for_impl();
    let ident = &input.ident;
    // Full paths throughout: a `use` would also reach the author's field types, and take the place of
    // those that have the same name.
    quote! {
        #[automatically_derived]
        impl #impl_generics ::wpc::Schema for #ident #arguments #bounds {
            const SCHEMA: &'static ::wpc::__private::schema::NamedType =
                &::wpc::__private::schema::NamedType {
                    name: #name,
                    ty: &::wpc::__private::schema::DataModelType::#kind,
                };
        }
    }
}

/// Refuses a type that holds itself, for which the compiler's own words are about a cycle in `SCHEMA`.
/// Once is enough, since one thing mends it: a tree would be told of each branch.
fn refuse_itself(input: &DeriveInput, mistakes: &mut Mistakes) {
    let fields: Vec<&Field> = match &input.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data.variants.iter().flat_map(|variant| &variant.fields).collect(),
        // Refused as it is.
        Data::Union(_) => return,
    };
    let ident = &input.ident;
    if let Some(at) = fields.into_iter().find_map(|field| itself(&field.ty, ident)) {
        mistakes.add(
            at,
            format!("`{ident}` holds itself, so its schema would have no end; leave `Schema` out of the derive: everything but signatures works without it"),
        );
    }
}

/// Where the type names the one it is a field of, seen through what surely asks for its schema.
/// Elsewhere the name may do no harm: a `Key<Node>` need not hold a `Node`, and `other::Node` is
/// another type.
fn itself<'a>(ty: &'a Type, name: &Ident) -> Option<&'a Type> {
    match ty {
        Type::Array(array) => itself(&array.elem, name),
        Type::Group(group) => itself(&group.elem, name),
        Type::Paren(paren) => itself(&paren.elem, name),
        Type::Reference(reference) => itself(&reference.elem, name),
        Type::Slice(slice) => itself(&slice.elem, name),
        Type::Tuple(tuple) => tuple.elems.iter().find_map(|item| itself(item, name)),
        Type::Path(TypePath { qself: None, path }) => {
            let last = path.segments.last()?;
            let is_bare = path.leading_colon.is_none() && path.segments.len() == 1;
            if is_bare && (last.ident == "Self" || last.ident == *name) {
                return Some(ty);
            }
            if !HOLDS_ITS_ARGUMENTS.iter().any(|holder| last.ident == holder) {
                return None;
            }
            let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
            arguments.args.iter().find_map(|argument| match argument {
                GenericArgument::Type(ty) => itself(ty, name),
                _ => None,
            })
        }
        _ => None,
    }
}

/// What holds the fields: a `Struct` or a `Variant`.
fn kind(holder: &str, fields: &Fields, mistakes: &mut Mistakes) -> TokenStream {
    let kind = |prefix: &str| Ident::new(&format!("{prefix}{holder}"), fields.span());
    match fields {
        Fields::Unit => {
            let kind = kind("Unit");
            quote! { #kind }
        }
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
            let (kind, field) = (kind("Newtype"), schema(&fields.unnamed[0], mistakes));
            quote! { #kind(#field) }
        }
        Fields::Unnamed(fields) => {
            let fields = fields.unnamed.iter().map(|field| schema(field, mistakes));
            let (kind, fields) = (kind("Tuple"), fields.collect::<Vec<_>>());
            quote! { #kind(&[#(#fields),*]) }
        }
        Fields::Named(fields) => {
            let fields = fields.named.iter().filter_map(|field| {
                let name = name(field.ident.as_ref()?, &field.attrs, mistakes);
                let schema = schema(field, mistakes);
                Some(quote! { &::wpc::__private::schema::NamedValue { name: #name, ty: #schema } })
            });
            let fields = fields.collect::<Vec<_>>();
            let kind = if holder == "Struct" { kind("") } else { kind("Struct") };
            quote! { #kind(&[#(#fields),*]) }
        }
    }
}

/// The schema of a field's type; the place of an error is that type.
fn schema(field: &Field, mistakes: &mut Mistakes) -> TokenStream {
    if field.ident.is_none() {
        renamed(&field.attrs, mistakes);
    }
    let ty = &field.ty;
    quote_spanned! { ty.span() => <#ty as ::wpc::Schema>::SCHEMA }
}

/// The name as `postcard-schema` tells it, whose derive the host's side uses: a raw one keeps its `r#`.
fn name(ident: &Ident, attributes: &[Attribute], mistakes: &mut Mistakes) -> String {
    renamed(attributes, mistakes).unwrap_or_else(|| ident.to_string())
}

/// The name that serde is told to use. What is wrong with an attribute serde reports itself.
fn renamed(attributes: &[Attribute], mistakes: &mut Mistakes) -> Option<String> {
    let mut name = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        let _ = attribute.parse_nested_meta(|meta| {
            let changes = CHANGES_BYTES.iter().find(|changes| meta.path.is_ident(changes));
            if let Some(changes) = changes {
                mistakes.add(
                    &meta.path,
                    format!("with `#[serde({changes})]` the bytes are not those of the fields, which `Schema` tells; do without one of them"),
                );
            }
            let is_name = meta.path.is_ident("rename");
            if meta.input.peek(Token![=]) {
                let value: syn::Expr = meta.value()?.parse()?;
                if let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(value), .. }) = value
                    && is_name
                {
                    name = Some(value.value());
                }
            } else if meta.input.peek(syn::token::Paren) {
                meta.parse_nested_meta(|inner| inner.value()?.parse::<syn::Expr>().map(drop))?;
            }
            Ok(())
        });
    }
    name
}
