//! `/metrics/cluster`: the series of the cluster, of groups, of the own nodes, for a scraper.
//!
//! Nothing is added up before the first scrape asks for a scope; from then on every second counts, whether it is scraped or
//! not. A counter begins with that first scrape, and says so where the format can.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use starling_history::Subject;
use starling_out::{
    ENDED_AFTER, Total, Totals,
    exposition::{Format, accepted, expose},
};
use starling_promql::{LabelMatcher, Query as PromqlQuery};
use starling_service::settings::kind::Word as _;
use tokio::{sync::Semaphore, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;

use super::follow::Follow;
use crate::{config::SeriesScope, metrics::Metrics};

/// What the admin port says of it at `/`.
pub(crate) const INDEX: &str =
    "/metrics/cluster: series of the cluster and its groups; ?scope=nodes: of the nodes that stream here\n";
/// Series that are followed in a scope; further ones are left out and counted. 10,000 nodes of 100 series, some 400 MB.
const SERIES_MAX: usize = 1_000_000;
/// Scrapes at once: each waits for the one before. A further one is refused.
const SCRAPES_MAX: usize = 8;
/// Selectors of one scrape.
const SELECTORS_MAX: usize = 16;
/// Seconds that a scrape is behind the newest settled one while nodes are late or silent.
const PATIENCE: u32 = 4;
/// What is followed is read so often without a scrape: memory holds 15 minutes.
const FOLLOW_EVERY: Duration = Duration::from_secs(60);

/// The series of one scope since the first scrape.
struct Followed {
    totals: Totals,
    /// The first second that is not taken yet, by subject.
    next: HashMap<Subject, u32>,
}

/// See the module. Shared.
pub(crate) struct Scrapes {
    follow: Follow,
    metrics: Arc<Metrics>,
    /// By scope. Held while one scrape is answered, which blocks.
    followed: Mutex<BTreeMap<&'static str, Followed>>,
    at_once: Semaphore,
}

/// What a scrape asks for.
struct Asked {
    scopes: Vec<SeriesScope>,
    /// A series must satisfy all conditions of one of them; all do without any.
    selectors: Vec<Vec<LabelMatcher>>,
}

impl Asked {
    /// # Errors
    /// What of the parameters is not valid.
    fn of(parameters: &[(String, String)]) -> Result<Self, String> {
        let (mut scopes, mut selectors) = (Vec::new(), Vec::new());
        for (key, value) in parameters {
            match key.as_str() {
                "scope" => {
                    for word in value.split(',') {
                        let scope = SeriesScope::parse(word).ok_or_else(|| {
                            let word: String = word.chars().take(32).collect();
                            format!("scope: {word:?} is not \"cluster\", \"groups\" or \"nodes\"")
                        })?;
                        if !scopes.contains(&scope) {
                            scopes.push(scope);
                        }
                    }
                }
                "match[]" if selectors.len() < SELECTORS_MAX => {
                    selectors.push(PromqlQuery::selector(value).map_err(|error| format!("match[]: {error}"))?);
                }
                "match[]" => return Err(format!("match[]: at most {SELECTORS_MAX} are taken")),
                other => {
                    let other: String = other.chars().take(32).collect();
                    return Err(format!("{other:?} is no parameter: there are scope and match[]"));
                }
            }
        }
        if scopes.is_empty() {
            scopes = vec![SeriesScope::Cluster, SeriesScope::Groups];
        }
        Ok(Self { scopes, selectors })
    }

    fn wants(&self, total: &Total) -> bool {
        let holds = |matcher: &LabelMatcher| matcher.condition.matches(total.labels.get(&matcher.label));
        self.selectors.is_empty() || self.selectors.iter().any(|selector| selector.iter().all(holds))
    }
}

impl Scrapes {
    /// Of what `follow` reads. Nothing is followed yet.
    pub(crate) fn new(follow: Follow, metrics: Arc<Metrics>) -> Self {
        Self { follow, metrics, followed: Mutex::default(), at_once: Semaphore::new(SCRAPES_MAX) }
    }

    /// Takes in what is new of the scopes that were asked for before, once a minute until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut timer = tokio::time::interval(FOLLOW_EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(timer.tick()).await.is_some() {
            let scrapes = self.clone();
            let step = move || {
                let mut followed = scrapes.followed.lock().unwrap_or_else(PoisonError::into_inner);
                for (word, scope) in SeriesScope::ALL {
                    if let Some(held) = followed.get_mut(word) {
                        scrapes.catch_up(*scope, held);
                    }
                }
            };
            // A panic is in the log; the next scrape takes in what this one should have.
            let _ = tokio::task::spawn_blocking(step).await;
        }
    }

    fn catch_up(&self, scope: SeriesScope, followed: &mut Followed) {
        let settled = self.follow.settled();
        let oldest = self.follow.oldest();
        followed.next.retain(|_, next| *next >= oldest);
        for subject in self.follow.subjects(scope) {
            let from = followed.next.get(&subject).copied().unwrap_or(settled.saturating_sub(ENDED_AFTER - 1));
            if from > settled {
                continue;
            }
            let Some(labels) = self.follow.labels(&subject) else { continue };
            let (series, next) = self.follow.read(&subject, from, settled, PATIENCE);
            followed.totals.take(&subject, &labels, &series, |_| true, |_, _| {});
            followed.next.insert(subject, next);
        }
        followed.totals.forget(settled);
        self.metrics.scrape_series_left_out.of(scope.word()).set(followed.totals.left_out() as f64);
    }

    fn answer(&self, asked: &Asked, format: Format) -> Vec<u8> {
        let began = Instant::now();
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        for scope in &asked.scopes {
            let held = followed
                .entry(scope.word())
                .or_insert_with(|| Followed { totals: Totals::new(SERIES_MAX), next: HashMap::new() });
            self.catch_up(*scope, held);
        }
        let settled = self.follow.settled();
        let wanted = asked.scopes.iter().filter_map(|scope| followed.get(scope.word()));
        let live = wanted.flat_map(|held| held.totals.all());
        let bytes = expose(live.filter(|total| total.is_live(settled) && asked.wants(total)), format);
        self.metrics.scrape_answer.record(began.elapsed());
        bytes
    }
}

/// The route of it.
pub(crate) fn routes(scrapes: Arc<Scrapes>) -> Router {
    Router::new().route("/metrics/cluster", get(scrape)).layer(CompressionLayer::new()).with_state(scrapes)
}

async fn scrape(
    State(scrapes): State<Arc<Scrapes>>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let asked = match Asked::of(&parameters) {
        Ok(asked) => asked,
        Err(what) => return refused(&scrapes, "bad_request", StatusCode::BAD_REQUEST, &what),
    };
    let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|one| one.to_str().ok()).collect();
    let format = accepted(&accept.join(","));
    let Ok(_turn) = scrapes.at_once.try_acquire() else {
        let what = format!("{SCRAPES_MAX} scrapes are being answered");
        return refused(&scrapes, "too_many", StatusCode::SERVICE_UNAVAILABLE, &what);
    };
    let answering = {
        let scrapes = scrapes.clone();
        tokio::task::spawn_blocking(move || scrapes.answer(&asked, format))
    };
    match answering.await {
        Ok(bytes) => ([(header::CONTENT_TYPE, format.content_type())], bytes).into_response(),
        Err(_) => refused(&scrapes, "failed", StatusCode::INTERNAL_SERVER_ERROR, "the series could not be read"),
    }
}

fn refused(scrapes: &Scrapes, reason: &'static str, status: StatusCode, what: &str) -> Response {
    scrapes.metrics.scrapes_refused.of(reason).inc();
    (status, format!("{what}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(parameters: &[(&str, &str)]) -> Result<Asked, String> {
        Asked::of(&parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn parameters_are_read_or_named() {
        assert_eq!(asked(&[]).unwrap().scopes, [SeriesScope::Cluster, SeriesScope::Groups]);
        assert_eq!(
            asked(&[("scope", "nodes,cluster"), ("scope", "nodes")]).unwrap().scopes,
            [SeriesScope::Nodes, SeriesScope::Cluster]
        );
        assert_eq!(asked(&[("match[]", "{zone=\"a\"}")]).unwrap().selectors.len(), 1);
        for (parameter, wanted) in [
            (("scope", "all"), "scope: \"all\" is not"),
            (("match[]", "{"), "match[]:"),
            (("step", "5"), "\"step\" is no parameter"),
        ] {
            let what = asked(&[parameter]).err().unwrap();
            assert!(what.starts_with(wanted), "{what}");
        }
        assert!(asked(&[("match[]", "up"); 17]).is_err());
    }
}
