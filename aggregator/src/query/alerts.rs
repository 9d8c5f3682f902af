//! The `Alerts` service.

mod letters;

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use futures_util::stream;
use starling_alerts::{
    EpisodeId, Taken,
    control::ControlError,
    shown::{self, Shown},
};
use starling_notify::Notifiers;
use starling_proto::{ids::NodeId, v1};
use starling_service::grpc::alerts_server;
use tonic::{Request, Response, Status};
use tracing::info;

use super::{Answers, Holders, OpenStream, Streams, off_thread};
use crate::{
    alerts::Alerts,
    catch_up::CatchUp,
    clock::{now_ms, tick_of},
    fleet::ClusterFleet,
    ledger_task::LedgerHandle,
};

/// Requests hold names, comments and some matchers.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Alerts of one answer, when the request does not say.
const PAGE_USUAL: u32 = 500;
/// Most alerts of one answer.
const PAGE_MAX: u32 = 10_000;
/// Between two updates of one watcher: the values of an open episode change each second.
const UPDATE_EVERY: Duration = Duration::from_millis(500);

/// See the module.
pub(crate) struct AlertService {
    /// Name of this aggregator.
    pub(crate) id: NodeId,
    /// `None` when alerts are off.
    pub(crate) alerts: Option<Alerts>,
    /// Who is told; `None` when nobody is.
    pub(crate) notifiers: Option<Notifiers>,
    /// How many nodes report.
    pub(crate) ledger: LedgerHandle,
    /// The labels of nodes.
    pub(crate) fleet: Arc<ClusterFleet>,
    /// Who else has dead letters.
    pub(crate) holders: Arc<Holders>,
    /// For answers that go on.
    pub(crate) streams: Streams,
    /// Whether it answers yet.
    pub(crate) catch_up: Arc<CatchUp>,
}

/// What is read to answer.
#[derive(Clone)]
struct Reader {
    alerts: Alerts,
    ledger: LedgerHandle,
    fleet: Arc<ClusterFleet>,
}

impl Reader {
    fn shown<T>(&self, read: impl FnOnce(&Shown<'_>) -> T) -> T {
        self.alerts.shown(&self.fleet, read)
    }

    fn verdict(&self, shown: &Shown<'_>) -> v1::AlertVerdict {
        let settled = self.ledger.published().borrow().settled;
        let coverage = self.ledger.view(settled).map(|view| view.coverage).unwrap_or_default();
        let healthy = match (coverage.reporting, coverage.expected) {
            (_, 0) => "no node has reported in the last 15 minutes.".to_owned(),
            (1, 1) => "the node reports, nothing is beyond its limit.".to_owned(),
            (reporting, expected) if reporting == expected => {
                format!("all {expected} nodes report, nothing is beyond its limit.")
            }
            (reporting, expected) => format!("{reporting} of {expected} nodes report, nothing is beyond its limit."),
        };
        let verdict = shown.verdict(&healthy);
        if coverage.expected == 0 && verdict.severity == 0 {
            return v1::AlertVerdict { word: "No data".to_owned(), ..verdict };
        }
        verdict
    }

    fn alert(&self, id: EpisodeId) -> Result<v1::Alert, Status> {
        self.shown(|shown| {
            let of_open = shown
                .open()
                .into_iter()
                .find(|one| one.episode.as_ref().is_some_and(|e| e.episode_id == id.to_string()));
            let found = of_open.or_else(|| shown.book.episode(id).map(|episode| shown.alert(episode)));
            let chart = shown.book.episode(id).and_then(|episode| {
                let rule = shown.rules.get(&episode.rule)?;
                shown::chart(rule, episode)
            });
            found.map(|alert| v1::Alert { chart, ..alert })
        })
        .ok_or_else(|| Status::not_found(format!("episode_id: there is no episode {id}, or it is forgotten")))
    }
}

fn refused(error: &ControlError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn id_of(text: &str) -> Result<EpisodeId, Status> {
    EpisodeId::parse(text).ok_or_else(|| {
        let text: String = text.chars().take(32).collect();
        Status::invalid_argument(format!("episode_id: {text:?} is no id, wanted are 16 hexadecimal digits"))
    })
}

/// One page of `all` by the number in `token`, and the token of the next one.
fn page<T>(all: Vec<T>, size: u32, token: &str) -> Result<(Vec<T>, String), Status> {
    let from: usize = match token {
        "" => 0,
        token => token.parse().map_err(|_| Status::invalid_argument("page_token: is not from an answer before"))?,
    };
    let size = if size == 0 { PAGE_USUAL } else { size.min(PAGE_MAX) } as usize;
    let next = if all.len() > from.saturating_add(size) { (from + size).to_string() } else { String::new() };
    Ok((all.into_iter().skip(from).take(size).collect(), next))
}

impl AlertService {
    /// The service with its limits.
    pub(crate) fn server(self) -> alerts_server::AlertsServer<Self> {
        alerts_server::AlertsServer::new(self).max_decoding_message_size(REQUEST_BYTES_MAX)
    }

    /// Writes down who had dead letters sent again. They are on their way: what fails is counted and logged.
    async fn note(&self, note: v1::DeadLetterResend) {
        let Some(alerts) = &self.alerts else { return };
        info!(author = note.author, notifier = note.notifier, resent = note.resent, "dead letters are sent again");
        if let Ok(control) = alerts.read(|book| book.resend(note, self.id.as_str(), now_ms())) {
            let _ = alerts.keep(control).await;
        }
    }

    fn reader(&self) -> Result<Reader, Status> {
        self.catch_up.check()?;
        let off = || Status::unimplemented("alerts are off at this aggregator (alerts.enabled)");
        let alerts = self.alerts.clone().ok_or_else(off)?;
        Ok(Reader { alerts, ledger: self.ledger.clone(), fleet: self.fleet.clone() })
    }
}

#[tonic::async_trait]
impl alerts_server::Alerts for AlertService {
    type WatchStream = Answers<v1::AlertsUpdate>;

    async fn list(&self, request: Request<v1::ListAlertsRequest>) -> Result<Response<v1::ListAlertsResponse>, Status> {
        let (reader, request) = (self.reader()?, request.into_inner());
        let id = self.id.to_string();
        let answer = off_thread(move || {
            let (alerts, verdict) = reader.shown(|shown| (shown.open(), reader.verdict(shown)));
            let wanted = |alert: &v1::Alert| {
                let Some(episode) = &alert.episode else { return false };
                (request.include_pending || episode.state() == v1::AlertState::Firing)
                    && episode.severity >= request.min_severity
                    && (request.node_id.is_empty() || episode.subject == request.node_id)
            };
            let all: Vec<v1::Alert> = alerts.into_iter().filter(wanted).collect();
            let (alerts, next_page_token) = page(all, request.page_size, &request.page_token)?;
            let judged_tick = reader.alerts.judged();
            Ok(v1::ListAlertsResponse { alerts, next_page_token, judged_tick, answered_by: id, verdict: Some(verdict) })
        });
        answer.await?.map(Response::new)
    }

    async fn watch(&self, request: Request<v1::WatchAlertsRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let reader = self.reader()?;
        let watcher = Watcher {
            changed: reader.alerts.changed(),
            reader,
            pending: request.get_ref().include_pending,
            sent: None,
            verdict: None,
            open: self.streams.open(),
        };
        let stream: Pin<Box<_>> = Box::pin(stream::unfold(watcher, |mut watcher| async move {
            let update = watcher.next().await?;
            Some((update, watcher))
        }));
        Ok(Response::new(stream))
    }

    async fn get(&self, request: Request<v1::GetAlertRequest>) -> Result<Response<v1::Alert>, Status> {
        let (reader, id) = (self.reader()?, id_of(&request.get_ref().episode_id)?);
        off_thread(move || reader.alert(id)).await?.map(Response::new)
    }

    async fn acknowledge(&self, request: Request<v1::AcknowledgeRequest>) -> Result<Response<v1::Alert>, Status> {
        let (reader, request) = (self.reader()?, request.into_inner());
        let id = id_of(&request.episode_id)?;
        let now = now_ms();
        let until_tick = (request.for_seconds > 0).then(|| tick_of(now).saturating_add(request.for_seconds));
        let by =
            v1::AlertAcknowledgement { author: request.author, comment: request.comment, at_unix_ms: now, until_tick };
        let unknown = || Status::not_found(format!("episode_id: there is no episode {id}, or it is forgotten"));
        let control = reader.alerts.read(|book| {
            let episode = book.episode(id).ok_or_else(unknown)?;
            if !episode.is_open() {
                return Err(Status::failed_precondition(format!("episode_id: the episode {id} is over")));
            }
            book.acknowledge(episode, by, self.id.as_str(), now).map_err(|error| refused(&error))
        })?;
        reader.alerts.keep(control).await.map_err(Status::unavailable)?;
        reader.alert(id).map(Response::new)
    }

    async fn unacknowledge(&self, request: Request<v1::UnacknowledgeRequest>) -> Result<Response<v1::Alert>, Status> {
        let (reader, request) = (self.reader()?, request.into_inner());
        let id = id_of(&request.episode_id)?;
        let taken = Taken::Acknowledgement(id);
        let control = reader.alerts.read(|book| book.take_back(&taken, &request.author, self.id.as_str(), now_ms()));
        let control = control.ok_or_else(|| Status::not_found(format!("episode_id: {id} is not acknowledged")))?;
        reader.alerts.keep(control).await.map_err(Status::unavailable)?;
        reader.alert(id).map(Response::new)
    }

    async fn silence(&self, request: Request<v1::SilenceRequest>) -> Result<Response<v1::SilenceResponse>, Status> {
        let (reader, request) = (self.reader()?, request.into_inner());
        let now = now_ms();
        let starts_tick = if request.starts_tick == 0 { tick_of(now) } else { request.starts_tick };
        let silence = v1::AlertSilence {
            matchers: request.matchers,
            author: request.author,
            comment: request.comment,
            starts_tick,
            ends_tick: starts_tick.saturating_add(request.for_seconds),
            ..v1::AlertSilence::default()
        };
        let control = reader
            .alerts
            .read(|book| book.silence(silence.clone(), self.id.as_str(), now))
            .map_err(|error| refused(&error))?;
        let matchers = starling_alerts::control::compiled(&silence.matchers).map_err(|error| refused(&error))?;
        let covers = reader.shown(|shown| {
            let is = |alert: &v1::Alert| {
                let id = alert.episode.as_ref().and_then(|episode| EpisodeId::parse(&episode.episode_id));
                let episode = id.and_then(|id| shown.book.episode(id));
                episode.is_some_and(|one| shown.is_covered(one, &matchers))
            };
            shown.open().into_iter().filter(is).take(PAGE_USUAL as usize).collect()
        });
        if request.preview {
            return Ok(Response::new(v1::SilenceResponse { silence: Some(silence), covers }));
        }
        let made = match &control.what {
            Some(v1::alert_control::What::Silence(made)) => Some(made.clone()),
            _ => None,
        };
        reader.alerts.keep(control).await.map_err(Status::unavailable)?;
        Ok(Response::new(v1::SilenceResponse { silence: made, covers }))
    }

    async fn unsilence(&self, request: Request<v1::UnsilenceRequest>) -> Result<Response<v1::AlertSilence>, Status> {
        let (reader, request) = (self.reader()?, request.into_inner());
        let taken = Taken::Silence(&request.silence_id);
        let control = reader.alerts.read(|book| book.take_back(&taken, &request.author, self.id.as_str(), now_ms()));
        let unknown = || {
            let id: String = request.silence_id.chars().take(32).collect();
            Status::not_found(format!("silence_id: there is no silence {id:?}"))
        };
        let control = control.ok_or_else(unknown)?;
        let Some(v1::alert_control::What::Silence(silence)) = control.what.clone() else { return Err(unknown()) };
        reader.alerts.keep(control).await.map_err(Status::unavailable)?;
        Ok(Response::new(silence))
    }

    async fn list_silences(
        &self,
        _: Request<v1::ListSilencesRequest>,
    ) -> Result<Response<v1::ListSilencesResponse>, Status> {
        let reader = self.reader()?;
        let mut silences: Vec<v1::AlertSilence> = reader.alerts.read(|book| book.silences().cloned().collect());
        silences.sort_by_key(|silence| (silence.ends_tick, silence.silence_id.clone()));
        Ok(Response::new(v1::ListSilencesResponse { silences }))
    }

    async fn list_rules(&self, _: Request<v1::ListRulesRequest>) -> Result<Response<v1::ListRulesResponse>, Status> {
        let reader = self.reader()?;
        let in_force = reader.alerts.in_force();
        let mut open: BTreeMap<String, u32> = BTreeMap::new();
        reader.alerts.read(|book| {
            let firing = book.open().into_iter().filter(|one| one.has_fired());
            firing.for_each(|one| *open.entry(one.rule.clone()).or_default() += 1);
        });
        let (rules, standing) = (in_force.rules.all().iter(), reader.alerts.queries());
        Ok(Response::new(v1::ListRulesResponse {
            rules: rules
                .map(|rule| {
                    let listed = shown::rule(rule, open.get(&rule.name).copied().unwrap_or(0));
                    match standing.get(&rule.name) {
                        Some(one) => v1::AlertRule {
                            last_error: one.error.clone(),
                            evaluated_tick: Some(one.tick),
                            evaluations_missed: Some(one.missed.count()),
                            evaluation_ms: Some(u32::try_from(one.took.as_millis()).unwrap_or(u32::MAX)),
                            ..listed
                        },
                        None => listed,
                    }
                })
                .collect(),
            fingerprint: in_force.rules.fingerprint(),
            mistakes: in_force.mistakes.iter().map(ToString::to_string).collect(),
            refused_since_tick: in_force.refused_since,
        }))
    }

    async fn list_episodes(
        &self,
        request: Request<v1::ListEpisodesRequest>,
    ) -> Result<Response<v1::ListEpisodesResponse>, Status> {
        let (reader, request) = (self.reader()?, request.into_inner());
        let answer = off_thread(move || {
            let to = if request.to_tick == 0 { u32::MAX } else { request.to_tick };
            let all = reader.shown(|shown| {
                let mut all: Vec<_> = shown
                    .book
                    .episodes()
                    .filter(|one| one.has_fired() && one.since <= to)
                    .filter(|one| one.ended.is_none_or(|(end, _)| end >= request.from_tick))
                    .filter(|one| request.rule.is_empty() || one.rule == request.rule)
                    .filter(|one| request.subject.is_empty() || one.subject.name() == request.subject)
                    .collect();
                all.sort_by_key(|one| (std::cmp::Reverse(one.since), one.id));
                all.into_iter().map(|one| shown.alert(one)).collect::<Vec<_>>()
            });
            let (episodes, next_page_token) = page(all, request.page_size, &request.page_token)?;
            Ok(v1::ListEpisodesResponse { episodes, next_page_token })
        });
        answer.await?.map(Response::new)
    }

    async fn test_notifier(
        &self,
        request: Request<v1::TestNotifierRequest>,
    ) -> Result<Response<v1::TestNotifierResponse>, Status> {
        self.reader()?;
        let name: String = request.into_inner().notifier.chars().take(64).collect();
        let unknown = || Status::not_found(format!("notifier: there is none called {name:?}"));
        let notifiers = self.notifiers.as_ref().ok_or_else(unknown)?;
        if !notifiers.names().iter().any(|(known, _)| *known == name) {
            return Err(unknown());
        }
        let answer = match notifiers.test(&name).await {
            Ok(()) => v1::TestNotifierResponse { delivered: true, detail: "it was taken".to_owned() },
            Err(detail) => v1::TestNotifierResponse { delivered: false, detail },
        };
        Ok(Response::new(answer))
    }

    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        self.reader()?;
        letters::list(self, request).await.map(Response::new)
    }

    async fn resend_dead_letters(
        &self,
        request: Request<v1::ResendDeadLettersRequest>,
    ) -> Result<Response<v1::ResendDeadLettersResponse>, Status> {
        self.reader()?;
        letters::resend(self, request).await.map(Response::new)
    }
}

/// One reader of what is open.
struct Watcher {
    reader: Reader,
    changed: tokio::sync::watch::Receiver<u64>,
    pending: bool,
    /// What it was sent, by id; `None` before the first update.
    sent: Option<BTreeMap<String, v1::Alert>>,
    verdict: Option<v1::AlertVerdict>,
    open: OpenStream,
}

impl Watcher {
    /// The next update; `None` at the stop.
    async fn next(&mut self) -> Option<Result<v1::AlertsUpdate, Status>> {
        loop {
            if self.sent.is_some() {
                tokio::select! {
                    biased;
                    () = self.open.stop.cancelled() => return None,
                    // The verdict may change without a record: nodes come and go.
                    () = tokio::time::sleep(2 * UPDATE_EVERY) => {}
                    result = self.changed.changed() => {
                        result.ok()?;
                        tokio::time::sleep(UPDATE_EVERY).await;
                    }
                }
            }
            self.changed.borrow_and_update();
            let (reader, pending) = (self.reader.clone(), self.pending);
            let read = off_thread(move || {
                let (open, verdict) = reader.shown(|shown| (shown.open(), reader.verdict(shown)));
                let is = |alert: &v1::Alert| alert.episode.as_ref().map(|one| (one.episode_id.clone(), one.state()));
                let wanted = open.into_iter().filter_map(|alert| {
                    let (id, state) = is(&alert)?;
                    (pending || state == v1::AlertState::Firing).then_some((id, alert))
                });
                (wanted.collect::<BTreeMap<_, _>>(), verdict, reader.alerts.judged())
            });
            let (open, verdict, judged_tick) = match read.await {
                Ok(read) => read,
                Err(status) => return Some(Err(status)),
            };
            let whole = self.sent.is_none();
            let before = self.sent.take().unwrap_or_default();
            let changed: Vec<v1::Alert> = open
                .iter()
                .filter(|(id, alert)| before.get(*id) != Some(*alert))
                .map(|(_, alert)| alert.clone())
                .collect();
            let removed: Vec<String> = before.keys().filter(|id| !open.contains_key(*id)).cloned().collect();
            let same = self.verdict.as_ref() == Some(&verdict);
            self.sent = Some(open);
            self.verdict = Some(verdict.clone());
            if whole || !same || !changed.is_empty() || !removed.is_empty() {
                return Some(Ok(v1::AlertsUpdate { whole, changed, removed, judged_tick, verdict: Some(verdict) }));
            }
        }
    }
}
