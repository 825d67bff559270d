//! Collects all mistakes in the use of a macro, so that they are reported at once, and the checks that macros share.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{FnArg, Ident, Pat, Signature, Type};

/// The most arguments of a function: serde supports tuples of up to 16 items, and the host's typed handles up to 12.
const MAX_ARGUMENTS: usize = 12;

#[derive(Default)]
pub(crate) struct Mistakes(Option<syn::Error>);

impl Mistakes {
    pub(crate) fn add(&mut self, at: impl ToTokens, message: impl std::fmt::Display) {
        self.add_error(syn::Error::new_spanned(at, message));
    }

    pub(crate) fn add_error(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// The mistakes as compile errors, if there are any.
    pub(crate) fn into_tokens(self) -> Option<TokenStream> {
        self.0.map(syn::Error::into_compile_error)
    }

    /// Checks a name that the host uses.
    pub(crate) fn check_name(&mut self, what: &str, name: &str, at: impl ToTokens) {
        if !wpc_abi::names::is_valid(name) {
            self.add(
                at,
                format!(
                    "`{name}` is not a valid name for a {what}; a name must {}",
                    wpc_abi::names::NAME_RULE
                ),
            );
        } else if name.starts_with("wpc_") {
            self.add(at, format!("`{name}` is not a valid name for a {what}; names that start with `wpc_` are reserved"));
        }
    }

    /// Checks that a signature is supported, and returns the arguments' names and types.
    pub(crate) fn arguments(&mut self, signature: &Signature) -> Vec<(Ident, Type)> {
        if let Some(token) = &signature.asyncness {
            self.add(token, "a function of a guest cannot be `async`; remove `async`: calls of async host functions suspend the guest without it");
        }
        if let Some(token) = &signature.unsafety {
            self.add(token, "a function of a guest cannot be `unsafe`: the host cannot uphold safety requirements; remove `unsafe`");
        }
        if let Some(abi) = &signature.abi {
            self.add(abi, "the macro generates the `extern` function; remove the ABI");
        }
        if let Some(variadic) = &signature.variadic {
            self.add(variadic, "a function of a guest takes a fixed number of arguments");
        }
        for parameter in signature.generics.type_params() {
            self.add(parameter, "a function of a guest cannot be generic: the host calls one concrete function; name the type");
        }
        for parameter in signature.generics.const_params() {
            self.add(parameter, "a function of a guest cannot be generic: the host calls one concrete function; name the value");
        }
        if let syn::ReturnType::Type(_, ty) = &signature.output {
            self.check_type(ty, "result");
        }
        if signature.inputs.len() > MAX_ARGUMENTS {
            self.add(
                &signature.inputs,
                format!("a function of a guest takes at most {MAX_ARGUMENTS} arguments; put them into a struct"),
            );
        }
        signature.inputs.iter().filter_map(|input| self.argument(input)).collect()
    }

    fn argument(&mut self, input: &FnArg) -> Option<(Ident, Type)> {
        let argument = match input {
            FnArg::Receiver(receiver) => {
                self.add(
                    receiver,
                    "a function of a guest cannot take `self`; make it a free function",
                );
                return None;
            }
            FnArg::Typed(argument) => argument,
        };
        self.check_type(&argument.ty, "argument");
        if let Type::Reference(ty) = &*argument.ty
            && ty.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static")
        {
            self.add(
                ty,
                "a borrowed argument lives as long as the call; remove `'static`, or take an owned type",
            );
        }
        match &*argument.pat {
            Pat::Ident(name) if name.subpat.is_none() && name.by_ref.is_none() => {
                Some((name.ident.clone(), (*argument.ty).clone()))
            }
            pattern => {
                self.add(
                    pattern,
                    "an argument must be a plain name; destructure it inside the function",
                );
                None
            }
        }
    }

    fn check_type(&mut self, ty: &Type, what: &str) {
        match ty {
            Type::ImplTrait(ty) => {
                self.add(ty, format!("the type of the {what} must be named, not `impl Trait`"));
            }
            Type::Reference(ty) if ty.mutability.is_some() => {
                self.add(
                    ty,
                    format!("the {what} cannot be `&mut`: it is a copy of the caller's value"),
                );
            }
            Type::Reference(ty) if matches!(*ty.elem, Type::TraitObject(_)) => {
                self.add(
                    ty,
                    format!("the {what} cannot be a trait object: its concrete type is unknown"),
                );
            }
            _ => {}
        }
    }
}
