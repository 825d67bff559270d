//! `#[derive(wpc::Error)]`: the name of an error's variant, and its way into a `GuestError`.

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
            "an error that leaves a guest has no parameters: the caller could not know what they are",
        );
    }
    let variant = match &input.data {
        Data::Struct(_) => quote! { "" },
        // Matching on a reference to an empty enum would need an arm.
        Data::Enum(data) if data.variants.is_empty() => quote! { match *self {} },
        Data::Enum(data) => {
            let arms = data.variants.iter().map(|variant| {
                let (ident, name) = (&variant.ident, variant.ident.unraw().to_string());
                quote! { Self::#ident { .. } => #name }
            });
            quote! { match self { #(#arms),* } }
        }
        Data::Union(_) => {
            mistakes.add(&input.ident, "a union cannot be an error of a function");
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
