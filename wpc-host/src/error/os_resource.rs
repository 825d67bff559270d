//! The resources that the operating system limits.

/// A resource that the operating system limits, see [`Error::OsLimit`](crate::Error::OsLimit).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OsResource {
    /// Memory mappings of the process: `vm.max_map_count`.
    MemoryMaps,
    /// Threads of the process, its user or its control group: `ulimit -u`, `pids.max`, `kernel.threads-max`.
    Threads,
    /// Bytes of address space: `ulimit -v`, or the processor's address width.
    AddressSpace,
    /// Open files, sockets and other descriptors: `ulimit -n`.
    FileDescriptors,
}

impl OsResource {
    /// The amount with its unit.
    pub(crate) fn amount(self, number: u64) -> String {
        let unit = match self {
            Self::MemoryMaps => "memory map",
            Self::Threads => "thread",
            Self::AddressSpace => return format!("{} of address space", self.bare(number)),
            Self::FileDescriptors => "file descriptor",
        };
        format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
    }

    /// The amount without its unit, except for address space.
    pub(crate) fn bare(self, number: u64) -> String {
        match self {
            Self::AddressSpace => format!("{} MiB", number.div_ceil(1 << 20)),
            _ => number.to_string(),
        }
    }

    /// How to raise the limit, or how to need less.
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
                "raise the limit with `ulimit -n`, define fewer modules, or close files"
            }
        }
    }
}
