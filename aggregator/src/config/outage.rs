//! How an outage of all aggregators is made up for.

use starling_ledger::CatchUp;
use starling_service::settings::{Mistakes, Reader, Row, Settings};

/// How an outage of all aggregators is made up for. No file and no flag sets it; a test makes it short.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutageSettings {
    /// Of the ledger.
    pub catch_up: CatchUp,
}

impl Settings for OutageSettings {
    fn rows(&self, _prefix: &str, _rows: &mut Vec<Row>) {}
    fn read(&mut self, _prefix: &str, _reader: &mut Reader) {}
    fn check_together(&self, _prefix: &str, _mistakes: &mut Mistakes) {}
}
