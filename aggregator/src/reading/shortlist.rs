//! Which series of a node are wanted by somebody who reads all nodes each second: found out once for all seconds and nodes with the
//! same layouts, not by the names of hundreds of series a thousand times a second.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use starling_proto::{frame::Second, interner::Layout, series::Series};

use super::{Entry, Reading};

/// Seconds after which what nobody has any more is forgotten, and at least so many between two sweeps.
const KEPT: u32 = 60;

/// Where a wanted series stands: in the node's own part or in the one for the cluster, and at which position.
#[derive(Debug, Clone, Copy)]
struct Place {
    own: bool,
    position: usize,
}

/// The wanted series of a pair of layouts, in the order of a reading.
#[derive(Debug)]
struct Listed {
    /// Held, so that their addresses are nobody else's.
    layouts: [Arc<Layout>; 2],
    places: Vec<Place>,
    /// The last second that was read by it.
    used: u32,
}

/// See the module. As many pairs as the nodes have that are read, of which hosts of one kind share one.
#[derive(Debug, Default)]
pub(crate) struct Shortlists {
    /// By the addresses of the layouts.
    known: RefCell<HashMap<[usize; 2], Listed>>,
    swept: std::cell::Cell<u32>,
}

impl Shortlists {
    /// Reads the series of a second whose name is `wanted`, which says the same of a name each time.
    pub(crate) fn read<'a>(&self, second: &'a Second, wanted: impl Fn(&str) -> bool) -> Reading<'a> {
        let mut known = self.known.borrow_mut();
        let layouts = [&second.cluster.layout, &second.node.layout];
        let listed = known.entry(layouts.map(|layout| Arc::as_ptr(layout).addr())).or_insert_with(|| Listed {
            layouts: layouts.map(Arc::clone),
            places: places(second, wanted),
            used: 0,
        });
        listed.used = listed.used.max(second.tick);
        let entry = |place: &Place| {
            let columns = if place.own { &second.node } else { &second.cluster };
            let series = columns.layout.series()[place.position].series();
            Entry::of_column(series, columns, place.position)
        };
        let reading = Reading::of_entries(listed.places.iter().map(entry).collect());
        if self.swept.get().saturating_add(KEPT) < second.tick {
            self.swept.set(second.tick);
            known.retain(|_, listed| {
                listed.used.saturating_add(KEPT) > second.tick
                    && listed.layouts.iter().any(|layout| Arc::strong_count(layout) > 1)
            });
        }
        reading
    }

    /// How many pairs are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.borrow().len()
    }
}

fn places(second: &Second, wanted: impl Fn(&str) -> bool) -> Vec<Place> {
    let mut places: Vec<(&Series, Place)> = Vec::new();
    for (own, columns) in [(false, &second.cluster), (true, &second.node)] {
        for (position, series) in columns.layout.series().iter().enumerate() {
            if wanted(series.series().name()) {
                places.push((series.series(), Place { own, position }));
            }
        }
    }
    places.sort_unstable_by_key(|(series, _)| *series);
    places.into_iter().map(|(_, place)| place).collect()
}
