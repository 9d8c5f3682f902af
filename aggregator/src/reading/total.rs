//! Several series of one name, added up.

use starling_proto::{
    catalogue::{Kind, OverNodes, Statistic},
    histogram::Histogram,
    series::Series,
};

use super::{Amount, Entry, latency::merged};

/// The sum over series that agree in kind, unit and scale.
#[derive(Debug)]
pub(super) struct Total<'a> {
    /// One of them: what they agree in.
    series: &'a Series,
    /// Nodes behind the series that most of them reported.
    nodes: u32,
    /// Of counters and gauges.
    sum: i128,
    /// Of the only gauge; of several nothing is known.
    spread: Option<(i64, i64, Option<&'a Histogram>)>,
    histograms: Vec<&'a Histogram>,
}

impl<'a> Total<'a> {
    /// `None` without entries, and for entries of one name that cannot be added up because they mean different things.
    pub(super) fn of<'e>(entries: impl Iterator<Item = &'e Entry<'a>>) -> Option<Self>
    where
        'a: 'e,
    {
        let mut total: Option<Self> = None;
        for entry in entries {
            let (sum, spread, histogram) = match entry.amount {
                Amount::Counter(sum) => (sum, None, None),
                Amount::Gauge { sum, min, max, distribution } => {
                    (sum, Some((min, max, distribution.map(|one| &**one))), None)
                }
                Amount::Histogram(histogram) => (0, None, Some(&**histogram)),
            };
            match &mut total {
                None => {
                    let histograms = histogram.into_iter().collect();
                    total = Some(Self { series: entry.series, nodes: entry.nodes, sum, spread, histograms });
                }
                Some(total) if !total.agrees_with(entry.series) => return None,
                Some(total) => {
                    total.nodes = total.nodes.max(entry.nodes);
                    total.sum = total.sum.saturating_add(sum);
                    total.spread = None;
                    total.histograms.extend(histogram);
                }
            }
        }
        total
    }

    fn agrees_with(&self, other: &Series) -> bool {
        (self.series.kind(), self.series.unit(), self.series.scale()) == (other.kind(), other.unit(), other.scale())
    }

    pub(super) fn kind(&self) -> Kind {
        self.series.kind()
    }

    pub(super) fn nodes(&self) -> u32 {
        self.nodes
    }

    /// In the unit of the series; `None` of histograms.
    pub(super) fn sum(&self) -> Option<f64> {
        (self.kind() != Kind::Histogram).then(|| self.series.to_f64(self.sum))
    }

    pub(super) fn histogram(&self) -> Histogram {
        match self.histograms[..] {
            [only] => only.clone(),
            _ => merged(self.histograms.iter().copied()),
        }
    }

    /// In the order of `wanted`.
    pub(super) fn statistics(&self, over_nodes: OverNodes, wanted: &[Statistic]) -> Vec<Option<f64>> {
        match self.kind() {
            Kind::Histogram => self.of_histogram(wanted),
            Kind::Counter | Kind::Gauge => wanted.iter().map(|&one| self.of_number(over_nodes, one)).collect(),
        }
    }

    fn of_number(&self, over_nodes: OverNodes, statistic: Statistic) -> Option<f64> {
        let (sum, nodes) = (self.series.to_f64(self.sum), f64::from(self.nodes));
        let gauge = self.kind() == Kind::Gauge;
        match statistic {
            Statistic::Value if gauge && over_nodes == OverNodes::Mean => Some(sum / nodes),
            Statistic::Value | Statistic::Sum => Some(sum),
            Statistic::Mean => Some(sum / nodes),
            Statistic::Nodes => Some(nodes),
            Statistic::Min => self.spread.map(|(min, ..)| self.series.to_f64(min.into())),
            Statistic::Max => self.spread.map(|(_, max, _)| self.series.to_f64(max.into())),
            // The value of the one node is every quantile of it.
            Statistic::Quantile(_) if gauge && self.nodes == 1 => Some(sum),
            Statistic::Quantile(_) => {
                let found = self.spread?.2?.quantile(statistic.quantile()?)?;
                Some(self.series.to_f64(found.into()))
            }
            Statistic::Count => None,
        }
    }

    fn of_histogram(&self, wanted: &[Statistic]) -> Vec<Option<f64>> {
        of_histogram(self.series, &self.histogram(), self.nodes, wanted)
    }

    /// What a quantile is read of: the values of a histogram, or those of the nodes of a gauge that keeps them.
    pub(super) fn distribution(&self) -> Option<Histogram> {
        match self.kind() {
            Kind::Histogram => Some(self.histogram()),
            Kind::Gauge if self.nodes == 1 => Some(Histogram::of(u64::try_from(self.sum).ok()?, 1)),
            Kind::Gauge => self.spread?.2.cloned(),
            Kind::Counter => None,
        }
    }

    /// One of the series: what all of them agree in.
    pub(super) fn series(&self) -> &'a Series {
        self.series
    }
}

/// Statistics of the values in `histogram`, which is in the fixed point of `series`.
pub(crate) fn of_histogram(
    series: &Series,
    histogram: &Histogram,
    nodes: u32,
    wanted: &[Statistic],
) -> Vec<Option<f64>> {
    let quantiles: Vec<f64> = wanted.iter().filter_map(|statistic| statistic.quantile()).collect();
    let mut answers = if quantiles.is_empty() { Vec::new() } else { histogram.quantiles(&quantiles) }.into_iter();
    let full = |value: f64| (!histogram.is_empty()).then_some(value);
    wanted
        .iter()
        .map(|statistic| match statistic {
            Statistic::Quantile(_) => full(series.to_f64(answers.next()?.into())),
            Statistic::Count => Some(histogram.count() as f64),
            Statistic::Sum => Some(series.to_f64(i128::try_from(histogram.sum()).unwrap_or(i128::MAX))),
            Statistic::Mean => Some(histogram.mean()? * series.to_f64(1)),
            Statistic::Max => full(series.to_f64(histogram.max().into())),
            Statistic::Nodes => Some(f64::from(nodes)),
            Statistic::Value | Statistic::Min => None,
        })
        .collect()
}
