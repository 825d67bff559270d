//! The derive of `Schema`, shared by guests and hosts, so that a type has the same schema on both sides. `wpc-abi`
//! re-exports and documents it; `wpc-guest-sdk` and `wpc-host` re-export it under their own names.
#![forbid(unsafe_code)]

mod case;
mod comments;
mod declared;
mod default;
mod mistakes;
mod schema;
mod serde;

use proc_macro::TokenStream;
use quote::quote;

/// Derives `wpc_abi::Schema`; see its documentation.
#[proc_macro_derive(Schema, attributes(schema, serde))]
pub fn shared_schema(item: TokenStream) -> TokenStream {
    schema::expand(item.into(), &quote! { ::wpc_abi }).into()
}

/// Derives `wpc::Schema`; see the documentation of `wpc_abi::Schema`.
#[proc_macro_derive(GuestSchema, attributes(schema, serde))]
pub fn guest_schema(item: TokenStream) -> TokenStream {
    schema::expand(item.into(), &quote! { ::wpc }).into()
}

/// Derives `wpc_host::Schema`; see the documentation of `wpc_abi::Schema`.
#[proc_macro_derive(HostSchema, attributes(schema, serde))]
pub fn host_schema(item: TokenStream) -> TokenStream {
    schema::expand(item.into(), &quote! { ::wpc_host }).into()
}
