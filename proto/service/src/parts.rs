//! The parts of a service, each watched: one that ends by itself has failed, and takes the service down.

use std::{any::Any, collections::HashMap, fmt, future::Future, time::Duration};

use anyhow::Context as _;
use tokio::{
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

mod turns;

pub use turns::stuck;

/// Tasks that run as long as the service does. Dropping it aborts all of them.
#[derive(Debug, Default)]
pub struct Parts {
    running: JoinSet<anyhow::Result<()>>,
    parts: HashMap<Id, Part>,
}

#[derive(Debug)]
struct Part {
    name: &'static str,
    stop: CancellationToken,
    abort: AbortHandle,
}

impl Parts {
    /// Runs a part until its token is cancelled. `name` follows "the" in messages.
    pub fn start<F>(&mut self, name: &'static str, part: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let abort = self.running.spawn(turns::seen(name, part(stop.clone())));
        self.parts.insert(abort.id(), Part { name, stop, abort });
    }

    /// Waits until a part ends by itself, and says which and why. Never returns while all run. Cancel safe.
    pub async fn failed(&mut self) -> anyhow::Error {
        let Some(ended) = self.running.join_next_with_id().await else { return std::future::pending().await };
        let (name, result) = self.take(ended);
        match result {
            Ok(()) => anyhow::anyhow!("the {name} ended by itself"),
            Err(error) => error.context(format!("the {name} failed")),
        }
    }

    /// Stops a part and waits for it, at most for `within`; then it is aborted. Nothing happens when it has ended.
    pub async fn stop(&mut self, name: &str, within: Duration) {
        let Some(part) = self.parts.values().find(|part| part.name == name) else { return };
        part.stop.cancel();
        let abort = part.abort.clone();
        if timeout(within, self.ended(abort.id())).await.is_ok() {
            return;
        }
        warn!(part = name, ?within, "ended by force");
        abort.abort();
        self.ended(abort.id()).await;
    }

    /// Waits for one part; others that end meanwhile are logged when they failed.
    async fn ended(&mut self, id: Id) {
        while self.parts.contains_key(&id) {
            let Some(ended) = self.running.join_next_with_id().await else { return };
            let (part, result) = self.take(ended);
            if let Err(failure) = result {
                error!(part, error = %format_args!("{failure:#}"), "failed while stopping");
            }
        }
    }

    fn take(&mut self, ended: Result<(Id, anyhow::Result<()>), JoinError>) -> (&'static str, anyhow::Result<()>) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) if error.is_cancelled() => (error.id(), Ok(())),
            Err(error) => (error.id(), Err(panicked(error))),
        };
        (self.parts.remove(&id).map_or("unnamed part", |part| part.name), result)
    }
}

/// A panic is a bug; its message is the best hint at which.
fn panicked(error: JoinError) -> anyhow::Error {
    let text = error.try_into_panic().map_or_else(|error| error.to_string(), |payload| message(&*payload));
    anyhow::anyhow!("it panicked: {text}")
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}

/// The outcome of a task that is awaited by its handle: a panic becomes an error.
///
/// # Errors
/// What the task returned, or its panic.
pub fn flatten<T>(ended: Result<anyhow::Result<T>, JoinError>) -> anyhow::Result<T> {
    ended.map_err(panicked).context("a bug ended it")?
}

/// An error and its causes in one line: the outermost alone often says no more than "transport error".
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |error| error.source());
    for cause in causes.map(ToString::to_string) {
        // Some errors print their cause as their own text.
        if !text.ends_with(&cause) {
            let _ = fmt::Write::write_fmt(&mut text, format_args!(": {cause}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    /// Far above what anything here takes.
    const LIMIT: Duration = Duration::from_secs(20);

    async fn until_stopped(stop: CancellationToken) -> anyhow::Result<()> {
        stop.cancelled().await;
        Ok(())
    }

    #[tokio::test]
    async fn a_part_that_ends_in_whatever_way_is_named_with_the_reason() {
        let mut parts = Parts::default();
        parts.start("ledger", until_stopped);
        assert!(timeout(Duration::from_millis(50), parts.failed()).await.is_err(), "all run");

        parts.start("admin port", |_| async { Ok(()) });
        assert_eq!(format!("{:#}", parts.failed().await), "the admin port ended by itself");
        parts.start("server", |_| async { Err(anyhow::anyhow!("no descriptors").context("accept")) });
        assert_eq!(format!("{:#}", parts.failed().await), "the server failed: accept: no descriptors");
        parts.start("gossip", |_| async { panic!("version {}", 7) });
        assert_eq!(format!("{:#}", parts.failed().await), "the gossip failed: it panicked: version 7");
        parts.stop("gossip", LIMIT).await;
        parts.stop("ledger", LIMIT).await;
    }

    #[tokio::test]
    async fn nothing_fails_where_nothing_runs() {
        assert!(timeout(Duration::from_millis(50), Parts::default().failed()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_does_not_stop_is_ended_by_force() {
        let dropped = Arc::new(AtomicBool::new(false));
        struct Guard(Arc<AtomicBool>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let mut parts = Parts::default();
        let guard = Guard(Arc::clone(&dropped));
        parts.start("deaf", |_| async move {
            let _guard = guard;
            std::future::pending().await
        });
        parts.start("other", until_stopped);
        parts.stop("deaf", Duration::from_secs(5)).await;
        assert!(dropped.load(Ordering::Relaxed));
        assert!(timeout(LIMIT, parts.failed()).await.is_err(), "the other runs on");
    }

    #[test]
    fn causes_are_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("transport error")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("tcp connect error: {0}")]
        struct Inner(#[source] std::io::Error);
        let text = chain(&Outer(Inner(std::io::Error::other("refused"))));
        assert_eq!(text, "transport error: tcp connect error: refused");
    }
}
