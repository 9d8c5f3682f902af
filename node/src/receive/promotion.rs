//! Which series of applications are added up over the nodes of the cluster.
//!
//! A rule is one text: `NAME`, or `NAME by KEY KEY`: the name of a metric, with which attributes its series are told apart
//! over the cluster. A `*` at the end of the name stands for any text. The first rule that fits wins. Attributes that it does not
//! name are added up on the host already.

use std::fmt;

use starling_proto::{
    catalogue::{self, Kind},
    limits::{ATTRIBUTE_KEY_LEN_MAX, ATTRIBUTES_MAX, NAME_LEN_MAX},
};
use starling_service::settings::kind::{self, Checked, List};

use super::mapping::fits;

/// Rules at most: they are tried one by one for each observation.
const PROMOTIONS_MAX: usize = 50;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    name: String,
    keys: Vec<String>,
}

impl Promotion {
    /// The rule that `text` is.
    ///
    /// # Errors
    /// What is wrong with it, and what is wanted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("{text:?} {what}; write \"shop.orders by service.name currency\""));
        let mut words = text.split_whitespace();
        let Some(name) = words.next() else { return wrong("names no metric") };
        if name.trim_end_matches('*').is_empty() {
            return wrong("promotes every metric, which no aggregator has room for");
        }
        if name.len() > NAME_LEN_MAX {
            return wrong("has a longer name than any metric");
        }
        if name.strip_suffix('*').unwrap_or(name).contains('*') {
            return wrong("has a '*' that is not at the end of the name");
        }
        if catalogue::find(name).is_some() {
            return wrong("is a metric of Starling's own, which is added up already where it can be");
        }
        let keys: Vec<String> = match words.next() {
            None => Vec::new(),
            Some("by") => words.map(str::to_owned).collect(),
            Some(_) => return wrong("has no 'by' between the name and the attributes"),
        };
        if text.split_whitespace().nth(1).is_some() && keys.is_empty() {
            return wrong("has no attribute after 'by'");
        }
        if keys.len() > ATTRIBUTES_MAX {
            return wrong(&format!("has more than {ATTRIBUTES_MAX} attributes"));
        }
        if let Some(key) = keys.iter().find(|key| key.len() > ATTRIBUTE_KEY_LEN_MAX || key.contains('=')) {
            return wrong(&format!("has the attribute {key:?}, which is longer than any or holds a '='"));
        }
        if keys.iter().enumerate().any(|(i, key)| keys[..i].contains(key)) {
            return wrong("names an attribute twice");
        }
        Ok(Self { name: name.to_owned(), keys })
    }

    /// The first rule for the metric `name`.
    pub(super) fn find<'a>(rules: &'a [Self], name: &str) -> Option<&'a Self> {
        rules.iter().find(|rule| fits(rule.name.as_bytes(), name.as_bytes()))
    }

    /// Whether series are told apart by this attribute.
    pub(super) fn keeps(&self, key: &str) -> bool {
        self.keys.iter().any(|kept| kept == key)
    }
}

/// Decimal digits of a series of the cluster. They are the same at every node, whatever its values look like, or the sums
/// would be of different series: none of bytes, six of seconds and shares, three of other things.
pub(super) fn scale(kind: Kind, unit: &str) -> u8 {
    match (kind, unit) {
        (_, "By") => 0,
        (_, "s") | (Kind::Gauge, "1") => 6,
        _ => 3,
    }
}

impl fmt::Display for Promotion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.keys.is_empty() {
            write!(f, " by {}", self.keys.join(" "))?;
        }
        Ok(())
    }
}

/// Rules, in the settings.
pub(crate) const fn promotion_list() -> List<Checked<Promotion>> {
    const WANTED: &str = "\"NAME\" or \"NAME by KEY KEY\": a metric, whose name may end with '*', and the attributes that tell its \
                          series apart over the cluster";
    kind::list(0..=PROMOTIONS_MAX, kind::parsed(|| WANTED.to_owned(), Promotion::parse, Promotion::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_wins_and_is_written_as_it_was_read() {
        let rules = ["shop.orders by service.name currency", "shop.*", "jobs"].map(|text| {
            let rule = Promotion::parse(text).unwrap();
            assert_eq!(rule.to_string(), text);
            rule
        });
        let of = |name| Promotion::find(&rules, name).map(ToString::to_string);
        assert_eq!(of("shop.orders").as_deref(), Some("shop.orders by service.name currency"));
        assert_eq!(of("shop.carts").as_deref(), Some("shop.*"));
        assert_eq!((of("jobs").as_deref(), of("jobs.done"), of("shop")), (Some("jobs"), None, None));
        assert!(rules[0].keeps("currency") && !rules[0].keeps("user") && !rules[1].keeps("currency"));
    }

    #[test]
    fn what_is_no_rule_says_what_is_wanted() {
        let nine = format!("a by {}", (0..9).map(|i| format!("k{i} ")).collect::<String>());
        let long = format!("a by {}", "k".repeat(65));
        for (text, part) in [
            ("", "names no metric"),
            ("*", "promotes every metric"),
            ("a*b", "not at the end"),
            ("**", "promotes every metric"),
            ("a**", "not at the end"),
            ("system.cpu.time", "of Starling's own"),
            ("a b", "has no 'by'"),
            ("a by", "has no attribute after 'by'"),
            ("a by b c b", "twice"),
            ("a by k=v", "holds a '='"),
            (nine.as_str(), "more than 8"),
            (long.as_str(), "longer than any"),
        ] {
            let error = Promotion::parse(text).unwrap_err();
            assert!(error.contains(part) && error.contains("; write \""), "{error}");
        }
    }
}
