//! The page, embedded in the binary.
//!
//! It is built by npm into `dashboard/ui/dist` and taken from there when the server is built; a build without it works
//! and serves [`MISSING`]. (A debug build reads the folder at run time, so that a new page needs no new server.)

use std::{borrow::Cow, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::{error::ApiError, rest::wants_page};

#[derive(RustEmbed)]
#[folder = "ui/dist"]
#[allow_missing = true]
struct Page;

/// Files under this folder have a hash in their names: what has one name never changes its content.
const HASHED: &str = "assets/";
const INDEX: &str = "index.html";

/// What is served without the page. It works without styles, which the policy of the page keeps out.
const MISSING: &str = include_str!("missing.html");

/// What browsers and crawlers ask of every server, whether or not a page was built: name, type and content.
const ASKED_ANYWHERE: [(&str, &str, &[u8]); 2] = [
    ("favicon.ico", "image/x-icon", include_bytes!("favicon.ico")),
    ("robots.txt", "text/plain; charset=utf-8", include_bytes!("robots.txt")),
];
/// How long they may be kept, as they have no hash in their names: a day.
const KEPT_FOR_A_DAY: &str = "public, max-age=86400";
/// The same for what changes with the version.
pub(super) const KEPT_FOR_AN_HOUR: &str = "public, max-age=3600";

/// What all paths stand below: "" or "/prefix".
pub(crate) type Base = Arc<str>;

/// A file of the page; the page itself for every path of its own (`/nodes/...`); errors as JSON for the endpoints.
pub(crate) async fn serve(State(base): State<Base>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || path == "ws" || path.starts_with("api/") || path.starts_with("ws/") {
        let hint = if path.ends_with('/') { "without the slash at its end it may be; " } else { "" };
        return ApiError::not_found(format!("{} is not a path of this server; {hint}see /api/v1", uri.path()))
            .into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return ApiError::method().into_response();
    }
    if let Some((_, form, content)) = ASKED_ANYWHERE.iter().find(|(name, _, _)| *name == path) {
        let headers = [(header::CONTENT_TYPE, *form), (header::CACHE_CONTROL, KEPT_FOR_A_DAY)];
        return (headers, Bytes::from_static(content)).into_response();
    }
    if let Some(file) = Page::get(if path.is_empty() { INDEX } else { path }) {
        return answer(path, file, &base, &headers);
    }
    if !wants_page(&headers) || path.starts_with(HASHED) {
        return ApiError::not_found(format!("{} is not a file of the page", uri.path())).into_response();
    }
    match Page::get(INDEX) {
        Some(index) => answer(INDEX, index, &base, &headers),
        None => (
            StatusCode::OK,
            [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")],
            MISSING.replace("href=\"/", &format!("href=\"{base}/")),
        )
            .into_response(),
    }
}

fn answer(path: &str, file: EmbeddedFile, base: &str, asked: &HeaderMap) -> Response {
    let path = if path.is_empty() { INDEX } else { path };
    let is_index = path == INDEX;
    let caching = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let tag = tag(&file.metadata.sha256_hash(), if is_index { base } else { "" });
    let known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let (status, body) = match known {
        true => (StatusCode::NOT_MODIFIED, Body::empty()),
        // What a release embeds is served from where it lies in the binary.
        // The index names its parts by where they lie, which is another place for each path of the page.
        false if is_index => {
            let text = String::from_utf8_lossy(&file.data).replace("=\"./", &format!("=\"{base}/"));
            (StatusCode::OK, Body::from(text))
        }
        false => (
            StatusCode::OK,
            Body::from(match file.data {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => bytes.into(),
            }),
        ),
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.extend(HeaderValue::try_from(tag).map(|tag| (header::ETAG, tag)));
    response
}

/// Half of the hash is enough to distinguish two builds. Weak: the same file may be sent compressed.
fn tag(hash: &[u8; 32], base: &str) -> String {
    format!("W/\"{}{base}\"", starling_proto::hex::encode(&hash[..8]))
}

/// Types of the files a build makes. With `nosniff` a wrong one keeps the page from starting.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> EmbeddedFile {
        let metadata = rust_embed::Metadata::__rust_embed_new([7; 32], None, None);
        EmbeddedFile { data: Cow::Borrowed(b"x"), metadata }
    }

    fn header_of(response: &Response, name: header::HeaderName) -> &str {
        response.headers()[name].to_str().unwrap()
    }

    #[test]
    fn hashed_files_stay_and_the_index_is_asked_for_again() {
        let of = |path: &str| answer(path, file(), "", &HeaderMap::new());
        assert!(header_of(&of("assets/index-abc.js"), header::CACHE_CONTROL).contains("immutable"));
        assert_eq!(header_of(&of("assets/index-abc.js"), header::CONTENT_TYPE), "text/javascript; charset=utf-8");
        assert_eq!(header_of(&of(""), header::CACHE_CONTROL), "no-cache");
        assert_eq!(header_of(&of(""), header::CONTENT_TYPE), "text/html; charset=utf-8");
    }

    #[tokio::test]
    async fn the_index_names_its_parts_below_the_prefix() {
        let html = b"<script src=\"./assets/index.js\"></script><link href=\"./assets/index.css\">";
        let index = EmbeddedFile { data: Cow::Borrowed(html), ..file() };
        let body = axum::body::to_bytes(answer("", index, "/mon", &HeaderMap::new()).into_body(), 1_024).await.unwrap();
        assert_eq!(body, "<script src=\"/mon/assets/index.js\"></script><link href=\"/mon/assets/index.css\">");
    }

    #[test]
    fn a_known_file_is_not_sent_again() {
        let first = answer("", file(), "", &HeaderMap::new());
        let asked = HeaderMap::from_iter([(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone())]);
        assert_eq!(answer("", file(), "", &asked).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(
            answer("", file(), "/mon", &asked).status(),
            StatusCode::OK,
            "below another prefix it is another one"
        );
    }
}
