//! `wpc::import!` declares functions of dependencies in a module named like the alias. `wpc::host!` declares functions of
//! the embedder, and `wpc::functions!` those of the pool.

use crate::mistakes::Mistakes;
use crate::types::{schema, schemas};
use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Ident, ReturnType, Signature, Token, Visibility, braced};

/// Any number of modules.
struct Imports(Vec<Dependency>);

impl Parse for Imports {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut dependencies = Vec::new();
        while !input.is_empty() {
            dependencies.push(input.parse()?);
        }
        Ok(Self(dependencies))
    }
}

/// `pub mod alias { fn name(argument: Type) -> Type; … }`
struct Dependency {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    alias: Ident,
    functions: Vec<Declaration>,
}

impl Parse for Dependency {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        input.parse::<Token![mod]>().map_err(|error| {
            syn::Error::new(
                error.span(),
                "expected `mod alias { fn name(…) -> …; }`, where `alias` is that of the dependency",
            )
        })?;
        let alias = input.parse()?;
        let body;
        braced!(body in input);
        let mut functions = Vec::new();
        while !body.is_empty() {
            functions.push(body.parse()?);
        }
        Ok(Self { attributes, visibility, alias, functions })
    }
}

/// `fn name(argument: Type) -> Type;`
struct Declaration {
    attributes: Vec<Attribute>,
    signature: Signature,
}

impl Parse for Declaration {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        let signature = input.parse()?;
        input.parse::<Token![;]>().map_err(|error| {
            syn::Error::new(error.span(), "expected `;`: a declaration has no body")
        })?;
        Ok(Self { attributes, signature })
    }
}

pub(crate) fn expand(tokens: TokenStream) -> TokenStream {
    let Imports(dependencies) = match syn::parse2(tokens) {
        Ok(imports) => imports,
        Err(error) => return error.into_compile_error(),
    };
    let mut mistakes = Mistakes::default();
    let expansion =
        dependencies.iter().map(|dependency| dependency.expansion(&mut mistakes)).collect();
    mistakes.into_tokens().unwrap_or(expansion)
}

/// Functions without a module around them.
struct Declarations(Vec<Declaration>);

impl Parse for Declarations {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut functions = Vec::new();
        while !input.is_empty() {
            functions.push(input.parse()?);
        }
        Ok(Self(functions))
    }
}

pub(crate) fn expand_host(tokens: TokenStream) -> TokenStream {
    expand_declarations(tokens, "host", wpc_abi::names::HOST_FUNCTIONS_MODULE)
}

pub(crate) fn expand_functions(tokens: TokenStream) -> TokenStream {
    expand_declarations(tokens, "", wpc_abi::names::CALLED_FUNCTIONS_MODULE)
}

/// Expands functions of one import module. Errors name them by the alias.
fn expand_declarations(tokens: TokenStream, alias: &str, module: &str) -> TokenStream {
    let Declarations(functions) = match syn::parse2(tokens) {
        Ok(functions) => functions,
        Err(error) => return error.into_compile_error(),
    };
    let mut mistakes = Mistakes::default();
    let expansion =
        functions.iter().map(|function| function.expansion(alias, module, &mut mistakes)).collect();
    mistakes.into_tokens().unwrap_or(expansion)
}

impl Dependency {
    fn expansion(&self, mistakes: &mut Mistakes) -> TokenStream {
        let Self { attributes, visibility, alias, functions } = self;
        let alias_name = alias.unraw().to_string();
        mistakes.check_name("dependency", &alias_name, alias);
        let functions = functions.iter().map(|function| {
            let alias = &alias_name;
            let module = format!("{}{alias}", wpc_abi::names::TYPED_DEPENDENCY_PREFIX);
            function.expansion(alias, &module, mistakes)
        });
        quote! {
            #(#attributes)*
            #visibility mod #alias {
                #[allow(unused_imports, reason = "the declarations may name types of the parent")]
                use super::*;
                #(#functions)*
            }
        }
    }
}

impl Declaration {
    fn expansion(&self, alias: &str, import_module: &str, mistakes: &mut Mistakes) -> TokenStream {
        let Self { attributes, signature } = self;
        let arguments = mistakes.arguments(signature);
        let name = &signature.ident;
        let export = name.unraw().to_string();
        mistakes.check_name("function", &export, name);
        let names = arguments.iter().map(|(name, _)| name).collect::<Vec<_>>();
        let inputs = &signature.inputs;
        let generics = &signature.generics;
        let value = match &signature.output {
            ReturnType::Default => quote! { () },
            ReturnType::Type(_, ty) => quote! { #ty },
        };
        let schemas = schemas(&arguments);
        let result = match &signature.output {
            ReturnType::Default => quote! { ::wpc::__private::Probe::<()>::SCHEMA },
            ReturnType::Type(_, ty) => schema(ty),
        };
        quote! {
            #[cfg(target_arch = "wasm32")]
            const _: () = {
                #[allow(unused_imports, reason = "unused if every type has a schema")]
                use ::wpc::__private::NoSchema as _;
                const __WPC_RECORD: ::wpc::__private::Record<'static> = ::wpc::__private::Record::Import {
                    module: #import_module,
                    name: #export,
                    arguments: #schemas,
                    result: #result,
                };
                #[used]
                #[unsafe(link_section = "wpc")]
                static __WPC_BYTES: [u8; __WPC_RECORD.encoded_len()] = __WPC_RECORD.encode();
            };
            #(#attributes)*
            ///
            /// # Errors
            ///
            /// The error that the function returned; `BadArguments` or `DecodeError` if the types differ.
            pub fn #name #generics (#inputs) -> ::core::result::Result<#value, ::wpc::GuestError> {
                ::wpc::__private::call_dependency(#alias, #export, &(#(#names,)*), |arguments, buffer| {
                    #[cfg(target_arch = "wasm32")]
                    {
                        #[link(wasm_import_module = #import_module)]
                        unsafe extern "C" {
                            #[link_name = #export]
                            fn __wpc_import(arguments: *const u8, len: usize, buffer: *mut u8, capacity: usize) -> i64;
                        }
                        // SAFETY: pointers and lengths are those of the slices.
                        unsafe { __wpc_import(arguments.as_ptr(), arguments.len(), buffer.as_mut_ptr(), buffer.len()) }
                    }
                    #[cfg(not(target_arch = "wasm32"))]
                    ::wpc::__private::faked(#import_module, #export, arguments, buffer)
                })
            }
        }
    }
}
