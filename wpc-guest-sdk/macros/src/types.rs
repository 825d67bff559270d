//! Inspects types by their tokens.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt as _;
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{Ident, Lifetime, ReturnType, Type};

/// The names and schemas of arguments, for a record.
pub(crate) fn schemas(arguments: &[(Ident, Type)]) -> TokenStream {
    let arguments = arguments.iter().map(|(name, ty)| {
        let name = name.unraw().to_string();
        let schema = schema(ty);
        quote! { (#name, #schema) }
    });
    quote! { &[#(#arguments),*] }
}

/// An expression for a type's schema, if it has one.
pub(crate) fn schema(ty: &Type) -> TokenStream {
    let ty = with_lifetimes(ty, "'static");
    quote! { ::wpc::__private::Probe::<#ty>::SCHEMA }
}

/// An expression for a type's doc comments.
pub(crate) fn comments(ty: &Type) -> TokenStream {
    let ty = with_lifetimes(ty, "'static");
    quote! { ::wpc::__private::Probe::<#ty>::COMMENTS }
}

/// The type of the value that a function returns.
pub(crate) enum Value<'a> {
    Unit,
    Type(&'a Type),
    /// A `Result` alias without type arguments, which does not show its value's type.
    Hidden,
}

pub(crate) fn value_type(output: &ReturnType) -> Value<'_> {
    let ReturnType::Type(_, ty) = output else { return Value::Unit };
    if !is_result(ty) {
        return Value::Type(ty);
    }
    type_arguments(ty).next().map_or(Value::Hidden, Value::Type)
}

pub(crate) fn error_type(ty: &Type) -> Option<&Type> {
    is_result(ty).then(|| type_arguments(ty).nth(1)).flatten()
}

pub(crate) fn is_result(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Result"))
}

fn type_arguments(ty: &Type) -> impl Iterator<Item = &Type> {
    let arguments = match ty {
        Type::Path(path) => path.path.segments.last().map(|last| &last.arguments),
        _ => None,
    };
    let arguments = match arguments {
        Some(syn::PathArguments::AngleBracketed(arguments)) => Some(&arguments.args),
        _ => None,
    };
    arguments.into_iter().flatten().filter_map(|argument| match argument {
        syn::GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// The type with every lifetime except `'static`, including elided ones, replaced by `lifetime`.
pub(crate) fn with_lifetimes(ty: &Type, lifetime: &str) -> Type {
    struct Replace(Lifetime);
    impl VisitMut for Replace {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident != "static" {
                lifetime.ident.clone_from(&self.0.ident);
            }
        }
        fn visit_type_reference_mut(&mut self, reference: &mut syn::TypeReference) {
            reference.lifetime.get_or_insert_with(|| self.0.clone());
            syn::visit_mut::visit_type_reference_mut(self, reference);
        }
    }
    let mut ty = ty.clone();
    Replace(Lifetime::new(lifetime, ty.span())).visit_type_mut(&mut ty);
    ty
}
