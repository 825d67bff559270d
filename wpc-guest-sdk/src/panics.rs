//! Reports a panic's message and location to the host before the trap.

use core::panic::PanicInfo;

/// Reports a panic to the host and traps, as a panic handler without the standard library must.
///
/// [`panic_handler!`](crate::panic_handler!) defines such a handler. Call this function from a custom one:
///
/// ```
/// # #[cfg(target_arch = "wasm32")]
/// #[panic_handler]
/// fn handler(info: &core::panic::PanicInfo<'_>) -> ! {
///     wpc::error!("the sandbox ends");
///     wpc::panic(info)
/// }
/// ```
///
/// A panic during the report traps at once. Outside a sandbox the message goes to standard error and the process aborts.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    #[cfg(target_arch = "wasm32")]
    {
        use crate::one_thread::OneThread;
        use alloc::string::String;
        use core::cell::Cell;
        use core::fmt::Write as _;

        // Formatting the message allocates, which panics again if the memory is exhausted.
        static REPORTING: OneThread<Cell<bool>> = OneThread(Cell::new(false));
        if !REPORTING.0.replace(true) {
            let message = info.message();
            let mut formatted = String::new();
            let message = message.as_str().unwrap_or_else(|| {
                // If a part fails to format, the parts before it are reported.
                let _ = write!(formatted, "{message}");
                &formatted
            });
            crate::import::panic(&crate::text::panicked(info.location(), Some(message)));
        }
        core::arch::wasm32::unreachable()
    }
    #[cfg(not(target_arch = "wasm32"))]
    {
        std::eprintln!("{info}");
        std::process::abort()
    }
}

/// Installs a panic hook that reports panics to the host. Only the first call has an effect, so that it does not replace
/// a hook that the guest installs later.
#[cfg(all(target_arch = "wasm32", feature = "std"))]
pub(crate) fn install_hook() {
    use crate::one_thread::OneThread;
    use core::cell::Cell;

    static INSTALLED: OneThread<Cell<bool>> = OneThread(Cell::new(false));
    if !INSTALLED.0.replace(true) {
        std::panic::set_hook(std::boxed::Box::new(|panic| {
            crate::import::panic(&crate::text::panicked(panic.location(), panic.payload_as_str()));
        }));
    }
}
