//! `starling ca retire`: who would be cut off if the former authority of a cluster were taken out now.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use starling_proto::v1;
use starling_service::{
    channel::Dial,
    clock,
    credentials::{Stranger, authority_of, certificates, digest},
    grpc::{cluster_client::ClusterClient, enrolment_client::EnrolmentClient, query_client::QueryClient},
};
use tonic::transport::Channel;

use super::day_of;
use crate::asked::{Asked, all_joined, said};

const DIAL: Dial = Dial::within(Duration::from_secs(5));
/// Those that are named, of many.
const NAMED_MAX: usize = 50;

/// What is known of a cluster.
#[derive(Debug, Default)]
struct Known {
    /// Digests of the authorities that stay.
    kept: BTreeSet<Vec<u8>>,
    /// Who has joined by a token.
    joined: Vec<v1::JoinedIdentity>,
    /// Nodes that report now.
    reporting: Vec<String>,
    /// Aggregators, each with why it does not prove itself by what stays.
    aggregators: Vec<(String, Option<String>)>,
    /// Why the operator's own certificate does not.
    own: Option<String>,
}

/// Who has what is needed, and who would be cut off.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    /// How many are looked at.
    all: usize,
    /// Who would be cut off and why, and the last second of its certificate, Unix time, where that is known.
    late: Vec<(String, Option<i64>)>,
}

/// Asks, and says it.
pub(super) fn retire(keep: &Path, force: bool, asked: &Asked) -> Result<(), String> {
    let file = keep.display();
    let text = fs::read_to_string(keep).map_err(|error| format!("{file}: {error}"))?;
    let kept = certificates(&text).map_err(|what| format!("{file}: {what}"))?;
    let kept = kept.iter().map(|one| digest(one).to_vec()).collect();
    let known = asked.with(async |channel| look(channel, kept, &text, asked).await)?;
    let Verdict { all, late } = judge(&known, i64::try_from(clock::unix().as_secs()).unwrap_or(i64::MAX));
    println!("{} of {all} have a certificate by the authorities in {file}", all - late.len());
    if late.is_empty() {
        println!(
            "the former one can go: {file} in the place of tls.ca at the aggregator that signs, and wherever certificates are \
             copied by hand; dashboards and tools of whose certificates nobody here knows are not counted"
        );
        return Ok(());
    }
    println!("cut off would be:");
    for (who, _) in late.iter().take(NAMED_MAX) {
        println!("  {who}");
    }
    if late.len() > NAMED_MAX {
        println!("  and {} more", late.len() - NAMED_MAX);
    }
    let last = late.iter().filter_map(|(_, until)| *until).max();
    let by_then = last
        .map_or_else(String::new, |last| format!("; the last certificate by the former one ends at {}", day_of(last)));
    if force {
        println!("it may be taken out all the same, as --force says{by_then}");
        return Ok(());
    }
    let next = "who is up renews within two minutes; ask again, or do it all the same with --force";
    Err(format!("{} still need the former authority{by_then}: {next}", late.len()))
}

async fn look(channel: Channel, kept: BTreeSet<Vec<u8>>, text: &str, asked: &Asked) -> Result<Known, String> {
    let wrong = |status: tonic::Status| said(&status);
    let mut enrolment = EnrolmentClient::new(channel.clone());
    let authorities = enrolment.get_authorities(v1::GetAuthoritiesRequest {}).await.map_err(wrong)?.into_inner();
    if authorities.signed_by.is_empty() {
        return Err(
            "the aggregator that signs is not reached: whom it trusts and who has joined is not known".to_owned()
        );
    }
    if !kept.contains(&authorities.signed_by[..]) {
        let next = "first that one is to sign, by its `starling ca issue aggregator NAME --signs`";
        return Err(format!("another authority than those that stay signs at present: {next}"));
    }
    let joined = all_joined(channel.clone(), &[]).await.map_err(wrong)?;
    let mut nodes = QueryClient::new(channel.clone());
    let (mut reporting, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListNodesRequest { page_token, ..v1::ListNodesRequest::default() };
        let page = nodes.list_nodes(request).await.map_err(wrong)?.into_inner();
        let rows = page.nodes.into_iter().filter(|row| row.state() == v1::NodeState::Reporting && !row.simulated);
        reporting.extend(rows.map(|row| row.node_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let listed = ClusterClient::new(channel).list_aggregators(v1::ListAggregatorsRequest {}).await.map_err(wrong)?;
    let by_kept = Stranger::of(text, &authorities.cluster)?;
    let mut aggregators = Vec::new();
    for one in listed.into_inner().aggregators {
        if one.state() != v1::AggregatorState::Dead {
            let proved = DIAL.connect_as(&by_kept, &one.grpc_address).await;
            aggregators.push((one.aggregator_id, proved.err()));
        }
    }
    let own = asked.folder().map(|folder| own(&folder.join("certificate.pem"), text));
    Ok(Known { kept, joined, reporting, aggregators, own: own.and_then(Result::err) })
}

/// Whether the operator's own certificate is by what stays.
fn own(file: &Path, kept: &str) -> Result<(), String> {
    let wrong = |what: String| format!("{}: {what}", file.display());
    let chain = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    match authority_of(&chain, kept).map_err(wrong)? {
        Some(_) => Ok(()),
        None => Err(wrong("it is by the former authority: issue another one".to_owned())),
    }
}

fn judge(known: &Known, now: i64) -> Verdict {
    let mut late = Vec::new();
    let living = known.joined.iter().filter(|one| one.removed_unix_s == 0 && one.ends_unix_s > now);
    let living: Vec<&v1::JoinedIdentity> = living.collect();
    for one in &living {
        let by = match &one.signed_by[..] {
            digest if known.kept.contains(digest) => continue,
            [] => "an authority that was not written down",
            _ => "the former authority",
        };
        let until = day_of(one.ends_unix_s);
        late.push((
            format!("{} {}: its certificate is by {by}, until {until}", one.role, one.name),
            Some(one.ends_unix_s),
        ));
    }
    let has_joined =
        |role: &str, name: &str| living.iter().any(|one| (one.role.as_str(), one.name.as_str()) == (role, name));
    let by_hand: Vec<_> = known.reporting.iter().filter(|name| !has_joined("node", name)).collect();
    late.extend(by_hand.iter().map(|name| {
        let next = "look with `starling ca show` on its host";
        (
            format!(
                "node {name}: it joined by no token, so nobody here knows by which authority its certificate is; {next}"
            ),
            None,
        )
    }));
    let others: Vec<_> = known.aggregators.iter().filter(|(name, _)| !has_joined("aggregator", name)).collect();
    // Of one that joined the register says it; its own proof counts too.
    let unproved = known.aggregators.iter().filter_map(|(name, why)| Some((name, why.as_ref()?)));
    for (name, why) in unproved {
        if !late.iter().any(|(who, _)| who.starts_with(&format!("aggregator {name}: "))) {
            late.push((format!("aggregator {name}: by what stays it is not known: {why}"), None));
        }
    }
    late.extend(known.own.iter().map(|why| (format!("you: {why}"), None)));
    // The operator is one of them.
    Verdict { all: living.len() + by_hand.len() + others.len() + 1, late }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn one(role: &str, name: &str, signed_by: &[u8], ends: i64) -> v1::JoinedIdentity {
        v1::JoinedIdentity {
            role: role.to_owned(),
            name: name.to_owned(),
            ends_unix_s: ends,
            signed_by: signed_by.to_vec().into(),
            ..v1::JoinedIdentity::default()
        }
    }

    #[test]
    fn who_has_a_certificate_by_the_former_one_is_named_and_who_is_gone_is_not() {
        let removed = v1::JoinedIdentity { removed_unix_s: 1, ..one("node", "web-3", b"old", NOW + 60) };
        let mut known = Known {
            kept: [b"new".to_vec()].into(),
            joined: vec![
                one("node", "web-1", b"new", NOW + 60),
                one("node", "web-2", b"old", NOW + 90),
                removed,
                one("node", "web-4", b"old", NOW),
                one("aggregator", "agg-2", b"", NOW + 30),
            ],
            reporting: vec!["web-1".to_owned(), "web-9".to_owned()],
            aggregators: vec![
                ("agg-1".to_owned(), Some("it is of another".to_owned())),
                ("agg-2".to_owned(), Some("so is this".to_owned())),
            ],
            own: None,
        };
        let Verdict { all, late } = judge(&known, NOW);
        assert_eq!(all, 6, "web-1, web-2, agg-2, web-9, agg-1 and who asks");
        let until: Vec<_> = late.iter().map(|(_, until)| *until).collect();
        assert_eq!(until, [Some(NOW + 90), Some(NOW + 30), None, None]);
        for ((who, _), wanted) in late.iter().zip([
            "node web-2: its certificate is by the former authority, until 2026-",
            "aggregator agg-2: its certificate is by an authority that was not written down",
            "node web-9: it joined by no token",
            "aggregator agg-1: by what stays it is not known: it is of another",
        ]) {
            assert!(who.starts_with(wanted), "{who}");
        }
        known.joined.retain(|one| one.name == "web-1");
        known.reporting.pop();
        known.aggregators = vec![("agg-1".to_owned(), None)];
        assert_eq!(judge(&known, NOW), Verdict { all: 3, late: Vec::new() });
        known.own = Some("by the former".to_owned());
        assert_eq!(judge(&known, NOW).late, [("you: by the former".to_owned(), None)]);
    }
}
