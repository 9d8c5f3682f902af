//! What a program says of itself on its admin port.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// One answer of `/metrics`: every sample by its name with labels, as written.
#[derive(Debug, Clone, Default)]
pub struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Asks the admin port at `address`.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn of(address: SocketAddr) -> Result<Self, String> {
        let (status, body) = http_get(address, "/metrics").await?;
        if status != 200 {
            return Err(format!("/metrics answered {status}"));
        }
        Ok(Self::parse(&body))
    }

    fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The sum of `name` over all its labels; 0 when it is not there.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        let of_name = |key: &str| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
        self.0.iter().filter(|(key, _)| of_name(key)).map(|(_, value)| value).sum()
    }

    /// Every sample whose name with labels holds `text`.
    pub fn containing<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter(move |(key, _)| key.contains(text)).map(|(key, value)| (key.as_str(), *value))
    }

    /// What was counted between an earlier answer and this one: every sample less the earlier one.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let difference = |(name, value): (&String, &f64)| {
            let before = earlier.0.get(name).copied().unwrap_or(0.0);
            (name.clone(), value - before)
        };
        Self(self.0.iter().map(difference).collect())
    }

    /// Upper bounds of the buckets of a histogram and how many samples are at most that, rising; over all labels.
    fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (key, count) in &self.0 {
            let bound = || key.strip_prefix(name)?.strip_prefix("_bucket{")?.split("le=\"").nth(1)?.split('"').next();
            let Some(bound) = bound().and_then(|bound| bound.parse::<f64>().ok()) else { continue };
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, all)) => *all += count,
                None => buckets.push((bound, *count)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }

    /// The `q`-quantile of a histogram, read from its buckets as Prometheus does: between the bounds of a bucket it is
    /// taken to be even, so that 1 gives the upper bound of the longest sample. `None` without samples.
    #[must_use]
    pub fn quantile(&self, name: &str, q: f64) -> Option<f64> {
        let buckets = self.buckets(name);
        let all = buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
        let wanted = q * all;
        let (mut below, mut count_below) = (0.0, 0.0);
        for (bound, count) in buckets {
            if count >= wanted && count > count_below {
                // Beyond the last bound nothing is known but that bound.
                let share = (wanted - count_below) / (count - count_below);
                return Some(if bound.is_finite() { below + (bound - below) * share } else { below });
            }
            (below, count_below) = (bound, count);
        }
        None
    }

    /// The names of all histograms.
    pub fn histograms(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter(|key| key.contains("le=\"+Inf\"")).filter_map(|key| Some(key.split_once("_bucket{")?.0))
    }
}

/// One plain HTTP request; its status and body.
///
/// # Errors
/// What went wrong, in words.
pub async fn http_get(address: SocketAddr, path: &str) -> Result<(u16, String), String> {
    /// An admin port answers in milliseconds; one that does not in this time is stuck.
    const PATIENCE: Duration = Duration::from_secs(5);
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, ask).await.map_err(|_| format!("{address} did not answer in time"))?;
    let answer = answer.map_err(|error| format!("{address}: {error}"))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no HTTP status")?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name() {
        let scrape = Scrape::parse("# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 100\n");
        assert_eq!(scrape.sum("a"), 5.0);
        assert_eq!(scrape.quantile("a", 0.5), None);
    }

    #[test]
    fn quantiles_are_read_from_buckets() {
        let of = |counts: [u32; 4]| {
            let line = |(bound, count)| format!("s_bucket{{name=\"a\",le=\"{bound}\"}} {count}\n");
            Scrape::parse(&["0.5", "1.0", "2.0", "+Inf"].into_iter().zip(counts).map(line).collect::<String>())
        };
        let scrape = of([0, 50, 100, 100]);
        assert_eq!(scrape.histograms().collect::<Vec<_>>(), ["s"]);
        assert_eq!(scrape.quantile("s", 0.25), Some(0.75));
        assert_eq!(scrape.quantile("s", 0.75), Some(1.5));
        assert_eq!(scrape.quantile("s", 1.0), Some(2.0));
        assert_eq!(of([0, 0, 0, 3]).quantile("s", 0.5), Some(2.0), "beyond the last bound");
        assert_eq!(of([0, 0, 0, 0]).quantile("s", 0.5), None);
        assert_eq!(of([7, 57, 60, 60]).since(&of([0, 50, 50, 50])).quantile("s", 0.7), Some(0.5));
        assert_eq!(of([7, 57, 60, 60]).since(&of([0, 50, 50, 50])).quantile("s", 1.0), Some(2.0));
    }
}
