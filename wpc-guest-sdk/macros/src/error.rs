//! `#[derive(wpc::Error)]`: the name of an error's variant, and the conversion into a `GuestError`.

use crate::mistakes::Mistakes;
use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt as _;
use syn::{Data, DeriveInput};

pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    let input = match syn::parse2::<DeriveInput>(tokens) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let mut mistakes = Mistakes::default();
    if !input.generics.params.is_empty() {
        mistakes.add(
            &input.generics,
            "a function's error cannot be generic: the caller does not know its parameters; use a concrete type",
        );
    }
    let variant = match &input.data {
        Data::Struct(_) => quote! { "" },
        // A match on a reference to an empty enum would need an arm.
        Data::Enum(data) if data.variants.is_empty() => quote! { match *self {} },
        Data::Enum(data) => {
            let arms = data.variants.iter().map(|variant| {
                let (ident, name) = (&variant.ident, variant.ident.unraw().to_string());
                quote! { Self::#ident { .. } => #name }
            });
            quote! { match self { #(#arms),* } }
        }
        Data::Union(_) => {
            mistakes.add(&input.ident, "a union cannot be a function's error; use an enum");
            TokenStream::new()
        }
    };
    if let Some(errors) = mistakes.into_tokens() {
        return errors;
    }
    let ident = &input.ident;
    quote! {
        #[automatically_derived]
        impl ::wpc::__private::Variant for #ident {
            fn variant(&self) -> &'static str {
                #variant
            }
        }

        #[automatically_derived]
        impl ::core::convert::From<#ident> for ::wpc::GuestError {
            fn from(error: #ident) -> Self {
                ::wpc::__private::guest_error!(error, concat!(file!(), ":", line!()))
            }
        }
    }
}
