//! The aggregator that a command asks, as its flags say.

use std::{
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};

use starling_proto::v1;
use starling_service::{
    channel::Dial,
    credentials::{Credentials, Files, Security},
    grpc::identities_client::IdentitiesClient,
    identity::Role,
};
use tonic::{Response, Status, transport::Channel};

/// How long it may take for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// Flags of every command that asks an aggregator.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Asked {
    /// The aggregator that is asked, "host:port" or "http://host:port"
    #[arg(long, default_value = "127.0.0.1:7400", value_name = "URL", env = "STARLING_AGGREGATOR")]
    aggregator: String,
    /// Folder of an operator's certificate.pem, key.pem and ca.pem, when it speaks TLS
    #[arg(long, value_name = "FOLDER", env = "STARLING_TLS")]
    tls: Option<PathBuf>,
}

impl Asked {
    /// Connects to it.
    ///
    /// # Errors
    /// Which flag is wrong, or why it does not answer.
    pub(crate) async fn connect(&self) -> Result<Channel, String> {
        let address = self.aggregator.strip_prefix("http://").unwrap_or(&self.aggregator).trim_end_matches('/');
        if address.starts_with("https://") {
            return Err("--aggregator: write host:port, and --tls FOLDER for TLS".to_owned());
        }
        self.dial(address, None).await
    }

    /// The operator's folder, when it speaks TLS.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.tls.as_deref()
    }

    /// Connects to another aggregator of the same cluster, that of this name, at `address`.
    ///
    /// # Errors
    /// As [`Asked::connect`].
    pub(crate) async fn connect_to(&self, address: &str, name: &str) -> Result<Channel, String> {
        self.dial(address, Some(name)).await
    }

    async fn dial(&self, address: &str, name: Option<&str>) -> Result<Channel, String> {
        let security = self.tls.as_deref().map_or_else(|| Ok(Security::plain()), operator)?;
        let channel = Dial::within(CONNECT_WAIT).connect_to(&security, address, name).await;
        channel.map_err(|error| format!("no aggregator answers at {address}: {error}"))
    }

    /// Asks it one question, from where nothing else runs.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub(crate) fn ask<T, F>(&self, question: impl FnOnce(Channel) -> F) -> Result<T, String>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.with(async |channel| question(channel).await.map(Response::into_inner).map_err(|status| said(&status)))
    }

    /// Connects, and does `work` where nothing else runs.
    ///
    /// # Errors
    /// Why there is no connection, or what `work` says.
    pub(crate) fn with<T>(&self, work: impl AsyncFnOnce(Channel) -> Result<T, String>) -> Result<T, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(async { work(self.connect().await?).await })
    }
}

/// All that have joined as one of `roles`, or at all when that is empty.
pub(crate) async fn all_joined(channel: Channel, roles: &[String]) -> Result<Vec<v1::JoinedIdentity>, Status> {
    let mut client = IdentitiesClient::new(channel);
    let mut all: Vec<v1::JoinedIdentity> = Vec::new();
    loop {
        let after = all.last().map(|last| format!("{} {}", last.role, last.name)).unwrap_or_default();
        let asked = v1::ListIdentitiesRequest { roles: roles.to_vec(), after };
        let page = client.list_identities(asked).await?.into_inner();
        let is_last = !page.more || page.identities.is_empty();
        all.extend(page.identities);
        if is_last {
            return Ok(all);
        }
    }
}

/// What a refusal says, in words.
pub(crate) fn said(status: &Status) -> String {
    match status.message() {
        "" => format!("the aggregator answers {}", status.code()),
        said => said.to_owned(),
    }
}

/// An operator, by a folder as `starling ca issue` lays it down.
///
/// # Errors
/// Which file is wrong, and how.
pub(crate) fn operator(folder: &Path) -> Result<Security, String> {
    let loaded = Credentials::load(Files::of_folder(folder), None, Role::Operator, false);
    loaded.map(|credentials| Security::of(credentials.into())).map_err(|error| format!("--tls: {error}"))
}

/// Who runs this, for lists of who did what; a certificate says it better.
pub(crate) fn author() -> String {
    std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_default()
}
