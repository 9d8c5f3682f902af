//! The cluster that a command watches, as its flags say.

use std::path::PathBuf;

use starling_proto::address::host_port;
use starling_service::{credentials::Security, secret};
use starling_top::Source;

use crate::asked::operator;

/// Most addresses that may be listed: more aggregators than any cluster has.
const ADDRESSES_MAX: usize = 64;

/// Flags of every command that watches a cluster.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Watched {
    /// Aggregators, "host:port" each, with commas between or the flag again. One is enough: it names the others, and when one
    /// fails the next is followed
    #[arg(
        long,
        default_value = "127.0.0.1:7400",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        env = "STARLING_AGGREGATOR"
    )]
    aggregator: Vec<String>,
    /// Folder of an operator's certificate.pem, key.pem and ca.pem, when they speak TLS
    #[arg(long, value_name = "FOLDER", env = "STARLING_TLS")]
    tls: Option<PathBuf>,
    /// A dashboard server instead, for where no aggregator can be reached: "http://host:port", https for TLS, with a prefix if it has one
    #[arg(long, value_name = "URL", env = "STARLING_DASHBOARD", conflicts_with = "tls")]
    dashboard: Option<String>,
    /// File with an API token for that dashboard, when it has a log-in (`starling tokens add`)
    #[arg(long, value_name = "FILE", env = "STARLING_TOKEN_FILE", requires = "dashboard")]
    token_file: Option<PathBuf>,
}

impl Watched {
    /// Begins to follow it. To be called on a runtime.
    ///
    /// # Errors
    /// Which flag is wrong, and how.
    pub(crate) fn follow(&self) -> Result<Source, String> {
        if let Some(dashboard) = &self.dashboard {
            let token = self.token_file.as_deref().map(|file| {
                let text = secret::text(file).map_err(|why| format!("--token-file: {} {why}", file.display()))?;
                Ok::<_, String>(text.lines().next().unwrap_or_default().trim().to_owned())
            });
            return Source::dashboard(dashboard, token.transpose()?.as_deref())
                .map_err(|error| format!("--dashboard: {error}"));
        }
        if self.aggregator.len() > ADDRESSES_MAX {
            return Err(format!(
                "--aggregator: {} addresses; wanted are at most {ADDRESSES_MAX}",
                self.aggregator.len()
            ));
        }
        let plain = |address: &String| {
            let address = address.trim();
            let address = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
            host_port(address).map(|_| address.to_owned()).map_err(|error| format!("--aggregator: {error}"))
        };
        let addresses = self.aggregator.iter().map(plain).collect::<Result<_, _>>()?;
        let security = self.tls.as_deref().map_or_else(|| Ok(Security::plain()), operator)?;
        Ok(Source::aggregators(security, addresses))
    }
}
