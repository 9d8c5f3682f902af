//! Which series, and when.

use starling_proto::series::Series;

use crate::Matcher;

/// Series by conditions on their names and attributes, over a range of seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// What the name of the series must match, all of them.
    pub names: Vec<Matcher>,
    /// What the attributes of the series must match, by key, all of them. An attribute that a series does not have is
    /// the empty text.
    pub attributes: Vec<(Box<str>, Matcher)>,
    /// First second, Unix time.
    pub from: u32,
    /// Last second.
    pub to: u32,
    /// Whether histograms are wanted: they are most of the bytes of a series that has them.
    pub histograms: bool,
}

impl Selection {
    /// All series of one name.
    #[must_use]
    pub fn named(name: &str, from: u32, to: u32) -> Self {
        Self { names: vec![Matcher::equal(name)], attributes: Vec::new(), from, to, histograms: true }
    }

    /// Of all series.
    #[must_use]
    pub const fn all(from: u32, to: u32) -> Self {
        Self { names: Vec::new(), attributes: Vec::new(), from, to, histograms: true }
    }

    /// Only those with this value of an attribute.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.attributes.push((key.into(), Matcher::equal(value)));
        self
    }

    /// Without histograms.
    #[must_use]
    pub const fn without_histograms(mut self) -> Self {
        self.histograms = false;
        self
    }

    /// Whether the name of a series is one that is wanted.
    #[must_use]
    pub fn wants_name(&self, name: &str) -> bool {
        self.names.iter().all(|matcher| matcher.matches(name))
    }

    /// Whether a series is wanted, by its name and its attributes sorted by key.
    #[must_use]
    pub fn wants(&self, name: &str, attributes: &[(&str, &str)]) -> bool {
        let value = |key: &str| attributes.iter().find(|(held, _)| *held == key).map_or("", |(_, value)| value);
        self.wants_name(name) && self.attributes.iter().all(|(key, matcher)| matcher.matches(value(key)))
    }

    /// Whether `series` is wanted.
    #[must_use]
    pub fn wants_series(&self, series: &Series) -> bool {
        let matches = |(key, matcher): &(Box<str>, Matcher)| matcher.matches(series.attribute(key).unwrap_or_default());
        self.wants_name(series.name()) && self.attributes.iter().all(matches)
    }
}

#[cfg(test)]
mod tests {
    use starling_proto::catalogue;

    use super::*;

    /// Scenario 31.
    #[test]
    fn what_a_series_does_not_have_is_empty() {
        let load = Series::of(&catalogue::LOAD_5M, &[]);
        let user = Series::of(&catalogue::CPU_TIME, &[("cpu.mode", "user")]);
        let when =
            |matcher: Matcher| Selection { attributes: vec![("cpu.mode".into(), matcher)], ..Selection::all(0, 1) };
        for (matcher, of_load, of_user) in [
            (Matcher::equal(""), true, false),
            (Matcher::not_equal(""), false, true),
            (Matcher::not_equal("idle"), true, true),
            (Matcher::regex(".*").unwrap(), true, true),
            (Matcher::regex(".+").unwrap(), false, true),
            (Matcher::not_regex(".+").unwrap(), true, false),
        ] {
            let selection = when(matcher);
            assert_eq!(
                (selection.wants_series(&load), selection.wants_series(&user)),
                (of_load, of_user),
                "{selection:?}"
            );
            assert_eq!(selection.wants(user.name(), &[("cpu.mode", "user")]), of_user);
            assert_eq!(selection.wants(load.name(), &[]), of_load);
        }
        let named = Selection::named(user.name(), 0, 9).with("cpu.mode", "user");
        assert!(named.wants_series(&user) && !named.wants_series(&load));
    }
}
