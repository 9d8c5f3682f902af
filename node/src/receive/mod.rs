//! Metrics of applications: what receivers take, until the second is cut.
//!
//! [`AppReceiver`] takes [`Observation`]s and gives samples, without input or output: one [`AppReceiver::take`] per
//! observation, one [`AppReceiver::cut`] per second. What servers report of their requests becomes the traffic model
//! ([`traffic`], [`mapping`]); everything else becomes application series within bounds ([`application`]). [`otlp`] makes
//! observations of OTLP, [`statsd`] of StatsD, [`prometheus`] of what it scrapes.
//!
//! - Observations count from the second on in which they arrive, whatever time they carry: a second that was sent cannot
//!   change. What covers more than a second is counted evenly over as many seconds ([`playout`]).
//! - Cumulative values become increments here ([`cumulative`]); deltas are taken as they are.
//! - Numbers are kept in fixed point, whose digits may change within a stream ([`fixed`]).
//! - Foreign buckets are spread over ours with exact counts and a stated error ([`point`]).
//! - An observation is taken whole or refused whole, and the sender hears which metric and why ([`refusal`]).

mod application;
mod attributes;
mod cumulative;
mod decimal;
mod deltas;
mod fixed;
#[cfg(test)]
mod fuzz;
mod levels;
mod mapping;
mod observation;
mod otlp;
mod playout;
mod point;
mod prometheus;
mod promotion;
mod refusal;
mod services;
mod sets;
mod shared;
mod statsd;
mod status;
mod traffic;
mod wire;

use std::time::Duration;

use starling_proto::{
    catalogue::{self, Kind},
    histogram::{Histogram, HistogramSum},
    limits::COUNTER_INCREMENT_MAX,
    series::{Sample, Series, Value},
};

pub use mapping::Mapping;
pub(crate) use mapping::mapping_list;
pub(crate) use observation::Moment;
pub(crate) use otlp::{OtlpPorts, serve};
pub use prometheus::ScrapeTarget;
pub(crate) use prometheus::{ScrapeSettings, serve as serve_scrapes, target_list};
pub use promotion::Promotion;
pub(crate) use promotion::promotion_list;
pub(crate) use refusal::{Outcome, Refusal};
pub(crate) use shared::{SharedReceiver, WhichCut};
pub use statsd::NegativeGauges;
pub(crate) use statsd::{StatsdPorts, StatsdRules, StatsdSettings, serve as serve_statsd};

use application::Applications;
use cumulative::Cumulative;
use deltas::Deltas;
use fixed::Fixed;
use levels::Levels;
use mapping::Timed;
use observation::{Attribute, Number, Observation, Reading, Temporality};
use playout::{Amount, Place, Playout, Served, Span, Target};
use point::Point;
use services::Services;
use sets::Sets;
use status::Status;
use traffic::{Protocol, Role, Traffic};

/// Largest increment of a counter in one observation, in its fixed point: what a counter of bytes moves in 4 minutes at a
/// TiB a second. What exceeds the largest increment of a second is part of the seconds that follow.
const INCREMENT_MAX: u64 = COUNTER_INCREMENT_MAX << 8;

/// What the receiver keeps at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverLimits {
    /// Application series present at once.
    pub series: usize,
    /// Routes of services with series of their own at once.
    pub routes: usize,
    /// Cumulative streams whose last value is kept; and as many streams of gauges.
    pub streams: usize,
    /// How long a gauge holds when its interval is not known.
    pub stale_after: Duration,
}

/// How large the tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReceiverSize {
    pub(crate) series: usize,
    /// Rows of services and routes, those of what is beyond the bound included.
    pub(crate) routes: usize,
    pub(crate) streams: usize,
    /// What waits to be played out, in bytes.
    pub(crate) playing_bytes: usize,
}

/// Observations whose series lacks attributes that they came with, because a series takes so many
/// ([`ATTRIBUTES_MAX`](starling_proto::limits::ATTRIBUTES_MAX)): what differs in these alone was added up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    pub(crate) points: u64,
    /// The metric of the first of them, and how many attributes it had.
    pub(crate) first: Option<(Box<str>, usize)>,
}

/// Application metrics of the second that is not cut yet, and of those that follow.
#[derive(Debug)]
pub(crate) struct AppReceiver {
    traffic: Traffic,
    /// Requests of Starling's own servers.
    own: Traffic,
    /// The requests of `traffic`, by service and route.
    services: Services,
    applications: Applications,
    cumulative: Cumulative,
    deltas: Deltas,
    levels: Levels,
    sets: Sets,
    playout: Playout,
    mappings: Vec<Mapping>,
    promotions: Vec<Promotion>,
    timed: Timed,
    refused: u64,
    merged: Merged,
    /// Those of the newest cut, until they are reported.
    merged_cut: Merged,
    /// There were such points.
    has_merged: bool,
    /// For building histograms: 37 kB, once.
    scratch: HistogramSum,
}

impl AppReceiver {
    /// An empty receiver. Sequences that started after `started` count in full. `mappings`: names of requests beside those
    /// of the semantic conventions.
    pub(crate) fn new(limits: ReceiverLimits, mappings: Vec<Mapping>, started: Moment) -> Self {
        Self {
            traffic: Traffic::new(false),
            own: Traffic::new(true),
            services: Services::new(limits.routes),
            applications: Applications::new(limits.series),
            cumulative: Cumulative::new(limits.streams, started),
            deltas: Deltas::new(limits.streams),
            levels: Levels::new(limits.streams, limits.stale_after),
            sets: Sets::default(),
            playout: Playout::new(),
            mappings,
            promotions: Vec::new(),
            timed: Timed::default(),
            refused: 0,
            merged: Merged::default(),
            merged_cut: Merged::default(),
            has_merged: false,
            scratch: HistogramSum::new(),
        }
    }

    /// The same, where the series that `promotions` name are of the cluster.
    pub(crate) fn promoting(self, promotions: Vec<Promotion>) -> Self {
        Self { promotions, ..self }
    }

    /// Takes one observation, whole or not at all.
    ///
    /// # Errors
    /// [`Refusal`]: nothing of it is counted then.
    fn take(&mut self, mut observation: Observation<'_>, now: Moment) -> Result<(), Refusal> {
        match std::mem::replace(&mut observation.reading, Reading::Level(None)) {
            Reading::Level(None) => {
                self.levels.clear(observation.identity.key);
                Ok(())
            }
            Reading::Level(Some(value)) => {
                let (series, value) = self.level(&observation, value, now)?;
                self.levels.set(observation.identity.key, &series, value, now.monotonic)
            }
            Reading::Change(value) => {
                let (series, value) = self.level(&observation, value, now)?;
                self.levels.add(observation.identity.key, &series, value, now.monotonic)
            }
            Reading::Counter(value, temporality) => self.counter(&observation, value, temporality, now),
            Reading::Histogram(point, temporality) => self.histogram(&observation, point, temporality, now),
            Reading::Values(values) => self.values(&observation, values, now),
            Reading::Members(members) => {
                let series = self.series(&observation, (Kind::Gauge, observation.unit, 0))?;
                self.applications.admit(&series, 0, now.monotonic)?;
                self.sets.put(&series, &members, now.monotonic)
            }
        }
    }

    /// Notes that `points` were refused, to be reported with the next cut.
    fn count_refused(&mut self, points: u64) {
        self.refused += points;
    }

    /// Takes out what belongs to the `seconds` that end now, mostly one, and how many observations were refused.
    pub(crate) fn cut(&mut self, now: Moment, seconds: u32, samples: &mut Vec<Sample>) -> u64 {
        let Self { playout, traffic, own, services, applications, refused, .. } = self;
        let mut counts = Counts { traffic, own, services, applications };
        // Its series was admitted when it came; were it forgotten since and its place taken, that is a refusal.
        playout.cut(seconds, |target, amount| {
            *refused += u64::from(counts.count(target, amount, now.monotonic).is_err());
        });
        self.take_out(now, samples)
    }

    /// As [`AppReceiver::cut`], with everything that was still to be counted in seconds that will not come.
    pub(crate) fn last_cut(&mut self, now: Moment, samples: &mut Vec<Sample>) -> u64 {
        let Self { playout, traffic, own, services, applications, refused, .. } = self;
        let mut counts = Counts { traffic, own, services, applications };
        playout.flush(|target, amount| {
            *refused += u64::from(counts.count(target, amount, now.monotonic).is_err());
        });
        self.take_out(now, samples)
    }

    fn take_out(&mut self, now: Moment, samples: &mut Vec<Sample>) -> u64 {
        self.traffic.cut(now.monotonic, samples);
        self.own.cut(now.monotonic, samples);
        self.services.cut(now.monotonic, samples);
        self.applications.cut(now.monotonic, samples);
        self.levels.cut(now.monotonic, |series| self.applications.shown(series), samples);
        self.sets.cut(now.monotonic, |series| self.applications.shown(series), samples);
        self.merged_cut = std::mem::take(&mut self.merged);
        self.has_merged |= self.merged_cut.points > 0;
        if self.has_merged {
            let value = Value::Counter(self.merged_cut.points.min(COUNTER_INCREMENT_MAX));
            samples.push(Sample { series: Series::of(&catalogue::RECEIVE_MERGED, &[]), value });
        }
        std::mem::take(&mut self.refused)
    }

    /// How large the tables are.
    pub(crate) fn size(&self) -> ReceiverSize {
        ReceiverSize {
            series: self.applications.len(),
            routes: self.services.len(),
            streams: self.cumulative.len(),
            playing_bytes: self.playout.bytes(),
        }
    }

    /// Increments counted at once since the last call, because too much waits to be played out.
    pub(crate) fn take_unplayed(&mut self) -> u64 {
        self.playout.take_unplayed()
    }

    /// Observations that were merged before the newest cut, once.
    pub(crate) fn take_merged(&mut self) -> Merged {
        std::mem::take(&mut self.merged_cut)
    }

    /// Requests counted in a route or service `_other` since the last call.
    pub(crate) fn take_in_other(&mut self) -> u64 {
        self.services.take_in_other()
    }

    /// The series of a level, admitted, and the value.
    fn level(&mut self, observation: &Observation<'_>, value: Number, now: Moment) -> Result<(Series, Fixed), Refusal> {
        if let Some(Role::Active { speaks }) = self.role(observation.metric) {
            let protocol = traffic::protocol(speaks, &observation.attributes);
            return Ok((traffic::active(observation.own, protocol), Fixed::whole(value)?));
        }
        let value = Fixed::gauge(value, observation.unit)?;
        let series = self.series(observation, (Kind::Gauge, observation.unit, 0))?;
        self.applications.admit_gauge(&series, value, now.monotonic)?;
        Ok((series, value))
    }

    fn counter(
        &mut self,
        observation: &Observation<'_>,
        value: Number,
        temporality: Temporality,
        now: Moment,
    ) -> Result<(), Refusal> {
        let requests = self.requests(observation, now);
        let value = if requests.is_some() { Fixed::whole(value) } else { Fixed::counter(value, observation.unit) }?;
        if value.value < 0 {
            return Err(Refusal::Negative("a sum that only rises"));
        }
        let checked = |increment: Fixed| {
            let n = increment.value.unsigned_abs();
            (n <= INCREMENT_MAX).then_some((n, increment.scale)).ok_or(Refusal::OutOfRange("the increment"))
        };
        let delta = (temporality == Temporality::Delta).then(|| checked(value)).transpose()?;
        let identity = observation.identity;
        let (mut target, admitted) = match requests {
            Some((protocol, status)) => {
                self.traffic.saw(protocol, None, now.monotonic);
                let row = self.services.admit(services::row(observation), status, now.monotonic);
                (Target::Requests { row, protocol, status }, Ok(()))
            }
            None => {
                let series = self.series(observation, (Kind::Counter, observation.unit, 0))?;
                let admitted = self.applications.admit(&series, value.scale, now.monotonic);
                (Target::Counter { series, scale: value.scale }, admitted)
            }
        };
        let (increment, since_unix_ns) = match delta {
            Some(delta) => {
                admitted?;
                if self.deltas.is_again(identity, now.monotonic) {
                    return Ok(());
                }
                (delta, identity.start_unix_ns)
            }
            None => {
                admitted.inspect_err(|_| self.cumulative.missed(identity, now))?;
                let Some(increment) = self.cumulative.number(identity, value, now)? else { return Ok(()) };
                let number = match &target {
                    // It may have been an application series with digits before.
                    Target::Requests { .. } => increment.number.rescaled(0).unwrap_or(increment.number),
                    _ => increment.number,
                };
                (checked(number)?, increment.since_unix_ns)
            }
        };
        let span = Span { since_unix_ns, until_unix_ns: identity.time_unix_ns };
        if let Target::Counter { scale, .. } = &mut target {
            *scale = increment.1;
        }
        if let (Target::Requests { protocol, .. }, Some(every)) = (&target, span.reported_every()) {
            self.traffic.saw(*protocol, Some(every), now.monotonic);
        }
        let place = self.playout.place(identity.sender, span);
        self.play(place, span, target, Amount::Count(increment.0), now)
    }

    /// What requests an observation counts, unless their durations come in as well.
    fn requests(&self, observation: &Observation<'_>, now: Moment) -> Option<(Protocol, Status)> {
        let Some(Role::Requests { speaks }) = self.role(observation.metric) else { return None };
        let protocol = traffic::protocol(speaks, &observation.attributes);
        if self.timed.covers(observation.service, protocol, now.monotonic) {
            return None;
        }
        Some((protocol, Status::of(&observation.attributes)))
    }

    /// Values that came one by one.
    fn values(&mut self, observation: &Observation<'_>, values: Histogram, now: Moment) -> Result<(), Refusal> {
        let (target, _) = self.histogram_target(observation, now)?;
        match &target {
            Target::Histogram { series } => self.applications.admit(series, series.scale(), now.monotonic)?,
            Target::Traffic { protocol, .. } => self.timed.note(observation.service, *protocol, now.monotonic),
            Target::Requests { .. } | Target::Counter { .. } => {}
        }
        self.counts().count(target, Amount::Histogram(values), now.monotonic)
    }

    /// Notes that durations of `metric` are on their way, if it stands for durations.
    fn expect_durations(&mut self, metric: &str, service: Option<&str>, attributes: &[Attribute<'_>], now: Moment) {
        if let Some(Role::Duration { speaks, .. }) = self.role(metric) {
            self.timed.note(service, traffic::protocol(speaks, attributes), now.monotonic);
        }
    }

    /// The application series of an observation.
    fn series(&mut self, observation: &Observation<'_>, form: (Kind, &str, u8)) -> Result<Series, Refusal> {
        let (series, left_out) = application::series(observation, &self.promotions, form)?;
        if left_out > 0 {
            self.merged.points += 1;
            let attributes = observation.attributes.len();
            self.merged.first.get_or_insert_with(|| (observation.metric.into(), attributes));
        }
        Ok(series)
    }

    fn role(&self, metric: &str) -> Option<Role> {
        mapping::role(&self.mappings, metric)
    }

    fn histogram(
        &mut self,
        observation: &Observation<'_>,
        point: Point,
        temporality: Temporality,
        now: Moment,
    ) -> Result<(), Refusal> {
        if temporality == Temporality::Delta {
            point.check_interval()?;
        }
        let (cumulative, identity) = (temporality == Temporality::Cumulative, observation.identity);
        let (target, factor) = self.histogram_target(observation, now)?;
        if let Target::Traffic { served: Served::ByService(_), protocol, .. } = &target {
            self.timed.note(observation.service, *protocol, now.monotonic);
        }
        if let Target::Histogram { series } = &target {
            let admitted = self.applications.admit(series, series.scale(), now.monotonic);
            admitted.inspect_err(|_| {
                if cumulative {
                    self.cumulative.missed(identity, now);
                }
            })?;
        }
        if !cumulative && self.deltas.is_again(identity, now.monotonic) {
            return Ok(());
        }
        let increment = if cumulative { self.cumulative.histogram(identity, point, now)? } else { Some(point) };
        let Some(point) = increment else {
            self.saw(&target, None, now);
            return Ok(());
        };
        let span = Span { since_unix_ns: point.start_unix_ns, until_unix_ns: point.time_unix_ns };
        let place = self.playout.place(identity.sender, span);
        self.saw(&target, span.reported_every(), now);
        self.scratch.clear();
        point.spread_into(&mut self.scratch, factor)?;
        self.play(place, span, target, Amount::Histogram(self.scratch.to_histogram()), now)
    }

    /// Where the values of a histogram are counted, and how many units of the layout one of theirs has.
    fn histogram_target(&mut self, observation: &Observation<'_>, now: Moment) -> Result<(Target, f64), Refusal> {
        let attributes = &observation.attributes;
        match self.role(observation.metric) {
            Some(Role::Duration { speaks, unit_ns }) => {
                let (protocol, status) = (traffic::protocol(speaks, attributes), Status::of(attributes));
                let served = if observation.own {
                    Served::Own
                } else {
                    Served::ByService(self.services.admit(services::row(observation), status, now.monotonic))
                };
                Ok((
                    Target::Traffic { served, protocol, status },
                    traffic::unit_ns(observation.unit).unwrap_or(unit_ns),
                ))
            }
            Some(Role::Active { .. }) => Err(Refusal::Malformed("open requests are no histogram")),
            Some(Role::Requests { .. }) | None => {
                let (unit, scale, factor) = application::histogram_form(observation.unit);
                let series = self.series(observation, (Kind::Histogram, unit, scale))?;
                Ok((Target::Histogram { series }, factor))
            }
        }
    }

    /// Counts `amount` at its `place` in the seconds that follow; at once when it has none.
    fn play(
        &mut self,
        place: Option<Place>,
        span: Span,
        target: Target,
        amount: Amount,
        now: Moment,
    ) -> Result<(), Refusal> {
        let at_once = match place {
            Some(place) => self.playout.put(place, span, target, amount),
            None => Some((target, amount)),
        };
        let Some((target, amount)) = at_once else { return Ok(()) };
        self.counts().count(target, amount, now.monotonic)
    }

    fn counts(&mut self) -> Counts<'_> {
        let Self { traffic, own, services, applications, .. } = self;
        Counts { traffic, own, services, applications }
    }

    /// Notes that requests are served, were there any or not, by a sender that reports every so many seconds.
    fn saw(&mut self, target: &Target, every: Option<u32>, now: Moment) {
        let Target::Traffic { served, protocol, .. } = target else { return };
        let traffic = if *served == Served::Own { &mut self.own } else { &mut self.traffic };
        traffic.saw(*protocol, every, now.monotonic);
    }
}

/// Where increments of the second in progress are counted.
struct Counts<'a> {
    traffic: &'a mut Traffic,
    own: &'a mut Traffic,
    services: &'a mut Services,
    applications: &'a mut Applications,
}

impl Counts<'_> {
    fn count(&mut self, target: Target, amount: Amount, now: Duration) -> Result<(), Refusal> {
        match (target, amount) {
            (Target::Traffic { served, protocol, status }, Amount::Histogram(durations)) => match served {
                Served::Own => self.own.add(protocol, status.failed(), &durations, now),
                Served::ByService(row) => self.services.record(row, status, &durations, now, || {
                    self.traffic.add(protocol, status.failed(), &durations, now)
                }),
            },
            (Target::Requests { row, protocol, status }, Amount::Count(n)) => {
                self.traffic.requests(protocol, status.failed(), n, now);
                self.services.count(row, status, n, now);
                Ok(())
            }
            (Target::Counter { series, scale }, Amount::Count(n)) => self.applications.count(&series, scale, n, now),
            (Target::Histogram { series }, Amount::Histogram(values)) => self.applications.record(&series, values, now),
            (target, amount) => {
                debug_assert!(false, "{target:?} does not take {amount:?}");
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
