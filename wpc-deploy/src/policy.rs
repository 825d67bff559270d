//! The grants that a manifest may contain if its author is not the operator of the machine.

use crate::secret::Reference;
use std::path::{Path, PathBuf};

/// Which folders and secrets of the machine manifests may use. The other grants give no access to the machine, and are always
/// allowed. The default allows everything, for manifests that the operator of the machine writes.
///
/// ```
/// use wpc_deploy::Policy;
///
/// let policy = Policy::nothing();
/// assert!(policy.check_grant("clock").is_ok());
/// let refused = policy.check_grant("read=/srv/photos:photos").unwrap_err();
/// assert!(refused.contains("is not allowed"), "{refused}");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy(Option<Allowed>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Allowed {
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    secrets: Vec<Reference>,
}

impl Policy {
    /// Allows everything.
    #[must_use]
    pub fn everything() -> Self {
        Self(None)
    }

    /// Allows no folder and no secret.
    #[must_use]
    pub fn nothing() -> Self {
        Self(Some(Allowed::default()))
    }

    /// Allows the listed items: `read=FOLDER`, `write=FOLDER` (which includes reading),
    /// `secret=env:NAME`, and `secret=file:PATH` for a file or every file below a folder. A folder
    /// includes its subfolders.
    ///
    /// # Errors
    ///
    /// An item that cannot be read.
    pub fn of<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Result<Self, String> {
        let mut allowed = Allowed::default();
        for item in items {
            let item = item.as_ref();
            match item.split_once('=') {
                Some(("read", folder)) if !folder.is_empty() => allowed.read.push(folder.into()),
                Some(("write", folder)) if !folder.is_empty() => allowed.write.push(folder.into()),
                Some(("secret", secret)) => allowed.secrets.push(secret.parse()?),
                _ => {
                    return Err(format!(
                        "cannot allow `{item}`: expected read=FOLDER, write=FOLDER, secret=env:NAME or secret=file:PATH"
                    ));
                }
            }
        }
        Ok(Self(Some(allowed)))
    }

    /// Whether an entry may have the grant, as a manifest states it.
    ///
    /// # Errors
    ///
    /// Why it may not, and what to do.
    pub fn check_grant(&self, grant: &str) -> Result<(), String> {
        let Some(allowed) = &self.0 else { return Ok(()) };
        let (kind, folder) = grant.split_once('=').unwrap_or((grant, ""));
        let also = match kind {
            "read" => allowed.read.as_slice(),
            "write" => &[],
            _ => return Ok(()),
        };
        let folder = folder.rsplit_once(':').map_or(folder, |(host, _)| host);
        let refused = || {
            format!(
                "the grant `{grant}` is not allowed by the server; its operator can allow it with `--allow {kind}={folder}`"
            )
        };
        // Links and `..` are resolved, because they could lead out of an allowed folder.
        let found = std::fs::canonicalize(folder).map_err(|_| refused())?;
        let is_below = |folder: &PathBuf| is_in(&found, folder);
        if also.iter().chain(&allowed.write).any(is_below) { Ok(()) } else { Err(refused()) }
    }

    /// The listed items whose folder or file does not exist, each with its path.
    #[must_use]
    pub fn missing(&self) -> Vec<(String, &Path)> {
        let Some(allowed) = &self.0 else { return Vec::new() };
        let read = allowed.read.iter().map(|folder| ("read=", folder));
        let write = allowed.write.iter().map(|folder| ("write=", folder));
        let secrets = allowed.secrets.iter().filter_map(|secret| match secret {
            Reference::File(path) => Some(("secret=file:", path)),
            Reference::Variable(_) => None,
        });
        let missing = read.chain(write).chain(secrets).filter(|(_, path)| !path.exists());
        missing.map(|(kind, path)| (format!("{kind}{}", path.display()), path.as_path())).collect()
    }

    pub(crate) fn check_secret(&self, secret: &Reference) -> Result<(), String> {
        let Some(allowed) = &self.0 else { return Ok(()) };
        let is_allowed = allowed.secrets.iter().any(|other| match (secret, other) {
            (Reference::File(path), Reference::File(folder)) => {
                std::fs::canonicalize(path).is_ok_and(|path| is_in(&path, folder))
            }
            (secret, other) => secret == other,
        });
        if is_allowed {
            return Ok(());
        }
        Err(format!(
            "the secret `{secret}` is not allowed by the server; its operator can allow it with `--allow secret={secret}`"
        ))
    }
}

/// Whether a path without links is the folder, or below it.
fn is_in(path: &Path, folder: &Path) -> bool {
    std::fs::canonicalize(folder).is_ok_and(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_allowed_with_its_subfolders() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            path.display().to_string()
        };
        let (open, below, other) = (folder("open"), folder("open/below"), folder("opened"));
        let policy = Policy::of([format!("read={open}")]).unwrap();
        for allowed in [&open, &below] {
            policy.check_grant(&format!("read={allowed}:data")).unwrap();
            policy.check_grant(&format!("write={allowed}:data")).unwrap_err();
        }
        for refused in
            [other.as_str(), &format!("{open}/../opened"), &format!("{open}/missing"), ""]
        {
            let message = policy.check_grant(&format!("read={refused}:data")).unwrap_err();
            assert!(message.contains("is not allowed"), "{message}");
        }
        let policy = Policy::of([format!("write={open}")]).unwrap();
        policy.check_grant(&format!("read={below}:data")).unwrap();
        policy.check_grant(&format!("write={below}:data")).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn a_link_out_of_an_allowed_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", root.path().join("out")).unwrap();
        let root = root.path().display();
        let policy = Policy::of([format!("read={root}"), format!("secret=file:{root}")]).unwrap();
        policy.check_grant(&format!("read={root}/out")).unwrap_err();
        let secret = format!("file:{root}/out/etc/passwd").parse().unwrap();
        policy.check_secret(&secret).unwrap_err();
    }

    #[test]
    fn an_invalid_item_of_a_policy_is_named() {
        for item in ["clock", "read=", "secret=NAME", "everything"] {
            let error = Policy::of([item]).unwrap_err();
            assert!(error.contains("expected"), "{error}");
        }
    }
}
