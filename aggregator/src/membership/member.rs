//! What an aggregator publishes of itself by gossip: few, small, typed facts.

use std::net::SocketAddr;

use starling_proto::{
    address::is_host_port,
    ids::{NodeId, WriterId},
    limits::NODE_ID_LEN_MAX,
};

use super::{ownership::Candidate, ring::RingStatus};

/// Keys on the wire. Those that [`Member::parse`] asks for by `required` must be there for a member to be seen.
mod key {
    pub(super) const SCHEMA: &str = "v";
    pub(super) const STATE: &str = "st";
    pub(super) const GRPC: &str = "grpc";
    pub(super) const WRITER: &str = "id";
    pub(super) const PROTOCOL: &str = "proto";
    pub(super) const WEIGHT: &str = "w";
    pub(super) const ZONE: &str = "z";
    pub(super) const SOFTWARE: &str = "sw";
    pub(super) const LOAD: &str = "load";
    pub(super) const CLOSED: &str = "closed";
    pub(super) const DISK: &str = "disk";
    pub(super) const REFUSED: &str = "refused";
    pub(super) const ENDING: &str = "ending";
    pub(super) const BLIND: &str = "blind";
    pub(super) const KEYS: &str = "kr";
}

/// Version of the meaning of the keys.
const SCHEMA: &str = "1";
/// Range of the protocols between aggregators that this build speaks: "lowest-highest". Members whose range holds
/// another lowest major number are not seen.
const PROTOCOL: &str = "1-1";
/// Longest value of a fact, in bytes; a host name and a port fit.
const VALUE_LEN_MAX: usize = 280;

/// What a member says it is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Starting: its view is still growing, so it owns no node unless none is ready.
    Joining,
    /// Takes nodes. Reached from `Joining` once the view has settled.
    Ready,
    /// Stops on purpose: hands its nodes over. Final for its generation.
    Leaving,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "j",
            Self::Ready => "r",
            Self::Leaving => "l",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Joining, Self::Ready, Self::Leaving].into_iter().find(|state| state.as_str() == text)
    }
}

/// One aggregator process as gossip shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) id: NodeId,
    /// Grows with each of its starts.
    pub(crate) generation: u64,
    /// Where it gossips.
    pub(crate) gossip: SocketAddr,
    /// What it is doing.
    pub(crate) state: State,
    /// "host:port" of its gRPC endpoint.
    pub(crate) grpc: String,
    /// The log it writes.
    pub(crate) writer: WriterId,
    /// Share of the nodes it takes, relative to the others.
    pub(crate) weight: u16,
    /// What fails together with it, a building or a row of racks. May be empty.
    pub(crate) zone: String,
    /// Semantic version.
    pub(crate) version: String,
    /// Nodes connected to it, a few seconds old. For display only, never an input to hashing.
    pub(crate) load: Option<u32>,
    /// Last tick it closed, a few seconds old. 0 when not known.
    pub(crate) closed: u32,
    /// It keeps the ledger on its disk, a few seconds ago.
    pub(crate) on_disk: bool,
    /// It refuses a file of alert rules or notifiers, a few seconds ago.
    pub(crate) refused: bool,
    /// Its certificate must be renewed, a few seconds ago.
    pub(crate) ending: bool,
    /// It lost so many nodes at once and has none since, a few seconds ago.
    pub(crate) blind: u32,
    /// Which keys of gossip it has, a few seconds ago; `None` without any.
    pub(crate) keys: Option<RingStatus>,
}

/// Why a member's facts were skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FactError {
    /// A required key is not there (yet).
    #[error("fact {0:?} is missing")]
    Missing(&'static str),
    /// A value that does not parse or is too long.
    #[error("fact {0:?} does not parse")]
    Invalid(&'static str),
    /// A version of this software that we cannot talk to.
    #[error("its protocol differs from {PROTOCOL}")]
    Protocol,
    /// Nothing proves that they are its own.
    #[error("{0}")]
    Unproved(String),
}

impl Member {
    /// As one that can take nodes.
    pub(super) fn candidate(&self) -> Candidate<'_> {
        Candidate { name: self.id.as_str(), weight: self.weight, zone: &self.zone }
    }

    /// The facts as key and value, for gossip.
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        let mut facts = vec![
            (key::SCHEMA, SCHEMA.to_owned()),
            (key::STATE, self.state.as_str().to_owned()),
            (key::GRPC, self.grpc.clone()),
            (key::WRITER, self.writer.to_string()),
            (key::PROTOCOL, PROTOCOL.to_owned()),
            (key::WEIGHT, self.weight.to_string()),
            (key::ZONE, self.zone.clone()),
            (key::SOFTWARE, self.version.clone()),
        ];
        if let Some(load) = self.load {
            facts.push((key::LOAD, load.to_string()));
        }
        if self.closed > 0 {
            facts.push((key::CLOSED, self.closed.to_string()));
        }
        facts.push((key::DISK, u8::from(self.on_disk).to_string()));
        facts.push((key::REFUSED, u8::from(self.refused).to_string()));
        facts.push((key::ENDING, u8::from(self.ending).to_string()));
        if self.blind > 0 {
            facts.push((key::BLIND, self.blind.to_string()));
        }
        if let Some(keys) = &self.keys {
            facts.push((key::KEYS, keys.fact()));
        }
        facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Reads the facts that gossip holds of one process.
    ///
    /// # Errors
    /// [`FactError`]; the member is then not seen at all.
    pub(super) fn parse<'a>(
        id: &str,
        generation: u64,
        gossip: SocketAddr,
        fact: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, FactError> {
        let required = |name: &'static str| {
            let value = fact(name).ok_or(FactError::Missing(name))?;
            if value.len() > VALUE_LEN_MAX { Err(FactError::Invalid(name)) } else { Ok(value) }
        };
        if required(key::SCHEMA)? != SCHEMA {
            return Err(FactError::Invalid(key::SCHEMA));
        }
        let lowest = |range: &str| range.split('-').next().and_then(|low| low.parse::<u32>().ok());
        if lowest(required(key::PROTOCOL)?) != lowest(PROTOCOL) {
            return Err(FactError::Protocol);
        }
        let grpc = required(key::GRPC)?;
        if !is_host_port(grpc) {
            return Err(FactError::Invalid(key::GRPC));
        }
        Ok(Self {
            id: NodeId::parse(id).map_err(|_| FactError::Invalid("name"))?,
            generation,
            gossip,
            state: State::parse(required(key::STATE)?).ok_or(FactError::Invalid(key::STATE))?,
            grpc: grpc.to_owned(),
            writer: WriterId::from_hex(required(key::WRITER)?).ok_or(FactError::Invalid(key::WRITER))?,
            weight: fact(key::WEIGHT)
                .map_or(Some(1), |weight| weight.parse().ok().filter(|weight| (1..=1000).contains(weight)))
                .ok_or(FactError::Invalid(key::WEIGHT))?,
            zone: fact(key::ZONE).filter(|zone| zone.len() <= NODE_ID_LEN_MAX).unwrap_or_default().to_owned(),
            version: fact(key::SOFTWARE).filter(|text| text.len() <= NODE_ID_LEN_MAX).unwrap_or_default().to_owned(),
            load: fact(key::LOAD).and_then(|load| load.parse().ok()),
            closed: fact(key::CLOSED).and_then(|tick| tick.parse().ok()).unwrap_or(0),
            on_disk: fact(key::DISK) == Some("1"),
            refused: fact(key::REFUSED) == Some("1"),
            ending: fact(key::ENDING) == Some("1"),
            blind: fact(key::BLIND).and_then(|lost| lost.parse().ok()).unwrap_or(0),
            keys: fact(key::KEYS).and_then(RingStatus::of_fact),
        })
    }
}

#[cfg(test)]
impl Member {
    /// One of whom nothing else matters.
    pub(crate) fn for_test(name: &str, state: State) -> Self {
        Self {
            id: NodeId::parse(name).unwrap(),
            generation: 1,
            gossip: "127.0.0.1:7401".parse().unwrap(),
            grpc: "127.0.0.1:7400".into(),
            writer: WriterId::random(),
            state,
            weight: 100,
            zone: String::new(),
            version: String::new(),
            load: None,
            closed: 0,
            on_disk: false,
            refused: false,
            ending: false,
            blind: 0,
            keys: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn member() -> Member {
        Member {
            id: NodeId::parse("agg-1").unwrap(),
            generation: 7,
            gossip: ([127, 0, 0, 1], 7401).into(),
            state: State::Ready,
            grpc: "localhost:7400".into(),
            writer: WriterId::new([0xa1; 16]),
            weight: 100,
            zone: "a".into(),
            version: "0.1.0".into(),
            load: Some(12),
            closed: 1_700_000_000,
            on_disk: true,
            refused: true,
            ending: true,
            blind: 12,
            keys: RingStatus::of_fact("7 send 0a0b0c0d,00000001"),
        }
    }

    fn parse(facts: &BTreeMap<String, String>) -> Result<Member, FactError> {
        Member::parse("agg-1", 7, ([127, 0, 0, 1], 7401).into(), |key| facts.get(key).map(String::as_str))
    }

    #[test]
    fn facts_come_back_as_they_went() {
        let facts: BTreeMap<_, _> = member().facts().into_iter().collect();
        assert_eq!(parse(&facts), Ok(member()));
        let bytes: usize = facts.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(bytes < 512, "{bytes} bytes of facts per member");
    }

    #[test]
    fn odd_facts_are_refused_by_name() {
        let good: BTreeMap<_, _> = member().facts().into_iter().collect();
        for key in [key::SCHEMA, key::STATE, key::GRPC, key::WRITER, key::PROTOCOL] {
            let mut facts = good.clone();
            facts.remove(key);
            assert_eq!(parse(&facts), Err(FactError::Missing(key)));
        }
        for (key, value) in [("st", "x"), ("grpc", "nowhere"), ("id", "zz"), ("w", "0"), ("v", "2")] {
            let mut facts = good.clone();
            facts.insert(key.into(), value.into());
            assert!(matches!(parse(&facts), Err(FactError::Invalid(_))), "{key}={value}");
        }
        let mut other = good;
        other.insert("proto".into(), "2-3".into());
        assert_eq!(parse(&other), Err(FactError::Protocol));
    }
}
