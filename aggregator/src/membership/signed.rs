//! Facts of a member count when its certificate signs for them: gossip passes on what anybody with a key of it says of anybody.
//!
//! All facts of a member are one signed record, so that a half-arrived change is no change. A record that does not hold, or is
//! older than the one before, changes nothing; who never had one that holds is not seen. In plain text nothing is signed.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, RandomState},
    time::{Duration, SystemTime},
};

use chitchat::{ChitchatId, NodeState};
use starling_service::{
    clock,
    credentials::{Credentials, Security},
    identity::Role,
};

use super::member::{FactError, Member};

/// Key of the record: "serial signature facts", the facts as JSON.
const RECORD: &str = "s";
/// Key of the certificate, with those between it and its authority.
const CHAIN: &str = "c";
/// Longest record, in bytes: three times what the longest names take.
const RECORD_LEN_MAX: usize = 4_096;
/// What is signed begins with it: no other use of the key does.
const PURPOSE: &str = "starling facts 1";

/// What did not hold is verified again after this time: a certificate may begin, or a clock be set.
const VERIFIED_AGAIN: Duration = Duration::from_secs(10);

type Facts = BTreeMap<String, String>;
/// Name and generation.
type Process = (String, u64);

/// Facts as they are signed: of which process, since when, and the facts.
fn message(cluster: &str, id: &ChitchatId, serial: u64, facts: &str) -> Vec<u8> {
    let (name, generation, gossip) = (&id.node_id, id.generation_id, id.gossip_advertise_addr);
    format!("{PURPOSE}\n{cluster}\n{name}\n{generation}\n{gossip}\n{serial}\n{facts}").into_bytes()
}

/// What this process says of itself.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Facts and certificate, and what came of them.
    said: Option<(Facts, String, Written)>,
    serial: u64,
}

/// Keys and values for gossip.
type Written = Vec<(String, String)>;

impl Own {
    /// What is to stand in gossip.
    ///
    /// # Errors
    /// Why the facts cannot be signed.
    pub(super) fn facts(&mut self, (security, cluster): (&Security, &str), me: &Member) -> Result<Written, String> {
        let Some(credentials) = security.credentials() else { return Ok(me.facts()) };
        let (facts, chain): (Facts, String) = (me.facts().into_iter().collect(), credentials.chain()?);
        if let Some((_, _, written)) = self.said.as_ref().filter(|said| (&said.0, &said.1) == (&facts, &chain)) {
            return Ok(written.clone());
        }
        let id = ChitchatId::new(me.id.as_str(), me.generation, me.gossip);
        let text = serde_json::to_string(&facts).map_err(|error| error.to_string())?;
        self.serial = clock::unix_ms().max(self.serial + 1);
        let signature = credentials.sign(&message(cluster, &id, self.serial, &text))?;
        let record = format!("{} {signature} {text}", self.serial);
        // In this order: who has the record has what it is proved by.
        let written = vec![(CHAIN.to_owned(), chain.clone()), (RECORD.to_owned(), record)];
        self.said = Some((facts, chain, written.clone()));
        Ok(written)
    }
}

/// What a member last signed for.
#[derive(Debug)]
struct Proved {
    record: String,
    serial: u64,
    ends: SystemTime,
    member: Member,
}

/// What does not hold, so that whoever makes members up costs one look each, and not ten a second.
#[derive(Debug)]
struct Refused {
    /// Hash of record and certificate.
    what: u64,
    at: SystemTime,
    why: FactError,
}

/// What is believed of the others.
#[derive(Debug, Default)]
pub(super) struct Believed {
    by_process: BTreeMap<Process, Proved>,
    refused: BTreeMap<Process, Refused>,
    hasher: RandomState,
    /// Names whose last record does not hold, though an earlier one does, and why.
    forged: BTreeMap<String, String>,
    /// As of [`Credentials::refusals`]: who was believed before may be refused by now.
    refusals: u64,
}

impl Believed {
    /// Begins a look at all of `present`: what is known of others is forgotten.
    pub(super) fn begin<'a>(&mut self, security: &Security, present: impl Iterator<Item = &'a ChitchatId>) {
        let Some(credentials) = security.credentials() else { return };
        let refusals = credentials.refusals();
        if refusals != self.refusals {
            self.by_process.clear();
            self.refused.clear();
            self.refusals = refusals;
        }
        self.forged.clear();
        let present: BTreeSet<_> = present.map(|id| (&*id.node_id, id.generation_id)).collect();
        let is_present = |(name, generation): &Process| present.contains(&(name.as_str(), *generation));
        self.by_process.retain(|process, _| is_present(process));
        self.refused.retain(|process, _| is_present(process));
    }

    /// The member behind what gossip holds of one process.
    ///
    /// # Errors
    /// Why it is not seen.
    pub(super) fn read(
        &mut self,
        (security, cluster): (&Security, &str),
        id: &ChitchatId,
        state: &NodeState,
        now: SystemTime,
    ) -> Result<Member, FactError> {
        let (name, generation, gossip) = (&id.node_id, id.generation_id, id.gossip_advertise_addr);
        let Some(credentials) = security.credentials() else {
            return Member::parse(name, generation, gossip, |key| state.get(key));
        };
        let key = (name.to_string(), generation);
        let known = self.by_process.get(&key).filter(|known| now < known.ends);
        let (record, chain) = (state.get(RECORD), state.get(CHAIN));
        // Also while its next certificate is here and the record that goes with it is not.
        if let Some(known) = known.filter(|known| record == Some(&known.record)) {
            return Ok(known.member.clone());
        }
        let read = || {
            let (Some(record), Some(chain)) = (record, chain) else {
                // One that does not sign at all has facts without.
                return Err(if record.is_none() && state.key_values().count() > 1 {
                    FactError::Unproved("its facts are not signed: it is of an older release, or nobody's".to_owned())
                } else {
                    FactError::Missing(RECORD)
                });
            };
            let (serial, ends, facts) = proved(credentials, cluster, id, (record, chain), now)?;
            if let Some(known) = known.filter(|known| known.serial > serial) {
                let age_ms = known.serial - serial;
                return Err(FactError::Unproved(format!("its facts are {age_ms} ms older than those known already")));
            }
            let member = Member::parse(name, generation, gossip, |key| facts.get(key).map(String::as_str))?;
            Ok(Proved { record: record.to_owned(), serial, ends, member })
        };
        let what = self.hasher.hash_one((record, chain));
        let is_known = |refused: &&Refused| {
            refused.what == what && now.duration_since(refused.at).is_ok_and(|age| age < VERIFIED_AGAIN)
        };
        let outcome = match self.refused.get(&key).filter(|refused| record.is_some() && is_known(refused)) {
            Some(refused) => Err(refused.why.clone()),
            // Without a record there is nothing to verify.
            None => read().inspect_err(|why| {
                if record.is_none() {
                    return;
                }
                self.refused.insert(key.clone(), Refused { what, at: now, why: why.clone() });
            }),
        };
        match (outcome, known) {
            (Ok(proved), _) => {
                let member = proved.member.clone();
                self.by_process.insert(key, proved);
                Ok(member)
            }
            (Err(error), Some(known)) => {
                if !matches!(error, FactError::Missing(_)) {
                    self.forged.insert(name.to_string(), error.to_string());
                }
                Ok(known.member.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Who is seen by facts of before, since those that came last do not hold; and why.
    pub(super) fn forged(&self) -> impl Iterator<Item = (&str, &str)> {
        self.forged.iter().map(|(name, why)| (name.as_str(), why.as_str()))
    }
}

/// Serial, end and facts of a record that holds.
fn proved(
    credentials: &Credentials,
    cluster: &str,
    id: &ChitchatId,
    (record, chain): (&str, &str),
    now: SystemTime,
) -> Result<(u64, SystemTime, Facts), FactError> {
    let odd = |what: &str| FactError::Unproved(what.to_owned());
    if record.len() > RECORD_LEN_MAX {
        return Err(odd("its signed facts are too long"));
    }
    let mut parts = record.splitn(3, ' ');
    let (Some(serial), Some(signature), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(odd("its signed facts cannot be read"));
    };
    let serial: u64 = serial.parse().map_err(|_| odd("its signed facts cannot be read"))?;
    let who = credentials.signatory(chain, now).map_err(FactError::Unproved)?;
    let identity = who.identity();
    if identity.role != Role::Aggregator || identity.name.as_str() != &*id.node_id {
        return Err(FactError::Unproved(format!("its certificate is that of {}", identity.short())));
    }
    who.verify(&message(cluster, id, serial, text), signature).map_err(FactError::Unproved)?;
    let facts = serde_json::from_str(text).map_err(|_| odd("its signed facts cannot be read"))?;
    Ok((serial, who.ends(), facts))
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

    use starling_authority::{Authority, Wish, folder};
    use starling_proto::ids::NodeId;
    use starling_service::credentials::{Files, certificates, key_digest};
    use tempfile::TempDir;

    use super::*;
    use crate::membership::State;

    const LIFE: Duration = Duration::from_secs(3_600);

    /// An authority, and a folder for what it issues.
    struct Site(Authority, TempDir);

    impl Site {
        fn new() -> Self {
            Self(Authority::create("test", SystemTime::now().into()).unwrap(), tempfile::tempdir().unwrap())
        }

        fn folder(&self, name: &str) -> PathBuf {
            self.1.path().join(name)
        }

        fn issue(&self, role: Role, name: &str) {
            let wish =
                Wish { role, name: NodeId::parse(name).unwrap(), life: LIFE.try_into().unwrap(), hosts: Vec::new() };
            let issued = self.0.issue(&wish, SystemTime::now().into()).unwrap();
            folder::write_issued(&self.folder(name), &issued, self.0.certificate()).unwrap();
        }

        fn security(&self, role: Role, name: &str) -> Security {
            self.issue(role, name);
            let files = Files::of_folder(&self.folder(name));
            Security::of(Arc::new(Credentials::load(files, None, role, false).unwrap()))
        }
    }

    fn member(name: &str) -> Member {
        Member::for_test(name, State::Ready)
    }

    fn id_of(member: &Member) -> ChitchatId {
        ChitchatId::new(member.id.as_str(), member.generation, member.gossip)
    }

    fn state(facts: &Written) -> NodeState {
        let mut state = NodeState::for_test();
        facts.iter().for_each(|(key, value)| state.set(key, value));
        state
    }

    /// What is believed of `id`, of which `facts` stand in gossip.
    fn read(believed: &mut Believed, by: &Security, id: &ChitchatId, facts: &Written) -> Result<Member, FactError> {
        believed.begin(by, [id].into_iter());
        believed.read((by, "test"), id, &state(facts), SystemTime::now())
    }

    fn why(read: Result<Member, FactError>) -> String {
        read.unwrap_err().to_string()
    }

    #[test]
    fn what_a_member_signs_is_believed_whoever_brings_it_and_nothing_else_is() {
        let site = Site::new();
        let (one, two) = (site.security(Role::Aggregator, "agg-1"), site.security(Role::Aggregator, "agg-2"));
        let (mut own, said) = (Own::default(), member("agg-1"));
        let facts = own.facts((&one, "test"), &said).unwrap();
        assert_eq!(own.facts((&one, "test"), &said), Ok(facts.clone()), "signed once");
        let mut believed = Believed::default();
        assert_eq!(read(&mut believed, &two, &id_of(&said), &facts), Ok(said.clone()));
        assert_eq!(believed.forged().count(), 0);

        // Another one says something of it, with a certificate of its own.
        let lie = Member { grpc: "10.6.6.6:7400".to_owned(), ..said.clone() };
        let forged = Own::default().facts((&two, "test"), &lie).unwrap();
        let mut fresh = Believed::default();
        assert_eq!(why(read(&mut fresh, &two, &id_of(&lie), &forged)), "its certificate is that of aggregator agg-2");
        // With the certificate of agg-1, which everybody has.
        let mixed = vec![facts[0].clone(), forged[1].clone()];
        assert_eq!(why(read(&mut fresh, &two, &id_of(&lie), &mixed)), "it is not signed by aggregator agg-1");
        // Facts that are not signed, and none.
        assert!(why(read(&mut fresh, &two, &id_of(&lie), &lie.facts())).starts_with("its facts are not signed"));
        assert_eq!(read(&mut fresh, &two, &id_of(&lie), &Vec::new()), Err(FactError::Missing(RECORD)));
        // Of another process, address, or cluster.
        let later = ChitchatId::new("agg-1", said.generation + 1, said.gossip);
        assert!(why(read(&mut fresh, &two, &later, &facts)).contains("not signed by"));
        let address: SocketAddr = ([10, 6, 6, 6], 7401).into();
        let moved = ChitchatId::new("agg-1", said.generation, address);
        assert!(why(read(&mut fresh, &two, &moved, &facts)).contains("not signed by"));
        let elsewhere = Own::default().facts((&one, "prod"), &said).unwrap();
        assert!(why(read(&mut fresh, &two, &id_of(&said), &elsewhere)).contains("not signed by"));
        // Who is believed stays so, and the lie is told.
        assert_eq!(read(&mut believed, &two, &id_of(&said), &mixed), Ok(said.clone()));
        assert_eq!(believed.forged().collect::<Vec<_>>(), [("agg-1", "it is not signed by aggregator agg-1")]);
        assert_eq!(read(&mut believed, &two, &id_of(&said), &facts), Ok(said));
        assert_eq!(believed.forged().count(), 0);
    }

    #[test]
    fn old_facts_do_not_come_back_and_a_new_certificate_goes_on() {
        let site = Site::new();
        let (one, two) = (site.security(Role::Aggregator, "agg-1"), site.security(Role::Aggregator, "agg-2"));
        let (mut own, mut believed) = (Own::default(), Believed::default());
        let first = member("agg-1");
        let old = own.facts((&one, "test"), &first).unwrap();
        let second = Member { load: Some(9), ..first.clone() };
        let new = own.facts((&one, "test"), &second).unwrap();
        assert_eq!(read(&mut believed, &two, &id_of(&first), &new), Ok(second.clone()));
        assert_eq!(read(&mut believed, &two, &id_of(&first), &old), Ok(second.clone()));
        assert!(believed.forged().next().is_some_and(|(_, why)| why.contains("older than those known")));

        // Its next certificate comes before the record that it proves.
        site.issue(Role::Aggregator, "agg-1");
        assert!(one.credentials().unwrap().reload().unwrap());
        let renewed = own.facts((&one, "test"), &second).unwrap();
        assert_ne!(renewed[0], new[0]);
        let half = vec![renewed[0].clone(), new[1].clone()];
        assert_eq!(read(&mut believed, &two, &id_of(&first), &half), Ok(second.clone()));
        assert_eq!(believed.forged().count(), 0);
        assert_eq!(read(&mut believed, &two, &id_of(&first), &renewed), Ok(second.clone()));

        // Its time is over, and then its key is refused.
        let later = SystemTime::now() + LIFE + LIFE;
        assert!(why(believed.read((&two, "test"), &id_of(&first), &state(&renewed), later)).contains("it ended at"));
        assert_eq!(read(&mut believed, &two, &id_of(&first), &renewed), Ok(second));
        let pem = std::fs::read_to_string(Files::of_folder(&site.folder("agg-1")).certificate).unwrap();
        let key = key_digest(&certificates(&pem).unwrap()[0]).unwrap();
        two.credentials().unwrap().set_removed([key].into());
        let said = why(read(&mut believed, &two, &id_of(&first), &renewed));
        assert!(said.contains("was removed"), "{said}");
    }

    #[test]
    fn what_did_not_hold_is_verified_again_when_it_may_hold() {
        let (site, other) = (Site::new(), Site::new());
        let two = site.security(Role::Aggregator, "agg-2");
        let said = member("agg-1");
        let facts = Own::default().facts((&other.security(Role::Aggregator, "agg-1"), "test"), &said).unwrap();
        let (mut believed, id) = (Believed::default(), id_of(&said));
        let begun = SystemTime::now();
        believed.begin(&two, [&id].into_iter());
        let at = |believed: &mut Believed, seconds| {
            let now = begun + Duration::from_secs(seconds);
            let found = why(believed.read((&two, "test"), &id, &state(&facts), now));
            assert!(found.contains("none of the trusted authorities"), "{found}");
            believed.refused.values().map(|refused| refused.at).collect::<Vec<_>>()
        };
        let first = at(&mut believed, 0);
        assert_eq!((at(&mut believed, 9), first.len()), (first, 1), "not looked at again");
        assert_eq!(at(&mut believed, 10), [begun + Duration::from_secs(10)]);
        // The other authority is trusted from now on.
        let ca = Files::of_folder(&site.folder("agg-2")).ca;
        std::fs::write(&ca, site.0.certificate().to_owned() + other.0.certificate()).unwrap();
        assert!(two.credentials().unwrap().reload().unwrap());
        assert_eq!(read(&mut believed, &two, &id, &facts), Ok(said));
        believed.begin(&two, [].into_iter());
        assert!(believed.refused.is_empty() && believed.by_process.is_empty(), "who is gone is forgotten");
    }

    #[test]
    fn a_node_is_no_aggregator_and_a_stranger_is_nobody() {
        let (site, other) = (Site::new(), Site::new());
        let two = site.security(Role::Aggregator, "agg-2");
        let node = site.security(Role::Node, "web-1");
        let mut believed = Believed::default();
        let said = member("web-1");
        let facts = Own::default().facts((&node, "test"), &said).unwrap();
        let found = why(read(&mut believed, &two, &id_of(&said), &facts));
        assert!(found.starts_with("its certificate: "), "{found}");
        let stranger = other.security(Role::Aggregator, "agg-1");
        let said = member("agg-1");
        let facts = Own::default().facts((&stranger, "test"), &said).unwrap();
        let found = why(read(&mut believed, &two, &id_of(&said), &facts));
        let wanted = "its certificate: none of the trusted authorities has signed it: it was issued by \"Starling authority of test\"";
        assert!(found.starts_with(wanted), "{found}");
        for (record, chain) in [("", ""), ("1", "x"), ("1 0403.AA {}", "AA"), ("1 0403.AA {}", "AA,AA,AA,AA,AA")] {
            let facts = vec![(CHAIN.to_owned(), chain.to_owned()), (RECORD.to_owned(), record.to_owned())];
            assert!(
                matches!(read(&mut believed, &two, &id_of(&said), &facts), Err(FactError::Unproved(_))),
                "{record}"
            );
        }
        let long = vec![(CHAIN.to_owned(), "A".repeat(20_000)), (RECORD.to_owned(), "1 0403.AA {}".to_owned())];
        assert!(why(read(&mut believed, &two, &id_of(&said), &long)).contains("at most 12288"));
        let long = vec![(CHAIN.to_owned(), String::new()), (RECORD.to_owned(), "1".repeat(5_000))];
        assert_eq!(why(read(&mut believed, &two, &id_of(&said), &long)), "its signed facts are too long");
    }
}
