//! The derive of `Schema`, in one crate for both sides: a type that guest and host share has the same schema on
//! both. `wpc-guest-sdk` and `wpc-host` re-export and document it.
#![forbid(unsafe_code)]

mod case;
mod mistakes;
mod portable;
mod schema;
mod serde;

use proc_macro::TokenStream;
use quote::{ToTokens as _, quote};

/// Derives `wpc::Schema`; see the crate documentation of `wpc`.
#[proc_macro_derive(GuestSchema, attributes(serde))]
pub fn guest_schema(item: TokenStream) -> TokenStream {
    schema::expand(item.into(), &quote! { ::wpc }).into()
}

/// Derives `wpc_host::Schema`; see the crate documentation of `wpc_host`.
#[proc_macro_derive(HostSchema, attributes(serde))]
pub fn host_schema(item: TokenStream) -> TokenStream {
    schema::expand(item.into(), &quote! { ::wpc_host }).into()
}

/// A type with `usize` and `isize` replaced by what they are in a guest.
#[proc_macro]
pub fn portable(ty: TokenStream) -> TokenStream {
    match syn::parse(ty) {
        Ok(ty) => portable::portable(&ty).into_token_stream().into(),
        Err(error) => error.into_compile_error().into(),
    }
}
