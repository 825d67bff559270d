//! The audit log: administrative actions and refused tokens, one JSON object per line in `audit.jsonl` of the data folder.
//!
//! An action is recorded, with `fdatasync`, before it is acknowledged. Refused tokens are recorded at most ten times per
//! second, without `fdatasync`; the next line states how many were left out. At 16 MiB the file is renamed to
//! `audit.1.jsonl`, and so on up to `audit.4.jsonl`, the oldest, which is then replaced. Without a data folder, the same
//! records are only reported by `tracing`.

use super::timestamp::Timestamp;
use crate::store::AUDIT_FILE;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wpc_host::Sha256Hash;

const MAX_SIZE: u64 = 16 << 20;
const MAX_OLD_FILES: u32 = 4;

/// The maximum number of lines about refused tokens in a second.
const MAX_FAILURES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// The audit log. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Audit(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    log: Option<Mutex<Log>>,
    failures: Mutex<Failures>,
}

#[derive(Debug)]
struct Log {
    folder: PathBuf,
    file: File,
    size: u64,
    max_size: u64,
}

/// How many refused tokens were recorded in the current window.
#[derive(Debug, Default)]
struct Failures {
    window: Option<Instant>,
    recorded: u32,
    left_out: u64,
}

/// An administrative action or a refused token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditRecord {
    /// The name of the principal.
    pub principal: String,
    /// The action, such as `token.create`.
    pub action: String,
    /// The target of the action, such as the name of a token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// `ok`, the code of the problem, the status if it has no code, or why a token was refused.
    pub outcome: String,
    /// What the action made or selected.
    #[serde(flatten)]
    pub subject: Option<AuditSubject>,
    /// The `X-Request-Id` of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// What an action made or selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditSubject {
    /// The revision that was registered or activated.
    Revision(u64),
    /// The SHA-256 of the module that was uploaded.
    Sha256(Sha256Hash),
}

impl AuditRecord {
    /// A record of an action that succeeded.
    #[must_use]
    pub fn new(principal: &str, action: &str, target: &str) -> Self {
        Self {
            principal: principal.to_owned(),
            action: action.to_owned(),
            target: target.to_owned(),
            outcome: "ok".to_owned(),
            subject: None,
            request_id: None,
        }
    }

    /// Sets the outcome.
    #[must_use]
    pub fn outcome(mut self, code: &str) -> Self {
        code.clone_into(&mut self.outcome);
        self
    }

    /// Sets what the action made or selected.
    #[must_use]
    pub fn subject(mut self, subject: Option<AuditSubject>) -> Self {
        self.subject = subject;
        self
    }

    /// Sets the request.
    #[must_use]
    pub fn request_id(mut self, id: Option<&str>) -> Self {
        // Bounded, because a client chooses it.
        self.request_id = id.map(|id| id.chars().take(128).collect());
        self
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    #[serde(flatten)]
    record: &'a AuditRecord,
    #[serde(skip_serializing_if = "is_zero")]
    left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Audit {
    /// A log in this folder, in addition to reports by `tracing`. Lines are appended to an existing log.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Self::with_max_size(folder, MAX_SIZE)
    }

    fn with_max_size(folder: &Path, max_size: u64) -> io::Result<Self> {
        let (file, size) = open(&folder.join(AUDIT_FILE))?;
        let log = Some(Mutex::new(Log { folder: folder.to_owned(), file, size, max_size }));
        Ok(Self(Arc::new(Shared { log, failures: Mutex::default() })))
    }

    /// Records an action. Blocks until the record is on disk.
    ///
    /// # Errors
    ///
    /// The file cannot be written, for example because the disk is full. In that case, the action should be refused.
    pub fn record(&self, record: &AuditRecord) -> io::Result<()> {
        self.write(record, 0, true)
    }

    /// Records an action without blocking the thread.
    pub(super) async fn record_async(&self, record: AuditRecord) -> io::Result<()> {
        let audit = self.clone();
        let recorded = tokio::task::spawn_blocking(move || audit.record(&record)).await;
        recorded.unwrap_or_else(|failed| Err(io::Error::other(failed)))
    }

    /// Records a refused token, unless too many were recorded in the current second. Does not wait for the disk.
    pub(super) fn refused_token(&self, record: AuditRecord) {
        let Some(left_out) = self.admit_failure(Instant::now()) else { return };
        let audit = self.clone();
        // At most a few per second, see above.
        let write = move || {
            if let Err(error) = audit.write(&record, left_out, false) {
                tracing::error!(%error, "failed to write the audit log");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(write)),
            Err(_) => write(),
        }
    }

    /// How many failures were left out before this one; `None` if it is left out too.
    fn admit_failure(&self, now: Instant) -> Option<u64> {
        let mut failures = self.0.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = failures.window.is_none_or(|began| now.duration_since(began) >= WINDOW);
        if is_new {
            (failures.window, failures.recorded) = (Some(now), 0);
        }
        if failures.recorded >= MAX_FAILURES {
            failures.left_out += 1;
            return None;
        }
        failures.recorded += 1;
        Some(std::mem::take(&mut failures.left_out))
    }

    fn write(&self, record: &AuditRecord, left_out: u64, is_synchronised: bool) -> io::Result<()> {
        let AuditRecord { principal, action, target, outcome, .. } = record;
        tracing::info!(target: "wpc_server::audit", principal, action, target, outcome, left_out);
        let Some(log) = &self.0.log else { return Ok(()) };
        let mut line = serde_json::to_vec(&Line { time: Timestamp::now(), record, left_out })?;
        line.push(b'\n');
        log.lock().unwrap_or_else(PoisonError::into_inner).append(&line, is_synchronised)
    }
}

impl Log {
    fn append(&mut self, line: &[u8], is_synchronised: bool) -> io::Result<()> {
        if self.size > 0 && self.size + line.len() as u64 > self.max_size {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(line) {
            // The part that was written. If that fails too, the next start ends the line.
            let _ = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += line.len() as u64;
        if is_synchronised { self.file.sync_data() } else { Ok(()) }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let old = |number: u32| self.folder.join(format!("audit.{number}.jsonl"));
        for number in (1..MAX_OLD_FILES).rev() {
            if old(number).exists() {
                std::fs::rename(old(number), old(number + 1))?;
            }
        }
        let current = self.folder.join(AUDIT_FILE);
        std::fs::rename(&current, old(1))?;
        (self.file, self.size) = open(&current)?;
        Ok(())
    }
}

/// Opens a log for appending, and returns its size. Ends a line that a failure cut off.
fn open(path: &Path) -> io::Result<(File, u64)> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    let size = file.metadata()?.len();
    if size > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            return Ok((file, size + 1));
        }
    }
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(folder: &Path, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_are_added_across_restarts_and_a_cut_line_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::write(folder.join(AUDIT_FILE), "{\"cut").unwrap();
        for target in ["a", "b\n\"c"] {
            let record = AuditRecord::new("ada", "token.create", target).request_id(Some("r"));
            Audit::open(folder).unwrap().record(&record).unwrap();
        }
        let lines = lines(folder, AUDIT_FILE);
        assert_eq!((lines.len(), &*lines[0]), (3, "{\"cut"));
        let last: serde_json::Value = serde_json::from_str(&lines[2]).unwrap();
        assert_eq!((&last["principal"], &last["target"]), (&"ada".into(), &"b\n\"c".into()));
        assert_eq!((&last["outcome"], &last["request_id"]), (&"ok".into(), &"r".into()));
    }

    #[test]
    fn old_files_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let audit = Audit::with_max_size(folder, 1).unwrap();
        for number in 0..10 {
            audit.record(&AuditRecord::new("ada", "token.create", &number.to_string())).unwrap();
        }
        assert!(lines(folder, AUDIT_FILE)[0].contains("\"target\":\"9\""));
        assert!(lines(folder, "audit.4.jsonl")[0].contains("\"target\":\"5\""));
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 5);
    }

    #[test]
    fn records_of_a_flood_of_refused_tokens_are_left_out_and_counted() {
        let audit = Audit::default();
        let now = Instant::now();
        let recorded = (0..100).filter(|_| audit.admit_failure(now).is_some()).count();
        assert_eq!(recorded, 10);
        assert_eq!(audit.admit_failure(now + WINDOW), Some(90));
    }
}
