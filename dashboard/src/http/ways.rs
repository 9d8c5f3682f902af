//! The ways in and out, and where one goes on to. Pure.

pub(super) const LOGIN: &str = "/login";
pub(super) const LOGOUT: &str = "/logout";
pub(super) const STYLE: &str = "/login.css";
pub(super) const SCRIPT: &str = "/login.js";

/// Longest address to go on to.
const NEXT_LEN_MAX: usize = 4_096;

/// Where to sign in, to go on to `next` afterwards.
pub(super) fn login_address(base: &str, next: &str) -> String {
    match next {
        "" | "/" => format!("{base}{LOGIN}"),
        _ => {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
            format!("{base}{LOGIN}?{query}")
        }
    }
}

/// Where to go on to: a path of ours, never of another host, whatever the address said. `wanted` is below the base.
pub(super) fn onward(base: &str, wanted: &str) -> String {
    let path = wanted.split(['?', '#']).next().unwrap_or_default();
    // "//host" and "/\host" are of other hosts; browsers drop line ends and tabs before they look.
    let ours = wanted.len() <= NEXT_LEN_MAX
        && path.starts_with('/')
        && !path.starts_with("//")
        && !wanted.chars().any(|c| c.is_control() || c == '\\')
        && !matches!(path, LOGIN | LOGOUT);
    format!("{base}{}", if ours { wanted } else { "/" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_on_to_a_page_of_ours_only() {
        for (wanted, to) in [
            ("/nodes?q=zone%3Ab&from=-1h", "/mon/nodes?q=zone%3Ab&from=-1h"),
            ("/nodes?next=//evil", "/mon/nodes?next=//evil"),
            ("", "/mon/"),
            ("//evil.example", "/mon/"),
            ("/\\evil.example", "/mon/"),
            ("/\t/evil.example", "/mon/"),
            ("https://evil.example", "/mon/"),
            ("javascript:alert(1)", "/mon/"),
            ("/login?next=/login", "/mon/"),
            ("/logout", "/mon/"),
        ] {
            assert_eq!(onward("/mon", wanted), to, "{wanted}");
        }
        assert_eq!(onward("", "/@evil.example"), "/@evil.example", "a path of this host");
    }

    #[test]
    fn an_address_comes_back_byte_for_byte() {
        for here in
            ["/nodes?q=a%23b", "/nodes?q=c%2B%2B&x=50%25", "/explore?q=up%7Bjob%3D~%22.%2B%22%7D", "/nodes/%C3%A4%2F"]
        {
            let address = login_address("", here);
            let query = address.split_once('?').unwrap().1;
            let read: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            assert_eq!(onward("", &read[0].1), here);
        }
        assert_eq!(login_address("/mon", "/"), "/mon/login");
    }
}
