//! Figures of the process: memory, descriptors, threads and processor time. They are available on Linux only.

/// Figures of the process. A figure that cannot be read is `None`.
#[derive(Debug, Default)]
pub(crate) struct Process {
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) virtual_bytes: Option<u64>,
    pub(crate) cpu_seconds: Option<f64>,
    /// Since 1970.
    pub(crate) start_seconds: Option<f64>,
    pub(crate) threads: Option<u64>,
    pub(crate) open_descriptors: Option<u64>,
    pub(crate) max_descriptors: Option<u64>,
}

#[cfg(target_os = "linux")]
impl Process {
    pub(crate) fn read() -> Self {
        let mut process = Self {
            open_descriptors: std::fs::read_dir("/proc/self/fd").ok().map(|all| all.count() as u64),
            max_descriptors: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            ..Self::default()
        };
        if let Ok(stat) = std::fs::read_to_string("/proc/self/stat") {
            process.add_stat(&stat);
        }
        process
    }

    /// Reads `/proc/self/stat`, whose fields `proc_pid_stat(5)` numbers from 1.
    fn add_stat(&mut self, stat: &str) {
        // The second field is the name in parentheses, which may contain spaces.
        let Some((_, fields)) = stat.rsplit_once(')') else { return };
        let fields: Vec<_> = fields.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as u64;
        self.cpu_seconds =
            field(14).zip(field(15)).map(|(user, system)| (user + system) as f64 / ticks);
        self.threads = field(20);
        self.start_seconds = field(22).zip(boot_time()).map(|(at, boot)| boot + at as f64 / ticks);
        self.virtual_bytes = field(23);
        self.resident_bytes = field(24).map(|pages| pages * page);
    }
}

/// When the system started, in seconds since 1970.
#[cfg(target_os = "linux")]
fn boot_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(not(target_os = "linux"))]
impl Process {
    pub(crate) fn read() -> Self {
        Self::default()
    }
}
