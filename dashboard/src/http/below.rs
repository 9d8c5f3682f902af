//! All of it below a prefix, behind a proxy that serves other things too. The proxy may pass the prefix on or take it away: both
//! are understood, as no path of ours begins with it.

use axum::{
    extract::{Request, State},
    http::{Uri, uri::PathAndQuery},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};

use super::assets::Base;

/// Takes the prefix away. The prefix itself, without the slash that paths of a page are found by, leads to the one with it.
pub(super) async fn below(State(base): State<Base>, mut request: Request, next: Next) -> Response {
    match stripped(&base, request.uri()) {
        Stripped::Bare => {
            let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
            Redirect::permanent(&format!("{base}/{query}")).into_response()
        }
        Stripped::To(uri) => {
            *request.uri_mut() = uri;
            next.run(request).await
        }
        Stripped::Other => next.run(request).await,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Stripped {
    /// The prefix and nothing behind it.
    Bare,
    To(Uri),
    /// It does not begin with it: the proxy took it away.
    Other,
}

fn stripped(base: &str, uri: &Uri) -> Stripped {
    match uri.path().strip_prefix(base) {
        Some("") => Stripped::Bare,
        Some(rest) if rest.starts_with('/') => {
            let path = uri.query().map_or_else(|| rest.to_owned(), |query| format!("{rest}?{query}"));
            let mut parts = uri.clone().into_parts();
            parts.path_and_query = PathAndQuery::try_from(path).ok();
            // Of parts of one that was valid.
            Uri::from_parts(parts).map_or(Stripped::Other, Stripped::To)
        }
        _ => Stripped::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_taken_away_once_and_only_whole() {
        let of = |uri: &'static str| stripped("/mon", &Uri::from_static(uri));
        let to = |uri: &'static str| Stripped::To(Uri::from_static(uri));
        assert_eq!(of("/mon/nodes?q=a%23b"), to("/nodes?q=a%23b"));
        assert_eq!(of("/mon/"), to("/"));
        assert_eq!(of("/mon/mon/x"), to("/mon/x"));
        assert_eq!(of("/mon"), Stripped::Bare);
        assert_eq!(of("/mon?x=1"), Stripped::Bare);
        for other in ["/monitor", "/", "/nodes", "/MON/"] {
            assert_eq!(of(other), Stripped::Other, "{other}");
        }
        assert_eq!(
            of("https://dash.example.org/mon/a"),
            to("https://dash.example.org/a"),
            "HTTP/2 names the host here"
        );
    }
}
