//! What was seen of this host and of the cluster. Judged by [`super::judge`], gathered by [`super::look`].

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use starling_proto::v1::ListAggregatorsResponse;

use super::installed::Kind;

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    /// First moment.
    pub(crate) from: SystemTime,
    /// Last moment.
    pub(crate) until: SystemTime,
}

/// Certificate, key and authorities of a program.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// The program's name.
    pub(crate) program: String,
    /// The file with the certificate.
    pub(crate) file: PathBuf,
    /// Whom it names; why the files are not taken.
    pub(crate) taken: Result<String, String>,
    /// When the certificate itself is valid; `None` when it cannot be read.
    pub(crate) validity: Option<Validity>,
    /// It is of `join`, and renewed by the program itself.
    pub(crate) is_joined: bool,
    /// Why it is not this machine's.
    pub(crate) copied: Option<String>,
    /// When each authority is valid, with its name.
    pub(crate) authorities: Vec<(String, Validity)>,
    /// Files that the user of the service cannot read.
    pub(crate) unreadable: Vec<PathBuf>,
}

/// What a name resolves to.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    /// "host:port", as it stands in the settings.
    pub(crate) text: String,
    /// Its addresses, or why there are none.
    pub(crate) found: Result<Vec<IpAddr>, String>,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Who has an address that a program wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Nobody.
    Nobody,
    /// A process of this name and number.
    Process(String, u32),
    /// Somebody who cannot be seen from here.
    Unseen,
    /// It cannot be had at all.
    Refused(String),
}

/// An address that a program wants, and who has it.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    /// The program that wants it.
    pub(crate) kind: Kind,
    /// The setting.
    pub(crate) key: &'static str,
    /// Its value.
    pub(crate) address: SocketAddr,
    /// Who has it.
    pub(crate) holder: Holder,
}

/// What a program says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// Which.
    pub(crate) kind: Kind,
    /// Where it was asked.
    pub(crate) address: SocketAddr,
    /// Status and text of `/ready`; why there is none.
    pub(crate) ready: Result<(u16, String), String>,
    /// Its version.
    pub(crate) version: Option<String>,
}

/// Another clock less ours: between these two, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockDifference {
    /// At least.
    pub(crate) low_ms: i64,
    /// At most.
    pub(crate) high_ms: i64,
}

/// What an aggregator answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// Whether its health service says that it serves; why it is not known.
    pub(crate) serving: Option<Result<bool, String>>,
    /// Its clock.
    pub(crate) clock: Option<ClockDifference>,
    /// The cluster as it sees it; `None` for those who may not ask.
    pub(crate) cluster: Option<ListAggregatorsResponse>,
}

/// An aggregator that was dialled.
#[derive(Debug, Clone)]
pub(crate) struct Dialled {
    /// In whose name: the program whose certificate was used.
    pub(crate) by: String,
    /// "host:port".
    pub(crate) address: String,
    /// What it answered, or why not.
    pub(crate) answer: Result<Answer, String>,
    /// How long it took.
    pub(crate) took: Duration,
}

/// The folder of a state and what is below it.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    /// The program.
    pub(crate) kind: Kind,
    /// The folder.
    pub(crate) folder: PathBuf,
    /// Most bytes of history that its settings allow.
    pub(crate) wanted_bytes: u64,
    /// What is there; why it cannot be seen.
    pub(crate) seen: Result<Filesystem, String>,
}

/// A filesystem.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filesystem {
    /// As the kernel calls it, such as "ext4".
    pub(crate) kind: String,
    /// Where it is mounted.
    pub(crate) mount: String,
    /// Nothing can be written.
    pub(crate) read_only: bool,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Bytes that a program without privileges may still take.
    pub(crate) free: u64,
    /// Files that can still be made; `None` where there is no such limit.
    pub(crate) files_free: Option<u64>,
}

/// A program that runs here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Process {
    /// Its name.
    pub(crate) name: String,
    /// Its number.
    pub(crate) pid: u32,
    /// Open descriptors; `None` when they cannot be seen.
    pub(crate) open: Option<u64>,
    /// Most descriptors.
    pub(crate) open_max: Option<u64>,
    /// Memory of its cgroup in bytes, and the limit, when there is one.
    pub(crate) memory: Option<(u64, u64)>,
    /// How often the kernel killed something in that cgroup for want of memory.
    pub(crate) killed: u64,
    /// Names of variables that would name a proxy.
    pub(crate) proxies: Vec<String>,
}

/// What keeps the clock of this host in step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Synchronised {
    /// It is in step, by this program.
    Yes(&'static str),
    /// This program runs; whether the clock is in step is its secret.
    Runs(&'static str),
    /// This program runs and has not reached a server.
    NotYet(&'static str),
    /// Nothing was found.
    Nothing,
}

/// A unit as the manager reads it.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    /// Its program.
    pub(crate) kind: Kind,
    /// Its vendor file differs from the package's; `None` when no package manager can say.
    pub(crate) edited: Option<bool>,
    /// A whole file stands before it.
    pub(crate) replaced_by: Option<PathBuf>,
}

/// This host.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// Its clock.
    pub(crate) synchronised: Synchronised,
    /// Where state is kept.
    pub(crate) disks: Vec<Disk>,
    /// Programs that run.
    pub(crate) processes: Vec<Process>,
    /// Units that are installed.
    pub(crate) units: Vec<Unit>,
}
