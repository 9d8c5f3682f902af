//! The text of a query cut into words: limits that hold before it is parsed, places for messages, and what is wrong with
//! it when the parser only says that something is.

use crate::{
    duration::parse_duration,
    error::{ParseError, Position},
    limits::{NESTING_MAX, OPERATORS_MAX, STRING_LEN_MAX, TEXT_LEN_MAX},
};

/// What a piece of the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A name, a keyword, or a number or length of time: what begins with a letter, a digit, `_`, `:` or a dot.
    Word,
    /// Text in quotes.
    Quoted,
    /// `(`, `[` or `{`.
    Open,
    /// Their counterparts.
    Close,
    /// `,`
    Comma,
    /// Anything else, up to two characters.
    Sign,
}

/// A piece and the bytes it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) piece: Piece,
    pub(crate) text: &'a str,
    pub(crate) at: usize,
}

/// Words that stand between two operands.
const BETWEEN: [&str; 4] = ["and", "or", "unless", "atan2"];
/// Words that may follow an operator before its right side, with labels in brackets.
const MODIFIERS: [&str; 8] = ["bool", "on", "ignoring", "group_left", "group_right", "fill", "fill_left", "fill_right"];

/// The pieces of `query`, within the limits.
///
/// # Errors
/// With its place: a text, a string or a number of operators beyond its limit, deep nesting, an open string or bracket, a
/// length of time that is none.
pub(crate) fn tokens(query: &str) -> Result<Vec<Token<'_>>, ParseError> {
    let fault = |at: usize, text: String| ParseError { position: Position::of(query, at), text };
    if query.len() > TEXT_LEN_MAX {
        return Err(fault(0, format!("the query has {} bytes, at most {TEXT_LEN_MAX} are taken", query.len())));
    }
    let (mut found, mut open, mut operators) = (Vec::new(), Vec::<Token<'_>>::new(), 0usize);
    let mut at = 0;
    while let Some(c) = query[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        if c == '#' {
            at = query[at..].find('\n').map_or(query.len(), |end| at + end);
            continue;
        }
        let (piece, end) = piece(query, at, c).ok_or_else(|| fault(at, "a string that never ends".into()))?;
        let token = Token { piece, text: &query[at..end], at };
        match piece {
            Piece::Open => {
                open.push(token);
                if open.len() > NESTING_MAX {
                    return Err(fault(at, format!("brackets are nested deeper than {NESTING_MAX}")));
                }
            }
            Piece::Close => {
                let matches =
                    open.pop().is_some_and(|o| matches!((o.text, token.text), ("(", ")") | ("[", "]") | ("{", "}")));
                if !matches {
                    return Err(fault(at, format!("unexpected {:?}", token.text)));
                }
            }
            Piece::Quoted if end - at > STRING_LEN_MAX => {
                return Err(fault(at, format!("a string of {} bytes, at most {STRING_LEN_MAX} are taken", end - at)));
            }
            Piece::Word => {
                let in_range = open.last().is_some_and(|o| o.text == "[");
                // Whatever stands there, `NaN` and `Inf` too: the parser takes numbers, and cannot make a length of these.
                let is_wanted = in_range || found.last().is_some_and(|t: &Token<'_>| follows_offset(t, &found));
                let is_length =
                    token.text.starts_with(|c: char| c.is_ascii_digit() || c == '.') && has_unit(token.text);
                if is_wanted || is_length {
                    parse_duration(token.text).map_err(|text| fault(at, text))?;
                }
                operators += usize::from(BETWEEN.contains(&token.text));
            }
            // Between labels and lengths there are signs that are no operators.
            Piece::Sign => operators += usize::from(open.last().is_none_or(|bracket| bracket.text == "(")),
            _ => {}
        }
        if operators > OPERATORS_MAX {
            return Err(fault(at, format!("more than {OPERATORS_MAX} operators")));
        }
        found.push(token);
        at = end;
    }
    match open.pop() {
        Some(bracket) => Err(fault(bracket.at, format!("{:?} is never closed", bracket.text))),
        None => Ok(found),
    }
}

/// True when the next word is the length after `offset`, with or without a sign.
fn follows_offset(last: &Token<'_>, found: &[Token<'_>]) -> bool {
    last.text == "offset" || (last.piece == Piece::Sign && found.len() > 1 && found[found.len() - 2].text == "offset")
}

/// True for `5m` and not for `0x3d`, `1e3` or `0b1`.
fn has_unit(text: &str) -> bool {
    text.ends_with(['y', 'w', 'd', 'h', 'm', 's']) && !text.starts_with("0x") && !text.starts_with("0X")
}

/// The kind and the end of the piece at `at`, which begins with `first`; `None` for a string that is not closed.
fn piece(query: &str, at: usize, first: char) -> Option<(Piece, usize)> {
    let rest = &query[at..];
    Some(match first {
        '(' | '[' | '{' => (Piece::Open, at + 1),
        ')' | ']' | '}' => (Piece::Close, at + 1),
        ',' => (Piece::Comma, at + 1),
        '"' | '\'' | '`' => (Piece::Quoted, at + quoted(rest, first)?),
        // A colon begins a name, and stands alone in a subquery.
        ':' if !rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':') => {
            (Piece::Sign, at + 1)
        }
        c if c.is_alphanumeric() || matches!(c, '_' | ':') => (Piece::Word, at + word(rest)),
        '.' => (Piece::Word, at + word(rest)),
        _ => {
            let two = ["==", "!=", "<=", ">=", "=~", "!~"].iter().any(|sign| rest.starts_with(sign));
            (Piece::Sign, at + if two { 2 } else { first.len_utf8() })
        }
    })
}

fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote != '`' {
            escaped = true;
        } else if c == quote {
            return Some(at + 1);
        } else if c == '\n' && quote != '`' {
            return None;
        }
    }
    None
}

/// Length of a name or number. The sign of an exponent belongs to it, a colon only to a name.
fn word(rest: &str) -> usize {
    let number = rest.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let hex = rest.starts_with("0x") || rest.starts_with("0X");
    let mut last = ' ';
    rest.char_indices()
        .find(|&(_, c)| {
            let part = c.is_alphanumeric()
                || c == '_'
                || (number && c == '.')
                || (!number && c == ':')
                || (number && !hex && matches!(c, '+' | '-') && matches!(last, 'e' | 'E'));
            last = c;
            !part
        })
        .map_or(rest.len(), |(at, _)| at)
}

/// What is wrong with pieces that the parser refused without a place: the first operand or operator that stands where
/// the other is expected.
pub(crate) fn first_fault(query: &str, tokens: &[Token<'_>]) -> ParseError {
    let fault = |at: usize, text: String| ParseError { position: Position::of(query, at), text };
    if tokens.is_empty() {
        return fault(0, "the query is empty".into());
    }
    let mut expects_operand = true;
    let mut open: Vec<&str> = Vec::new();
    let mut labels = false;
    for (i, token) in tokens.iter().enumerate() {
        let unexpected = || Err::<(), _>(fault(token.at, format!("unexpected {:?}", token.text)));
        let before = i.checked_sub(1).map(|i| tokens[i]);
        let step = match token.piece {
            // Inside `{}` and `[]` there are no operands.
            _ if open.last().is_some_and(|o| *o != "(") && token.piece != Piece::Close => {
                if token.piece == Piece::Open { unexpected() } else { Ok(()) }
            }
            Piece::Open => {
                let after_operand = !expects_operand || before.is_some_and(|t| t.piece == Piece::Word);
                let fits = token.text == "(" || token.text == "{" || after_operand;
                open.push(token.text);
                expects_operand = token.text == "(";
                if fits { Ok(()) } else { unexpected() }
            }
            Piece::Close => {
                let empty = before.is_some_and(|t| t.piece == Piece::Open);
                open.pop();
                let fits = !expects_operand || empty || labels;
                expects_operand = labels && token.text == ")";
                labels = false;
                if fits { Ok(()) } else { unexpected() }
            }
            Piece::Comma => {
                let fits = !expects_operand && !open.is_empty();
                expects_operand = true;
                if fits { Ok(()) } else { unexpected() }
            }
            Piece::Sign => {
                let unary = matches!(token.text, "+" | "-");
                let known = matches!(
                    token.text,
                    "+" | "-" | "*" | "/" | "%" | "^" | "@" | "==" | "!=" | "<" | ">" | "<=" | ">="
                );
                let fits = known && (!expects_operand || unary);
                expects_operand = true;
                if fits { Ok(()) } else { unexpected() }
            }
            Piece::Word if BETWEEN.contains(&token.text) && !expects_operand => {
                expects_operand = true;
                Ok(())
            }
            Piece::Word if MODIFIERS.contains(&token.text) || matches!(token.text, "by" | "without") => {
                labels = tokens.get(i + 1).is_some_and(|next| next.text == "(");
                expects_operand = true;
                Ok(())
            }
            Piece::Word if token.text == "offset" => {
                expects_operand = true;
                Ok(())
            }
            Piece::Word | Piece::Quoted => {
                let fits = expects_operand;
                expects_operand = false;
                if fits { Ok(()) } else { unexpected() }
            }
        };
        if let Err(error) = step {
            return error;
        }
    }
    if expects_operand {
        return fault(query.len(), "unexpected end of the query".into());
    }
    fault(0, "invalid query".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(query: &str) -> String {
        match tokens(query) {
            Err(error) => error.to_string(),
            Ok(tokens) => first_fault(query, &tokens).to_string(),
        }
    }

    #[test]
    fn faults_have_places() {
        assert_eq!(fault("sum(up"), "1:4: parse error: \"(\" is never closed");
        assert_eq!(fault("up)"), "1:3: parse error: unexpected \")\"");
        assert_eq!(fault("1 +"), "1:4: parse error: unexpected end of the query");
        assert_eq!(fault("up down"), "1:4: parse error: unexpected \"down\"");
        assert_eq!(fault("1 +\n * 2"), "2:2: parse error: unexpected \"*\"");
        assert_eq!(fault("up{a=\"b}"), "1:6: parse error: a string that never ends");
        assert_eq!(fault(""), "1:1: parse error: the query is empty");
        assert!(fault("up[0s]").starts_with("1:4:"), "{}", fault("up[0s]"));
        assert!(fault("up[1000000y]").starts_with("1:4:"));
        assert!(fault("up offset 1e300").starts_with("1:11:"));
        for none in ["NaN", "Inf", "-Inf", "up"] {
            assert!(fault(&format!("up offset {none}")).contains("is no length of time"), "{none}");
        }
        assert!(fault("up[1e300]").contains("100 years"));
    }

    #[test]
    fn limits_hold_before_parsing() {
        assert!(tokens(&"(".repeat(100)).is_err());
        assert!(tokens(&format!("1{}", "+1".repeat(600))).is_err());
        assert!(tokens(&"-".repeat(600)).is_err());
        assert!(tokens(&"a".repeat(20_000)).is_err());
        assert!(tokens(&format!("{{a=\"{}\"}}", "x".repeat(5_000))).is_err());
    }

    #[test]
    fn pieces_of_a_query() {
        let pieces = |query| tokens(query).unwrap().iter().map(|t| t.text.to_owned()).collect::<Vec<_>>();
        assert_eq!(pieces("a:b_1{x=~\"y\"}[5m:] # no"), ["a:b_1", "{", "x", "=~", "\"y\"", "}", "[", "5m", ":", "]"]);
        assert_eq!(pieces("1.5e-3+0xff"), ["1.5e-3", "+", "0xff"]);
        assert_eq!(pieces("a offset -5m"), ["a", "offset", "-", "5m"]);
        assert_eq!(pieces("'it\\'s'>=bool 2"), ["'it\\'s'", ">=", "bool", "2"]);
    }
}
