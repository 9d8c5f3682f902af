//! Waiting on a condition.

use std::{fmt::Debug, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// Longest wait for anything in a test. Long, because machines are slow; a passing test never waits that long.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until `look` gives a value; its errors say what was seen instead.
///
/// # Panics
/// After [`LIMIT`], with `what` and what was seen last. Also when one look does not end in that time.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + LIMIT;
    let mut last = String::from("nothing");
    loop {
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(seen)) if Instant::now() < deadline => last = seen,
            Ok(Err(seen)) => panic!("waited {LIMIT:?} until {what}; last seen: {seen}"),
            Err(_) => panic!("waited {LIMIT:?} until {what}; the last look did not end, before it: {last}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until `wanted` holds for the newest value, and gives it.
///
/// # Panics
/// After [`LIMIT`], or when the sender is gone, with `what` and what was seen last.
pub async fn until<T: Clone + Debug>(
    watched: &mut watch::Receiver<T>,
    what: &str,
    wanted: impl FnMut(&T) -> bool,
) -> T {
    let waited = timeout(LIMIT, watched.wait_for(wanted)).await.map(|result| result.map(|value| value.clone()));
    match waited {
        Ok(Ok(value)) => value,
        Ok(Err(_)) => panic!("the sender ended before {what}; last seen: {:?}", *watched.borrow()),
        Err(_) => panic!("waited {LIMIT:?} for {what}; last seen: {:?}", *watched.borrow()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_comes_is_waited_for() {
        let mut looks = 0;
        let found = eventually("the third look", async || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(format!("look {looks}")) }
        });
        assert_eq!(found.await, 3);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "until it rains; last seen: sun")]
    async fn a_condition_that_never_comes_says_what_was_seen() {
        eventually("it rains", async || Err::<(), _>("sun".to_owned())).await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "the last look did not end, before it: sun")]
    async fn a_look_that_hangs_is_said() {
        let mut looks = 0;
        eventually("it rains", async || {
            looks += 1;
            if looks > 1 {
                std::future::pending::<()>().await;
            }
            Err::<(), _>("sun".to_owned())
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "for a seven; last seen: 3")]
    async fn a_value_that_never_comes_says_what_was_seen() {
        let sender = watch::Sender::new(3);
        until(&mut sender.subscribe(), "a seven", |value| *value == 7).await;
    }
}
