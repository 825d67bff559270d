//! How a panic's message and its place reach the caller: they are told before the trap.

use core::panic::PanicInfo;

/// Tells the host of a panic and traps: what a panic handler without the standard library does.
///
/// [`panic_handler!`](crate::panic_handler!) makes the handler. This is for one that does more:
///
/// ```
/// # #[cfg(target_arch = "wasm32")]
/// #[panic_handler]
/// fn handler(info: &core::panic::PanicInfo<'_>) -> ! {
///     wpc::error!("this sandbox is over");
///     wpc::panic(info)
/// }
/// ```
///
/// A panic while the panic is told traps at once. Outside a sandbox the message goes to standard
/// error and the process aborts.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    #[cfg(target_arch = "wasm32")]
    {
        use crate::one_thread::OneThread;
        use alloc::string::String;
        use core::cell::Cell;
        use core::fmt::Write as _;

        // An allocator that has no memory left panics again when the text is made.
        static TELLING: OneThread<Cell<bool>> = OneThread(Cell::new(false));
        if !TELLING.0.replace(true) {
            let message = info.message();
            let mut formatted = String::new();
            let message = message.as_str().unwrap_or_else(|| {
                // What was written until an error is what can be told.
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

/// Makes the standard library tell of panics. Called before every first call; once is enough, and
/// later an author's own hook may be in its place.
#[cfg(all(target_arch = "wasm32", feature = "std"))]
pub(crate) fn tell_of_panics() {
    use crate::one_thread::OneThread;
    use core::cell::Cell;

    static TOLD: OneThread<Cell<bool>> = OneThread(Cell::new(false));
    if !TOLD.0.replace(true) {
        std::panic::set_hook(std::boxed::Box::new(|panic| {
            crate::import::panic(&crate::text::panicked(panic.location(), panic.payload_as_str()));
        }));
    }
}
