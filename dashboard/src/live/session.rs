//! What one page is subscribed to and what it is to be sent next. Pure: the hub and the time come in.

use bytes::Bytes;
use starling_proto::live;

use crate::hub::{Cursor, Hub, Message, UnixMillis, ViewKey};

/// Views of one page at a time, as `live.proto` says.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 8;

/// One message to the page.
#[derive(Debug)]
pub(crate) enum Out {
    /// Encoded, shared with other clients.
    Frame {
        /// A whole `ServerMessage`.
        bytes: Bytes,
        /// Seconds left out before it.
        skipped: u32,
    },
    /// To this page alone.
    Error(live::Error),
}

struct Subscription<L> {
    id: u32,
    key: ViewKey,
    cursor: Cursor,
    /// Keeps the view open.
    lease: L,
}

/// One page. `L` keeps a view open while the page has it.
pub(crate) struct LiveSession<L> {
    subscriptions: Vec<Subscription<L>>,
    /// The subscription to look at first, so that a busy view does not keep the others waiting.
    turn: usize,
    paused: bool,
    /// Whether the page has heard that no aggregator is reached.
    told_down: bool,
    ended: Vec<L>,
}

impl<L> LiveSession<L> {
    /// A page without views.
    pub(crate) fn new() -> Self {
        Self { subscriptions: Vec::new(), turn: 0, paused: false, told_down: false, ended: Vec::new() }
    }

    /// Whether a subscription of this number may be added; if not, the code and the words of the error.
    pub(crate) fn check(&self, id: u32) -> Result<(), (&'static str, String)> {
        if id == 0 {
            return Err(("invalid", "id 0 is kept for errors of the connection; number views from 1".to_owned()));
        }
        let replaces = self.subscriptions.iter().any(|is| is.id == id);
        if !replaces && self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(("limit", format!("{SUBSCRIPTIONS_MAX} views are open, which is the limit; close one first")));
        }
        Ok(())
    }

    /// Adds a subscription that [`LiveSession::check`] allowed. One of the same number is replaced.
    pub(crate) fn add(&mut self, id: u32, key: ViewKey, cursor: Cursor, lease: L) {
        drop(self.remove(id));
        self.subscriptions.push(Subscription { id, key, cursor, lease });
    }

    /// Ends a subscription; unknown numbers are none.
    pub(crate) fn remove(&mut self, id: u32) -> Option<L> {
        let at = self.subscriptions.iter().position(|is| is.id == id)?;
        Some(self.subscriptions.remove(at).lease)
    }

    /// Sends nothing until [`LiveSession::resume`].
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    /// Goes on: what was missed follows, or a snapshot where it is no longer kept.
    pub(crate) fn resume(&mut self, hub: &Hub) {
        if std::mem::take(&mut self.paused) {
            for is in &mut self.subscriptions {
                hub.replay(&is.key, &mut is.cursor);
            }
        }
    }

    /// The next message, if there is one now.
    pub(crate) fn next(&mut self, hub: &mut Hub, now: UnixMillis) -> Option<Out> {
        if self.paused {
            return None;
        }
        if let Some(error) = self.link_error(hub) {
            return Some(Out::Error(error));
        }
        for step in 0..self.subscriptions.len() {
            let at = (self.turn + step) % self.subscriptions.len();
            let is = &mut self.subscriptions[at];
            let Some(message) = hub.next(&is.key, &mut is.cursor, now) else { continue };
            self.turn = at + 1;
            return Some(match message {
                Message::Snapshot(frame) => Out::Frame { bytes: frame.bytes(is.id, 0), skipped: 0 },
                Message::Tick(publication, skipped) => {
                    Out::Frame { bytes: publication.frame.bytes(is.id, skipped), skipped }
                }
                Message::Refused(message) => {
                    let id = is.id;
                    let ended = self.remove(id);
                    self.ended.extend(ended);
                    Out::Error(live::Error { id, code: "not_found".to_owned(), message })
                }
            });
        }
        None
    }

    /// Leases of subscriptions that ended by themselves.
    pub(crate) fn take_ended(&mut self) -> Vec<L> {
        std::mem::take(&mut self.ended)
    }

    /// Once per loss of the aggregators, an error for the connection; ticks show that they are back.
    fn link_error(&mut self, hub: &Hub) -> Option<live::Error> {
        let crate::hub::Link::Down { reason } = hub.link() else {
            self.told_down = false;
            return None;
        };
        if std::mem::replace(&mut self.told_down, true) {
            return None;
        }
        let message = format!("no aggregator is reached ({reason}); trying again");
        Some(live::Error { id: 0, code: "unavailable".to_owned(), message })
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use starling_proto::{group::Group, ids::NodeId, v1};

    use super::*;
    use crate::hub::{Second, Source};

    const NOW: u32 = 1_700_000_000;

    fn second(hub: &mut Hub, tick: u32) {
        let view = v1::ClusterView { tick, ..Default::default() };
        let now = u64::from(tick) * 1000;
        hub.apply(&Source::Cluster(Group::cluster()), Second::Cluster(Box::new(view)), now);
    }

    fn connected() -> Hub {
        let mut hub = Hub::new();
        hub.apply_aggregators(v1::ListAggregatorsResponse { answered_by: "a".into(), ..Default::default() }, 0);
        second(&mut hub, NOW);
        hub
    }

    fn overview() -> ViewKey {
        ViewKey::Overview(Group::cluster())
    }

    fn frames(session: &mut LiveSession<Rc<()>>, hub: &mut Hub) -> Vec<u32> {
        std::iter::from_fn(|| session.next(hub, 0))
            .map(|out| match out {
                Out::Frame { skipped, .. } => skipped,
                Out::Error(error) => panic!("{error:?}"),
            })
            .collect()
    }

    fn add(session: &mut LiveSession<Rc<()>>, hub: &Hub, id: u32, key: ViewKey) {
        let cursor = hub.cursor(&key, 0);
        session.add(id, key, cursor, Rc::new(()));
    }

    #[test]
    fn a_paused_page_is_sent_nothing_and_then_what_it_missed() {
        let (mut hub, mut session) = (connected(), LiveSession::new());
        add(&mut session, &hub, 1, overview());
        assert_eq!(frames(&mut session, &mut hub).len(), 1);
        session.pause();
        for tick in NOW + 1..=NOW + 30 {
            second(&mut hub, tick);
        }
        assert!(frames(&mut session, &mut hub).is_empty());
        session.resume(&hub);
        assert_eq!(frames(&mut session, &mut hub), [0; 30], "nothing is skipped");
    }

    #[test]
    fn numbers_are_checked_and_replaced() {
        let (hub, mut session) = (connected(), LiveSession::new());
        assert_eq!(session.check(0).unwrap_err().0, "invalid");
        for id in 1..=8 {
            session.check(id).unwrap();
            add(&mut session, &hub, id, overview());
        }
        assert_eq!(session.check(9).unwrap_err().0, "limit");
        assert!(session.check(8).is_ok(), "replaces its own");
        assert!(session.remove(3).is_some() && session.remove(3).is_none());
        assert!(session.check(9).is_ok());
    }

    #[test]
    fn a_loss_is_reported_once() {
        let (mut hub, mut session) = (connected(), LiveSession::<()>::new());
        assert!(session.next(&mut hub, 0).is_none());
        hub.disconnected("refused", 0);
        assert!(matches!(session.next(&mut hub, 0), Some(Out::Error(error)) if error.code == "unavailable"));
        assert!(session.next(&mut hub, 0).is_none());
    }

    #[test]
    fn an_unknown_node_ends_its_subscription_only() {
        let (mut hub, mut session) = (connected(), LiveSession::new());
        let node = NodeId::parse("n9").unwrap();
        hub.open(&ViewKey::Node(node.clone()));
        hub.refuse(&Source::Node(node.clone()), "no node is called n9".into());
        add(&mut session, &hub, 1, ViewKey::Node(node));
        add(&mut session, &hub, 2, overview());
        assert!(
            matches!(session.next(&mut hub, 0), Some(Out::Error(error)) if error.id == 1 && error.code == "not_found")
        );
        assert_eq!(session.take_ended().len(), 1);
        assert_eq!(frames(&mut session, &mut hub).len(), 1);
    }
}
