//! Why a query was refused or failed.

use std::fmt;

/// A place in the text of a query. Both count from 1; the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Character of the line.
    pub column: usize,
}

impl Position {
    /// The place of byte `offset` of `text`.
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Self {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        // Bytes that continue a character are not counted.
        let column = 1 + before[start..].iter().filter(|&&b| b & 0xc0 != 0x80).count();
        Self { line, column }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The query is no PromQL, or uses what is not supported here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{position}: parse error: {text}")]
pub struct ParseError {
    /// Where.
    pub position: Position,
    /// What.
    pub text: String,
}

/// What kind of failure it is; the words are those of Prometheus's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The question makes no sense: `bad_data`.
    BadData,
    /// It makes sense and has no answer on this data: `execution`.
    Execution,
    /// It needs more than its limits: `execution`.
    Limit,
    /// Whoever asked is no longer there: `canceled`.
    Cancelled,
}

/// A query that could not be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {text}")]
pub struct EvalError {
    /// What kind.
    pub failure: Failure,
    /// Where in the query.
    pub position: Position,
    /// What and why.
    pub text: String,
}
