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

    /// The quantile of a summary, by its label as written (`0.99`, `1`).
    #[must_use]
    pub fn quantile(&self, name: &str, quantile: &str) -> Option<f64> {
        self.0.get(&format!("{name}{{quantile=\"{quantile}\"}}")).copied()
    }

    /// Every sample whose name with labels holds `text`.
    pub fn containing<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter(move |(key, _)| key.contains(text)).map(|(key, value)| (key.as_str(), *value))
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
        let text = "# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 100\ns{quantile=\"0.99\"} 0.25\n";
        let scrape = Scrape::parse(text);
        assert_eq!(scrape.sum("a"), 5.0);
        assert_eq!(scrape.quantile("s", "0.99"), Some(0.25));
        assert_eq!(scrape.containing("quantile").count(), 1);
    }
}
