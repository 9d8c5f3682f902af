//! A view that is followed, and the moment that is looked at.

use std::rc::Rc;

use prost::Message;
use starling_proto::live;

use crate::{fleet::Fleet, past::Past, rings::Rings};

/// Memory of a state for each byte that it has on the wire: texts and numbers stand apart there.
const BYTES_PER_ENCODED: usize = 3;

/// A view with charts.
#[derive(Debug)]
pub(crate) struct Charted<T> {
    rings: Rings,
    past: Past<T>,
}

impl<T> Default for Charted<T> {
    fn default() -> Self {
        Self { rings: Rings::default(), past: Past::default() }
    }
}

impl<T: Message> Charted<T> {
    /// Takes a second, or a history that ends with it.
    pub(super) fn take(&mut self, tick: u32, state: Option<T>, rings: impl FnOnce(&mut Rings)) {
        if tick > 0 {
            rings(&mut self.rings);
        }
        if let Some(state) = state {
            let bytes = state.encoded_len() * BYTES_PER_ENCODED;
            self.past.push(tick, state, bytes);
        }
    }
}

impl<T> Charted<T> {
    /// The charts.
    pub(crate) const fn rings(&self) -> &Rings {
        &self.rings
    }

    /// What was shown beside them.
    pub(crate) const fn past(&self) -> &Past<T> {
        &self.past
    }

    /// The newest second; 0 before the first.
    pub(crate) const fn newest(&self) -> u32 {
        self.rings.newest()
    }
}

/// A second that is looked at, and what is shown of it for as long as it is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) tick: u32,
    pub(super) overview: Option<Rc<live::Overview>>,
    pub(super) fleet: Option<Rc<Fleet>>,
    pub(super) node: Option<Rc<live::NodeDetail>>,
}
