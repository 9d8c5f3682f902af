//! A series: the name, attributes, kind and unit of a thing measured, and one value of it.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use crate::{
    catalogue::{self, Kind, Metric, Scope},
    histogram::Histogram,
    limits,
};

/// Why a series was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// Empty, longer than [`limits::NAME_LEN_MAX`] bytes, or with control characters.
    #[error("the name {0:?} is empty, longer than {max} bytes or holds control characters", max = limits::NAME_LEN_MAX)]
    Name(String),
    /// More than [`limits::ATTRIBUTES_MAX`].
    #[error("series {name:?} has {count} attributes, at most {max} are taken", max = limits::ATTRIBUTES_MAX)]
    Attributes {
        /// Name of the series.
        name: String,
        /// Attributes it came with.
        count: usize,
    },
    /// A key or value that is too long or holds control characters, or a key that stands twice.
    #[error("attribute {key:?} of series {name:?} is empty, stands twice, is too long (key {key_max}, value {value_max} bytes) or holds control characters",
        key_max = limits::ATTRIBUTE_KEY_LEN_MAX, value_max = limits::ATTRIBUTE_VALUE_LEN_MAX)]
    Attribute {
        /// Name of the series.
        name: String,
        /// Key of the attribute.
        key: String,
    },
    /// A unit longer than [`limits::UNIT_LEN_MAX`] bytes or with control characters.
    #[error("the unit of series {0:?} is longer than {max} bytes or holds control characters", max = limits::UNIT_LEN_MAX)]
    Unit(String),
    /// More decimal digits than [`limits::SCALE_MAX`].
    #[error("series {name:?} has scale {scale}, at most {max} is taken", max = limits::SCALE_MAX)]
    Scale {
        /// Name of the series.
        name: String,
        /// Decimal digits it was given.
        scale: u8,
    },
    /// A name of the catalogue with another kind, unit, scale or scope than the catalogue's, or of a metric that is
    /// computed on reading and never sent.
    #[error("series {0:?} has a name of the catalogue and another kind, unit, scale or scope, or is not one to send")]
    Catalogue(String),
}

/// What stands for the values of attributes and labels that have no place of their own.
pub const OTHER: &str = "_other";

/// Everything that makes two series the same, in the order they sort by.
type Key<'a> = (&'a str, &'a [(Box<str>, Box<str>)], Kind, &'a str, u8, Scope);

/// Identity of a series. Cheap to clone, compare and hash.
#[derive(Clone)]
pub struct Series(Arc<Inner>);

struct Inner {
    hash: u64,
    name: Box<str>,
    attributes: Box<[(Box<str>, Box<str>)]>,
    kind: Kind,
    unit: Box<str>,
    scale: u8,
    scope: Scope,
}

impl Series {
    /// A series of the catalogue. Keys must be those of the metric; values longer than the limit are cut and control
    /// characters replaced, so that an odd device name never loses the sample.
    #[must_use]
    pub fn of(metric: &'static Metric, attributes: &[(&str, &str)]) -> Self {
        debug_assert!(metric.is_sent(), "{} is computed on reading", metric.name);
        debug_assert!(
            attributes.len() == metric.attributes.len()
                && attributes.iter().all(|(key, _)| metric.attributes.contains(key)),
            "attributes of {} are {:?}",
            metric.name,
            metric.attributes
        );
        let attributes = attributes.iter().map(|&(key, value)| (key.into(), tamed(value))).collect();
        Self::build(metric.name.into(), attributes, metric.kind, metric.unit.into(), metric.scale, metric.scope)
    }

    /// A series by its parts, as it comes from an application or from a wire.
    ///
    /// # Errors
    /// [`SeriesError`], naming the part and its limit.
    pub fn application(
        name: &str,
        attributes: &[(&str, &str)],
        kind: Kind,
        unit: &str,
        scale: u8,
        scope: Scope,
    ) -> Result<Self, SeriesError> {
        let series = Self::kept(name, attributes, kind, unit, scale, scope)?;
        if let Some(metric) = catalogue::find(name)
            && (!metric.is_sent()
                || (metric.kind, metric.unit, metric.scale, metric.scope) != (kind, unit, scale, scope))
        {
            return Err(SeriesError::Catalogue(name.into()));
        }
        Ok(series)
    }

    /// A series by its parts, as it was kept: also one that is computed on reading, and one that the catalogue had
    /// otherwise when it was written.
    ///
    /// # Errors
    /// [`SeriesError`], naming the part and its limit; never [`SeriesError::Catalogue`].
    pub fn kept(
        name: &str,
        attributes: &[(&str, &str)],
        kind: Kind,
        unit: &str,
        scale: u8,
        scope: Scope,
    ) -> Result<Self, SeriesError> {
        if !clean(name, 1, limits::NAME_LEN_MAX) {
            return Err(SeriesError::Name(excerpt(name)));
        }
        if attributes.len() > limits::ATTRIBUTES_MAX {
            return Err(SeriesError::Attributes { name: name.into(), count: attributes.len() });
        }
        for (i, (key, value)) in attributes.iter().enumerate() {
            let twice = attributes[..i].iter().any(|(other, _)| other == key);
            if twice
                || !clean(key, 1, limits::ATTRIBUTE_KEY_LEN_MAX)
                || !clean(value, 0, limits::ATTRIBUTE_VALUE_LEN_MAX)
            {
                return Err(SeriesError::Attribute { name: name.into(), key: excerpt(key) });
            }
        }
        if !clean(unit, 0, limits::UNIT_LEN_MAX) {
            return Err(SeriesError::Unit(name.into()));
        }
        if scale > limits::SCALE_MAX {
            return Err(SeriesError::Scale { name: name.into(), scale });
        }
        let attributes = attributes.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        Ok(Self::build(name.into(), attributes, kind, unit.into(), scale, scope))
    }

    fn build(
        name: Box<str>,
        mut attributes: Vec<(Box<str>, Box<str>)>,
        kind: Kind,
        unit: Box<str>,
        scale: u8,
        scope: Scope,
    ) -> Self {
        attributes.sort_unstable();
        let mut hasher = std::hash::DefaultHasher::new();
        (&name, &attributes, kind, scope).hash(&mut hasher);
        Self(Arc::new(Inner { hash: hasher.finish(), name, attributes: attributes.into(), kind, unit, scale, scope }))
    }

    /// The series of the same metric that stands for all those beyond a quota: every value of an attribute is
    /// [`OTHER`]; of a metric of the catalogue those that it has `open`.
    #[must_use]
    pub fn other(&self) -> Self {
        let Inner { name, attributes, kind, unit, scale, scope, .. } = &*self.0;
        let open = catalogue::find(name).map(|metric| metric.open).filter(|open| !open.is_empty());
        let is_open = |key: &str| open.is_none_or(|open| open.contains(&key));
        let other = |(key, value): &(Box<str>, Box<str>)| {
            (key.clone(), if is_open(key) { OTHER.into() } else { value.clone() })
        };
        let attributes = attributes.iter().map(other).collect();
        Self::build(name.clone(), attributes, *kind, unit.clone(), *scale, *scope)
    }

    /// The same series with another number of decimal digits, at most [`limits::SCALE_MAX`].
    #[must_use]
    pub fn with_scale(&self, scale: u8) -> Self {
        if scale == self.0.scale {
            return self.clone();
        }
        let Inner { name, attributes, kind, unit, scope, .. } = &*self.0;
        let scale = scale.min(limits::SCALE_MAX);
        Self::build(name.clone(), attributes.to_vec(), *kind, unit.clone(), scale, *scope)
    }

    /// Name by the catalogue or by the application.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Attributes sorted by key.
    #[must_use]
    pub fn attributes(&self) -> &[(Box<str>, Box<str>)] {
        &self.0.attributes
    }

    /// Value of the attribute `key`.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.0.attributes.iter().find(|(k, _)| &**k == key).map(|(_, value)| &**value)
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Unit by UCUM.
    #[must_use]
    pub fn unit(&self) -> &str {
        &self.0.unit
    }

    /// Decimal digits of fixed point.
    #[must_use]
    pub fn scale(&self) -> u8 {
        self.0.scale
    }

    /// A number of the series out of fixed point: what every sum, value and bucket of it is in its unit.
    #[must_use]
    pub fn to_f64(&self, fixed: i128) -> f64 {
        // Above 2^53 the nearest number an f64 has.
        fixed as f64 / 10f64.powi(i32::from(self.0.scale))
    }

    /// Where it is merged.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.0.scope
    }

    /// True for a series of `metric`.
    #[must_use]
    pub fn is(&self, metric: &Metric) -> bool {
        self.name() == metric.name
    }

    fn key(&self) -> Key<'_> {
        (&self.0.name, &self.0.attributes, self.0.kind, &self.0.unit, self.0.scale, self.0.scope)
    }
}

impl PartialEq for Series {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.hash == other.0.hash && self.key() == other.key())
    }
}

impl Eq for Series {}

impl Hash for Series {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl PartialOrd for Series {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Series {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.key().cmp(&other.key()) }
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if !self.attributes().is_empty() {
            let pairs: Vec<_> = self.attributes().iter().map(|(key, value)| format!("{key}={value}")).collect();
            write!(f, "{{{}}}", pairs.join(","))?;
        }
        Ok(())
    }
}

/// One value of a series at one tick.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Increment of the tick, at most [`limits::COUNTER_INCREMENT_MAX`].
    Counter(u64),
    /// Value in fixed point, magnitude at most [`limits::GAUGE_MAGNITUDE_MAX`].
    Gauge(i64),
    /// Histogram of the tick.
    Histogram(Arc<Histogram>),
}

impl Value {
    /// What kind of series it belongs to.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Gauge(_) => Kind::Gauge,
            Self::Histogram(_) => Kind::Histogram,
        }
    }
}

/// One series at one tick.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Which series.
    pub series: Series,
    /// Its value; of the kind of the series.
    pub value: Value,
}

fn clean(text: &str, shortest: usize, longest: usize) -> bool {
    (shortest..=longest).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The start of a text of unknown length, for an error message.
fn excerpt(text: &str) -> String {
    text.chars().take(limits::NAME_LEN_MAX).collect()
}

/// `value` as an attribute of a series of the catalogue has it: no longer than the limit, without control characters.
fn tamed(value: &str) -> Box<str> {
    if clean(value, 0, limits::ATTRIBUTE_VALUE_LEN_MAX) {
        return value.into();
    }
    let mut tame = String::new();
    for c in value.chars().map(|c| if c.is_control() { '?' } else { c }) {
        if tame.len() + c.len_utf8() > limits::ATTRIBUTE_VALUE_LEN_MAX {
            break;
        }
        tame.push(c);
    }
    tame.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str, attributes: &[(&str, &str)]) -> Result<Series, SeriesError> {
        Series::application(name, attributes, Kind::Counter, "1", 0, Scope::Node)
    }

    #[test]
    fn attributes_are_sorted_and_part_of_the_identity() {
        let a = app("jobs", &[("queue", "mail"), ("host", "a")]).unwrap();
        let b = app("jobs", &[("host", "a"), ("queue", "mail")]).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.to_string(), "jobs{host=a,queue=mail}");
        assert_eq!(a.attribute("queue"), Some("mail"));
        assert_ne!(a, app("jobs", &[("host", "a")]).unwrap());
        assert_eq!(a.other(), app("jobs", &[("host", OTHER), ("queue", OTHER)]).unwrap());
        let of = |route, service, status| {
            Series::of(&catalogue::SERVICE_REQUESTS, &[("route", route), ("service", service), ("status", status)])
        };
        assert_eq!(of("/a", "shop", "5xx").other(), of(OTHER, OTHER, "5xx"), "what failed stays known");
    }

    #[test]
    fn limits_are_named_in_the_error() {
        assert!(matches!(app("", &[]), Err(SeriesError::Name(_))));
        assert!(matches!(app("a\nb", &[]), Err(SeriesError::Name(_))));
        let nine: Vec<(String, &str)> = (0..9).map(|i| (format!("k{i}"), "v")).collect();
        let nine: Vec<(&str, &str)> = nine.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        assert!(matches!(app("a", &nine), Err(SeriesError::Attributes { count: 9, .. })));
        assert!(matches!(app("a", &[("k", "1"), ("k", "2")]), Err(SeriesError::Attribute { .. })));
        assert!(matches!(
            Series::application("system.memory.used", &[], Kind::Gauge, "By", 0, Scope::Cluster),
            Err(SeriesError::Catalogue(_))
        ));
        let error = app("system.cpu.time", &[]).unwrap_err();
        assert!(error.to_string().contains("system.cpu.time"), "{error}");
    }

    #[test]
    fn odd_device_names_are_tamed() {
        let series = Series::of(&catalogue::MOUNT_USAGE, &[("system.filesystem.mountpoint", &"ä\u{7}".repeat(100))]);
        let value = series.attribute("system.filesystem.mountpoint").unwrap();
        assert!(value.len() <= limits::ATTRIBUTE_VALUE_LEN_MAX && value.starts_with("ä?ä?"));
    }
}
