//! What stands in braces in the texts of a rule.

/// What a text may stand for: `{subject}`, `{value}`, `{limit}`, `{worst}`, `{for}`, `{since}`, `{detail}`, and each attribute of `by`.
const NAMES: [&str; 7] = ["subject", "value", "limit", "worst", "for", "since", "detail"];

/// Whether every placeholder of `text` has a meaning; without `by` any name may have one.
pub(super) fn placeholders(text: &str, by: Option<&Vec<String>>) -> Result<(), String> {
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let after = &rest[at + 1..];
        let Some(end) = after.find('}') else { return Err("\"{\" is not closed by \"}\"".to_owned()) };
        let name = &after[..end];
        if let Some(by) = by
            && !NAMES.contains(&name)
            && !by.iter().any(|key| key == name)
        {
            let all = NAMES.iter().copied().chain(by.iter().map(String::as_str)).collect::<Vec<_>>().join(", ");
            let name: String = name.chars().take(32).collect();
            return Err(format!("{{{name}}} stands for nothing; there are {all}"));
        }
        rest = &after[end + 1..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_have_a_meaning() {
        let by = vec!["disk".to_owned()];
        assert_eq!(placeholders("{value} of {disk} above {limit}", Some(&by)), Ok(()));
        assert!(placeholders("{disc}", Some(&by)).unwrap_err().contains("{disc} stands for nothing"));
        assert!(placeholders("a { b", Some(&by)).unwrap_err().contains("not closed"));
        assert_eq!(placeholders("{pod}", None), Ok(()), "a label of an answer");
    }
}
