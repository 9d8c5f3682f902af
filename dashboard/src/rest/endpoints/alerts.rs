//! `/ws/alerts`: what is open, and the verdict that is made of it.

use serde_json::{Value, json};

use super::{Facts, system::Verdict, to_json};
use crate::rest::alerts::{performance, standing};

pub(super) fn answer(facts: &Facts<'_>) -> Value {
    let of = &facts.reading.alerts;
    let mut answer = standing(of);
    answer.insert("timestamp".to_owned(), json!(facts.timestamp()));
    answer.insert("verdict".to_owned(), to_json(Verdict::of(&facts.reading.verdict)));
    answer.insert("alerts".to_owned(), of.open().map(|alert| performance(alert)).collect());
    answer.insert("completeness".to_owned(), to_json(facts.completeness()));
    Value::Object(answer)
}
