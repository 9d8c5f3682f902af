//! Secrets: they stand in files or in the environment, are read when they are needed, and are never shown.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Longest token or password: that of a service account in Kubernetes has 1 to 2 KiB.
const SECRET_LEN_MAX: u64 = 16 * 1024;

/// Where a secret stands. Showing it shows the place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Secret {
    /// In the first line of this file.
    File(PathBuf),
    /// In this variable.
    Environment(String),
}

impl Secret {
    /// "file:/path", absolute, or "env:NAME".
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("file", path) => Some(PathBuf::from(path)).filter(|path| path.is_absolute()).map(Self::File),
            ("env", name) => {
                let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                is_name.then(|| Self::Environment(name.to_owned()))
            }
            _ => None,
        }
    }

    /// The secret as it stands there now: it may be renewed in place.
    ///
    /// # Errors
    /// Why it cannot be had, with the place and without a secret.
    pub async fn read(&self) -> Result<String, String> {
        match self {
            Self::File(file) => first_line(file).await,
            Self::Environment(name) => std::env::var(name)
                .ok()
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("the environment has no {name}, or it is empty or not UTF-8")),
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Environment(name) => write!(f, "env:{name}"),
        }
    }
}

/// A file of secrets, whole. Blocking: for files that are short and read now and then.
///
/// # Errors
/// What is wrong with the file, to stand behind its name: among it that everybody on the host can read it.
pub fn text(file: &Path) -> Result<String, String> {
    text_of_at_most(file, SECRET_LEN_MAX)
}

/// As [`text`], of a file of at most `bytes_max` bytes: one of many secrets.
///
/// # Errors
/// As [`text`].
pub fn text_of_at_most(file: &Path, bytes_max: u64) -> Result<String, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    // Of one open file, which another may replace meanwhile.
    let opened = File::open(file).map_err(cannot)?;
    let mode = opened.metadata().map_err(cannot)?.permissions().mode();
    if mode & 0o007 != 0 {
        let next = format!("run chmod 640 {}", file.display());
        return Err(format!("can be read by everybody on this host (mode {:03o}); {next}", mode & 0o777));
    }
    let mut text = String::new();
    opened.take(bytes_max.saturating_add(1)).read_to_string(&mut text).map_err(cannot)?;
    match text.len() as u64 > bytes_max {
        true => Err(format!("has more than {bytes_max} bytes")),
        false => Ok(text),
    }
}

/// The first line of a file.
pub(crate) async fn first_line(file: &Path) -> Result<String, String> {
    let shown = file.display();
    let length = tokio::fs::metadata(file).await.map_err(|error| format!("cannot read {shown}: {error}"))?.len();
    if length > SECRET_LEN_MAX {
        return Err(format!("{shown} has {length} bytes, a token or password has at most {SECRET_LEN_MAX}"));
    }
    let text = tokio::fs::read_to_string(file).await.map_err(|error| format!("cannot read {shown}: {error}"))?;
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("{shown} is empty, wanted: a token or password in its first line")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_and_a_secret_is_not_taken_for_one() {
        for place in ["file:/etc/starling/hook", "env:HOOK_1"] {
            assert_eq!(Secret::parse(place).unwrap().to_string(), place);
        }
        for other in ["", "s3cret", "file:hook", "env:", "env:A B", "https://hooks.example.org/T0/B0"] {
            assert_eq!(Secret::parse(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn what_is_not_there_names_the_place() {
        let error = Secret::parse("file:/nowhere/hook").unwrap().read().await.unwrap_err();
        assert!(error.contains("/nowhere/hook"), "{error}");
        let error = Secret::parse("env:STARLING_NOT_SET").unwrap().read().await.unwrap_err();
        assert!(error.contains("STARLING_NOT_SET"), "{error}");
    }
}
