//! What a line of input says, and of what.

use std::{collections::HashMap, sync::LazyLock};

use starling_history::Subject;
use starling_promql::names;
use starling_proto::{
    catalogue::{self, Kind, METRICS, Metric, Scope},
    group::Group,
    histogram::Histogram,
    ids::NodeId,
    series::Series,
};

/// Bucket of a classic histogram.
pub(crate) const BOUND: &str = "le";
/// Labels that groups are usually made by.
const GROUP_LABELS: [&str; 2] = ["zone", "role"];

/// What a component of a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Value of a gauge.
    Level,
    /// How much a counter has counted, as its process shows it.
    Total,
    /// How much a counter grew in the second.
    Increment,
    /// How many values a classic histogram has counted at or below a bound, given by its bits.
    Bucket(u64),
    /// The sum of its values.
    Sum,
    /// Their number.
    Count,
    /// The values of one second.
    Exact,
}

/// A value; over several nodes with what is known of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Amount {
    /// A number of one node, or of whatever the subject is.
    One(f64),
    /// A number over nodes: their sum, their number, smallest and largest.
    Over(f64, u32, f64, f64),
    /// Values, and the nodes they are of.
    Histogram(Histogram, u32),
}

/// A series, as a line names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Meant {
    pub(crate) subject: Subject,
    pub(crate) series: Series,
    pub(crate) part: Part,
}

/// How lines without a full name of ours are read.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// Of lines that name no node, group or cluster.
    pub(crate) subject: Subject,
    /// The label that names the node.
    pub(crate) node_label: String,
    /// The label whose value is the group, of series of groups.
    pub(crate) group_label: Option<String>,
}

/// What a family of a text is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

/// Metrics of the catalogue by their names in Prometheus's spelling.
static KNOWN: LazyLock<HashMap<String, &'static Metric>> = LazyLock::new(|| {
    let name = |metric: &Metric| names::metric_name(metric.name, metric.kind, metric.unit);
    METRICS.iter().map(|metric| (name(metric), *metric)).collect()
});

impl Reading {
    /// The series that a sample of Prometheus's spelling is of; `kind` as its family is said to be. `None`: it says
    /// nothing to be kept, as when its counter began.
    ///
    /// # Errors
    /// Why it cannot be kept, in words.
    pub(crate) fn meant(
        &self,
        name: &str,
        mut labels: Vec<(String, String)>,
        of_family: impl Fn(&str) -> Option<(Type, Option<String>)>,
    ) -> Result<Option<Meant>, String> {
        let (plain, whose) = match (name.strip_prefix(names::OF_CLUSTER), name.strip_prefix(names::OF_GROUP)) {
            (Some(plain), _) => (plain, names::Whose::Cluster),
            (_, Some(plain)) => (plain, names::Whose::Groups),
            _ => (name, names::Whose::Nodes),
        };
        let prefix = &name[..name.len() - plain.len()];
        let without = |suffix: &str| plain.strip_suffix(suffix).filter(|family| !family.is_empty());
        let family = |family: &str| of_family(&format!("{prefix}{family}"));
        let mut unit = None;
        let mut typed = |found: Option<(Type, Option<String>)>| {
            found.map(|(found, of)| {
                unit = of;
                found
            })
        };
        let own = typed(family(plain));
        let (kept, mut part) = if let Some(own) = own {
            match own {
                Type::Counter => (plain, Part::Total),
                Type::Histogram => return Err("a histogram has samples _bucket, _sum and _count".to_owned()),
                Type::Gauge | Type::Summary => (plain, Part::Level),
            }
        } else {
            let of = |suffix: &str| without(suffix).and_then(|name| Some((name, family(name)?)));
            if let Some((_, found @ (Type::Counter, _))) = of("_total") {
                typed(Some(found));
                (plain, Part::Total)
            } else if let Some((name, found @ (Type::Histogram, _))) = of("_bucket") {
                typed(Some(found));
                (name, Part::Bucket(0))
            } else if let Some((name, found @ (kind @ (Type::Histogram | Type::Summary), _))) = of("_sum") {
                typed(Some(found));
                if kind == Type::Histogram { (name, Part::Sum) } else { (plain, Part::Total) }
            } else if let Some((name, found @ (kind @ (Type::Histogram | Type::Summary), _))) = of("_count") {
                typed(Some(found));
                if kind == Type::Histogram { (name, Part::Count) } else { (plain, Part::Total) }
            } else if of("_created").is_some() {
                return Ok(None);
            } else if plain.ends_with("_total") {
                (plain, Part::Total)
            } else {
                (plain, Part::Level)
            }
        };
        if let Part::Bucket(bound) = &mut part {
            let at = labels.iter().position(|(key, _)| key == BOUND);
            let (_, text) = labels.swap_remove(at.ok_or("a bucket without the label le")?);
            *bound =
                number(&text).filter(|bound| !bound.is_nan()).ok_or(format!("le is no number: {text:?}"))?.to_bits();
        }
        let kind = match part {
            Part::Level => Kind::Gauge,
            Part::Total | Part::Increment => Kind::Counter,
            _ => Kind::Histogram,
        };
        let subject = match whose {
            names::Whose::Cluster => Subject::Cluster,
            names::Whose::Groups => self.group(&mut labels, known(kept, kind))?,
            names::Whose::Nodes => match labels.iter().position(|(key, _)| *key == self.node_label) {
                None => self.subject.clone(),
                Some(at) => {
                    let (_, node) = labels.swap_remove(at);
                    Subject::Node(NodeId::parse(&node).map_err(|error| format!("{}: {error}", self.node_label))?)
                }
            },
        };
        let series = series(kept, &labels, kind, unit.as_deref())?;
        Ok(Some(Meant { subject, series, part }))
    }

    fn group(&self, labels: &mut Vec<(String, String)>, metric: Option<&Metric>) -> Result<Subject, String> {
        let is_attribute =
            |key: &str| metric.is_some_and(|metric| metric.attributes.iter().any(|own| label(own) == key));
        let candidates: Vec<usize> = (0..labels.len()).filter(|at| !is_attribute(&labels[*at].0)).collect();
        let named = |name: &str| candidates.iter().copied().find(|at| labels[*at].0 == name);
        let at = match (&self.group_label, &candidates[..]) {
            (Some(name), _) => named(name),
            (None, [only]) => Some(*only),
            (None, _) => GROUP_LABELS.iter().find_map(|name| named(name)),
        };
        let at = at.ok_or("which of the labels is the group's? Say so with --group-label KEY")?;
        let (key, value) = labels.remove(at);
        Ok(Subject::Group(Group::of(&key, &value).map_err(|error| error.to_string())?))
    }
}

fn known(name: &str, kind: Kind) -> Option<&'static Metric> {
    KNOWN.get(name).copied().filter(|metric| metric.kind == kind)
}

/// The name of an attribute as a label.
fn label(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A series by a name of Prometheus: that of the catalogue, or one of an application that keeps its name.
fn series(name: &str, labels: &[(String, String)], kind: Kind, unit: Option<&str>) -> Result<Series, String> {
    if let Some(metric) = known(name, kind) {
        let key_of = |given: &str| metric.attributes.iter().copied().find(|own| label(own) == given);
        let keys: Option<Vec<&str>> = labels.iter().map(|(key, _)| key_of(key)).collect();
        if let Some(keys) = keys.filter(|keys| keys.len() == metric.attributes.len()) {
            let attributes: Vec<_> = keys.into_iter().zip(labels.iter().map(|(_, value)| value.as_str())).collect();
            return by_parts(metric.name, &attributes, kind, metric.unit, metric.scale, metric.scope);
        }
    }
    let attributes: Vec<_> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let plain = name.strip_suffix("_total").unwrap_or(name);
    let unit = unit.map_or_else(
        || match plain.rsplit('_').next() {
            Some("seconds") => "s",
            Some("bytes") => "By",
            _ => "",
        },
        |given| match given {
            "seconds" => "s",
            "bytes" => "By",
            "ratio" => "1",
            other => other,
        },
    );
    let scale = if kind == Kind::Histogram { histogram_scale(unit) } else { 0 };
    by_parts(name, &attributes, kind, unit, scale, Scope::Cluster)
}

/// Decimal digits of a histogram of a unit: nanoseconds, bytes, thousandths of other things, as of applications.
pub(crate) fn histogram_scale(unit: &str) -> u8 {
    match unit {
        "s" => 9,
        "By" => 0,
        _ => 3,
    }
}

/// A series by its parts.
///
/// # Errors
/// Why it is none, in words.
pub(crate) fn by_parts(
    name: &str,
    attributes: &[(&str, &str)],
    kind: Kind,
    unit: &str,
    scale: u8,
    scope: Scope,
) -> Result<Series, String> {
    if let Some(metric) = catalogue::find(name)
        && metric.is_sent()
    {
        // Whatever else is said: one name has one form.
        let same = metric.kind == kind;
        let known = Series::application(name, attributes, metric.kind, metric.unit, metric.scale, metric.scope);
        return if same {
            known.map_err(|error| error.to_string())
        } else {
            Err(format!("{name} is a {}", metric.kind.as_str()))
        };
    }
    Series::application(name, attributes, kind, unit, scale, scope).map_err(|error| error.to_string())
}

/// A number in Prometheus's spelling.
pub(crate) fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        _ => text.parse().ok(),
    }
}
