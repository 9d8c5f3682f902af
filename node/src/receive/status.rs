//! How a request ended: the class of its status, and with it whether its server failed.
//!
//! By the semantic conventions, else by the labels that are usual where these are not known. A request failed when its HTTP
//! status is 500 or more, when its gRPC status is one the server is to blame for, or when there is no status and
//! `error.type` is set.

use super::observation::{self, Attribute};

/// The class of the status of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Status {
    /// An HTTP status of 100 to 199; the others likewise.
    Informational,
    Success,
    Redirection,
    ClientError,
    /// 500 and above.
    ServerError,
    /// Without an HTTP status: served, including what its client got wrong.
    Ok,
    /// Without an HTTP status: the server failed.
    Error,
}

/// Labels that hold the status of a request.
const LABELS: [&str; 8] =
    ["status", "code", "status_code", "http_status", "http_status_code", "response_code", "grpc_code", "grpc_status"];

/// Status codes of gRPC that the server is to blame for (semantic conventions, "gRPC status", server side).
const GRPC_SERVER_ERRORS: [(i64, &str); 6] = [
    (2, "UNKNOWN"),
    (4, "DEADLINE_EXCEEDED"),
    (12, "UNIMPLEMENTED"),
    (13, "INTERNAL"),
    (14, "UNAVAILABLE"),
    (15, "DATA_LOSS"),
];

impl Status {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 7] = [
        Self::Informational,
        Self::Success,
        Self::Redirection,
        Self::ClientError,
        Self::ServerError,
        Self::Ok,
        Self::Error,
    ];

    /// As it is called in series.
    pub(super) const fn name(self) -> &'static str {
        ["1xx", "2xx", "3xx", "4xx", "5xx", "ok", "error"][self as usize]
    }

    /// True when the server failed to serve the request.
    pub(super) const fn failed(self) -> bool {
        matches!(self, Self::ServerError | Self::Error)
    }

    /// The class of what fails where this one is known: HTTP statuses and others do not mix.
    pub(super) const fn failure(self) -> Self {
        if matches!(self, Self::Ok | Self::Error) { Self::Error } else { Self::ServerError }
    }

    /// How the requests ended that an observation counts.
    pub(super) fn of(attributes: &[Attribute<'_>]) -> Self {
        Self::by_conventions(attributes).unwrap_or_else(|| Self::by_labels(attributes))
    }

    fn by_conventions(attributes: &[Attribute<'_>]) -> Option<Self> {
        let http = ["http.response.status_code", "http.status_code"];
        if let Some(status) = http.iter().find_map(|key| observation::integer(attributes, key)) {
            return Some(Self::of_http(status));
        }
        if let Some(status) = observation::integer(attributes, "rpc.grpc.status_code") {
            return Some(Self::of_grpc(status));
        }
        if let Some(status) = observation::text(attributes, "rpc.response.status_code") {
            let known = |&(code, name): &(i64, &str)| name == status || status.parse() == Ok(code);
            return Some(if GRPC_SERVER_ERRORS.iter().any(known) { Self::Error } else { Self::Ok });
        }
        let kind = observation::text(attributes, "error.type").filter(|kind| !kind.is_empty())?;
        // A status as text: those of the client's making are no failure of the server.
        Some(kind.parse::<u16>().map_or(Self::Error, |status| Self::of_http(status.into())))
    }

    fn by_labels(attributes: &[Attribute<'_>]) -> Self {
        let status = LABELS.iter().find_map(|key| observation::text(attributes, key));
        match status.as_deref() {
            Some(text) if text.len() == 3 && text.ends_with("xx") => {
                Self::ALL.into_iter().find(|class| class.name() == text).unwrap_or(Self::Ok)
            }
            Some(text) => match text.parse::<i64>() {
                Ok(status @ 100..) => Self::of_http(status),
                Ok(status) => Self::of_grpc(status),
                Err(_) => grpc_status(text).map_or(Self::Ok, Self::of_grpc),
            },
            // Micrometer.
            None => match observation::text(attributes, "outcome").as_deref() {
                Some("INFORMATIONAL") => Self::Informational,
                Some("SUCCESS") => Self::Success,
                Some("REDIRECTION") => Self::Redirection,
                Some("CLIENT_ERROR") => Self::ClientError,
                Some("SERVER_ERROR") => Self::ServerError,
                _ => Self::Ok,
            },
        }
    }

    const fn of_http(status: i64) -> Self {
        match status {
            100..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
            _ => Self::Ok,
        }
    }

    fn of_grpc(status: i64) -> Self {
        let failed = status > 16 || GRPC_SERVER_ERRORS.iter().any(|&(code, _)| code == status);
        if failed { Self::Error } else { Self::Ok }
    }
}

/// The status code of gRPC that the server is to blame for by its name, as `DEADLINE_EXCEEDED` or `DeadlineExceeded`.
fn grpc_status(name: &str) -> Option<i64> {
    let same = |known: &str| {
        known
            .bytes()
            .filter(|byte| *byte != b'_')
            .eq(name.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_uppercase()))
    };
    GRPC_SERVER_ERRORS.iter().find(|(_, known)| same(known)).map(|(code, _)| *code)
}

#[cfg(test)]
mod tests {
    use super::super::observation::AttributeValue;
    use super::*;

    fn of(key: &str, value: &str) -> Status {
        Status::of(&[Attribute { key, value: AttributeValue::Text(value.to_owned().into()) }])
    }

    fn number(key: &str, value: i64) -> Attribute<'_> {
        Attribute { key, value: AttributeValue::Integer(value) }
    }

    #[test]
    fn a_status_is_known_by_the_conventions() {
        for (value, wanted) in
            [(503, "5xx"), (600, "5xx"), (404, "4xx"), (302, "3xx"), (204, "2xx"), (101, "1xx"), (0, "ok")]
        {
            assert_eq!(Status::of(&[number("http.response.status_code", value)]).name(), wanted, "{value}");
            assert_eq!(of("http.status_code", &value.to_string()).name(), wanted, "{value}");
        }
        for (key, value, wanted) in [
            ("rpc.grpc.status_code", "13", "error"),
            ("rpc.grpc.status_code", "5", "ok"),
            ("rpc.response.status_code", "UNAVAILABLE", "error"),
            ("rpc.response.status_code", "14", "error"),
            ("rpc.response.status_code", "OK", "ok"),
            ("error.type", "_OTHER", "error"),
            ("error.type", "ValueError", "error"),
            ("error.type", "500", "5xx"),
            ("error.type", "404", "4xx"),
            ("error.type", "", "ok"),
        ] {
            assert_eq!(of(key, value).name(), wanted, "{key}={value}");
        }
        let both = [
            number("http.response.status_code", 404),
            Attribute { key: "error.type", value: AttributeValue::Text("404".into()) },
        ];
        assert_eq!((Status::of(&both), Status::of(&[])), (Status::ClientError, Status::Ok));
    }

    #[test]
    fn a_status_is_known_by_usual_labels() {
        for (key, value, wanted) in [
            ("code", "500", "5xx"),
            ("status", "5xx", "5xx"),
            ("status_code", "503", "5xx"),
            ("grpc_code", "Unavailable", "error"),
            ("grpc_code", "DEADLINE_EXCEEDED", "error"),
            ("grpc_status", "13", "error"),
            ("outcome", "SERVER_ERROR", "5xx"),
            ("code", "404", "4xx"),
            ("status", "2xx", "2xx"),
            ("status", "9xx", "ok"),
            ("grpc_code", "NotFound", "ok"),
            ("grpc_status", "5", "ok"),
            ("outcome", "CLIENT_ERROR", "4xx"),
            ("outcome", "SUCCESS", "2xx"),
            ("outcome", "UNKNOWN", "ok"),
            ("route", "500", "ok"),
            ("code", "", "ok"),
        ] {
            assert_eq!(of(key, value).name(), wanted, "{key}={value}");
        }
    }

    #[test]
    fn what_failed_is_one_class_of_each_kind() {
        for status in Status::ALL {
            assert!(status.failure().failed());
            assert_eq!(status.failed(), matches!(status.name(), "5xx" | "error"), "{status:?}");
        }
    }
}
