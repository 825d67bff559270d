//! `#[derive(Schema)]`: describes a type in a constant, and rejects what the constant cannot express.

use crate::comments::Comments;
use crate::declared::declared;
use crate::default;
use crate::mistakes::Mistakes;
use crate::serde::{Attributes, Cases, Named, Position};
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{
    Data, DeriveInput, Field, Fields, GenericArgument, Ident, PathArguments, Type, TypePath,
    parse_quote,
};

/// The generic types whose schema contains the schemas of their arguments.
const CONTAINS_ITS_ARGUMENTS: [&str; 9] =
    ["BTreeMap", "BTreeSet", "Box", "Cow", "HashMap", "HashSet", "Option", "Result", "Vec"];

/// Expands the derive; `root` is the crate that re-exports it.
pub(crate) fn expand(tokens: TokenStream, root: &TokenStream) -> TokenStream {
    let input = match syn::parse2::<DeriveInput>(tokens) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let mut mistakes = Mistakes::default();
    let declared = declared(&input.attrs, &mut mistakes);
    let position = Position {
        is_struct: matches!(input.data, Data::Struct(_)),
        is_declared_as_whole: declared.is_some(),
        ..Position::default()
    };
    let attributes = Attributes::read(&input.attrs, position, &mut mistakes);
    let name = attributes.name(&input.ident, Named::Type, &Cases::default(), &mut mistakes);
    let mut expansion = Expansion { root, mistakes, comments: Comments::default() };
    expansion.comments.add(String::new(), &input.attrs);
    let kind = match &input.data {
        // The declared type replaces the fields.
        _ if let Some(ty) = &declared => {
            let schema = expansion.schema_of(ty);
            quote! { NewtypeStruct(#schema) }
        }
        Data::Struct(data) if attributes.is_transparent => {
            expansion.transparent(&input.ident, &data.fields)
        }
        Data::Struct(data) => expansion.kind("Struct", "", &data.fields, &attributes.cases()),
        Data::Enum(data) => {
            let variants = data.variants.iter().map(|variant| {
                let of_variant =
                    Attributes::read(&variant.attrs, Position::default(), &mut expansion.mistakes);
                let name = of_variant.name(
                    &variant.ident,
                    Named::Variant,
                    &attributes.cases(),
                    &mut expansion.mistakes,
                );
                let cases = attributes.cases_of_fields(&of_variant);
                expansion.comments.add(name.clone(), &variant.attrs);
                let prefix = format!("{name}.");
                let kind = expansion.kind("Variant", &prefix, &variant.fields, &cases);
                quote! {
                    &#root::__private::schema::NamedVariant {
                        name: #name,
                        ty: &#root::__private::schema::DataModelVariant::#kind,
                    }
                }
            });
            let variants = variants.collect::<Vec<_>>();
            quote! { Enum(&[#(#variants),*]) }
        }
        Data::Union(_) => {
            expansion
                .mistakes
                .add(&input.ident, "`Schema` cannot be derived for a union: serde does not support unions; use an enum");
            TokenStream::new()
        }
    };
    let Expansion { mut mistakes, comments, .. } = expansion;
    if declared.is_none() {
        reject_recursion(&input, &mut mistakes);
    }
    if let Some(errors) = mistakes.into_tokens() {
        return errors;
    }
    let mut generics = input.generics;
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(#root::Schema));
    }
    let (impl_generics, arguments, bounds) = generics.split_for_impl();
    let ident = &input.ident;
    let comments = comments.into_tokens(root, &name);
    // Full paths throughout: a `use` would shadow the author's field types of the same name.
    quote! {
        #[automatically_derived]
        impl #impl_generics #root::Schema for #ident #arguments #bounds {
            const SCHEMA: &'static #root::__private::schema::NamedType =
                &#root::__private::schema::NamedType {
                    name: #name,
                    ty: &#root::__private::schema::DataModelType::#kind,
                };
            const COMMENTS: &'static #root::__private::Comments = #comments;
        }
    }
}

/// Rejects a recursive type, for which the compiler would report a cycle in `SCHEMA`. Only the first recursive field is
/// reported, because one change fixes all of them.
fn reject_recursion(input: &DeriveInput, mistakes: &mut Mistakes) {
    let fields: Vec<&Field> = match &input.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data.variants.iter().flat_map(|variant| &variant.fields).collect(),
        // Rejected already.
        Data::Union(_) => return,
    };
    let ident = &input.ident;
    if let Some(at) = fields.into_iter().find_map(|field| itself(&field.ty, ident)) {
        mistakes.add(
            at,
            format!("`{ident}` is recursive, so its schema would be infinite; remove `Schema` from the derive: everything but signatures works without it"),
        );
    }
}

/// Finds the type `name` in the type of one of its fields. Only types that certainly use the schemas of their arguments
/// are searched: a `Key<Node>` need not contain a `Node`, and `other::Node` is another type.
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
            if !CONTAINS_ITS_ARGUMENTS.iter().any(|container| last.ident == container) {
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

struct Expansion<'a> {
    /// The crate that re-exports the derive.
    root: &'a TokenStream,
    mistakes: Mistakes,
    comments: Comments,
}

impl Expansion<'_> {
    /// The kind of `holder`, a `Struct` or a `Variant`, with its fields. `prefix` precedes the names of fields with comments.
    fn kind(&mut self, holder: &str, prefix: &str, fields: &Fields, cases: &Cases) -> TokenStream {
        let kind = |prefix: &str| Ident::new(&format!("{prefix}{holder}"), fields.span());
        match fields {
            Fields::Unit => {
                let kind = kind("Unit");
                quote! { #kind }
            }
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                let field = &fields.unnamed[0];
                self.attributes(field);
                self.comments.add(format!("{prefix}0"), &field.attrs);
                let (kind, field) = (kind("Newtype"), self.schema(field));
                quote! { #kind(#field) }
            }
            Fields::Unnamed(fields) => {
                let fields = fields.unnamed.iter().enumerate().map(|(at, field)| {
                    self.attributes(field);
                    self.comments.add(format!("{prefix}{at}"), &field.attrs);
                    self.schema(field)
                });
                let (fields, kind) = (fields.collect::<Vec<_>>(), kind("Tuple"));
                quote! { #kind(&[#(#fields),*]) }
            }
            Fields::Named(fields) => {
                let fields = fields.named.iter().filter_map(|field| {
                    let attributes = self.attributes(field);
                    let ident = field.ident.as_ref()?;
                    let name = attributes.name(ident, Named::Field, cases, &mut self.mistakes);
                    self.comments.add(format!("{prefix}{name}"), &field.attrs);
                    let (root, mut schema) = (self.root, self.schema(field));
                    if attributes.is_defaulted {
                        schema = quote! {
                            &#root::__private::schema::NamedType {
                                name: #root::__private::DEFAULTED,
                                ty: &#root::__private::schema::DataModelType::NewtypeStruct(#schema),
                            }
                        };
                    }
                    Some(quote! {
                        &#root::__private::schema::NamedValue { name: #name, ty: #schema }
                    })
                });
                let fields = fields.collect::<Vec<_>>();
                let kind = if holder == "Struct" { kind("") } else { kind("Struct") };
                quote! { #kind(&[#(#fields),*]) }
            }
        }
    }

    /// A transparent struct, which serde encodes as its only field: a newtype of that field.
    fn transparent(&mut self, ident: &Ident, fields: &Fields) -> TokenStream {
        let position = Position { is_transparent: true, ..Position::default() };
        let kept = fields.iter().filter(|field| {
            let attributes = Attributes::read(&field.attrs, position, &mut self.mistakes);
            !attributes.is_skipped && !is(&field.ty, "PhantomData")
        });
        match kept.collect::<Vec<_>>().as_slice() {
            [only] => {
                let schema = self.schema(only);
                quote! { NewtypeStruct(#schema) }
            }
            other => {
                let found = other.len();
                self.mistakes.add(
                    ident,
                    format!("a `#[serde(transparent)]` struct must have exactly one field that is not skipped, but `{ident}` has {found}"),
                );
                TokenStream::new()
            }
        }
    }

    fn attributes(&mut self, field: &Field) -> Attributes {
        let is_declared = declared(&field.attrs, &mut Mistakes::default()).is_some();
        let position = Position {
            is_declared,
            is_option: !is_declared && is(&field.ty, "Option"),
            has_known_default: !is_declared && default::is_known(&field.ty),
            ..Position::default()
        };
        Attributes::read(&field.attrs, position, &mut self.mistakes)
    }

    /// The schema of the declared type or of the field's type.
    fn schema(&mut self, field: &Field) -> TokenStream {
        let declared = declared(&field.attrs, &mut self.mistakes);
        self.schema_of(declared.as_ref().unwrap_or(&field.ty))
    }

    /// The schema of a type; the compiler reports errors at that type.
    fn schema_of(&mut self, ty: &Type) -> TokenStream {
        let root = self.root;
        self.comments.add_part(quote_spanned! { ty.span() => <#ty as #root::Schema>::COMMENTS });
        quote_spanned! { ty.span() => <#ty as #root::Schema>::SCHEMA }
    }
}

/// Whether the last segment of a type's path is `name`.
fn is(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == name))
}
