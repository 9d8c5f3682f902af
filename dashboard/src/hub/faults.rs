//! What is wrong with a node beside its numbers, in words: what its daemon cannot read, and who else has its name.

use starling_proto::v1::{CollectorFault, CollectorTrouble, NameClash};

use super::fleet::Host;

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

/// The two machines of one name, by their addresses. Empty without a clash.
pub(super) fn clash_in_words(host: &Host) -> String {
    let Some(clash) = host.clash() else { return String::new() };
    let NameClash { address, aggregator_id, renamed_to, .. } = clash;
    let own = match host.entry().origin.address.as_str() {
        "" => String::new(),
        own => format!("; the stream that is shown comes from {own}"),
    };
    let asked = format!("another machine, at {address}, calls itself {} (it asked {aggregator_id}", host.id());
    match renamed_to.as_str() {
        "" => format!("{asked} and was refused){own}"),
        name => format!("{asked} and is shown as {name}){own}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_proto::v1;

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

    #[test]
    fn a_clash_names_both_addresses() {
        let clash = NameClash {
            node_id: "web".into(),
            address: "10.0.0.2:7".into(),
            aggregator_id: "agg-1".into(),
            ..Default::default()
        };
        let row = v1::NodeRow { node_id: "web".into(), address: "10.0.0.1:5".into(), ..Default::default() };
        let words = |row: v1::NodeRow| clash_in_words(&Host::of(&row).unwrap());
        assert_eq!(words(row.clone()), "");
        assert_eq!(
            words(v1::NodeRow { name_clash: Some(clash.clone()), ..row.clone() }),
            "another machine, at 10.0.0.2:7, calls itself web (it asked agg-1 and was refused); the stream that is shown comes \
             from 10.0.0.1:5"
        );
        let renamed = NameClash { renamed_to: "web-2".into(), ..clash };
        assert!(words(v1::NodeRow { name_clash: Some(renamed), ..row }).contains("and is shown as web-2)"));
    }
}
