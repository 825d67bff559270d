//! The names that the contract reserves, and the rule for all other names.

/// The export that returns a buffer for the arguments: `(len: i32) -> i32`.
///
/// The number at its end is the guest's [`crate::VERSION`], so that the host recognises a guest of another version
/// without running it.
pub const BUFFER_EXPORT: &str = "wpc_buffer_v1";

/// The prefix of [`BUFFER_EXPORT`] in every version.
pub const BUFFER_EXPORT_PREFIX: &str = "wpc_buffer_v";

/// The export that initialises a sandbox before its first call: `() -> i64`, with a reply like a function's.
pub const INIT_EXPORT: &str = "wpc_init";

/// An optional prefix of a function's export; the function's name follows: `wpc:fn:log` is the function `log`.
///
/// In most languages the name of an export is also a linker symbol. The prefix prevents conflicts with symbols of a C
/// library, a toolchain or this contract. Exports without it work too.
pub const FUNCTION_EXPORT_PREFIX: &str = "wpc:fn:";

/// The import module of the functions that the contract defines.
pub const HOST_MODULE: &str = "wpc";

/// The prefix of a typed dependency's import module; the alias follows.
pub const TYPED_DEPENDENCY_PREFIX: &str = "wpc:";

/// The import module of the embedder's functions. Its hyphen prevents a conflict with an alias.
pub const HOST_FUNCTIONS_MODULE: &str = "wpc-host";

/// The import module of other functions of the pool, which are called with their own sandboxes. Its hyphen prevents a
/// conflict with an alias.
pub const CALLED_FUNCTIONS_MODULE: &str = "wpc-functions";

/// `(name_ptr, name_len, ptr, len, buffer_ptr, buffer_len) -> i64`: calls another function of the pool by a name that is computed
/// at run time; needs a grant of that function.
pub const CALL_IMPORT: &str = "wpc_call";

/// `(name_ptr, name_len, buffer_ptr, buffer_len) -> i64`: reads a constant.
pub const CONSTANT_IMPORT: &str = "wpc_constant";

/// `(buffer_ptr, buffer_len) -> i64`: reads a reply that did not fit the buffer passed with the call.
pub const TAKE_IMPORT: &str = "wpc_take";

/// `(level, ptr, len)`: writes a line to the host's log.
pub const LOG_IMPORT: &str = "wpc_log";

/// `(ptr, len)`: reports the message of the trap that follows.
pub const PANIC_IMPORT: &str = "wpc_panic";

/// `(ptr, len)`: writes random bytes; needs the capability `random`.
pub const RANDOM_IMPORT: &str = "wpc_random";

/// `(kind) -> i64`: reads a clock in nanoseconds; needs the capability `clock`.
pub const CLOCK_IMPORT: &str = "wpc_clock";

/// `(ptr, len)`: yields an encoded item to the caller of a stream. While the caller has too many unread items, the guest
/// is suspended.
pub const YIELD_IMPORT: &str = "wpc_yield";

/// [`CONSTANT_IMPORT`] returns this if the constant is not defined.
pub const NOT_DEFINED: i64 = -1;

/// The longest name of a function, dependency or constant, in bytes.
///
/// Names appear in errors and events; the limit keeps a hostile name from flooding them.
pub const MAX_NAME_LEN: usize = 255;

/// The rule for names, for error messages. It completes "a name must".
pub const NAME_RULE: &str =
    "have between 1 and 255 ASCII letters, digits or underscores, and not start with a digit";

/// Returns whether `name` is a valid name of a function, a dependency or a constant, see [`NAME_RULE`].
///
/// ```
/// assert!(wpc_abi::names::is_valid("resize_image2"));
/// assert!(!wpc_abi::names::is_valid("2nd"));
/// assert!(!wpc_abi::names::is_valid("a-b"));
/// ```
#[must_use]
pub const fn is_valid(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_NAME_LEN || bytes[0].is_ascii_digit() {
        return false;
    }
    let mut at = 0;
    while at < bytes.len() {
        if !(bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_') {
            return false;
        }
        at += 1;
    }
    true
}

/// The rule for export names that can be defined as functions, in the form of [`NAME_RULE`]; see [`is_export_name`].
pub const EXPORT_NAME_RULE: &str =
    "have between 1 and 255 bytes, without control characters and bidirectional controls";

/// Returns whether an export of this name can be defined as a function when all exports of a module are. Such names
/// come from a toolchain, as `get-answer` or `ns:pkg/iface#fn`, so the rule rejects only what could forge a line of a
/// log.
///
/// ```
/// assert!(wpc_abi::names::is_export_name("ns:pkg/iface#fn"));
/// assert!(!wpc_abi::names::is_export_name("two\nlines"));
/// ```
#[must_use]
pub fn is_export_name(name: &str) -> bool {
    let forges = |character: char| {
        character.is_control()
            || matches!(character,
                '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !name.is_empty() && name.len() <= MAX_NAME_LEN && !name.chars().any(forges)
}

/// The level of a guest's log line, the first argument of [`LOG_IMPORT`].
///
/// ```
/// use wpc_abi::names::LogLevel;
///
/// assert_eq!(LogLevel::Warn as i32, 1);
/// assert_eq!(LogLevel::from_wire(1), LogLevel::Warn);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum LogLevel {
    /// A failure, such as a request that could not be served.
    Error = 0,
    /// An unexpected condition in which the guest continues.
    Warn = 1,
    /// An event of normal operation.
    Info = 2,
    /// A detail that helps in debugging.
    Debug = 3,
    /// A detail of a single step, such as a loop's iteration.
    Trace = 4,
}

impl LogLevel {
    /// The level of a number that a guest passed; unknown numbers are [`LogLevel::Trace`].
    ///
    /// ```
    /// use wpc_abi::names::LogLevel;
    ///
    /// assert_eq!(LogLevel::from_wire(99), LogLevel::Trace);
    /// ```
    #[must_use]
    pub const fn from_wire(level: i32) -> Self {
        match level {
            0 => Self::Error,
            1 => Self::Warn,
            2 => Self::Info,
            3 => Self::Debug,
            _ => Self::Trace,
        }
    }
}

/// The clock that [`CLOCK_IMPORT`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum ClockKind {
    /// Nanoseconds since 1970-01-01 00:00 UTC.
    Wall = 0,
    /// Nanoseconds since a fixed moment in the past; never goes backwards.
    Monotonic = 1,
}
