//! An authority at work: the register of one cluster in a file, and the key that signs. Its calls block.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use starling_proto::ids::NodeId;
use starling_service::{
    enrolment::{JoinToken, leaving},
    identity::{Identity, Role},
    state_folder::{self, SECRET},
};
use time::{Duration, OffsetDateTime};

use crate::{
    Authority, AuthorityError, Request, Wish,
    folder::{self, FolderError},
    register::{Ask, Enrolled, Event, Grant, Hex, KeyId, Refusal, Register, Token, TokenId},
};

/// Lines of the file beyond those that its state needs, before it is written anew.
const SPARE_LINES: usize = 1_000;
/// Longest file that is read: 100,000 identities of 400 bytes, renewed once each, and the spare lines.
const BYTES_MAX: u64 = 128 * 1024 * 1024;

/// How long certificates live, and how long after their end they are renewed, both in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    /// Of a certificate.
    pub life: u64,
    /// After its end.
    pub grace: u64,
}

/// A certificate that was signed.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// PEM, with those between it and the root.
    pub chain: String,
    /// Whom it names.
    pub identity: Identity,
    /// When it ends, Unix time in seconds.
    pub ends: u64,
    /// Why it ends earlier than others.
    pub shortened: Option<String>,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// By the rules.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The authority cannot sign it.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The folder of the authority.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// It cannot be written down, so it was not done.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What stands in the file is none of its lines.
    #[error("{} line {line}: {what}; put the file back from a copy, or move it away and let everybody join anew", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

/// See the module.
pub struct Signer {
    authority: Authority,
    /// SHA-256 of the root above it, once that is known.
    root: Option<Hex<32>>,
    life: Life,
    register: Register,
    path: PathBuf,
    file: File,
    /// Whole lines end here.
    length: u64,
    lines: usize,
    /// A part of a line may stand behind them.
    torn: bool,
}

impl Signer {
    /// Opens the authority in a folder, and the register in a file, which is made when it is not there.
    ///
    /// # Errors
    /// Which file, and why.
    pub fn open(authority: &Path, path: &Path, life: Life, now: u64) -> Result<Self, SignerError> {
        let authority = folder::open(authority)?;
        let failed = |error| SignerError::Io { path: path.to_owned(), error };
        let text = state_folder::text(path, BYTES_MAX).map_err(failed)?.unwrap_or_default();
        // What stands after the last end of a line was being written when this host stopped: nobody was answered.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut register = Register::default();
        for (number, line) in text[..whole].lines().enumerate() {
            let event = Event::parse(line);
            register.apply(event.map_err(|what| SignerError::Damaged {
                path: path.to_owned(),
                line: number + 1,
                what,
            })?);
        }
        register.forget(now, life.grace);
        let (file, length, lines) = Self::write_anew(path, &register)?;
        Ok(Self { authority, root: None, life, register, path: path.to_owned(), file, length, lines, torn: false })
    }

    /// Says below which root it signs: the SHA-256 of that, which is written down with each certificate.
    pub fn signs_below(&mut self, root: [u8; 32]) {
        self.root = Some(Hex(root));
    }

    fn write_anew(path: &Path, register: &Register) -> Result<(File, u64, usize), SignerError> {
        let failed = |error| SignerError::Io { path: path.to_owned(), error };
        let mut text = String::new();
        let mut lines = 0;
        for event in register.events() {
            text += &event.line();
            text.push('\n');
            lines += 1;
        }
        state_folder::replace(path, text.as_bytes(), SECRET).map_err(failed)?;
        let file = OpenOptions::new().append(true).mode(SECRET).open(path).map_err(failed)?;
        Ok((file, text.len() as u64, lines))
    }

    /// Of which cluster.
    #[must_use]
    pub fn cluster(&self) -> &str {
        self.authority.cluster()
    }

    /// When the authority ends.
    #[must_use]
    pub const fn ends(&self) -> OffsetDateTime {
        self.authority.ends()
    }

    /// Who has joined, and who may.
    #[must_use]
    pub const fn register(&self) -> &Register {
        &self.register
    }

    /// A certificate for nobody, whose key is thrown away, as PEM: it shows by which root what is signed here is valid.
    ///
    /// # Errors
    /// [`SignerError::Authority`].
    pub fn sample(&self) -> Result<String, SignerError> {
        let name = NodeId::sanitised("nobody");
        let wish = Wish { role: Role::Node, name, life: Duration::minutes(1), hosts: Vec::new() };
        Ok(self.authority.issue(&wish, OffsetDateTime::now_utc())?.certificate)
    }

    /// Makes a token. `root` is the digest of the authority that its bearer is to trust.
    ///
    /// # Errors
    /// [`SignerError`]; then there is none.
    pub fn make_token(&mut self, token: Token, root: [u8; 32]) -> Result<(JoinToken, Token), SignerError> {
        self.register.may_make_token(token.created)?;
        let mut random = rand::rng();
        let made = JoinToken { id: random.random(), secret: random.random(), authority: root };
        let token = Token { secret: Sha256::digest(made.secret).into(), ..token };
        self.write(Event::Token { id: Hex(made.id), token: token.clone() })?;
        Ok((made, token))
    }

    /// Takes a token back; false when there is none of that number.
    ///
    /// # Errors
    /// [`SignerError::Io`].
    pub fn revoke_token(&mut self, id: TokenId, now: u64) -> Result<bool, SignerError> {
        let Some(revoked) = self.register.tokens().find(|(known, _)| **known == id).map(|(_, token)| token.revoked)
        else {
            return Ok(false);
        };
        if revoked == 0 {
            self.write(Event::TokenRevoked { id, at: now })?;
        }
        Ok(true)
    }

    /// Signs for who brings a token. A use of it is spent once the certificate is signed and that is on the disk.
    ///
    /// # Errors
    /// [`SignerError`]; then nothing was spent.
    pub fn join(
        &mut self,
        request: &Request,
        ask: &Ask,
        hosts: Vec<String>,
        now: u64,
        is_alive: impl Fn(Role, &NodeId) -> bool,
    ) -> Result<Certificate, SignerError> {
        let grant = self.register.may_join(ask, now, is_alive)?;
        let (signed, serial) = self.sign(request, &grant, hosts, now)?;
        let is_known = self.register.get(&ask.key).is_some();
        self.write(if is_known {
            Event::Renewed { key: ask.key, at: now, ends: signed.ends, serial, signed_by: self.root }
        } else {
            let enrolled = Enrolled {
                role: grant.role,
                name: grant.name,
                machine: ask.machine,
                token: grant.token,
                joined: now,
                renewed: now,
                ends: signed.ends,
                serial,
                signed_by: self.root,
                removed: None,
            };
            Event::Joined { key: ask.key, enrolled }
        })?;
        Ok(signed)
    }

    /// Signs the next certificate of a key that has joined. Only an aggregator has `hosts` in it.
    ///
    /// # Errors
    /// [`SignerError`].
    pub fn renew(
        &mut self,
        request: &Request,
        machine: Option<[u8; 16]>,
        hosts: Vec<String>,
        now: u64,
    ) -> Result<Certificate, SignerError> {
        let key = Hex(request.key());
        let grant = self.register.may_renew(&key, machine, now, self.life.grace)?;
        let hosts = if grant.role == Role::Aggregator { hosts } else { Vec::new() };
        let (signed, serial) = self.sign(request, &grant, hosts, now)?;
        self.write(Event::Renewed { key, at: now, ends: signed.ends, serial, signed_by: self.root })?;
        Ok(signed)
    }

    /// Takes a name out; when the last certificate of its key ends, `None` when nobody has the name.
    ///
    /// # Errors
    /// [`SignerError::Io`].
    pub fn remove(&mut self, role: Role, name: &NodeId, author: &str, now: u64) -> Result<Option<u64>, SignerError> {
        let Some(ends) = self.register.holder(role, name).map(|holder| holder.ends) else { return Ok(None) };
        self.write(Event::Removed { role, name: name.clone(), at: now, author: author.to_owned() })?;
        Ok(Some(ends))
    }

    /// Takes out the bearer of a key, who says in a request by it that it leaves; whom.
    ///
    /// # Errors
    /// [`SignerError`]; then it is still a member.
    pub fn leave(
        &mut self,
        request: &Request,
        now: u64,
        is_alive: impl Fn(Role, &NodeId) -> bool,
    ) -> Result<(Role, NodeId), SignerError> {
        let (role, name) = self.register.may_leave(&Hex(request.key()), is_alive)?;
        let identity = Identity { trust_domain: self.cluster().to_owned(), role, name: name.clone() };
        if request.subject() != Some(leaving(&identity)) {
            return Err(Refusal::NotLeaving(identity.short()).into());
        }
        self.write(Event::Removed { role, name: name.clone(), at: now, author: identity.short() })?;
        Ok((role, name))
    }

    /// Keys whose certificates are refused while they last.
    #[must_use]
    pub fn removed(&self, now: u64) -> Vec<(KeyId, Role, NodeId)> {
        let removed = self.register.enrolled().filter(|(_, one)| one.removed.is_some() && one.ends >= now);
        removed.map(|(key, one)| (*key, one.role, one.name.clone())).collect()
    }

    /// Writes the file anew when it has grown, without what nobody can use any more.
    ///
    /// # Errors
    /// [`SignerError::Io`]; the file that is there stays in use.
    pub fn tidy(&mut self, now: u64) -> Result<(), SignerError> {
        self.register.forget(now, self.life.grace);
        let needed = self.register.events().count();
        if self.lines > 2 * needed + SPARE_LINES {
            (self.file, self.length, self.lines) = Self::write_anew(&self.path, &self.register)?;
        }
        Ok(())
    }

    fn sign(
        &self,
        request: &Request,
        grant: &Grant,
        hosts: Vec<String>,
        now: u64,
    ) -> Result<(Certificate, String), SignerError> {
        let at = |seconds: u64| i64::try_from(seconds).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
        let now = at(now).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let life = Duration::seconds(i64::try_from(self.life.life).unwrap_or(i64::MAX));
        let wish = Wish { role: grant.role, name: grant.name.clone(), life, hosts };
        let signed = self.authority.sign(request, &wish, now)?;
        let shortened = signed.shortened.then(|| {
            let (cluster, ends) = (self.authority.cluster(), self.authority.ends());
            format!("the authority that signs for {cluster} ends at {ends}: make a new one (`starling ca`)")
        });
        let ends = u64::try_from(signed.ends.unix_timestamp()).unwrap_or(0);
        Ok((Certificate { chain: signed.certificate, identity: signed.identity, ends, shortened }, signed.serial))
    }

    /// Onto the disk first, then into the state.
    fn write(&mut self, event: Event) -> Result<(), SignerError> {
        if self.torn {
            (self.file, self.length, self.lines) = Self::write_anew(&self.path, &self.register)?;
            self.torn = false;
        }
        let mut line = event.line();
        line.push('\n');
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // A part of a line is taken back, else it would be the start of the next one.
            self.torn = self.file.set_len(self.length).is_err();
            return Err(SignerError::Io { path: self.path.clone(), error });
        }
        self.length += line.len() as u64;
        self.lines += 1;
        self.register.apply(event);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    const LIFE: Life = Life { life: 600, grace: 3_600 };

    fn now() -> u64 {
        u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap()
    }

    fn signer(folder: &Path) -> Signer {
        let ca = folder.join("ca");
        if !ca.exists() {
            let root = Authority::create("starling", OffsetDateTime::now_utc()).unwrap();
            let between = root.intermediate("agg-1", Duration::days(9), OffsetDateTime::now_utc()).unwrap();
            folder::create(&ca, &between).unwrap();
        }
        Signer::open(&ca, &folder.join("register"), LIFE, now()).unwrap()
    }

    fn token(signer: &mut Signer, uses: u32) -> JoinToken {
        let token = Token {
            secret: [0; 32],
            role: Role::Node,
            created: now(),
            expires: now() + 600,
            uses,
            used: 0,
            replace: false,
            author: "ann".to_owned(),
            revoked: 0,
        };
        signer.make_token(token, [0; 32]).unwrap().0
    }

    fn request() -> Request {
        let key = KeyPair::generate().unwrap();
        Request::parse(&CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap()).unwrap()
    }

    /// What stands in a certificate, as text.
    fn names(pem: &str) -> String {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        String::from_utf8_lossy(&pem.contents).into_owned()
    }

    fn join(signer: &mut Signer, token: &JoinToken, request: &Request, name: &str) -> Result<Certificate, SignerError> {
        let ask = Ask {
            token: Hex(token.id),
            secret: token.secret,
            key: Hex(request.key()),
            role: Role::Node,
            name: NodeId::parse(name).unwrap(),
            machine: None,
        };
        signer.join(request, &ask, Vec::new(), now(), |_, _| false)
    }

    #[test]
    fn what_was_answered_is_there_after_a_stop_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = signer(folder.path());
        let token = token(&mut one, 2);
        let (a, b) = (request(), request());
        let first = join(&mut one, &token, &a, "a").unwrap();
        assert_eq!(first.identity.to_string(), "spiffe://starling/node/a");
        join(&mut one, &token, &a, "a").unwrap();
        drop(one);
        let path = folder.path().join("register");
        let mut torn = fs::read(&path).unwrap();
        torn.extend_from_slice(b"{\"event\":\"joined\",\"key\":\"00");
        fs::write(&path, torn).unwrap();
        let mut again = signer(folder.path());
        join(&mut again, &token, &b, "b").unwrap();
        let error = join(&mut again, &token, &request(), "c").unwrap_err().to_string();
        assert!(error.contains("used 2 times"), "{error}");
        let renewed = again.renew(&a, None, vec!["agg-1.example".to_owned()], now()).unwrap();
        assert!(!names(&renewed.chain).contains("agg-1.example"), "a node has no names of hosts");
        assert!(renewed.chain != first.chain && renewed.identity == first.identity);
        assert_eq!(again.remove(Role::Node, &NodeId::parse("a").unwrap(), "ann", now()).unwrap(), Some(renewed.ends));
        drop(again);
        let mut last = signer(folder.path());
        assert_eq!(last.removed(now()).len(), 1);
        assert!(last.renew(&a, None, Vec::new(), now()).unwrap_err().to_string().contains("removed at"));
        // Another file of lines.
        fs::write(&path, "{}\nx\n").unwrap();
        let error = Signer::open(&folder.path().join("ca"), &path, LIFE, now()).err().unwrap().to_string();
        assert!(error.contains("line 1:"), "{error}");
    }

    #[test]
    fn what_cannot_be_written_was_not_done() {
        let folder = tempfile::tempdir().unwrap();
        let mut signer = signer(folder.path());
        let token = token(&mut signer, 1);
        // Nothing can be written to it, nor taken back.
        signer.file = File::open("/dev/null").unwrap();
        assert!(matches!(join(&mut signer, &token, &request(), "a"), Err(SignerError::Io { .. })));
        join(&mut signer, &token, &request(), "b").unwrap();
        drop(signer);
        assert_eq!(self::signer(folder.path()).register().enrolled().count(), 1);
    }

    #[test]
    fn who_leaves_proves_it_by_its_key_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut signer = signer(folder.path());
        let token = token(&mut signer, 1);
        let key = KeyPair::generate().unwrap();
        let by_key = |says: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(rcgen::DnType::CommonName, says);
            Request::parse(&params.serialize_request(&key).unwrap().pem().unwrap()).unwrap()
        };
        let renewal = by_key("rcgen self signed cert");
        join(&mut signer, &token, &renewal, "a").unwrap();
        let refused = |signer: &mut Signer, request: &Request, is_alive| {
            signer.leave(request, now(), |_, _| is_alive).unwrap_err().to_string()
        };
        let says = "leave spiffe://starling/node/a";
        for other in [renewal, by_key("leave spiffe://starling/node/b")] {
            assert!(refused(&mut signer, &other, false).contains("does not say that node a leaves"));
        }
        assert!(refused(&mut signer, &request(), false).contains("has not joined here"));
        let alive = refused(&mut signer, &by_key(says), true);
        assert!(alive.contains("systemctl stop starling-node"), "{alive}");
        assert_eq!(signer.removed(now()).len(), 0);
        let name = NodeId::parse("a").unwrap();
        assert_eq!(signer.leave(&by_key(says), now(), |_, _| false).unwrap(), (Role::Node, name.clone()));
        assert_eq!(signer.removed(now()), [(Hex(by_key(says).key()), Role::Node, name)]);
        assert!(refused(&mut signer, &by_key(says), false).contains("by node a"), "once");
    }

    #[test]
    fn the_file_does_not_grow_with_renewals() {
        let folder = tempfile::tempdir().unwrap();
        let mut signer = signer(folder.path());
        let token = token(&mut signer, 1);
        let request = request();
        join(&mut signer, &token, &request, "a").unwrap();
        signer.lines += SPARE_LINES;
        for _ in 0..10 {
            signer.renew(&request, None, Vec::new(), now()).unwrap();
        }
        signer.tidy(now()).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("register")).unwrap().lines().count(), 2);
        signer.renew(&request, None, Vec::new(), now()).unwrap();
    }
}
