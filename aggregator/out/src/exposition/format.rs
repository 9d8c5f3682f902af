//! Which format a scraper asks for.

/// How series are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's text, version 0.0.4.
    Text,
    /// OpenMetrics 1.0: text, with the time counters began.
    OpenMetrics,
    /// Prometheus's messages, each behind its length: with native histograms.
    Protobuf,
}

impl Format {
    /// The `Content-Type` of it.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// The format for this `Accept`: of those offered the one with the highest quality, of equals the first that is named. Text
/// when nothing that is offered is named, as all exporters do.
#[must_use]
pub fn accepted(accept: &str) -> Format {
    let mut best = (0.0, Format::Text);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters: Vec<(String, &str)> = parts
            .filter_map(|part| part.split_once('='))
            .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim().trim_matches('"')))
            .collect();
        let parameter = |name: &str| parameters.iter().find(|(key, _)| key == name).map_or("", |(_, value)| *value);
        let format = match media.as_str() {
            "application/vnd.google.protobuf"
                if parameter("proto") == "io.prometheus.client.MetricFamily"
                    && parameter("encoding") == "delimited" =>
            {
                Format::Protobuf
            }
            "application/openmetrics-text" if ["", "1.0.0", "0.0.1"].contains(&parameter("version")) => {
                Format::OpenMetrics
            }
            "text/plain" if ["", "0.0.4"].contains(&parameter("version")) => Format::Text,
            "text/*" | "*/*" => Format::Text,
            _ => continue,
        };
        let quality = match parameter("q") {
            "" => 1.0,
            text => text.parse::<f64>().unwrap_or(0.0),
        };
        if quality > best.0 {
            best = (quality, format);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_that_is_offered_is_taken() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let with_native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, format) in [
            (prometheus_2, Format::OpenMetrics),
            (with_native, Format::Protobuf),
            (prometheus_3, Format::OpenMetrics),
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, application/json", Format::Text),
            ("text/plain;version=0.0.4, application/openmetrics-text;q=0.9", Format::Text),
            (
                "application/vnd.google.protobuf; proto=\"io.prometheus.client.MetricFamily\"; encoding=text",
                Format::Text,
            ),
            ("application/openmetrics-text;version=2.0.0;q=1, text/plain;q=0.1", Format::Text),
            ("application/openmetrics-text;q=nonsense, text/plain;q=0.1", Format::Text),
        ] {
            assert_eq!(accepted(accept), format, "{accept}");
        }
    }
}
