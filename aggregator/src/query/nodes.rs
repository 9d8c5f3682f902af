//! The table of the nodes: in pages for people, by difference for programs.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{Stream, stream};
use starling_proto::{group::Group, ids::NodeId, v1};
use tonic::Status;

use super::{OpenStream, Streams, off_thread, views::completeness};
use crate::{
    fleet::{ClusterFleet, Filter},
    ledger_task::LedgerHandle,
};

/// Rows of a page at most, and when nothing is asked for. Usual rows take 200 bytes: 2 MB.
const PAGE_SIZE_MAX: u32 = 10_000;
/// Bytes of a page at most, unless a single row takes more: below the 4 MiB that a gRPC client takes by default.
const PAGE_BYTES: usize = 3 * 1024 * 1024;

/// Which page is asked for.
#[derive(Debug, PartialEq)]
pub(super) struct Paging {
    size: usize,
    after: Option<NodeId>,
}

impl Paging {
    /// Reads it from a request.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, naming the field and what was wanted.
    pub(super) fn parse(request: &v1::ListNodesRequest) -> Result<Self, Status> {
        let size = match request.page_size {
            0 => PAGE_SIZE_MAX,
            size if size <= PAGE_SIZE_MAX => size,
            size => {
                let text = format!("page_size: {size} is too large, a page has 1 to {PAGE_SIZE_MAX} nodes");
                return Err(Status::invalid_argument(text));
            }
        };
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(NodeId::parse(token).map_err(|_| {
                Status::invalid_argument("page_token: is none that a page before gave as next_page_token")
            })?),
        };
        Ok(Self { size: size as usize, after })
    }
}

/// One page of the nodes of `group` at the newest settled second. Pages are cut by name: nodes that come or go between
/// two pages shift nothing.
pub(super) fn page(ledger: &LedgerHandle, fleet: &ClusterFleet, group: &Group, paging: &Paging) -> v1::NodeTable {
    let tick = ledger.published().borrow().settled;
    let page = fleet.page(group, paging.after.as_ref(), paging.size, PAGE_BYTES, tick);
    v1::NodeTable {
        tick,
        completeness: Some(counted(ledger, group, tick, (page.reporting, page.expected))),
        next_page_token: page.last.map_or_else(String::new, |last| last.to_string()),
        total: Some(page.total),
        nodes: page.rows,
    }
}

/// The ledger counts the nodes of the whole cluster; those of a group are counted by their rows.
fn counted(ledger: &LedgerHandle, group: &Group, tick: u32, (reporting, expected): (u32, u32)) -> v1::Completeness {
    let view = ledger.view(tick);
    let mut completeness = completeness(ledger, tick, view.as_ref().map(|view| view.coverage).unwrap_or_default());
    if group.is_cluster() {
        let missing = view.iter().flat_map(|view| view.missing.iter());
        completeness.nodes_missing = missing.map(ToString::to_string).collect();
    } else {
        (completeness.nodes_reporting, completeness.nodes_expected) = (Some(reporting), Some(expected));
    }
    completeness
}

/// One reader of the table.
struct Cursor {
    ledger: LedgerHandle,
    fleet: Arc<ClusterFleet>,
    group: Group,
    refreshed: tokio::sync::watch::Receiver<u32>,
    /// The revision up to which everything was handed on; 0 for nothing.
    seen: u64,
    /// The last second handed on.
    tick: u32,
    /// Built and not handed on yet: the messages of one update.
    ready: VecDeque<v1::NodesUpdate>,
    open: OpenStream,
}

/// The nodes of `group` by difference, one update a second. `known` is what the reader already holds, as generation
/// and revision. A reader that falls behind is given what changed since, at once: nothing grows with its slowness.
pub(super) fn watch(
    (ledger, fleet): (LedgerHandle, Arc<ClusterFleet>),
    streams: &Streams,
    group: Group,
    known: (u64, u64),
) -> impl Stream<Item = Result<v1::NodesUpdate, Status>> + use<> {
    let (generation, revision) = known;
    let seen = if generation == fleet.generation() { revision } else { 0 };
    let refreshed = fleet.refreshed();
    let open = streams.open();
    let cursor = Cursor { ledger, fleet, group, refreshed, seen, tick: 0, ready: VecDeque::new(), open };
    stream::unfold(cursor, |mut cursor| async move {
        let item = cursor.next().await?;
        Some((item, cursor))
    })
}

impl Cursor {
    async fn next(&mut self) -> Option<Result<v1::NodesUpdate, Status>> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                if !update.more {
                    (self.seen, self.tick) = (update.revision, update.tick);
                }
                return Some(Ok(update));
            }
            let tick = *self.refreshed.borrow_and_update();
            if tick > self.tick {
                if let Err(status) = self.build(tick).await {
                    return Some(Err(status));
                }
                continue;
            }
            tokio::select! {
                biased;
                () = self.open.stop.cancelled() => return None,
                changed = self.refreshed.changed() => if changed.is_err() { return None },
            }
        }
    }

    async fn build(&mut self, tick: u32) -> Result<(), Status> {
        let (ledger, fleet) = (self.ledger.clone(), self.fleet.clone());
        let (group, seen) = (self.group.clone(), self.seen);
        self.ready = off_thread(move || {
            let mut parts = fleet.since(&Filter::Group(group.clone()), seen, tick);
            if parts.is_empty() {
                // The second goes on: whoever is silent is silent for one more.
                let generation = fleet.generation();
                parts.push(v1::NodesUpdate { tick, generation, revision: seen, ..v1::NodesUpdate::default() });
            }
            if let Some(last) = parts.last_mut() {
                let counts = if group.is_cluster() { (0, 0) } else { fleet.counts(&group, tick) };
                last.completeness = Some(counted(&ledger, &group, tick, counts));
                last.name_clashes = fleet.shown_clashes();
            }
            parts.into()
        })
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_checked() {
        let parse = |page_size, token: &str| {
            Paging::parse(&v1::ListNodesRequest { page_size, page_token: token.into(), ..Default::default() })
        };
        assert_eq!(parse(0, "").unwrap(), Paging { size: PAGE_SIZE_MAX as usize, after: None });
        assert_eq!(parse(7, "web-1").unwrap(), Paging { size: 7, after: NodeId::parse("web-1").ok() });
        let status = parse(PAGE_SIZE_MAX + 1, "").unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(status.message(), "page_size: 10001 is too large, a page has 1 to 10000 nodes");
        assert!(parse(1, "A b").unwrap_err().message().starts_with("page_token: "));
    }
}
