//! CSV by RFC 4180.

/// A line of CSV by RFC 4180.
pub(super) fn line(fields: impl Iterator<Item = String>) -> String {
    let mut line = fields.collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

/// A field, quoted where it must be.
pub(super) fn quoted(text: impl AsRef<str>) -> String {
    let text = text.as_ref();
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        assert_eq!(quoted("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
        assert_eq!(line(["a", "b"].map(quoted).into_iter()), "a,b\r\n");
    }
}
