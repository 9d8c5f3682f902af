//! The file of who may ask: local users and API tokens. Both in one file, as both are somebody with a role: one file to guard, to read
//! again and to take somebody out of. Pure but for [`read`] and [`write`].
//!
//! ```toml
//! [[users]]
//! name = "ada"
//! role = "operator"
//! password = "$argon2id$v=19$m=19456,t=2,p=1$…"
//!
//! [[tokens]]
//! name = "grafana"
//! role = "viewer"
//! sha256 = "0f3c…"
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
};

use serde::{Deserialize, Serialize};
use starling_proto::hex;
use starling_service::{secret, state_folder};

use super::{
    password,
    role::Role,
    secret::{SecretDigest, digest},
};

/// Most users, and most tokens: a company that has more of them has a provider of identities.
const ACCOUNTS_MAX: usize = 1_000;
/// Most bytes of the file: one account has some 200.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Longest name.
const NAME_LEN_MAX: usize = 64;
/// Mode of a file that was not there: the group is that of the server.
const MODE: u32 = 0o640;
/// The first lines of a file that is written.
const HEAD: &str = "# Who may use the dashboard. Written by `starling users` and `starling tokens`, which keep no comments; the server reads it\n\
                    # again within 5 seconds.\n";

/// A user with a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// What it may do.
    pub role: Role,
    /// The hash of its password, as a PHC string.
    pub password: String,
}

/// What a program is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it may do.
    pub role: Role,
    digest: SecretDigest,
}

/// Who may ask. Names are of one kind: no token is called as a user is, so that a name says who did something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    users: BTreeMap<String, User>,
    tokens: BTreeMap<String, Token>,
    by_digest: HashMap<SecretDigest, String>,
}

/// The file as it stands.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    users: Vec<UserEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<TokenEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    name: String,
    role: String,
    password: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    name: String,
    role: String,
    sha256: String,
}

/// Whether a name can stand in a log line, in an answer and beside an acknowledgement.
///
/// # Errors
/// What is wanted, in words.
pub fn check_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
    if !name.is_empty() && name.len() <= NAME_LEN_MAX && name.chars().all(fine) {
        return Ok(());
    }
    let start: String = name.chars().take(NAME_LEN_MAX).collect();
    Err(format!("{start:?} is no name, wanted: letters, digits and . _ - @ +, at most {NAME_LEN_MAX} bytes"))
}

impl Accounts {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// All that is wrong with it, in words, without a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        // The error's own text shows the line, which may hold a hash.
        let document: Document = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
            format!("line {line}: {}", error.message())
        })?;
        let (mut accounts, mut wrong) = (Self::default(), Vec::new());
        for entry in document.users {
            let read = Role::parse(&entry.role)
                .and_then(|role| password::check(&entry.password).map(|()| role))
                .and_then(|role| accounts.add_user(&entry.name, User { role, password: entry.password }));
            wrong.extend(read.err().map(|why| format!("user {:?}: {why}", shown(&entry.name))));
        }
        for entry in document.tokens {
            let read = Role::parse(&entry.role).and_then(|role| {
                let digest = hex::decode_array(&entry.sha256).ok_or("its sha256 is not 64 hexadecimal digits")?;
                accounts.insert_token(&entry.name, Token { role, digest })
            });
            wrong.extend(read.err().map(|why| format!("token {:?}: {why}", shown(&entry.name))));
        }
        if wrong.is_empty() { Ok(accounts) } else { Err(wrong.join("; ")) }
    }

    /// The text of a file.
    #[must_use]
    pub fn text(&self) -> String {
        let user = |(name, user): (&String, &User)| UserEntry {
            name: name.clone(),
            role: user.role.name().to_owned(),
            password: user.password.clone(),
        };
        let token = |(name, token): (&String, &Token)| TokenEntry {
            name: name.clone(),
            role: token.role.name().to_owned(),
            sha256: hex::encode(&token.digest),
        };
        let document =
            Document { users: self.users.iter().map(user).collect(), tokens: self.tokens.iter().map(token).collect() };
        // Texts in tables can always be written.
        format!("{HEAD}\n{}", toml::to_string(&document).unwrap_or_default())
    }

    /// Adds a user.
    ///
    /// # Errors
    /// What is wrong with the name, in words; among it that it is taken.
    pub fn add_user(&mut self, name: &str, user: User) -> Result<(), String> {
        self.free(name, self.users.len())?;
        self.users.insert(name.to_owned(), user);
        Ok(())
    }

    /// Adds a token by what it is.
    ///
    /// # Errors
    /// As [`Accounts::add_user`].
    pub fn add_token(&mut self, name: &str, role: Role, secret: &str) -> Result<(), String> {
        let digest = digest(secret).ok_or("it is too long for a token")?;
        self.insert_token(name, Token { role, digest })
    }

    fn insert_token(&mut self, name: &str, token: Token) -> Result<(), String> {
        self.free(name, self.tokens.len())?;
        if let Some(other) = self.by_digest.get(&token.digest) {
            return Err(format!("it is the token of {other:?} too; make one for each program"));
        }
        self.by_digest.insert(token.digest, name.to_owned());
        self.tokens.insert(name.to_owned(), token);
        Ok(())
    }

    fn free(&self, name: &str, count: usize) -> Result<(), String> {
        check_name(name)?;
        if self.users.contains_key(name) || self.tokens.contains_key(name) {
            return Err("the name is taken by another user or token".to_owned());
        }
        if count >= ACCOUNTS_MAX {
            return Err(format!("there are {ACCOUNTS_MAX} already, which is the limit"));
        }
        Ok(())
    }

    /// Takes a user out; whether there was one.
    pub fn remove_user(&mut self, name: &str) -> bool {
        self.users.remove(name).is_some()
    }

    /// Takes a token out; whether there was one.
    pub fn remove_token(&mut self, name: &str) -> bool {
        let removed = self.tokens.remove(name);
        removed.is_some_and(|token| self.by_digest.remove(&token.digest).is_some())
    }

    /// The users by name.
    #[must_use]
    pub const fn users(&self) -> &BTreeMap<String, User> {
        &self.users
    }

    /// The tokens by name.
    #[must_use]
    pub const fn tokens(&self) -> &BTreeMap<String, Token> {
        &self.tokens
    }

    /// Whether nobody is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.tokens.is_empty()
    }

    /// The token of a digest, with its name.
    pub(super) fn token(&self, digest: &SecretDigest) -> Option<(&str, Role)> {
        let name = self.by_digest.get(digest)?;
        self.tokens.get(name).map(|token| (name.as_str(), token.role))
    }
}

/// The start of a name that may be anything.
fn shown(name: &str) -> String {
    name.chars().take(NAME_LEN_MAX).collect()
}

/// Reads the file. Blocking.
///
/// # Errors
/// What is wrong, in words, with the file: among it that everybody on the host can read it.
pub fn read(file: &Path) -> Result<Accounts, String> {
    let read = secret::text_of_at_most(file, FILE_BYTES_MAX).and_then(|text| Accounts::parse(&text));
    read.map_err(|why| format!("{} {why}", file.display()))
}

/// Replaces the file, for those who could read it. One that was not there can be read by the group of the server, when root writes
/// it and the host has that group. Blocking.
///
/// # Errors
/// Of the file system, in words.
pub fn write(file: &Path, accounts: &Accounts) -> Result<(), String> {
    let place = |error: io::Error| format!("{} cannot be written: {error}", file.display());
    let (mode, owner) = match fs::metadata(file) {
        Ok(now) => (now.permissions().mode() & 0o770, Some((now.uid(), now.gid()))),
        Err(_) => (MODE, group_of_server().map(|group| (0, group))),
    };
    // Kept to its owner until it has the right one.
    state_folder::replace(file, accounts.text().as_bytes(), state_folder::SECRET).map_err(place)?;
    if let Some((user, group)) = owner {
        let now = fs::metadata(file).map_err(place)?;
        if (now.uid(), now.gid()) != (user, group) {
            chown(file, Some(user), Some(group)).map_err(place)?;
        }
    }
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).map_err(place)
}

/// The group of the server as packages make it, for root.
fn group_of_server() -> Option<u32> {
    if !fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        return None;
    }
    let groups = fs::read_to_string("/etc/group").ok()?;
    let line = groups.lines().find(|line| line.starts_with("starling-dashboard:"))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn ada() -> User {
        User { role: Role::Operator, password: HASH.to_owned() }
    }

    #[test]
    fn what_is_written_is_read_and_a_token_is_found_by_its_secret() {
        let mut accounts = Accounts::default();
        accounts.add_user("ada", ada()).unwrap();
        accounts.add_token("grafana", Role::Viewer, "starling_abc").unwrap();
        let mut again = Accounts::parse(&accounts.text()).unwrap();
        assert_eq!(again, accounts);
        assert!(!accounts.text().contains("starling_abc"), "the secret is not in the file");
        let token = digest("starling_abc").unwrap();
        assert_eq!(again.token(&token), Some(("grafana", Role::Viewer)));
        assert!(again.remove_token("grafana") && again.token(&token).is_none() && !again.remove_token("grafana"));
        assert!(again.remove_user("ada") && again.is_empty());
    }

    #[test]
    fn one_name_is_one_account() {
        let mut accounts = Accounts::default();
        accounts.add_user("ada", ada()).unwrap();
        for error in [
            accounts.add_user("ada", ada()).unwrap_err(),
            accounts.add_token("ada", Role::Viewer, "starling_abc").unwrap_err(),
        ] {
            assert!(error.contains("is taken"), "{error}");
        }
        accounts.add_token("one", Role::Viewer, "starling_abc").unwrap();
        assert!(accounts.add_token("two", Role::Viewer, "starling_abc").unwrap_err().contains("\"one\" too"));
        for bad in ["", "a b", "a\nb", "<b>", &"a".repeat(65)] {
            assert!(accounts.add_user(bad, ada()).unwrap_err().contains("is no name"), "{bad}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_said_and_no_secret_is_shown() {
        let text = format!(
            "[[users]]\nname='ada'\nrole='root'\npassword='{HASH}'\n\
             [[users]]\nname='bob'\nrole='viewer'\npassword='hunter2hunter2'\n\
             [[tokens]]\nname='t'\nrole='viewer'\nsha256='abc'\n"
        );
        let error = Accounts::parse(&text).unwrap_err();
        for part in ["user \"ada\": \"root\" is no role", "user \"bob\": it is no hash", "token \"t\": its sha256"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
        let error = Accounts::parse("\n[[users]]\nname='ada'\npasword='hunter2'\n").unwrap_err();
        assert!(error.starts_with("line ") && error.contains("pasword") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_file_keeps_who_can_read_it_and_is_refused_when_all_can() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("users.toml");
        let mut accounts = Accounts::default();
        accounts.add_user("ada", ada()).unwrap();
        write(&file, &accounts).unwrap();
        let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o640);
        assert_eq!(read(&file).unwrap(), accounts);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        write(&file, &accounts).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&file).unwrap_err().contains("can be read by everybody"));
        assert!(read(&folder.path().join("none")).unwrap_err().contains("cannot be read"));
    }
}
