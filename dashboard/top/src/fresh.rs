//! How much what is shown can be trusted, by the age of its data: the rules of the page (`dashboard/ui/src/lib/stale.ts`).

use starling_proto::live::Aggregators;

use crate::format::clock;

/// Seconds without a new one after which data is stale, and after which it counts as lost.
const STALE_MS: u64 = 3_000;
const LOST_MS: u64 = 10_000;
/// How much a healthy cluster is behind the wall clock at most: a second is published when every peer closed it.
const SETTLE_MS: u64 = 2_000;

/// How much it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Freshness {
    Fresh,
    Stale,
    Lost,
}

/// By the worse of two ages: that of the last arrival, and that of the newest second by the clock of who sends it.
pub(crate) fn freshness(since_arrival_ms: u64, data_age_ms: u64) -> Freshness {
    match since_arrival_ms.max(data_age_ms.saturating_sub(SETTLE_MS)) {
        age if age > LOST_MS => Freshness::Lost,
        age if age > STALE_MS => Freshness::Stale,
        _ => Freshness::Fresh,
    }
}

/// Why nothing is shown where something should be; `None` when data comes in.
pub(crate) fn lack(link: Option<&str>, seen: Option<&Aggregators>, newest: u32, fresh: Freshness) -> Option<String> {
    if let Some(reason) = link {
        let since = if newest == 0 { String::new() } else { format!(" No new data since {}.", clock(newest)) };
        return Some(format!("The connection is lost ({reason}), trying again.{since}"));
    }
    if newest > 0 && fresh == Freshness::Fresh {
        return None;
    }
    let reason = seen.filter(|seen| seen.connected_to.is_empty()).map(|seen| seen.reason.as_str());
    match (reason, newest) {
        (Some(reason), 0) => Some(format!("No aggregator answers ({reason}). Starling goes on asking.")),
        (Some(reason), newest) => {
            Some(format!("No new data since {}: no aggregator answers ({reason}).", clock(newest)))
        }
        (None, 0) => Some(match seen {
            Some(seen) => format!("Waiting for the first second of aggregator {}.", seen.connected_to),
            None => "Connecting.".to_owned(),
        }),
        (None, newest) => Some(format!("No new data since {}.", clock(newest))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_of_both_ages_counts() {
        for (arrival, age, wanted) in [
            (0, 0, Freshness::Fresh),
            (3_000, 5_000, Freshness::Fresh),
            (3_001, 0, Freshness::Stale),
            (0, 5_001, Freshness::Stale),
            (0, 12_001, Freshness::Lost),
            (10_001, 0, Freshness::Lost),
        ] {
            assert_eq!(freshness(arrival, age), wanted, "{arrival} {age}");
        }
    }

    #[test]
    fn the_cause_is_the_right_one() {
        let seen = |connected_to: &str, reason: &str| Aggregators {
            connected_to: connected_to.into(),
            reason: reason.into(),
            ..Default::default()
        };
        let (up, down) = (seen("agg-1", ""), seen("", "refused"));
        assert_eq!(lack(None, Some(&up), 1_700_000_000, Freshness::Fresh), None);
        assert_eq!(lack(None, None, 0, Freshness::Lost).unwrap(), "Connecting.");
        assert_eq!(
            lack(None, Some(&up), 0, Freshness::Lost).unwrap(),
            "Waiting for the first second of aggregator agg-1."
        );
        assert_eq!(
            lack(None, Some(&down), 0, Freshness::Lost).unwrap(),
            "No aggregator answers (refused). Starling goes on asking."
        );
        assert_eq!(
            lack(None, Some(&down), 1_700_000_000, Freshness::Stale).unwrap(),
            "No new data since 22:13:20 UTC: no aggregator answers (refused)."
        );
        assert_eq!(lack(None, Some(&up), 1_700_000_000, Freshness::Stale).unwrap(), "No new data since 22:13:20 UTC.");
        assert!(
            lack(Some("reset"), Some(&up), 0, Freshness::Fresh).unwrap().contains("The connection is lost (reset)")
        );
    }
}
