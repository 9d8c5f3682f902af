//! From numbers of a dictionary to positions of a layout.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use super::columns::Columns;
use crate::{
    bits,
    catalogue::Kind,
    histogram::Histogram,
    interner::{Interned, Layout, Resolve},
    limits::{BUCKET_COUNT_MAX, COUNTER_INCREMENT_MAX, GAUGE_MAGNITUDE_MAX},
    series::Series,
};

/// What a number of the dictionary stands for.
#[derive(Debug, Clone)]
pub(super) enum Name {
    /// Its own series.
    Own(Interned),
    /// One that stands for many, and the series itself, which is beyond a quota. Asked for again with each keyframe.
    Other(Interned, Series),
    /// There was no room for it. Asked for again with each keyframe.
    LeftOut(Series),
}

impl Name {
    /// The series for a message.
    pub(super) fn series(&self) -> &Series {
        match self {
            Self::Own(interned) => interned.series(),
            Self::Other(_, series) | Self::LeftOut(series) => series,
        }
    }
}

/// The values of a frame's part, by number of the dictionary; then by position.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) values: Vec<i64>,
    /// A bit per number.
    pub(super) changed: Vec<u64>,
    /// Ascending, none empty, each with its bytes.
    pub(super) histograms: Vec<(u32, Arc<Histogram>, Bytes)>,
    /// A series is present that was not before.
    pub(super) appeared: bool,
}

/// Stands for a number without a position.
const NOWHERE: u32 = u32::MAX;

/// Where the value of each number goes.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    layout: Arc<Layout>,
    /// By number; `None` while every number is at the position of the same number.
    of_number: Option<Box<[u32]>>,
    pub(super) present: usize,
    pub(super) left_out: u32,
    pub(super) others: u32,
}

impl Places {
    /// Finds the positions for what is present now. Whether the layout is another one.
    pub(super) fn renew(&mut self, names: &[Name], present: &[u64], process: &impl Resolve) -> bool {
        let mut series = Vec::with_capacity(names.len());
        let mut of_number = vec![NOWHERE; names.len()];
        (self.left_out, self.others) = (0, 0);
        for number in bits::ones(present) {
            match &names[number] {
                Name::Own(interned) => {
                    of_number[number] = series.len() as u32;
                    series.push(interned.clone());
                }
                Name::Other(..) => self.others += 1,
                Name::LeftOut(_) => self.left_out += 1,
            }
        }
        if self.others > 0 {
            let mut at: HashMap<_, _> = series.iter().map(|interned| interned.id()).zip(0u32..).collect();
            for number in bits::ones(present) {
                if let Name::Other(interned, _) = &names[number] {
                    of_number[number] = *at.entry(interned.id()).or_insert_with(|| {
                        series.push(interned.clone());
                        (series.len() - 1) as u32
                    });
                }
            }
        }
        self.present = present.iter().map(|word| word.count_ones() as usize).sum();
        let straight = of_number.iter().zip(0..).all(|(place, number)| *place == number);
        self.of_number = (!straight).then(|| of_number.into());
        let layout = process.layout(series);
        let same = Arc::ptr_eq(&self.layout, &layout);
        self.layout = layout;
        !same
    }

    /// The values by position. In a `fresh` layout every gauge is changed: there is no second before.
    pub(super) fn columns(&self, raw: Raw, kinds: &[Kind], present: &[u64], fresh: bool) -> (Columns, Box<[Bytes]>) {
        let Raw { values, mut changed, histograms, .. } = match &self.of_number {
            None => raw,
            Some(places) => self.gather(raw, kinds, present, places),
        };
        if fresh {
            for (position, _) in self.layout.facts().iter().enumerate().filter(|(_, one)| one.kind == Kind::Gauge) {
                bits::set(&mut changed, position);
            }
        }
        let mut kept = Vec::with_capacity(histograms.len());
        let mut sparse = Vec::with_capacity(histograms.len());
        for (position, histogram, bytes) in histograms {
            kept.push((position, histogram));
            sparse.push(bytes);
        }
        let layout = Arc::clone(&self.layout);
        let columns = Columns { layout, values: values.into(), changed: changed.into(), histograms: kept.into() };
        (columns, sparse.into())
    }

    /// From numbers to positions.
    fn gather(&self, raw: Raw, kinds: &[Kind], present: &[u64], places: &[u32]) -> Raw {
        let mut values = vec![0i64; self.layout.series().len()];
        let mut changed = vec![0; values.len().div_ceil(64)];
        for number in bits::ones(present) {
            let Some(value) = values.get_mut(places[number] as usize) else { continue };
            // Several numbers have one position where a series stands for many: their sum, within the caps of one.
            *value = match kinds[number] {
                Kind::Counter => value.saturating_add(raw.values[number]).min(COUNTER_INCREMENT_MAX as i64),
                Kind::Gauge => {
                    value.saturating_add(raw.values[number]).clamp(-GAUGE_MAGNITUDE_MAX, GAUGE_MAGNITUDE_MAX)
                }
                Kind::Histogram => 0,
            };
            if bits::is_set(&raw.changed, number) {
                bits::set(&mut changed, places[number] as usize);
            }
        }
        let placed =
            raw.histograms.into_iter().map(|(number, histogram, bytes)| (places[number as usize], histogram, bytes));
        let mut histograms: Vec<_> = placed.filter(|(place, ..)| *place != NOWHERE).collect();
        histograms.sort_by_key(|(place, ..)| *place);
        histograms.dedup_by(|next, first| {
            next.0 == first.0 && {
                // Beyond the caps of one histogram the further one is left out.
                if let Ok(sum) = first.1.plus(&next.1)
                    && sum.within(BUCKET_COUNT_MAX)
                {
                    (first.1, first.2) = (Arc::new(sum), Bytes::new());
                }
                true
            }
        });
        for (_, histogram, bytes) in &mut histograms {
            if bytes.is_empty() {
                *bytes = histogram.encode();
            }
        }
        Raw { values, changed, histograms, appeared: raw.appeared }
    }
}
