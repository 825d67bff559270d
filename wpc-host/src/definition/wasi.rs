//! What of WASI preview 1 a definition is granted, and which import needs which piece. Nothing here
//! runs: sandboxes make contexts of it.

use crate::capability::Capability;
use crate::error::Error;
use crate::system::offload::foreign;
use crate::system::os_limits;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The pieces of WASI preview 1 that a definition is granted, by
/// [`WasmModule::grant_wasi`](crate::WasmModule::grant_wasi). None at first; each method adds one.
///
/// Clocks and sleep are granted by [`Capability::Clock`](crate::Capability::Clock), randomness by
/// [`Capability::Random`](crate::Capability::Random), as for guests without WASI. A module that
/// imports from a piece it was not granted is refused when it is defined. There are no sockets.
///
/// ```
/// use wpc_host::{Capability, Output, Wasi, WasmModule};
///
/// # let bytes = b"".as_slice();
/// let module = WasmModule::new(bytes)
///     .grant_wasi(
///         Wasi::new()
///             .environment([("LANG", "en")])
///             .stdout(Output::events())
///             .read_directory("/usr/share/dict", "/words"),
///     )
///     .grant(Capability::Random);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Wasi {
    pub(crate) arguments: Option<Vec<String>>,
    pub(crate) environment: Option<Vec<(String, String)>>,
    pub(crate) stdin: Option<Arc<[u8]>>,
    pub(crate) stdout: Option<Output>,
    pub(crate) stderr: Option<Output>,
    pub(crate) directories: Vec<Directory>,
}

/// A directory of the host's, as a guest sees it.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(crate) host: PathBuf,
    pub(crate) guest: String,
    pub(crate) is_writable: bool,
    /// Open since the definition was made: what is put in its place later is not what was granted.
    handle: Option<Arc<File>>,
}

impl Directory {
    /// Where a sandbox finds it.
    pub(crate) fn path(&self) -> PathBuf {
        #[cfg(target_os = "linux")]
        if let Some(handle) = &self.handle {
            use std::os::fd::AsRawFd as _;
            let by_handle = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
            if by_handle.exists() {
                return by_handle;
            }
        }
        self.host.clone()
    }
}

/// Keeps a directory open, where that is of use.
fn open_directory(host: &Path) -> std::io::Result<Option<File>> {
    if cfg!(target_os = "linux") { File::open(host).map(Some) } else { Ok(None) }
}

/// The most directories one definition may be granted.
const MAX_DIRECTORIES: usize = 64;

/// Where a guest's standard output goes. What a call writes counts as its log lines do, see
/// [`Limits::log`](crate::Limits::log).
#[derive(Clone)]
pub struct Output(pub(crate) Target);

#[derive(Clone)]
pub(crate) enum Target {
    Events,
    Writer(Arc<Writer>),
    Nowhere,
}

/// The embedder's writer, whose drop is the embedder's code too.
pub(crate) struct Writer(pub(crate) Mutex<Option<Box<dyn Write + Send>>>);

impl Drop for Writer {
    fn drop(&mut self) {
        let writer = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        foreign(move || drop(writer));
    }
}

impl Output {
    /// Each line is an event [`GuestLog`](crate::EventDetails::GuestLog) of the level `stdout` or
    /// `stderr`. What a call leaves without a line's end is one too when the call ends.
    #[must_use]
    pub fn events() -> Self {
        Self(Target::Events)
    }

    /// Bytes are written as they come, by every sandbox of the definition, one write at a time. The
    /// writer runs on a worker's thread, one at a time: while it blocks, that worker's other calls wait,
    /// and other calls that write wait too, each until its own limit. It may use the pool, and a local worker of its own. An
    /// error or a panic of it reaches the guest as an error.
    #[must_use]
    pub fn writer(writer: impl Write + Send + 'static) -> Self {
        Self(Target::Writer(Arc::new(Writer(Mutex::new(Some(Box::new(writer)))))))
    }

    /// What is written is forgotten.
    #[must_use]
    pub fn discard() -> Self {
        Self(Target::Nowhere)
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Target::Events => "Output::events()",
            Target::Writer(_) => "Output::writer(..)",
            Target::Nowhere => "Output::discard()",
        })
    }
}

impl Wasi {
    /// No piece, beyond ending the program and yielding.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What programs import through their language's standard library whether they use it or not,
    /// with nothing in it: no arguments, an empty environment, an empty input; what they print becomes
    /// events.
    #[must_use]
    pub fn minimal() -> Self {
        let nothing: [&str; 0] = [];
        Self::new()
            .arguments(nothing)
            .environment(nothing.map(|name| (name, "")))
            .stdin([].as_slice())
            .stdout(Output::events())
            .stderr(Output::events())
    }

    /// The program's arguments, its own name first where it expects one.
    #[must_use]
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments = Some(arguments.into_iter().map(Into::into).collect());
        self
    }

    /// The environment's variables. The host's own are not passed on.
    #[must_use]
    pub fn environment(
        mut self,
        variables: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.environment = Some(variables.collect());
        self
    }

    /// What the guest can read from its standard input. Each sandbox begins at its first byte, so
    /// that with [`isolate_calls`](crate::WasmModule::isolate_calls) each call does.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Where standard output goes.
    #[must_use]
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = Some(output);
        self
    }

    /// Where standard error goes.
    #[must_use]
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = Some(output);
        self
    }

    /// A directory with all that is below it, which the guest finds at `guest` and can read. No path
    /// and no symbolic link leads out of it. It is opened when the definition is made. At most 64.
    #[must_use]
    pub fn read_directory(self, host: impl AsRef<Path>, guest: impl Into<String>) -> Self {
        self.directory(host, guest, false)
    }

    /// A directory that the guest can write to as well. How much, is not bounded.
    #[must_use]
    pub fn write_directory(self, host: impl AsRef<Path>, guest: impl Into<String>) -> Self {
        self.directory(host, guest, true)
    }

    fn directory(
        mut self,
        host: impl AsRef<Path>,
        guest: impl Into<String>,
        is_writable: bool,
    ) -> Self {
        let host = host.as_ref().to_owned();
        let guest = guest.into();
        self.directories.push(Directory { host, guest, is_writable, handle: None });
        self
    }

    /// The grant with its directories open; `what` is granted it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`] with everything that is wrong with it; [`Error::OsLimit`] where the process may not open
    /// so many.
    pub(crate) fn open(mut self, what: &str) -> Result<Arc<Self>, Error> {
        let mut problems = Vec::new();
        if self.directories.len() > MAX_DIRECTORIES {
            problems.push(format!("{what} is granted more than {MAX_DIRECTORIES} directories"));
        }
        let has_nul = |text: &str| text.contains('\0');
        if self.arguments.iter().flatten().any(|argument| has_nul(argument)) {
            problems.push(format!("an argument of {what} has a NUL in it"));
        }
        for (name, value) in self.environment.iter().flatten() {
            if name.is_empty() || name.contains('=') || has_nul(name) || has_nul(value) {
                problems.push(format!("the environment of {what} cannot have {name:?}: a name is not empty and has no `=`, and neither it nor its value has a NUL"));
            }
        }
        if problems.is_empty() {
            let what = format_args!("what {what} is granted");
            os_limits::check_files(what, self.directories.len())?;
        }
        for Directory { host, guest, handle, .. } in &mut self.directories {
            if guest.is_empty() || guest.contains('\0') {
                problems.push(format!("{what} cannot find a directory at {guest:?}"));
            }
            let shown = host.display();
            match std::fs::metadata(&host) {
                Ok(found) if found.is_dir() => match open_directory(host) {
                    Ok(opened) => *handle = opened.map(Arc::new),
                    Err(error) => problems.push(format!(
                        "the directory `{shown}`, granted to {what}, cannot be opened: {error}"
                    )),
                },
                Ok(_) => problems.push(format!("`{shown}`, granted to {what}, is no directory")),
                Err(error) => problems.push(format!(
                    "the directory `{shown}`, granted to {what}, is not there: {error}"
                )),
            }
        }
        if problems.is_empty() {
            Ok(Arc::new(self))
        } else {
            Err(Error::InvalidOptions { problems })
        }
    }

    /// Whether it has the piece.
    pub(crate) fn has(&self, piece: Piece) -> bool {
        let has_directories = !self.directories.is_empty();
        match piece {
            Piece::Process => true,
            Piece::Arguments => self.arguments.is_some(),
            Piece::Environment => self.environment.is_some(),
            Piece::Input => self.stdin.is_some() || has_directories,
            Piece::Output => self.stdout.is_some() || self.stderr.is_some() || has_directories,
            Piece::Descriptors => self.has(Piece::Input) || self.has(Piece::Output),
            Piece::Directories => has_directories,
        }
    }
}

/// What is granted at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Piece {
    /// Ending the program, yielding: whoever has WASI at all has this.
    Process,
    Arguments,
    Environment,
    /// Reading from the standard input or a file.
    Input,
    /// Writing to the standard output, the standard error, or a file.
    Output,
    /// Something that is read or written.
    Descriptors,
    Directories,
}

impl Piece {
    /// The method of [`Wasi`] that grants it.
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Process => "new",
            Self::Arguments => "arguments",
            Self::Environment => "environment",
            Self::Input => "stdin",
            Self::Output => "stdout",
            Self::Descriptors => "minimal",
            Self::Directories => "read_directory",
        }
    }
}

/// What an import of WASI needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Piece(Piece),
    Capability(Capability),
}

/// The import module of preview 1.
pub(crate) const WASI_MODULE: &str = "wasi_snapshot_preview1";

/// What an import of preview 1 needs; `None` for one that nobody gets.
pub(crate) fn need(name: &str) -> Option<Need> {
    Some(match name {
        "args_get" | "args_sizes_get" => Need::Piece(Piece::Arguments),
        "environ_get" | "environ_sizes_get" => Need::Piece(Piece::Environment),
        "clock_res_get" | "clock_time_get" | "poll_oneoff" => Need::Capability(Capability::Clock),
        "random_get" => Need::Capability(Capability::Random),
        "proc_exit" | "proc_raise" | "sched_yield" => Need::Piece(Piece::Process),
        "fd_read" => Need::Piece(Piece::Input),
        "fd_write" => Need::Piece(Piece::Output),
        "fd_close"
        | "fd_fdstat_get"
        | "fd_fdstat_set_flags"
        | "fd_fdstat_set_rights"
        | "fd_filestat_get"
        | "fd_seek"
        | "fd_tell"
        | "fd_renumber"
        | "fd_prestat_get"
        | "fd_prestat_dir_name" => Need::Piece(Piece::Descriptors),
        "fd_advise"
        | "fd_allocate"
        | "fd_datasync"
        | "fd_sync"
        | "fd_pread"
        | "fd_pwrite"
        | "fd_readdir"
        | "fd_filestat_set_size"
        | "fd_filestat_set_times"
        | "path_create_directory"
        | "path_filestat_get"
        | "path_filestat_set_times"
        | "path_link"
        | "path_open"
        | "path_readlink"
        | "path_remove_directory"
        | "path_rename"
        | "path_symlink"
        | "path_unlink_file" => Need::Piece(Piece::Directories),
        _ => return None,
    })
}
