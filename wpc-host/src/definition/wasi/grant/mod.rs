//! The WASI grant of a definition. Sandboxes create their WASI contexts from it.

mod directory;
mod input;
mod output;

pub(crate) use directory::Directory;
pub use input::Input;
pub(crate) use input::Source;
pub use output::Output;
pub(crate) use output::{Target, Writer};

use super::Piece;
use crate::definition::WasmModule;
use crate::error::Error;
use crate::system::os_limits;
use directory::{MAX_DIRECTORIES, open_directory};
use std::path::Path;
use std::sync::Arc;

/// The parts of WASI preview 1 that a definition is granted by
/// [`WasmModule::grant_wasi`](crate::WasmModule::grant_wasi). Initially there are none; each method adds one.
///
/// Clocks and sleep are granted by [`Capability::Clock`](crate::Capability::Clock), randomness by
/// [`Capability::Random`](crate::Capability::Random), as for guests without WASI. A module that
/// imports from a part that it was not granted is refused when it is defined. Sockets are not supported. Requires the feature
/// `wasi`.
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
    pub(crate) stdin: Option<Stdin>,
    pub(crate) stdout: Option<Output>,
    pub(crate) stderr: Option<Output>,
    pub(crate) directories: Vec<Directory>,
}

/// The content of standard input.
#[derive(Debug, Clone)]
pub(crate) enum Stdin {
    /// For each sandbox from the first byte.
    Bytes(Arc<[u8]>),
    /// Shared by all sandboxes.
    Stream(Input),
}

impl Wasi {
    /// A grant that allows only exiting and yielding the processor.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The parts that standard libraries of languages import even if a program does not use them, without content: no
    /// arguments, an empty environment and an empty input. Output becomes events.
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

    /// The arguments of the program, including its name as the first one if it expects that.
    #[must_use]
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments = Some(arguments.into_iter().map(Into::into).collect());
        self
    }

    /// The environment variables. Those of the host are not passed to the guest.
    #[must_use]
    pub fn environment(
        mut self,
        variables: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.environment = Some(variables.collect());
        self
    }

    /// The content of standard input. Each sandbox reads it from the first byte, and so does each call with
    /// [`isolate_calls`](crate::WasmModule::isolate_calls).
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.stdin = Some(Stdin::Bytes(bytes.into()));
        self
    }

    /// Standard input as a stream, which guests read while it arrives. This and [`stdin`](Self::stdin) replace each other.
    /// Functions that read it [can suspend](crate::FunctionInformation::can_suspend).
    #[must_use]
    pub fn stdin_stream(mut self, input: Input) -> Self {
        self.stdin = Some(Stdin::Stream(input));
        self
    }

    /// The destination of standard output.
    #[must_use]
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = Some(output);
        self
    }

    /// The destination of standard error.
    #[must_use]
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = Some(output);
        self
    }

    /// A directory that the guest can read at `guest`, with everything below it. No path and no symbolic link leads out of
    /// it. It is opened when the function is defined. A grant has at most 64 directories.
    #[must_use]
    pub fn read_directory(self, host: impl AsRef<Path>, guest: impl Into<String>) -> Self {
        self.directory(host, guest, false)
    }

    /// A directory that the guest can read and write. The amount of data that it can write is not limited.
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

    /// Opens the directories of the grant. Errors name the definition by `what`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`] with all problems of the grant; [`Error::OsLimit`] if the process cannot open that many
    /// directories.
    pub(crate) fn open(mut self, what: &str) -> Result<Arc<Self>, Error> {
        let mut problems = Vec::new();
        if self.directories.len() > MAX_DIRECTORIES {
            problems.push(format!("{what} is granted more than {MAX_DIRECTORIES} directories"));
        }
        let has_nul = |text: &str| text.contains('\0');
        if self.arguments.iter().flatten().any(|argument| has_nul(argument)) {
            problems.push(format!("an argument of {what} contains a NUL character"));
        }
        for (name, value) in self.environment.iter().flatten() {
            if name.is_empty() || name.contains('=') || has_nul(name) || has_nul(value) {
                problems.push(format!("the environment of {what} cannot contain {name:?}: a name must not be empty or contain `=`, and neither the name nor its value may contain a NUL character"));
            }
        }
        if problems.is_empty() {
            let what = format_args!("the directories granted to {what}");
            os_limits::check_files(what, self.directories.len())?;
        }
        for Directory { host, guest, handle, .. } in &mut self.directories {
            if guest.is_empty() || guest.contains('\0') {
                problems.push(format!("{what} cannot have a directory at {guest:?}: a path must not be empty or contain a NUL character"));
            }
            let shown = host.display();
            match std::fs::metadata(&host) {
                Ok(found) if found.is_dir() => match open_directory(host) {
                    Ok(opened) => *handle = opened.map(Arc::new),
                    Err(error) => problems.push(format!(
                        "the directory `{shown}`, granted to {what}, cannot be opened: {error}"
                    )),
                },
                Ok(_) => problems.push(format!("`{shown}`, granted to {what}, is not a directory")),
                Err(error) => problems.push(format!(
                    "the directory `{shown}`, granted to {what}, cannot be accessed: {error}"
                )),
            }
        }
        if problems.is_empty() {
            Ok(Arc::new(self))
        } else {
            Err(Error::InvalidOptions { problems })
        }
    }

    pub(crate) fn directory_count(&self) -> usize {
        self.directories.len()
    }

    /// Whether a guest may wait in the import because of what is granted here.
    pub(crate) fn may_wait(&self, import: &str) -> bool {
        let is_writer = |output: &Option<Output>| matches!(output, Some(Output(Target::Writer(_))));
        match import {
            "fd_read" => matches!(self.stdin, Some(Stdin::Stream(_))),
            "fd_write" => is_writer(&self.stdout) || is_writer(&self.stderr),
            // The opened file may be a named pipe. Without `path_open`, no file can be read or written.
            "path_open" => !self.directories.is_empty(),
            _ => false,
        }
    }

    /// Whether the part is granted.
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

impl WasmModule {
    /// Grants parts of WASI preview 1. Replaces an earlier WASI grant. Requires the feature `wasi`.
    #[must_use]
    pub fn grant_wasi(mut self, wasi: Wasi) -> Self {
        self.grants.wasi = Some(wasi);
        self
    }
}
