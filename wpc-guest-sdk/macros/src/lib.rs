//! The macros of `wpc-guest-sdk`, which re-exports and documents them.
//!
//! Each macro has three steps: it parses the tokens, checks them and reports all mistakes at once, and expands the result.
#![forbid(unsafe_code)]

mod error;
mod function;
mod import;
mod mistakes;
mod types;

use proc_macro::TokenStream;

/// Exports a function to the host; see the crate documentation of `wpc`.
#[proc_macro_attribute]
pub fn function(attribute: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(attribute.into(), item.into()).into()
}

/// Makes a function the sandbox's init hook; see the crate documentation of `wpc`.
#[proc_macro_attribute]
pub fn init(attribute: TokenStream, item: TokenStream) -> TokenStream {
    function::expand_init(attribute.into(), item.into()).into()
}

/// Derives `wpc::Error`; see the crate documentation of `wpc`.
#[proc_macro_derive(Error)]
pub fn error(item: TokenStream) -> TokenStream {
    error::expand(item.into()).into()
}

/// Declares functions of the host; see the crate documentation of `wpc`.
#[proc_macro]
pub fn host(tokens: TokenStream) -> TokenStream {
    import::expand_host(tokens.into()).into()
}

/// Declares functions of the pool; see the crate documentation of `wpc`.
#[proc_macro]
pub fn functions(tokens: TokenStream) -> TokenStream {
    import::expand_functions(tokens.into()).into()
}

/// Declares functions of a dependency; see the crate documentation of `wpc`.
#[proc_macro]
pub fn import(tokens: TokenStream) -> TokenStream {
    import::expand(tokens.into()).into()
}
