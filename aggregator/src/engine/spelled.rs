//! What an engine calls a series, and which one of ours that is. Pure.
//!
//! An engine has names and labels in Prometheus's spelling, from which dots, units and kinds cannot be read back for sure. What is
//! known of the catalogue or of the series that are held here is taken from there, so that a series goes on across the seam;
//! what nobody knows keeps the spelling of the engine. Labels that were added on the way are left out.

use std::collections::{BTreeMap, BTreeSet};

use starling_history::{Selection, Subject};
use starling_promql::names::{self, NODE};
use starling_proto::{
    catalogue::{Kind, METRICS, Metric, Scope},
    ids::NodeId,
    series::Series,
};

use super::answer::LabelSet;
use crate::select::Key;

/// Whose series are asked of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owners {
    /// Of one subject.
    One(Subject),
    /// Of all nodes with a label.
    Nodes(Option<(String, String)>),
}

/// How the series that are asked for are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Called {
    /// In Starling's spelling.
    Ours(String),
    /// In Prometheus's, without what it is merged over.
    Theirs(String),
}

/// Labels of the nodes, by name.
pub(crate) type NodeLabels = BTreeMap<NodeId, Vec<(String, String)>>;

/// One name that an engine may hold, and what it is.
#[derive(Debug, Clone)]
pub(super) struct Meant {
    /// As the engine has it, without what it is merged over.
    pub(super) spelled: String,
    /// Its kind; `None` when it may be a gauge or a histogram.
    pub(super) kind: Option<Kind>,
    /// Decimal digits, as far as they are known.
    pub(super) scale: Option<u8>,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Catalogue(&'static Metric),
    /// Series of this name that are held here, name and unit for those that are not.
    Application {
        held: Vec<Key>,
        name: String,
        unit: String,
    },
}

impl Owners {
    /// What stands before the names.
    pub(super) const fn prefix(&self) -> &'static str {
        match self {
            Self::One(Subject::Cluster) => names::OF_CLUSTER,
            Self::One(Subject::Group(_)) => names::OF_GROUP,
            Self::One(Subject::Node(_)) | Self::Nodes(_) => "",
        }
    }

    /// Whose a series with these labels is.
    fn subject(&self, labels: &LabelSet) -> Option<Subject> {
        match self {
            Self::One(subject) => Some(subject.clone()),
            Self::Nodes(_) => Some(Subject::Node(NodeId::parse(labels.get(NODE)?).ok()?)),
        }
    }
}

/// What `called` may be in an engine. `held` are the series of that name that are held here. Empty when nobody here knows the
/// name: then the engine is asked for its names.
pub(super) fn meant(called: &Called, held: &[Key]) -> Vec<Meant> {
    let is_meant = |name: &str, kind, unit: &str| match called {
        Called::Ours(wanted) => name == wanted,
        Called::Theirs(wanted) => names::metric_name(name, kind, unit) == *wanted,
    };
    let of_catalogue = METRICS.iter().filter(|metric| is_meant(metric.name, metric.kind, metric.unit));
    let catalogued: Vec<Meant> = of_catalogue
        .map(|metric| Meant {
            spelled: names::metric_name(metric.name, metric.kind, metric.unit),
            kind: Some(metric.kind),
            scale: Some(if metric.is_sent() { metric.scale } else { metric.kept_scale() }),
            what: What::Catalogue(metric),
        })
        .collect();
    if !catalogued.is_empty() {
        return catalogued;
    }
    let mut by_spelling: BTreeMap<String, Vec<Key>> = BTreeMap::new();
    for key in held {
        let series = &key.series;
        if is_meant(series.name(), series.kind(), series.unit()) {
            let spelled = names::metric_name(series.name(), series.kind(), series.unit());
            by_spelling.entry(spelled).or_default().push(key.clone());
        }
    }
    let known: Vec<Meant> = by_spelling
        .into_iter()
        .filter_map(|(spelled, held)| {
            let first = held.first()?.series.clone();
            let what = What::Application { held, name: first.name().to_owned(), unit: first.unit().to_owned() };
            Some(Meant { spelled, kind: Some(first.kind()), scale: Some(first.scale()), what })
        })
        .collect();
    match called {
        // Whatever it is, it is called so.
        Called::Theirs(spelled) if known.is_empty() => {
            let kind = spelled.ends_with("_total").then_some(Kind::Counter);
            let what = What::Application { held: Vec::new(), name: spelled.clone(), unit: String::new() };
            vec![Meant { spelled: spelled.clone(), kind, scale: None, what }]
        }
        _ => known,
    }
}

/// A pattern for the names that a series called `name` may have in an engine; see [`among`].
pub(super) fn pattern(name: &str, prefix: &str) -> String {
    let plain = names::metric_name(name, Kind::Gauge, "");
    format!("{prefix}{}(_.+)?", plain.replace('.', "\\."))
}

/// Those of an engine's names that a series called `name` can have.
pub(super) fn among(found: &[String], name: &str, prefix: &str) -> Vec<Meant> {
    let read = |found: &String| {
        let spelled = found.strip_prefix(prefix)?;
        let (kind, unit) = names::read_back(spelled, name)?;
        let what = What::Application { held: Vec::new(), name: name.to_owned(), unit };
        Some(Meant { spelled: spelled.to_owned(), kind, scale: None, what })
    };
    found.iter().filter_map(read).collect()
}

/// What goes with the labels of an answer.
pub(super) struct Reader<'a> {
    /// Whose series were asked for.
    pub(super) owners: &'a Owners,
    /// Only these.
    pub(super) selection: &'a Selection,
    /// Labels of the nodes.
    pub(super) nodes: &'a NodeLabels,
    /// Labels that are none of ours.
    pub(super) added: &'a BTreeSet<String>,
}

impl Reader<'_> {
    /// Which series of ours has these labels, of `kind`. `None` for what was not asked for.
    pub(super) fn series(&self, meant: &Meant, kind: Kind, labels: &LabelSet) -> Option<(Subject, Key)> {
        let subject = self.owners.subject(labels)?;
        let key = match &meant.what {
            What::Catalogue(metric) => of_metric(metric, labels)?,
            What::Application { held, name, unit } => {
                let own = self.own(&subject);
                let matches = held.iter().filter(|key| key.series.kind() == kind && attributes_match(key, labels));
                // The one with most attributes: a label more is no other series.
                match matches.max_by_key(|key| key.series.attributes().len()) {
                    Some(key) => key.clone(),
                    None => self.unknown(held, (name, unit), kind, labels, &own)?,
                }
            }
        };
        let wanted = match key.derived {
            true => {
                let attributes: Vec<(&str, &str)> =
                    key.series.attributes().iter().map(|(key, value)| (&**key, &**value)).collect();
                self.selection.wants(key.series.name(), &attributes)
            }
            false => self.wants(&key.series),
        };
        wanted.then_some((subject, key))
    }

    /// By attributes alone when the name keeps the engine's spelling.
    fn wants(&self, series: &Series) -> bool {
        let attribute = |key: &str| series.attribute(key).unwrap_or_default();
        self.selection.attributes.iter().all(|(key, matcher)| matcher.matches(attribute(key)))
    }

    /// Labels that are the subject's, not the series'.
    fn own(&self, subject: &Subject) -> BTreeSet<String> {
        let mut own = BTreeSet::from([NODE.to_owned()]);
        match subject {
            Subject::Node(node) => {
                let labels = self.nodes.get(node).into_iter().flatten();
                own.extend(labels.map(|(key, _)| names::label_name(key)));
            }
            Subject::Group(group) => own.extend(group.label().map(|(key, _)| names::label_name(key))),
            Subject::Cluster => {}
        }
        own
    }

    fn unknown(
        &self,
        held: &[Key],
        (name, unit): (&str, &str),
        kind: Kind,
        labels: &LabelSet,
        own: &BTreeSet<String>,
    ) -> Option<Key> {
        // Keys as other series of the name have them.
        let keys: BTreeMap<String, &str> = held
            .iter()
            .flat_map(|key| key.series.attributes())
            .map(|(key, _)| (names::label_name(key), &**key))
            .collect();
        let kept = labels.iter().filter(|(label, _)| !own.contains(*label) && !self.added.contains(*label));
        let attributes: Vec<(&str, &str)> =
            kept.map(|(label, value)| (keys.get(label).copied().unwrap_or(label), value.as_str())).collect();
        let like = held.first().map(|key| &key.series);
        let scale = like.map_or(if kind == Kind::Histogram && unit.is_empty() { 9 } else { 6 }, Series::scale);
        let scope = like.map_or(Scope::Cluster, Series::scope);
        let series = Series::kept(name, &attributes, kind, unit, scale, scope).ok()?;
        Some(Key { series, derived: false })
    }
}

fn of_metric(metric: &'static Metric, labels: &LabelSet) -> Option<Key> {
    let attributes: Vec<(&str, &str)> = metric
        .attributes
        .iter()
        .filter_map(|key| Some((*key, labels.get(&names::label_name(key))?.as_str())))
        .collect();
    let derived = !metric.is_sent();
    let scale = if derived { metric.kept_scale() } else { metric.scale };
    let series = Series::kept(metric.name, &attributes, metric.kind, metric.unit, scale, metric.scope).ok()?;
    Some(Key { series, derived })
}

fn attributes_match(key: &Key, labels: &LabelSet) -> bool {
    let has =
        |(key, value): &(Box<str>, Box<str>)| labels.get(&names::label_name(key)).is_some_and(|held| **held == **value);
    key.series.attributes().iter().all(has)
}

/// The attributes that can be asked of the engine as labels: of the catalogue, where a key is one label.
pub(super) fn conditions(meant: &Meant, selection: &Selection) -> Vec<(String, String)> {
    let What::Catalogue(metric) = &meant.what else { return Vec::new() };
    let known = selection.attributes.iter().filter(|(key, _)| metric.attributes.contains(&&**key));
    known.filter_map(|(key, matcher)| Some((names::label_name(key), matcher.only()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use starling_history::Matcher;

    use super::*;

    fn labels(of: &[(&str, &str)]) -> LabelSet {
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn held(name: &str, attributes: &[(&str, &str)], unit: &str) -> Key {
        let series = Series::application(name, attributes, Kind::Counter, unit, 0, Scope::Cluster).unwrap();
        Key { series, derived: false }
    }

    fn read(owners: &Owners, meant: &Meant, kind: Kind, of: &[(&str, &str)]) -> Option<(String, Series)> {
        let nodes: NodeLabels = [(NodeId::parse("web-1").unwrap(), vec![("zone".to_owned(), "a".to_owned())])].into();
        let added = BTreeSet::from(["replica".to_owned()]);
        let selection = Selection::all(0, 1);
        let reader = Reader { owners, selection: &selection, nodes: &nodes, added: &added };
        let (subject, key) = reader.series(meant, kind, &labels(of))?;
        Some((subject.to_string(), key.series))
    }

    /// Scenario 56: a label that was added on the way makes no second line.
    #[test]
    fn a_series_of_the_catalogue_is_the_one_that_is_held_here() {
        for metric in METRICS {
            let called = Called::Theirs(names::metric_name(metric.name, metric.kind, metric.unit));
            for called in [called, Called::Ours(metric.name.to_owned())] {
                let all = meant(&called, &[]);
                assert_eq!(all.len(), 1, "{called:?}");
                let with: Vec<(&str, &str)> = metric.attributes.iter().map(|key| (*key, "x")).collect();
                let scale = if metric.is_sent() { metric.scale } else { metric.kept_scale() };
                let ours = Series::kept(metric.name, &with, metric.kind, metric.unit, scale, metric.scope).unwrap();
                let spelled = names::labels(&Subject::Cluster, &ours, &[]);
                let mut theirs: Vec<(&str, &str)> =
                    spelled.iter().filter(|(key, _)| *key != starling_promql::NAME).collect();
                theirs.extend([("replica", "a"), ("instance", "localhost:9090")]);
                let owners = Owners::One(Subject::Cluster);
                assert_eq!(read(&owners, &all[0], metric.kind, &theirs), Some(("cluster".to_owned(), ours)));
            }
        }
    }

    #[test]
    fn a_series_of_an_application_is_found_by_what_is_held_here() {
        let here = [held("shop.orders", &[("pay.method", "card")], "{order}"), held("shop.orders", &[], "{order}")];
        let all = meant(&Called::Ours("shop.orders".to_owned()), &here);
        assert_eq!((all.len(), all[0].spelled.as_str()), (1, "shop_orders_total"));
        let owners = Owners::Nodes(None);
        let node = |of: &[(&'static str, &'static str)]| {
            let mut all_labels = vec![("node", "web-1"), ("zone", "a"), ("replica", "b")];
            all_labels.extend(of);
            read(&owners, &all[0], Kind::Counter, &all_labels)
        };
        assert_eq!(node(&[("pay_method", "card")]), Some(("node/web-1".to_owned(), here[0].series.clone())));
        assert_eq!(node(&[]), Some(("node/web-1".to_owned(), here[1].series.clone())));
        // One that is not held here has its keys as the others have them, and the engine's labels where nobody knows.
        let no_plain = meant(&Called::Ours("shop.orders".to_owned()), &here[..1]);
        let (_, other) = read(
            &owners,
            &no_plain[0],
            Kind::Counter,
            &[("node", "web-1"), ("zone", "a"), ("pay_method", "cash"), ("till", "3")],
        )
        .unwrap();
        assert_eq!(
            (other.attribute("pay.method"), other.attribute("till"), other.attribute("zone")),
            (Some("cash"), Some("3"), None)
        );
        assert_eq!(read(&owners, &all[0], Kind::Counter, &[("zone", "a")]), None, "of no node");
    }

    #[test]
    fn what_nobody_here_knows_is_asked_of_the_engine_by_name() {
        assert!(meant(&Called::Ours("shop.orders".to_owned()), &[]).is_empty());
        assert_eq!(pattern("shop.orders", "cluster:"), "cluster:shop_orders(_.+)?");
        let found = ["cluster:shop_orders_total", "cluster:shop_orders_open_for_all_to_see_total", "shop_orders_total"];
        let found: Vec<String> = found.map(String::from).to_vec();
        let among = among(&found, "shop.orders", "cluster:");
        assert_eq!((among.len(), among[0].kind), (1, Some(Kind::Counter)));
        // A query names it as the engine does: it keeps that name.
        let theirs = meant(&Called::Theirs("shop_size_bytes".to_owned()), &[]);
        assert_eq!((theirs[0].spelled.as_str(), theirs[0].kind), ("shop_size_bytes", None));
        let (_, series) = read(&Owners::One(Subject::Cluster), &theirs[0], Kind::Gauge, &[]).unwrap();
        assert_eq!(names::metric_name(series.name(), Kind::Gauge, series.unit()), "shop_size_bytes");
    }

    #[test]
    fn attributes_are_asked_of_the_engine_where_they_are_labels() {
        let metric = meant(&Called::Ours("system.cpu.time".to_owned()), &[]);
        let selection = Selection::named("system.cpu.time", 0, 1).with("cpu.mode", "user").with("odd", "x");
        assert_eq!(conditions(&metric[0], &selection), [("cpu_mode".to_owned(), "user".to_owned())]);
        let not = Selection {
            attributes: vec![("cpu.mode".into(), Matcher::not_equal("idle"))],
            ..Selection::named("system.cpu.time", 0, 1)
        };
        assert!(conditions(&metric[0], &not).is_empty());
    }
}
