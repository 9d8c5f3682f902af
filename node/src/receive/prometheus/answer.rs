//! What a target answered: taken out of its compression, and read by the format that it says it has.

use std::{borrow::Cow, io::Read as _};

use axum::http::{
    HeaderMap, HeaderName,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use starling_service::http_client::Answer;

use super::binary;

/// Longest answer, as it comes and when it is inflated: what 100,000 samples of 160 bytes take.
pub(super) const BODY_MAX: usize = 16 * 1024 * 1024;

/// The body as it was before it was compressed; blocking, tens of milliseconds for the longest.
///
/// # Errors
/// The word used as a label, and what happened.
pub(super) fn inflated(answer: &Answer) -> Result<Cow<'_, [u8]>, (&'static str, String)> {
    match word(&answer.headers, &CONTENT_ENCODING).as_str() {
        "" | "identity" => Ok(Cow::Borrowed(&answer.body)),
        "gzip" | "x-gzip" => gunzip(&answer.body).map(Cow::Owned),
        other => Err((
            "malformed",
            format!(
                "answered with the encoding {other:?}, and only gzip was asked for: what stands before the target changes its answers"
            ),
        )),
    }
}

fn gunzip(body: &Bytes) -> Result<Vec<u8>, (&'static str, String)> {
    let mut inflated = Vec::new();
    // One byte more tells that there is more.
    let read = MultiGzDecoder::new(&body[..]).take(BODY_MAX as u64 + 1).read_to_end(&mut inflated);
    match read {
        Ok(_) if inflated.len() > BODY_MAX => Err((
            "too_large",
            format!(
                "answered with {} bytes of gzip that become more than {BODY_MAX}: let the target show fewer metrics, or split it",
                body.len()
            ),
        )),
        Ok(_) => Ok(inflated),
        Err(error) => Err(("malformed", format!("answered with what is no gzip, though it says so: {error}"))),
    }
}

/// Whether an answer is in the binary format.
pub(super) fn is_binary(headers: &HeaderMap) -> bool {
    word(headers, &CONTENT_TYPE).starts_with(binary::CONTENT_TYPE)
}

/// The value of a header up to the first parameter, in small letters; empty without one.
fn word(headers: &HeaderMap, name: &HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().chars().take(100).collect::<String>().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderValue, StatusCode};
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;

    fn answer(encoding: &'static str, body: Vec<u8>) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        Answer { status: StatusCode::OK, headers, body: body.into() }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_inflated_within_the_bound_and_nothing_else_is_taken_for_it() {
        let of = |encoding, body| inflated(&answer(encoding, body)).map(Cow::into_owned);
        assert_eq!(of("gzip", gzip(b"up 1\n")), Ok(b"up 1\n".to_vec()));
        assert_eq!(
            of(" GZIP ", [gzip(b"a 1\n"), gzip(b"b 2\n")].concat()),
            Ok(b"a 1\nb 2\n".to_vec()),
            "members follow"
        );
        assert_eq!(of("identity", b"up 1\n".to_vec()), Ok(b"up 1\n".to_vec()));
        assert_eq!(of("gzip", gzip(&vec![b'x'; BODY_MAX])).map(|body| body.len()), Ok(BODY_MAX));
        let bomb = gzip(&vec![0; BODY_MAX + 1]);
        assert!(bomb.len() < 200_000);
        let (reason, error) = of("gzip", bomb).unwrap_err();
        assert!(reason == "too_large" && error.contains("more than 16777216"), "{error}");
        assert_eq!(of("gzip", b"up 1\n".to_vec()).unwrap_err().0, "malformed");
        assert_eq!(of("gzip", gzip(&[7; 1_000])[..20].to_vec()).unwrap_err().0, "malformed");
        let (reason, error) = of("br", vec![1]).unwrap_err();
        assert!(reason == "malformed" && error.contains("\"br\""), "{error}");
    }
}
