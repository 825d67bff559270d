//! Collects every mistake of a macro's use, so that all are reported at once, and tells the ones
//! that both macros look for.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{FnArg, Ident, Pat, Signature, Type};

/// The most arguments a function may take: serde implements tuples up to sixteen, and the host's
/// typed handles up to twelve.
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

    /// The errors as tokens; empty where there are none.
    pub(crate) fn into_tokens(self) -> Option<TokenStream> {
        self.0.map(syn::Error::into_compile_error)
    }

    /// Checks a name that goes onto the wire.
    pub(crate) fn check_name(&mut self, what: &str, name: &str, at: impl ToTokens) {
        if !wpc_abi::names::is_valid(name) {
            self.add(
                at,
                format!("`{name}` cannot name a {what}: a name is {}", wpc_abi::names::NAME_RULE),
            );
        } else if name.starts_with("wpc_") {
            self.add(at, format!("`{name}` cannot name a {what}: names that start with `wpc_` are the contract's own"));
        }
    }

    /// Checks what the host cannot carry, and gives the arguments' names and types.
    pub(crate) fn arguments(&mut self, signature: &Signature) -> Vec<(Ident, Type)> {
        if let Some(token) = &signature.asyncness {
            self.add(token, "a worker function cannot be `async`: it runs to its end on its worker; remove `async`");
        }
        if let Some(token) = &signature.unsafety {
            self.add(token, "a worker function cannot be `unsafe`: the host calls it with any bytes; remove `unsafe`");
        }
        if let Some(abi) = &signature.abi {
            self.add(abi, "the macro makes the `extern` entry itself; remove this");
        }
        if let Some(variadic) = &signature.variadic {
            self.add(variadic, "a worker function takes a fixed number of arguments");
        }
        for parameter in signature.generics.type_params() {
            self.add(parameter, "a worker function cannot be generic: the host calls one concrete function; name the type");
        }
        for parameter in signature.generics.const_params() {
            self.add(parameter, "a worker function cannot be generic: the host calls one concrete function; name the value");
        }
        if let syn::ReturnType::Type(_, ty) = &signature.output {
            self.check_type(ty, "result");
        }
        if signature.inputs.len() > MAX_ARGUMENTS {
            self.add(
                &signature.inputs,
                format!("a worker function takes at most {MAX_ARGUMENTS} arguments; put them into a struct"),
            );
        }
        signature.inputs.iter().filter_map(|input| self.argument(input)).collect()
    }

    fn argument(&mut self, input: &FnArg) -> Option<(Ident, Type)> {
        let argument = match input {
            FnArg::Receiver(receiver) => {
                self.add(receiver, "a worker function has no `self`: make it a free function");
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
                "an argument that is borrowed lasts as long as its call: leave `'static` out, or take an owned type",
            );
        }
        match &*argument.pat {
            Pat::Ident(name) if name.subpat.is_none() && name.by_ref.is_none() => {
                Some((name.ident.clone(), (*argument.ty).clone()))
            }
            pattern => {
                self.add(
                    pattern,
                    "give the argument a plain name and take it apart inside the function",
                );
                None
            }
        }
    }

    fn check_type(&mut self, ty: &Type, what: &str) {
        match ty {
            Type::ImplTrait(ty) => {
                self.add(
                    ty,
                    format!(
                        "the type of a worker function's {what} must be named, not `impl Trait`"
                    ),
                );
            }
            Type::Reference(ty) if ty.mutability.is_some() => {
                self.add(ty, format!("a worker function's {what} is a copy of the caller's bytes and cannot be `&mut`"));
            }
            Type::Reference(ty) if matches!(*ty.elem, Type::TraitObject(_)) => {
                self.add(ty, format!("a worker function's {what} cannot be a trait object: its bytes have no type"));
            }
            _ => {}
        }
    }
}
