//! The imports of WASI preview 1, and the part of a grant that each requires.

use super::grant::Wasi;
use crate::capability::Capability;

/// A part of WASI that can be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Piece {
    /// Exiting and yielding. Every WASI grant includes it.
    Process,
    Arguments,
    Environment,
    /// Reading from the standard input or a file.
    Input,
    /// Writing to the standard output, the standard error, or a file.
    Output,
    /// Operations on any descriptor that is read or written.
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

/// Whether a guest with this grant may wait in the import, in which case it is suspended. Sleeping needs tokio timers.
pub(crate) fn may_wait(import: &str, granted: Option<&Wasi>) -> bool {
    match import {
        "poll_oneoff" => cfg!(all(feature = "tokio", feature = "wasi")),
        import => granted.is_some_and(|granted| granted.may_wait(import)),
    }
}

/// What an import of WASI requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Piece(Piece),
    Capability(Capability),
}

/// The import module of preview 1.
pub(crate) const WASI_MODULE: &str = "wasi_snapshot_preview1";

/// What an import of preview 1 requires; `None` if it is not supported.
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
