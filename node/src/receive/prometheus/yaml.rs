//! The YAML that files of targets are written in: lists and tables by indentation or in brackets, and plain texts. Anchors,
//! tags, texts over several lines and several documents are refused. What is read has the form of JSON.

use serde_json::{Map, Value};

/// Tables and lists within each other: a file of targets has three.
const DEPTH_MAX: usize = 8;

/// A line that says something.
#[derive(Debug)]
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

/// Reads `text`.
///
/// # Errors
/// The line, and what is wrong with it.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let content = without_comment(line).trim_end();
        let text = content.trim_start_matches(' ');
        if text.is_empty() || (text == "---" && lines.is_empty()) {
            continue;
        }
        if text.starts_with('\t') {
            return Err(format!("line {number}: a tab is no indentation"));
        }
        lines.push(Line { number, indent: content.len() - text.len(), text });
    }
    let Some(first) = lines.first() else { return Ok(Value::Array(Vec::new())) };
    let (value, used) = block(&lines, first.indent, 0)?;
    match lines.get(used) {
        None => Ok(value),
        Some(line) => Err(format!("line {}: its indentation fits nothing before it", line.number)),
    }
}

/// The line up to a `#` that begins it or follows a blank, outside quotes.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, character) in line.char_indices() {
        match (quote, character) {
            (None, '#') if before == ' ' || before == '\t' => return &line[..at],
            (None, '"' | '\'') if !before.is_alphanumeric() => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
        before = character;
    }
    line
}

/// A list or table whose lines have this indentation, and how many lines it takes.
fn block(lines: &[Line<'_>], indent: usize, depth: usize) -> Result<(Value, usize), String> {
    let Some(first) = lines.first() else { return Ok((Value::Null, 0)) };
    if depth >= DEPTH_MAX {
        return Err(format!("line {}: too many lists and tables within each other", first.number));
    }
    if first.text == "-" || first.text.starts_with("- ") {
        list(lines, indent, depth)
    } else {
        table(lines, indent, depth)
    }
}

fn list(lines: &[Line<'_>], indent: usize, depth: usize) -> Result<(Value, usize), String> {
    let (mut entries, mut at) = (Vec::new(), 0);
    while let Some(line) = lines.get(at).filter(|line| line.indent == indent) {
        let Some(rest) = line.text.strip_prefix('-').filter(|rest| rest.is_empty() || rest.starts_with(' ')) else {
            break;
        };
        let text = rest.trim_start_matches(' ');
        if text.is_empty() {
            let (value, used) = nested(&lines[at + 1..], indent, depth)?;
            entries.push(value);
            at += 1 + used;
        } else if key_of(text).is_some() {
            // A table that begins on the line of its entry: as deep as its first key stands.
            let inner = indent + line.text.len() - text.len();
            let mut own = vec![Line { number: line.number, indent: inner, text }];
            let more = lines[at + 1..].iter().take_while(|line| line.indent > indent);
            own.extend(more.map(|line| Line { number: line.number, indent: line.indent, text: line.text }));
            let (value, used) = table(&own, inner, depth + 1)?;
            if used < own.len() {
                return Err(format!("line {}: its indentation fits nothing before it", own[used].number));
            }
            entries.push(value);
            at += used;
        } else {
            entries.push(flow(text, line.number)?);
            at += 1;
        }
    }
    Ok((Value::Array(entries), at))
}

fn table(lines: &[Line<'_>], indent: usize, depth: usize) -> Result<(Value, usize), String> {
    let (mut table, mut at) = (Map::new(), 0);
    while let Some(line) = lines.get(at).filter(|line| line.indent == indent) {
        let Some((key, rest)) = key_of(line.text) else {
            return Err(format!(
                "line {}: {:?} is no KEY: VALUE",
                line.number,
                line.text.chars().take(60).collect::<String>()
            ));
        };
        let key = flow(key, line.number)?;
        let key = key.as_str().ok_or_else(|| format!("line {}: a key that is no text", line.number))?.to_owned();
        at += 1;
        let value = if rest.is_empty() {
            // A list may stand as deep as its key.
            let is_list = lines.get(at).is_some_and(|next| next.indent == indent && next.text.starts_with('-'));
            let (value, used) =
                if is_list { list(&lines[at..], indent, depth + 1)? } else { nested(&lines[at..], indent, depth)? };
            at += used;
            value
        } else {
            flow(rest, line.number)?
        };
        if table.insert(key, value).is_some() {
            return Err(format!("line {}: a key that stands twice", line.number));
        }
    }
    Ok((Value::Object(table), at))
}

/// What stands deeper than `indent`; nothing when nothing does.
fn nested(lines: &[Line<'_>], indent: usize, depth: usize) -> Result<(Value, usize), String> {
    match lines.first() {
        Some(first) if first.indent > indent => block(lines, first.indent, depth + 1),
        _ => Ok((Value::Null, 0)),
    }
}

/// A key and what stands after its colon.
fn key_of(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['[', '{']) {
        return None;
    }
    let end = match text.chars().next()? {
        quote @ ('"' | '\'') => text[1..].find(quote)? + 2,
        _ => text.find(": ").or_else(|| text.strip_suffix(':').map(str::len))?,
    };
    let rest = text[end..].strip_prefix(':')?;
    (rest.is_empty() || rest.starts_with(' ')).then(|| (&text[..end], rest.trim()))
}

/// A value on one line.
fn flow(text: &str, number: usize) -> Result<Value, String> {
    let (value, rest) = value(text, 0).map_err(|what| format!("line {number}: {what}"))?;
    if rest.trim().is_empty() { Ok(value) } else { Err(format!("line {number}: {:?} after a value", rest.trim())) }
}

/// A value at the beginning of `text`, and what stands after it. `depth`: brackets around it.
fn value(text: &str, depth: usize) -> Result<(Value, &str), &'static str> {
    if depth >= DEPTH_MAX {
        return Err("too many lists and tables within each other");
    }
    let text = text.trim_start();
    match text.chars().next() {
        Some(open @ ('[' | '{')) => {
            let close = if open == '[' { ']' } else { '}' };
            let (mut entries, mut pairs, mut rest) = (Vec::new(), Map::new(), text[1..].trim_start());
            loop {
                if let Some(rest) = rest.strip_prefix(close) {
                    let value = if open == '[' { Value::Array(entries) } else { Value::Object(pairs) };
                    return Ok((value, rest));
                }
                let (first, after) = value(rest, depth + 1)?;
                let mut after = after.trim_start();
                if open == '{' {
                    let (second, further) = value(after.strip_prefix(':').ok_or("no colon after a key")?, depth + 1)?;
                    pairs.insert(first.as_str().ok_or("a key that is no text")?.to_owned(), second);
                    after = further.trim_start();
                } else {
                    entries.push(first);
                }
                rest = match after.strip_prefix(',') {
                    Some(next) => next.trim_start(),
                    None if after.starts_with(close) => after,
                    None => return Err("brackets that are not closed on their line"),
                };
            }
        }
        Some('\'') => {
            let end = text[1..].find('\'').ok_or("a quote that is not closed")?;
            Ok((Value::String(text[1..=end].to_owned()), &text[end + 2..]))
        }
        Some('"') => {
            // Texts in double quotes are those of JSON.
            let mut texts = serde_json::Deserializer::from_str(text).into_iter::<String>();
            let read = texts.next().and_then(Result::ok).ok_or("a quote that is not closed")?;
            Ok((Value::String(read), &text[texts.byte_offset()..]))
        }
        Some('&' | '*' | '!' | '|' | '>' | '%' | '@' | '`') => {
            Err("anchors, tags and texts over several lines are not read")
        }
        _ if depth == 0 => Ok((Value::String(text.trim_end().to_owned()), "")),
        _ => {
            // In brackets a text ends before what brackets are made of; a port's colon is part of it.
            let end = text
                .char_indices()
                .find(|(at, c)| {
                    matches!(c, ',' | ']' | '}') || (*c == ':' && text[at + 1..].starts_with([' ', '"', '\'']))
                })
                .map_or(text.len(), |(at, _)| at);
            Ok((Value::String(text[..end].trim_end().to_owned()), &text[end..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn files_of_targets_are_read_in_every_form() {
        let wanted =
            json!([{"targets": ["a:1", "b:2"], "labels": {"job": "shop", "env": "t # 1"}}, {"targets": ["c:3"]}]);
        for text in [
            "---\n# targets\n- targets:\n    - a:1   # the first\n    - 'b:2'\n  labels:\n    job: shop\n    env: \"t # 1\"\n- targets: [c:3]\n",
            "- targets: ['a:1', \"b:2\"]\n  labels: {job: shop, \"env\": 't # 1'}\n-\n  targets:\n  - c:3\n",
            "-   targets: [ a:1,b:2 ]\n    labels: { job: shop , env: \"t # 1\" }\n-   targets:\n    - \"c:3\"\n",
        ] {
            assert_eq!(read(text), Ok(wanted.clone()), "{text}");
        }
        assert_eq!(read("# nothing\n"), Ok(json!([])));
        assert_eq!(read("- targets:\n  labels: {}\n"), Ok(json!([{"targets": null, "labels": {}}])));
    }

    #[test]
    fn what_is_not_read_names_its_line() {
        for (text, line) in [
            ("- targets: [a:1\n", "line 1"),
            ("- targets:\n\t- a\n", "line 2"),
            ("- targets: &x [a]\n", "line 1"),
            ("- targets: |\n    a\n", "line 1"),
            ("- a: 1\n  b\n", "line 2"),
            ("- a: 1\n   b: 2\n", "line 2"),
            ("- a: 1\n  a: 2\n", "line 2"),
            ("- a: 'x\n", "line 1"),
            ("- a: {b}\n", "line 1"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(line), "{text}: {error}");
        }
        assert!(read(&format!("a: {}", "[".repeat(1_000))).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), near in "[a:\\-\\[\\]{}'\" ,#\n]{0,60}") {
            let _ = (read(&text), read(&near));
        }
    }
}
