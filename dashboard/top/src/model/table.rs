//! Which nodes, in which order, and which of them is meant.

use crate::{
    fleet::Fleet,
    select::{Filter, Sort},
};

/// The table of nodes; the map shows the same.
#[derive(Debug)]
pub(crate) struct Table {
    /// As it was written.
    pub(crate) filter: String,
    pub(crate) sort: Sort,
    /// Places of the nodes that are shown, in their order.
    pub(crate) rows: Vec<usize>,
    /// Name of the node that was chosen by a key. It stays chosen while the order changes and while it is filtered away.
    pub(crate) chosen: Option<String>,
    /// Its place in `rows`.
    pub(crate) at: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { filter: String::new(), sort: Sort::NAME, rows: Vec::new(), chosen: None, at: 0 }
    }
}

impl Table {
    /// Filters and sorts again.
    pub(super) fn set(&mut self, fleet: Option<&Fleet>) {
        self.rows.clear();
        if let Some(fleet) = fleet {
            let filter = Filter::parse(&self.filter);
            let mut rows: Vec<_> = fleet.rows().filter(|row| filter.holds(*row)).collect();
            rows.sort_unstable_by(|a, b| self.sort.compare(*a, *b));
            self.rows.extend(rows.iter().map(|row| row.place()));
            let chosen = self.chosen.as_deref();
            if let Some(at) = rows.iter().position(|row| Some(row.name()) == chosen) {
                self.at = at;
            }
        }
        self.at = self.at.min(self.rows.len().saturating_sub(1));
    }

    /// Means the node at a place of `rows`, or the nearest.
    pub(super) fn choose(&mut self, fleet: Option<&Fleet>, at: usize) {
        self.at = at.min(self.rows.len().saturating_sub(1));
        if let Some(name) = self.meant(fleet) {
            self.chosen = Some(name.to_owned());
        }
    }

    /// Name of the node that is marked: the chosen one, or another one where it would stand while it is filtered away.
    pub(super) fn meant<'a>(&self, fleet: Option<&'a Fleet>) -> Option<&'a str> {
        fleet.zip(self.rows.get(self.at)).and_then(|(fleet, place)| fleet.row(*place)).map(|row| row.name())
    }
}
