//! Older history, from an engine with Prometheus's query API.
//!
//! - [`spelled`]: what the engine calls a series, and which one of ours that is;
//! - [`windows`]: which steps are asked for, so that each second up to the seam is in one;
//! - [`expression`]: the questions as PromQL; [`answer`]: the answers taken apart; [`cells`]: what they say as cells;
//! - [`asking`]: the requests, with their limits and the [`breaker`]; [`reading`]: from a question to what is known of each subject.

mod answer;
mod asking;
mod breaker;
mod cells;
mod expression;
mod reading;
mod spelled;
mod windows;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use starling_service::http_client::HttpClient;
use tokio::sync::Semaphore;

use self::breaker::Breaker;
pub(crate) use self::{
    reading::{Answered, Asked},
    spelled::{Called, Owners},
};
use crate::{config::EngineSettings, metrics::Metrics};

/// Requests at once: an engine answers others too.
const REQUESTS_MAX: usize = 8;

/// See the module. Shared.
pub(crate) struct Engine {
    client: HttpClient,
    /// Its address, as it stands in answers.
    name: String,
    timeout: Duration,
    /// Seconds between its samples.
    interval: u32,
    /// Conditions on every series.
    matchers: Vec<(String, String)>,
    /// Labels that are no attributes.
    added: BTreeSet<String>,
    /// Plain mutex: short sections.
    breaker: Mutex<Breaker>,
    /// Whether it keeps native histograms, once it was asked. Plain mutex.
    keeps_histograms: Mutex<Option<bool>>,
    requests: Semaphore,
    metrics: Arc<Metrics>,
}

impl Engine {
    /// The engine of the settings; `None` when they name none.
    ///
    /// # Errors
    /// When it cannot be reached by what they say.
    pub(crate) fn new(settings: &EngineSettings, metrics: Arc<Metrics>) -> anyhow::Result<Option<Self>> {
        let Some(access) = settings.access() else { return Ok(None) };
        let name = access.url.trim_end_matches('/').to_owned();
        let client = HttpClient::new(access).map_err(|error| anyhow!(error)).context("history.engine")?;
        let mut matchers: Vec<(String, String)> = settings.matchers.clone().into_iter().collect();
        matchers.sort_unstable();
        let added = settings.ignore_labels.iter().chain(matchers.iter().map(|(label, _)| label)).cloned().collect();
        Ok(Some(Self {
            client,
            name,
            timeout: settings.timeout,
            interval: u32::try_from(settings.interval.as_secs()).unwrap_or(u32::MAX),
            matchers,
            added,
            breaker: Mutex::new(Breaker::new()),
            keeps_histograms: Mutex::new(None),
            requests: Semaphore::new(REQUESTS_MAX),
            metrics,
        }))
    }

    /// Its address.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}
