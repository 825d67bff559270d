//! What the operating system limits for a process.

/// Something that the operating system limits for a process, see [`Error::OsLimit`](crate::Error::OsLimit).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OsResource {
    /// Parts of the address space with attributes of their own: `vm.max_map_count`.
    MemoryMaps,
    /// Threads of the process, its user or its control group: `ulimit -u`, `pids.max`, `kernel.threads-max`.
    Threads,
    /// Bytes of address space: `ulimit -v`, or what the processor can address.
    AddressSpace,
    /// Open files and the like: `ulimit -n`.
    FileDescriptors,
}

impl OsResource {
    /// So many of it, with their unit.
    pub(crate) fn amount(self, number: u64) -> String {
        let unit = match self {
            Self::MemoryMaps => "memory map",
            Self::Threads => "thread",
            Self::AddressSpace => return format!("{} of address space", self.bare(number)),
            Self::FileDescriptors => "file descriptor",
        };
        format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
    }

    /// So many of it, where the unit is clear.
    pub(crate) fn bare(self, number: u64) -> String {
        match self {
            Self::AddressSpace => format!("{} MiB", number.div_ceil(1 << 20)),
            _ => number.to_string(),
        }
    }

    /// How to come by more, or by with less.
    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Self::MemoryMaps => {
                "raise the limit with `sysctl vm.max_map_count=…`, or use fewer pools, fewer workers or a lower `Options::max_live_instances`"
            }
            Self::Threads => {
                "raise the limit (`ulimit -u`, `pids.max` of the control group, `sysctl kernel.threads-max=…`), or use fewer workers"
            }
            Self::AddressSpace => {
                "raise the limit with `ulimit -v`, or use fewer pools, fewer workers or a lower `Options::max_live_instances`"
            }
            Self::FileDescriptors => {
                "raise the limit with `ulimit -n`, or define fewer modules, or close files"
            }
        }
    }
}
