//! What a daemon cannot read of its host, in words.

use starling_proto::v1::{CollectorFault, CollectorTrouble};

/// What is wrong with a collector.
fn trouble(fault: &CollectorFault) -> &'static str {
    match fault.trouble() {
        CollectorTrouble::Unspecified => "is not read as it should be",
        CollectorTrouble::Failed => "cannot be read",
        CollectorTrouble::Hanging => "hangs",
        CollectorTrouble::Partial => "is read in part",
    }
}

/// One phrase for each, with commas: "memory cannot be read (permission denied), disk hangs". Empty without faults.
pub(super) fn in_words(faults: &[CollectorFault]) -> String {
    let phrase = |fault: &CollectorFault| match fault.reason.as_str() {
        "" => format!("{} {}", fault.collector, trouble(fault)),
        reason => format!("{} {} ({reason})", fault.collector, trouble(fault)),
    };
    faults.iter().map(phrase).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_a_phrase() {
        let fault = |collector: &str, trouble: CollectorTrouble, reason: &str| CollectorFault {
            collector: collector.into(),
            trouble: trouble.into(),
            reason: reason.into(),
            since_unix_s: 5,
        };
        let faults = [
            fault("disk", CollectorTrouble::Hanging, ""),
            fault("memory", CollectorTrouble::Failed, "permission denied"),
        ];
        assert_eq!(in_words(&faults), "disk hangs, memory cannot be read (permission denied)");
        assert_eq!(in_words(&[]), "");
    }
}
