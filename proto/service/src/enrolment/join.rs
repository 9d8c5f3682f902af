//! Becoming a member.

use std::time::Duration;

use starling_proto::{ids::NodeId, v1};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Status, transport::Channel};

use super::{
    folder::{Folder, FolderError, Joined, program, request},
    token::{JoinToken, TokenError},
};
use crate::{
    backoff::Backoff,
    channel::Dial,
    credentials::{Stranger, certificates, digest},
    grpc::enrolment_client::EnrolmentClient,
    identity::Role,
    machine,
};

/// All attempts together end within this time: no new round begins after the first, no question goes on after the second.
const WITHIN: Duration = Duration::from_secs(10);
const ENDED_WITHIN: Duration = Duration::from_secs(14);
/// A host that does not answer a connection attempt is passed over.
const DIAL: Dial = Dial::within(Duration::from_secs(2));
/// For one question.
const ASKED_WITHIN: Duration = Duration::from_secs(4);
/// Of errors of the client before there is a connection.
const NO_CONNECTION: [&str; 4] = ["tcp connect error", "dns error", "elapsed", "timed out"];
/// Key of the trailer in which an aggregator says why in one word.
pub(crate) const REASON: &str = "starling-reason";

/// Why an aggregator refuses. The words are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No such token, or its secret is wrong.
    TokenUnknown,
    /// Its time is over.
    TokenExpired,
    /// As many as it allows have joined.
    TokenUsedUp,
    /// The operator took it back.
    TokenRevoked,
    /// The token is for another role.
    Role,
    /// The name is another's.
    NameTaken,
    /// The key was removed.
    Removed,
    /// The key is not known, or its last certificate ended too long ago.
    Unknown,
    /// The key was seen on another machine.
    Machine,
    /// No aggregator of this cluster signs.
    NobodySigns,
    /// The request itself is wrong.
    Request,
    /// There are too many already.
    Full,
    /// Who is to be taken out is connected.
    Alive,
}

impl Reason {
    const ALL: [(&'static str, Self); 13] = [
        ("token-unknown", Self::TokenUnknown),
        ("token-expired", Self::TokenExpired),
        ("token-used-up", Self::TokenUsedUp),
        ("token-revoked", Self::TokenRevoked),
        ("role", Self::Role),
        ("name-taken", Self::NameTaken),
        ("removed", Self::Removed),
        ("unknown", Self::Unknown),
        ("machine", Self::Machine),
        ("nobody-signs", Self::NobodySigns),
        ("request", Self::Request),
        ("full", Self::Full),
        ("alive", Self::Alive),
    ];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, reason)| *reason == self).map_or("", |(word, _)| word)
    }

    /// A status that says it, to people and to programs.
    #[must_use]
    pub fn status(self, message: impl Into<String>) -> Status {
        let code = match self {
            Self::TokenUnknown | Self::TokenExpired | Self::TokenUsedUp | Self::TokenRevoked => Code::Unauthenticated,
            Self::Role | Self::Removed | Self::Machine => Code::PermissionDenied,
            Self::NameTaken => Code::AlreadyExists,
            Self::Unknown => Code::NotFound,
            Self::NobodySigns | Self::Alive => Code::FailedPrecondition,
            Self::Request => Code::InvalidArgument,
            Self::Full => Code::ResourceExhausted,
        };
        let mut status = Status::new(code, message);
        if let Ok(word) = self.as_str().parse() {
            status.metadata_mut().insert(REASON, word);
        }
        status
    }

    /// The one in a status.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
        let word = status.metadata().get(REASON)?.to_str().ok()?;
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, reason)| *reason)
    }
}

/// What somebody wants to become.
#[derive(Debug)]
pub struct Wish {
    /// What it is.
    pub role: Role,
    /// The name it wants.
    pub name: NodeId,
    /// What it may join by.
    pub token: JoinToken,
    /// "host:port" of aggregators, tried in turn.
    pub addresses: Vec<String>,
    /// By which other clients reach an aggregator.
    pub hosts: Vec<String>,
    /// Where the membership is put.
    pub folder: Folder,
    /// A membership that is there is put aside.
    pub replace: bool,
}

/// Why nobody was joined. Each kind has an exit code of its own.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The text is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Nobody answers.
    #[error("{0}; see that the aggregator runs, that the address and port are right, and that no firewall is between")]
    Unreachable(String),
    /// Something else answers.
    #[error("{0}: this is not an aggregator of Starling that takes joins")]
    NotStarling(String),
    /// It is not the cluster of the token.
    #[error(
        "the authority of the cluster at {0} is not the one in the join token, so the token was not sent: it is another \
         cluster, or something on the way opens TLS"
    )]
    WrongAuthority(String),
    /// The cluster does not want it.
    #[error("{1}")]
    Refused(Reason, String),
    /// It is one already.
    #[error(
        "this host is a member already, {identity} since {since}, in {folder}; `{program} leave` ends that, `{program} join \
         --replace` puts it aside and joins anew"
    )]
    Member {
        /// Whom its certificate names.
        identity: String,
        /// Since when.
        since: String,
        /// Where.
        folder: String,
        /// The program to run.
        program: &'static str,
    },
    /// It cannot be kept.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl JoinError {
    /// The exit code of `join`; see `docs/operations/security.md`.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Token(_) => 3,
            Self::Unreachable(_) => 4,
            Self::NotStarling(_) => 5,
            Self::WrongAuthority(_) => 6,
            Self::Refused(Reason::TokenExpired, _) => 7,
            Self::Refused(Reason::TokenUsedUp, _) => 8,
            Self::Refused(Reason::TokenUnknown | Reason::TokenRevoked, _) => 9,
            Self::Refused(Reason::NameTaken, _) => 10,
            Self::Refused(..) => 11,
            Self::Member { .. } => 12,
            Self::Folder(_) => 13,
        }
    }
}

/// Joins: the same wish after a failure is the same request, and costs no further use of the token.
///
/// # Errors
/// [`JoinError`], within 15 s.
pub async fn join(wish: &Wish) -> Result<Joined, JoinError> {
    // What is there stays until there is something to put in its place.
    let folder = match may_join(&wish.folder, wish.role, wish.replace)? {
        None => wish.folder.clone(),
        Some(_) => Folder::at(wish.folder.path().with_extension("new")),
    };
    let key = folder.key_or_new()?;
    let machine = machine::here();
    let request = v1::JoinRequest {
        token_id: wish.token.id.to_vec().into(),
        token_secret: wish.token.secret.to_vec().into(),
        request: request(&key).map_err(FolderError::Answer)?,
        name: wish.name.to_string(),
        machine: machine.to_bytes().0,
        hosts: wish.hosts.clone(),
        role: wish.role.to_string(),
    };
    let answer = ask(wish, &request).await?;
    let joined = folder.take(&answer, &key, machine, ((wish.role, &wish.name), &wish.hosts))?;
    if folder.path() != wish.folder.path() {
        wish.folder.put_aside()?;
        std::fs::rename(folder.path(), wish.folder.path())
            .map_err(|error| FolderError::Io { path: wish.folder.path().to_owned(), error })?;
    }
    Ok(joined)
}

/// The membership that is there, when it may be put aside.
pub(super) fn may_join(folder: &Folder, role: Role, replace: bool) -> Result<Option<Joined>, JoinError> {
    let before = folder.joined()?;
    match &before {
        Some(there) if !replace => Err(JoinError::Member {
            identity: there.identity.clone(),
            since: crate::credentials::at(std::time::UNIX_EPOCH + Duration::from_secs(there.joined_unix_s)),
            folder: folder.path().display().to_string(),
            program: program(role),
        }),
        _ => Ok(before),
    }
}

/// Asks one aggregator after the other until one answers or refuses.
async fn ask(wish: &Wish, request: &v1::JoinRequest) -> Result<v1::Membership, JoinError> {
    let (until, end) = (Instant::now() + WITHIN, Instant::now() + ENDED_WITHIN);
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(3));
    loop {
        let mut last = JoinError::Unreachable("no address to join at".to_owned());
        for (address, left) in wish.addresses.iter().zip((1..=wish.addresses.len()).rev()) {
            // One that is silent takes no more than its share of what is left.
            let share = end.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
            let asked = timeout(share, ask_one(&wish.token, address, request.clone())).await;
            match asked.unwrap_or_else(|_| Err(JoinError::Unreachable(format!("{address} does not answer")))) {
                Ok(answer) => return Ok(answer),
                // What breaks off may be an aggregator that is only just starting.
                Err(error @ (JoinError::Unreachable(_) | JoinError::NotStarling(_))) => last = error,
                Err(other) => return Err(other),
            }
        }
        let wait = backoff.wait(rand::random());
        if Instant::now() + wait > until {
            return Err(last);
        }
        sleep(wait).await;
    }
}

async fn ask_one(token: &JoinToken, address: &str, request: v1::JoinRequest) -> Result<v1::Membership, JoinError> {
    let nobody = Stranger::unbelieving().map_err(JoinError::NotStarling)?;
    let public = connect(&nobody, address).await?;
    let authorities = within(address, EnrolmentClient::new(public).get_authorities(v1::GetAuthoritiesRequest {})).await;
    let authorities = authorities?;
    let known = certificates(&authorities.certificates)
        .map_err(|what| JoinError::NotStarling(format!("{address}: authorities: {what}")))?;
    // The one of the token alone: the others are believed once this one has proved who hands them out.
    let Some(wanted) = known.iter().find(|known| digest(known) == token.authority) else {
        return Err(JoinError::WrongAuthority(address.to_owned()));
    };
    let proved = Stranger::of_certificate(wanted, &authorities.cluster)
        .map_err(|what| JoinError::NotStarling(format!("{address}: authorities: {what}")))?;
    let channel = connect(&proved, address).await?;
    within(address, EnrolmentClient::new(channel).join(Request::new(request))).await
}

async fn connect(stranger: &Stranger, address: &str) -> Result<Channel, JoinError> {
    let tried = timeout(ASKED_WITHIN, DIAL.connect_as(stranger, address)).await;
    match tried {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) if NO_CONNECTION.iter().any(|words| error.contains(words)) => {
            Err(JoinError::Unreachable(format!("{address}: {error}")))
        }
        // TCP was there, TLS was not.
        Ok(Err(error)) => Err(JoinError::NotStarling(format!("{address}: {error}"))),
        Err(_) => Err(JoinError::Unreachable(format!("{address} does not answer"))),
    }
}

async fn within<T>(
    address: &str,
    asked: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, JoinError> {
    match timeout(ASKED_WITHIN, asked).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(match (Reason::of(&status), status.code()) {
            (Some(reason), _) => JoinError::Refused(reason, status.message().to_owned()),
            (None, Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled) => {
                JoinError::Unreachable(format!("{address}: {}", status.message()))
            }
            (None, Code::Unimplemented | Code::Unauthenticated) => {
                JoinError::NotStarling(format!("{address} answers {}", status.code()))
            }
            (None, code) => JoinError::NotStarling(format!("{address} answers {code}: {}", status.message())),
        }),
        Err(_) => Err(JoinError::Unreachable(format!("{address} does not answer the question"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{enrolment::command::ADDRESSES_MAX, state_folder};

    /// Listeners that take a connection and say nothing, as a firewall or a stopped host lets one see.
    #[tokio::test(start_paused = true)]
    async fn as_many_silent_addresses_as_may_be_given_take_no_longer_than_one() {
        let silent: Vec<_> = (0..ADDRESSES_MAX).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let folder = tempfile::tempdir().unwrap();
        let wish = Wish {
            role: Role::Node,
            name: NodeId::parse("web-1").unwrap(),
            token: JoinToken { id: [1; 8], secret: [2; 16], authority: [3; 32] },
            addresses: silent.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect(),
            hosts: Vec::new(),
            folder: Folder::at(folder.path().join("identity")),
            replace: false,
        };
        let began = Instant::now();
        let error = join(&wish).await.unwrap_err();
        assert!(matches!(error, JoinError::Unreachable(_)), "{error}");
        assert!(began.elapsed() <= Duration::from_secs(15), "{:?}", began.elapsed());
        // The key stays, so that another attempt is the same request.
        let mode = state_folder::SECRET;
        let key = std::fs::metadata(wish.folder.files().key).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, mode);
    }
}
