//! Waiting on a condition.

use std::time::{Duration, Instant};

/// Longest wait for anything in a test. Long, because machines are slow; a passing test never waits that long.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until `look` gives a value; its errors say what was seen instead.
///
/// # Panics
/// After [`LIMIT`], with `what` and what was seen last.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > LIMIT => panic!("waited {LIMIT:?} until {what}; last seen: {seen}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
