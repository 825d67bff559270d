//! The names that the contract reserves, and the rule for the names that it leaves to its users.

/// The export that hands out the guest's argument buffer: `(len: i32) -> i32`.
///
/// The number at its end is the guest's [`crate::VERSION`], so that a guest of another version is
/// recognised by any language's plain export, without running it.
pub const BUFFER_EXPORT: &str = "wpc_buffer_v1";

/// What every version's [`BUFFER_EXPORT`] starts with.
pub const BUFFER_EXPORT_PREFIX: &str = "wpc_buffer_v";

/// The export that prepares a sandbox before its first call: `() -> i64`, a reply like a function's.
pub const INIT_EXPORT: &str = "wpc_init";

/// What the export of a function may start with; the function's name follows: `wpc:fn:log` is the function `log`.
///
/// In most languages the name of an export is a linker symbol too. The prefix keeps the symbol apart from every
/// symbol of a C library, a toolchain or this contract, whatever the function is called. Exports without it keep
/// working.
pub const FUNCTION_EXPORT_PREFIX: &str = "wpc:fn:";

/// The import module of the host's own functions.
pub const HOST_MODULE: &str = "wpc";

/// What the import module of a typed dependency starts with; the alias follows.
pub const TYPED_DEPENDENCY_PREFIX: &str = "wpc:";

/// The import module of the embedder's own functions. It can be no alias: it has a hyphen.
pub const HOST_FUNCTIONS_MODULE: &str = "wpc-host";

/// `(name_ptr, name_len, out_ptr, out_cap) -> i64`: a constant's value.
pub const CONSTANT_IMPORT: &str = "wpc_constant";

/// `(out_ptr, out_cap) -> i64`: the reply that did not fit the room given to a typed dependency.
pub const TAKE_IMPORT: &str = "wpc_take";

/// `(level, ptr, len)`: a line for the host's log.
pub const LOG_IMPORT: &str = "wpc_log";

/// `(ptr, len)`: why the trap that follows will happen.
pub const PANIC_IMPORT: &str = "wpc_panic";

/// `(ptr, len)`: random bytes; needs the capability `random`.
pub const RANDOM_IMPORT: &str = "wpc_random";

/// `(kind) -> i64`: a clock in nanoseconds; needs the capability `clock`.
pub const CLOCK_IMPORT: &str = "wpc_clock";

/// [`CONSTANT_IMPORT`] answers this where no constant has the name.
pub const NOT_DEFINED: i64 = -1;

/// The longest name of a function, dependency or constant, in bytes.
///
/// Names travel in errors and events; a bound keeps a hostile one from flooding them.
pub const MAX_NAME_LEN: usize = 255;

/// The rule for names, as error messages tell it.
pub const NAME_RULE: &str =
    "a letter or underscore, then letters, digits or underscores, at most 255 bytes";

/// Whether `name` may name a function, a dependency or a constant: see [`NAME_RULE`].
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

/// The rule for the names of exports under which functions may be defined, see [`is_export_name`].
pub const EXPORT_NAME_RULE: &str =
    "between 1 and 255 bytes, without control characters and bidirectional controls";

/// Whether the export of that name may be defined under it, with all the others of its module. Such a name is a
/// toolchain's choice, as `get-answer` or `ns:pkg/iface#fn`, so the rule refuses only what could forge a line
/// of a log.
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

/// How loud a guest's log line is, as [`LOG_IMPORT`]'s first argument tells it.
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
    /// Something failed.
    Error = 0,
    /// Something looks wrong.
    Warn = 1,
    /// Something worth knowing happened.
    Info = 2,
    /// Something worth knowing for who looks for a fault.
    Debug = 3,
    /// Everything else.
    Trace = 4,
}

impl LogLevel {
    /// The level of a number a guest passed; numbers beyond the last are [`LogLevel::Trace`].
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

/// Which clock [`CLOCK_IMPORT`] is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum ClockKind {
    /// Nanoseconds since 1970-01-01 00:00 UTC.
    Wall = 0,
    /// Nanoseconds since some fixed moment in the past; never goes backwards.
    Monotonic = 1,
}
