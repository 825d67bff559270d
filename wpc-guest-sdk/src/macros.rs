//! The declarative macros; `wpc-guest-macros` defines the procedural ones.

/// Reads a constant that the module needs, as a `Result<T, GuestError>`.
///
/// The constant's name and type are recorded in the module and listed by the host. The host rejects a constant of another
/// type when it is defined, and a module that declares another type for a defined constant. A call that reads the
/// constant while it is not defined, and returns the error, ends with `constant_not_defined`, which names function and
/// constant; other functions of the module are not affected. A type without [`Schema`](trait@crate::Schema) is not checked.
/// Use [`constant()`](fn@crate::constant) for names that are computed at run time and for constants that may be missing.
///
/// ```
/// fn limit() -> Result<u32, wpc::GuestError> {
///     wpc::constant!("LIMIT": u32)
/// }
/// ```
#[macro_export]
macro_rules! constant {
    ($name:literal : $ty:ty) => {{
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[allow(unused_imports, reason = "the type may have a schema")]
            use $crate::__private::NoSchema as _;
            const __WPC_RECORD: $crate::__private::Record<'static> =
                $crate::__private::Record::Constant {
                    name: $name,
                    ty: $crate::__private::Probe::<$ty>::SCHEMA,
                };
            #[used]
            #[unsafe(link_section = "wpc")]
            static __WPC_BYTES: [u8; __WPC_RECORD.encoded_len()] = __WPC_RECORD.encode();
        };
        const _: () = assert!($crate::__private::is_valid_name($name), "a constant's name must have between 1 and 255 ASCII letters, digits or underscores, and not start with a digit");
        $crate::constant::<$ty>($name)
    }};
    ($name:literal) => {
        ::core::compile_error!(::core::concat!(
            "expected a type for the constant, so that the host can check it; write `wpc::constant!(\"",
            $name,
            "\": String)`"
        ))
    };
}

/// Defines the panic handler of a guest without the standard library, which reports the message and its location to the
/// caller. Native builds use the standard library's handler instead.
///
/// ```
/// wpc::panic_handler!();
/// # fn main() {}
/// ```
#[cfg(any(not(feature = "std"), not(target_arch = "wasm32")))]
#[macro_export]
macro_rules! panic_handler {
    () => {
        #[cfg(target_arch = "wasm32")]
        #[panic_handler]
        fn __wpc_panic_handler(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::panic(info)
        }
    };
}

/// With the standard library, which defines a handler itself, this is a compile error.
#[cfg(all(feature = "std", target_arch = "wasm32"))]
#[macro_export]
macro_rules! panic_handler {
    () => {
        ::core::compile_error!(
            "the standard library already defines a panic handler; build `wpc-guest-sdk` with `default-features = false`"
        );
    };
}

/// Logs at [`Level::Error`](crate::Level::Error), with the arguments of `format!`.
///
/// ```
/// # let (host, item, count) = (wpc::testing::Host::new().install(), "tea", 3);
/// wpc::error!("{item} cannot be sold");
/// # assert_eq!(host.logs(), [(wpc::Level::Error, "tea cannot be sold".to_owned())]);
/// ```
#[macro_export]
macro_rules! error {
    ($($arguments:tt)+) => {
        $crate::__private::log_formatted($crate::Level::Error, ::core::format_args!($($arguments)+))
    };
}

/// Logs at [`Level::Warn`](crate::Level::Warn), with the arguments of `format!`.
///
/// ```
/// # let (host, item, count) = (wpc::testing::Host::new().install(), "tea", 3);
/// wpc::warn!("low stock of {item}: {count}");
/// # assert_eq!(host.logs(), [(wpc::Level::Warn, "low stock of tea: 3".to_owned())]);
/// ```
#[macro_export]
macro_rules! warn {
    ($($arguments:tt)+) => {
        $crate::__private::log_formatted($crate::Level::Warn, ::core::format_args!($($arguments)+))
    };
}

/// Logs at [`Level::Info`](crate::Level::Info), with the arguments of `format!`.
///
/// ```
/// # let (host, item, count) = (wpc::testing::Host::new().install(), "tea", 3);
/// wpc::info!("sold {count} of {}", item.to_uppercase());
/// # assert_eq!(host.logs(), [(wpc::Level::Info, "sold 3 of TEA".to_owned())]);
/// ```
#[macro_export]
macro_rules! info {
    ($($arguments:tt)+) => {
        $crate::__private::log_formatted($crate::Level::Info, ::core::format_args!($($arguments)+))
    };
}

/// Logs at [`Level::Debug`](crate::Level::Debug), with the arguments of `format!`.
///
/// ```
/// # let (host, item, count) = (wpc::testing::Host::new().install(), "tea", 3);
/// wpc::debug!("looking for {item:?}");
/// # assert_eq!(host.logs(), [(wpc::Level::Debug, "looking for \"tea\"".to_owned())]);
/// ```
#[macro_export]
macro_rules! debug {
    ($($arguments:tt)+) => {
        $crate::__private::log_formatted($crate::Level::Debug, ::core::format_args!($($arguments)+))
    };
}

/// Logs at [`Level::Trace`](crate::Level::Trace), with the arguments of `format!`.
///
/// ```
/// # let (host, item, count) = (wpc::testing::Host::new().install(), "tea", 3);
/// wpc::trace!("entering the cellar");
/// # assert_eq!(host.logs(), [(wpc::Level::Trace, "entering the cellar".to_owned())]);
/// ```
#[macro_export]
macro_rules! trace {
    ($($arguments:tt)+) => {
        $crate::__private::log_formatted($crate::Level::Trace, ::core::format_args!($($arguments)+))
    };
}

/// Converts an error into a guest error. It is a macro because method resolution selects the conversion by the traits of
/// the error's concrete type.
#[doc(hidden)]
#[macro_export]
macro_rules! guest_error {
    ($error:expr, $location:expr) => {{
        #[allow(unused_imports, reason = "method resolution selects some of them")]
        use $crate::__private::{
            ChainOfAny as _, ChainOfError as _, DetailOfSchema as _, DetailOfVariant as _,
            NoDetail as _,
        };
        let mut guest_error = ($crate::__private::Caught(&$error)).into_guest_error($location);
        (&$crate::__private::Detail(&$error)).add_to(&mut guest_error);
        guest_error
    }};
}
