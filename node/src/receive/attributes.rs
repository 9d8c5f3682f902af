//! Which attributes a series keeps when an observation has more than a series takes.
//!
//! Points with more are usual: the semantic conventions name twelve for a call of a database. A point is never refused for
//! them. The series keeps those that stand first in this order, and points that differ in the others alone are one series,
//! in which they add up:
//!
//! 1. what [`WORTH`] names, in its order: how it ended, what was asked, of whom, and which process says so;
//! 2. the others by name, so that the same stay from one point to the next, whatever order they came in.

use super::observation::Attribute;

/// Keys that are worth most, by the semantic conventions 1.40 and those before, and as client libraries of Prometheus
/// label. `.` and `_` are the same here: exporters of Prometheus write one for the other.
const WORTH: [&str; 58] = [
    // What the traffic model reads of requests.
    "http.response.status_code",
    "http.status_code",
    "error.type",
    "http.route",
    "http.request.method",
    "http.method",
    "rpc.method",
    "rpc.service",
    "rpc.response.status_code",
    "rpc.grpc.status_code",
    "rpc.system.name",
    "rpc.system",
    "network.protocol.version",
    "network.protocol.name",
    "url.scheme",
    "http.target",
    // The same by the labels that are usual without conventions.
    "status",
    "code",
    "status_code",
    "http_status",
    "response_code",
    "grpc_code",
    "grpc_method",
    "grpc_service",
    "outcome",
    "method",
    "route",
    "handler",
    "uri",
    // Databases, queues, functions.
    "db.system.name",
    "db.system",
    "db.operation.name",
    "db.operation",
    "db.collection.name",
    "db.namespace",
    "db.name",
    "db.response.status_code",
    "db.client.connection.pool.name",
    "db.client.connection.state",
    "messaging.system",
    "messaging.operation.name",
    "messaging.destination.name",
    "messaging.destination.template",
    "messaging.consumer.group.name",
    "faas.trigger",
    "gen_ai.system",
    "gen_ai.operation.name",
    "gen_ai.request.model",
    // Of whom.
    "server.address",
    "server.port",
    "net.host.name",
    "net.peer.name",
    // Which process says so, and which part of a thing it means.
    "service.instance.id",
    "instance",
    "state",
    "type",
    "direction",
    "reason",
];

/// Keeps at most `room` of `attributes`, those that are worth most; of equal worth those whose keys come first. Returns
/// how many were left out, which is 0 when all fit: then their order stays.
pub(super) fn keep(attributes: &mut Vec<&Attribute<'_>>, room: usize) -> usize {
    let beyond = attributes.len().saturating_sub(room);
    if beyond > 0 {
        attributes.sort_by_cached_key(|attribute| (worth(attribute.key), attribute.key));
        attributes.truncate(room);
    }
    beyond
}

/// The place of a key in the order.
fn worth(key: &str) -> usize {
    let dotted = |byte: u8| if byte == b'_' { b'.' } else { byte };
    let same = |known: &&str| known.len() == key.len() && known.bytes().map(dotted).eq(key.bytes().map(dotted));
    WORTH.iter().position(same).unwrap_or(WORTH.len())
}

#[cfg(test)]
mod tests {
    use super::super::observation::AttributeValue;
    use super::*;
    use proptest::prelude::*;

    fn kept(keys: &[&str], room: usize) -> (Vec<String>, usize) {
        let all: Vec<Attribute<'_>> =
            keys.iter().map(|key| Attribute { key, value: AttributeValue::NotPlain }).collect();
        let mut refs: Vec<&Attribute<'_>> = all.iter().collect();
        let left_out = keep(&mut refs, room);
        (refs.iter().map(|attribute| attribute.key.to_owned()).collect(), left_out)
    }

    #[test]
    fn a_call_of_a_database_keeps_what_it_was_and_how_it_ended() {
        let keys = [
            "db.client.operation.name.custom",
            "db.collection.name",
            "db.namespace",
            "db.operation.name",
            "db.query.summary",
            "db.response.status_code",
            "db.system.name",
            "error.type",
            "network.peer.address",
            "network.peer.port",
            "server.address",
            "server.port",
        ];
        let (kept, left_out) = kept(&keys, 7);
        assert_eq!(
            kept.join(" "),
            "error.type db.system.name db.operation.name db.collection.name db.namespace db.response.status_code \
             server.address"
        );
        assert_eq!(left_out, 5);
    }

    #[test]
    fn names_of_prometheus_are_worth_the_same_and_the_rest_goes_by_name() {
        assert_eq!(
            kept(&["b", "a", "http_route", "instance", "error_type"], 4).0.join(" "),
            "error_type http_route instance a"
        );
        assert_eq!(kept(&["b", "a"], 2), (vec!["b".to_owned(), "a".to_owned()], 0));
        assert_eq!(kept(&["b", "a"], 0), (Vec::new(), 2));
    }

    #[test]
    fn no_key_is_named_twice() {
        for (place, key) in WORTH.iter().enumerate() {
            assert_eq!(worth(key), place, "{key}");
        }
    }

    proptest! {
        /// The order in which a sender writes them does not matter.
        #[test]
        fn any_order_keeps_the_same(keys in proptest::collection::btree_set("[a-z]{1,3}", 0..40), room in 0usize..9, turn in 0usize..40) {
            let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let (mut one, left_out) = kept(&keys, room);
            prop_assert_eq!(left_out, keys.len().saturating_sub(room));
            let turn = turn % keys.len().max(1);
            keys.rotate_left(turn);
            let (mut other, _) = kept(&keys, room);
            one.sort();
            other.sort();
            prop_assert_eq!(one, other);
        }
    }
}
