//! Pages for people that the server writes itself: reports to print, the list of endpoints. Without scripts and without
//! anything of another place, so that a saved one looks the same.

use std::{fmt::Write as _, sync::LazyLock};

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

/// The style of every page, within it.
const STYLE: &str = include_str!("paper.css");

/// Lets in this one style and nothing else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// A text within HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A name that others chose, which may read from right to left, apart from the text around it.
pub(super) fn apart(text: &str) -> String {
    format!("<bdi>{}</bdi>", escaped(text))
}

/// A table. The first cell of each row names it. Cells are HTML; `numbers` says which columns stand to the right.
pub(super) fn table(head: &[&str], numbers: &[bool], rows: impl Iterator<Item = Vec<String>>) -> String {
    let right = |place: usize| if numbers.get(place) == Some(&true) { " class=\"n\"" } else { "" };
    let mut out = "<div class=\"wide\"><table><thead><tr>".to_owned();
    for (place, title) in head.iter().enumerate() {
        let _ = write!(out, "<th scope=\"col\"{}>{}</th>", right(place), escaped(title));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (place, cell) in row.iter().enumerate() {
            let (tag, scope) = if place == 0 { ("th", " scope=\"row\"") } else { ("td", "") };
            let _ = write!(out, "<{tag}{scope}{}>{cell}</{tag}>", right(place));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// The page. `title` is text, `body` HTML.
pub(super) fn page(title: &str, body: &str) -> Response {
    let title = escaped(title);
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
    );
    let policy = HeaderValue::from_str(&POLICY).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_wherever_they_stand() {
        assert_eq!(escaped("<b a='\"'>&"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
        let table = table(&["A", "B"], &[false, true], [vec![apart("<x>"), "1".to_owned()]].into_iter());
        assert!(table.contains("<th scope=\"row\"><bdi>&lt;x&gt;</bdi></th><td class=\"n\">1</td>"), "{table}");
    }

    #[test]
    fn the_policy_lets_in_the_style_and_no_script() {
        let response = page("a", "");
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        // What a browser hashes is what stands between the tags.
        assert!(!STYLE.contains("</") && !STYLE.contains("url("), "the style is one element and asks for nothing");
    }
}
