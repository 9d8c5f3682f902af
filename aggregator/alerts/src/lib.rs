//! Alert rules, what they say of each second, and the episodes that come of it. Pure: no clock, no runtime, no disk.
//!
//! Reading order:
//!
//! - [`Subject`]: whom a rule judges; [`facts`]: what is known of a node or of the cluster beside its metrics;
//! - [`expression`]: what a rule computes, over [`Values`] of a second and a window of those before;
//! - [`rule`]: the rules, read from TOML with every mistake named; [`defaults`]: those that are on from the start;
//! - [`query`]: rules that are queries in PromQL;
//! - [`judge`]: the state of one rule for one subject, from second to second;
//! - [`Episode`]: one incident from the first bad second to its end, and which of two readings of it is the newer;
//! - [`Board`]: all rules over all subjects, a second at a time: out come the episodes that changed;
//! - [`words`]: episodes in sentences;
//! - [`family`]: who stands under whom; [`verdict`]: the worst in one sentence;
//! - [`Book`]: the episodes, acknowledgements and silences of the cluster, the same everywhere after an exchange;
//! - [`Evaluation`]: which subjects one aggregator of several judges, with what it goes on, and what is written down;
//! - [`Exchange`]: what one aggregator gives another; [`News`]: what notifiers are to hear of the book, and when;
//! - [`trial`]: tests of rules from a file;
//! - [`backtest`]: what a rule would have said of history;
//! - [`clocks`]: whose clock is wrong; [`lateness`]: how many evaluations were missed; [`blind`]: who lost all its nodes at once;
//! - [`shown`]: an episode with all that people want to know of it.
//!
//! Time is event time: the second (Unix time) whose values are judged, never the clock of who judges.

pub mod backtest;
pub mod blind;
mod board;
mod book;
pub mod clocks;
pub mod control;
pub mod defaults;
mod episode;
mod evaluation;
mod exchange;
pub mod expression;
pub mod facts;
pub mod family;
pub mod judge;
pub mod lateness;
mod matcher;
mod news;
pub mod query;
pub mod rule;
pub mod shown;
mod subject;
pub mod trial;
pub mod verdict;
mod window;
mod wire;
pub mod words;

pub use board::{Board, Second, Whole};
pub use book::{Book, Put, Record, TROUBLE_ID, Taken};
pub use control::{ControlError, Label};
pub use episode::{Episode, EpisodeId, Outcome, State};
pub use evaluation::{Answer, Evaluation, Now, ReadGroup, Sources, Stream, Written, records};
pub use exchange::{Exchange, Offer};
pub use expression::Values;
pub use matcher::Matcher;
pub use news::{News, Told};
// As `for` and `hold` are written.
pub use rule::{Mistake, Rule, Rules, Severity};
pub use starling_promql::parse_duration;
pub use subject::{Scope, Subject};
pub use wire::{WireError, scope_word, severity_word};
