//! Reads what is dear to read of this host while somebody looks at it, and not otherwise.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use starling_proto::v1;
use starling_service::{clock, log::LogLimiter};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{CollectConfig, DetailLine, Metrics, collect::EachProcess};

/// From the first look, which has no rates, to the one that is shown.
const FIRST: Duration = Duration::from_millis(400);
/// Of one processor this part goes to reading at most: what takes longer is read less often.
const SHARE: f64 = 0.02;
/// The longest time between two readings.
const EVERY_MAX: u32 = 30;
/// Between two lines about the same trouble.
const LINE_EVERY: Duration = Duration::from_secs(600);

/// See the module.
pub(crate) struct Looking {
    collect: CollectConfig,
    wanted: watch::Receiver<Option<Instant>>,
    read: watch::Sender<Option<Arc<v1::NodeDetail>>>,
    metrics: Arc<Metrics>,
    failed_line: LogLimiter,
}

impl Looking {
    /// Of the host that `collect` says, with the line to who is asked for it.
    pub(crate) fn new(collect: CollectConfig, metrics: Arc<Metrics>) -> (Self, DetailLine) {
        let ((wanted, asked), (read, shown)) = (watch::channel(None), watch::channel(None));
        let failed_line = LogLimiter::new(LINE_EVERY);
        (Self { collect, wanted: asked, read, metrics, failed_line }, DetailLine { wanted, read: shown })
    }

    /// Reads while it is wanted, until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let wanted = self.wanted.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                asked = self.wanted.wait_for(|until| is_wanted(*until)) => if asked.is_err() { return },
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.look(&wanted) => {}
            }
            self.read.send_replace(None);
        }
    }

    async fn look(&self, wanted: &watch::Receiver<Option<Instant>>) {
        let Some((mut each, _)) = self.once(EachProcess::new(&self.collect)).await else { return };
        let mut pause = FIRST;
        loop {
            tokio::time::sleep(pause).await;
            if !is_wanted(*wanted.borrow()) {
                return;
            }
            let Some((next, mut detail)) = self.once(each).await else { return };
            each = next;
            detail.every_seconds = every(detail.cost_cpu_seconds);
            pause = Duration::from_secs(detail.every_seconds.into());
            self.read.send_replace(Some(Arc::new(detail)));
        }
    }

    /// One look; `None` when it failed, after a while.
    async fn once(&self, mut each: EachProcess) -> Option<(EachProcess, v1::NodeDetail)> {
        let tick = u32::try_from(clock::unix().as_secs()).unwrap_or(u32::MAX);
        let looked = tokio::task::spawn_blocking(move || each.look(tick).map(|detail| (each, detail))).await;
        match looked {
            Ok(Ok(looked)) => {
                self.metrics.looked(looked.1.cost_cpu_seconds);
                return Some(looked);
            }
            Ok(Err(error)) => {
                if let Some(left_out) = self.failed_line.allow() {
                    warn!(%error, left_out, "the processes of this host cannot be shown one by one");
                }
            }
            // A bug; the next look begins with nothing.
            Err(error) => error!(%error, "looking at the processes panicked"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        None
    }
}

fn is_wanted(until: Option<Instant>) -> bool {
    until.is_some_and(|until| until > Instant::now())
}

/// Seconds until the next reading, when one costs so much.
fn every(cost_cpu_seconds: f64) -> u32 {
    ((cost_cpu_seconds / SHARE).ceil() as u32).clamp(1, EVERY_MAX)
}

#[cfg(test)]
mod tests {
    use starling_service::metrics::Registry;

    use super::*;

    #[test]
    fn what_is_dear_is_read_less_often() {
        assert_eq!([0.0, 0.004, 0.021, 0.4, 50.0].map(every), [1, 1, 2, 20, EVERY_MAX]);
    }

    #[tokio::test]
    async fn it_is_read_while_somebody_looks_and_not_otherwise() {
        let (looking, DetailLine { wanted, mut read }) =
            Looking::new(CollectConfig::default(), Arc::new(Metrics::new(&mut Registry::default())));
        let stop = CancellationToken::new();
        let task = tokio::spawn(looking.run(stop.clone()));
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(read.borrow().is_none(), "nobody asked");
        wanted.send_replace(Some(Instant::now() + Duration::from_millis(1_200)));
        let within = Duration::from_secs(10);
        let shown =
            tokio::time::timeout(within, read.wait_for(Option::is_some)).await.unwrap().unwrap().clone().unwrap();
        assert!(shown.processes.iter().any(|one| one.cpu_cores.is_some()), "{shown:?}");
        tokio::time::timeout(within, read.wait_for(Option::is_none)).await.unwrap().unwrap();
        // And again.
        wanted.send_replace(Some(Instant::now() + Duration::from_secs(60)));
        tokio::time::timeout(within, read.wait_for(Option::is_some)).await.unwrap().unwrap();
        stop.cancel();
        tokio::time::timeout(within, task).await.unwrap().unwrap();
    }
}
