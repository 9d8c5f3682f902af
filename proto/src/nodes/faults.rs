//! Collectors that do not read all they should, as a node reports them.

use crate::{
    limits::{COLLECTOR_FAULTS_MAX, COLLECTOR_NAME_LEN_MAX, COLLECTOR_REASON_LEN_MAX},
    v1::CollectorFault,
};

/// What is kept of the faults a sender names: at most [`COLLECTOR_FAULTS_MAX`], sorted by collector, one each, with texts
/// that can be printed. Texts for people: odd ones are cut, not refused. Returns whether anything was cut or left out.
#[must_use]
pub fn taken_faults(from: &[CollectorFault]) -> (Vec<CollectorFault>, bool) {
    let mut cut = false;
    let mut faults: Vec<CollectorFault> = Vec::new();
    for fault in from {
        let (collector, whole_name) = clean(&fault.collector, COLLECTOR_NAME_LEN_MAX);
        let (reason, whole_reason) = clean(&fault.reason, COLLECTOR_REASON_LEN_MAX);
        cut |= !whole_name || !whole_reason;
        let place = faults.binary_search_by(|held| held.collector.as_str().cmp(&collector));
        match place {
            Err(place) if !collector.is_empty() && faults.len() < COLLECTOR_FAULTS_MAX => {
                faults.insert(place, CollectorFault { collector, reason, ..*fault });
            }
            _ => cut = true,
        }
    }
    (faults, cut)
}

/// The printable start of a text, and whether that is all of it.
pub(super) fn clean(text: &str, longest: usize) -> (String, bool) {
    let cleaned: String = text.chars().filter(|c| !c.is_control()).take(longest).collect();
    let whole = cleaned.len() == text.len();
    (cleaned, whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::CollectorTrouble;

    fn fault(collector: &str, reason: &str) -> CollectorFault {
        let trouble = CollectorTrouble::Hanging.into();
        CollectorFault { collector: collector.into(), trouble, reason: reason.into(), since_unix_s: 7 }
    }

    #[test]
    fn usual_ones_are_sorted_and_odd_ones_are_cut() {
        let usual = [fault("memory", "a"), fault("disk", "b")];
        assert_eq!(taken_faults(&usual), (vec![fault("disk", "b"), fault("memory", "a")], false));

        let mut flood: Vec<CollectorFault> = (0..1000).map(|i| fault(&format!("c{i:04}"), "x")).collect();
        flood.extend([fault("", "nameless"), fault("c0000", "twice"), fault(&"n".repeat(999), &"\u{7}é".repeat(999))]);
        let (taken, cut) = taken_faults(&flood);
        assert!(cut && taken.len() == COLLECTOR_FAULTS_MAX && taken[0] == fault("c0000", "x"));
        let (taken, cut) = taken_faults(&flood[1002..]);
        assert!(cut && taken[0].collector.len() == COLLECTOR_NAME_LEN_MAX);
        assert_eq!(taken[0].reason, "é".repeat(COLLECTOR_REASON_LEN_MAX));
    }
}
