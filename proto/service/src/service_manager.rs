//! What the service manager of the host hears (systemd, `Type=notify`; the protocol is in sd_notify(3)): that the program
//! works, in a line how it is, that it stops, and with `WatchdogSec=` that it is alive. Without `NOTIFY_SOCKET` in the
//! environment nobody listens, and nothing is sent.
//!
//! Alive means: the runtime runs this task, and no part holds a thread for longer than half the period
//! ([`parts::stuck`]). A program that waits for others is alive, however long it waits.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::Arc,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{debug, error, warn};

use crate::{admin::Readiness, parts};

/// How often the manager hears how a program is, when that has changed.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// How often a start that takes long is looked at. Less than any sensible `TimeoutStartSec=`: the first report must come
/// before that.
const START_EVERY: Duration = Duration::from_secs(3);
/// How much more time is asked for while a start goes on.
const START_EXTENSION: Duration = Duration::from_secs(30);
/// A start goes on when it read or wrote this many bytes since the last look, or worked for [`START_WORK`]. Looking itself
/// takes far less of both.
const START_BYTES: u64 = 65_536;
const START_WORK: Duration = Duration::from_millis(30);
/// Shorter periods would be missed by a busy host.
const WATCHDOG_MIN: Duration = Duration::from_millis(100);
/// Characters of a status line.
const STATUS_MAX: usize = 300;

/// The way to the manager; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServiceManager(Option<Arc<Way>>);

#[derive(Debug)]
struct Way {
    socket: UnixDatagram,
    to: SocketAddr,
    /// Within this time it wants to hear that we are alive.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As the environment says.
    pub(crate) fn of_process() -> Self {
        let Some(address) = env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        // Variables are inherited: those of another process are not for us.
        let ours = env::var("WATCHDOG_PID").map_or(true, |of| of == std::process::id().to_string());
        let watchdog = env::var("WATCHDOG_USEC").ok().filter(|_| ours);
        match Self::at(&address, watchdog.as_deref()) {
            Ok(manager) => manager,
            Err(error) => {
                warn!(%error, socket = %address.display(), "the service manager will hear nothing");
                Self::default()
            }
        }
    }

    /// `address` is a path, or a name in the abstract namespace behind a '@'; `watchdog` is in microseconds.
    fn at(address: &OsStr, watchdog: Option<&str>) -> io::Result<Self> {
        let to = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            _ => return Err(io::Error::other("NOTIFY_SOCKET is neither a path nor a name with '@'")),
        };
        let watchdog = match watchdog.map(str::parse) {
            None | Some(Ok(0)) => None,
            Some(Ok(micros)) => Some(Duration::from_micros(micros).max(WATCHDOG_MIN)),
            Some(Err(_)) => return Err(io::Error::other("WATCHDOG_USEC is no number of microseconds")),
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not hold us up.
        socket.set_nonblocking(true)?;
        Ok(Self(Some(Arc::new(Way { socket, to, watchdog }))))
    }

    /// Asks for more time as long as the start goes on; until the handle is dropped.
    pub(crate) fn starting(&self) -> Option<AbortOnDropHandle<()>> {
        let way = self.0.clone()?;
        Some(AbortOnDropHandle::new(tokio::spawn(async move { way.start().await })))
    }

    /// Says that the program works now, and from then on how it is; until the handle is dropped.
    pub(crate) fn working(
        &self,
        ready: watch::Receiver<Readiness>,
        shutdown: CancellationToken,
    ) -> Option<AbortOnDropHandle<()>> {
        let way = self.0.clone()?;
        Some(AbortOnDropHandle::new(tokio::spawn(async move { way.work(ready, shutdown).await })))
    }
}

impl Way {
    fn say(&self, message: &str) {
        if let Err(error) = self.socket.send_to_addr(message.as_bytes(), &self.to) {
            debug!(%error, message, "the service manager did not hear");
        }
    }

    fn say_status(&self, before: &str, status: &str) {
        // A line of the protocol ends at a line feed.
        let line: String = status.chars().map(|c| if c.is_control() { ' ' } else { c }).take(STATUS_MAX).collect();
        self.say(&format!("{before}STATUS={line}"));
    }

    async fn start(&self) {
        let (since, before) = (Instant::now(), Effort::so_far());
        let mut last = before;
        loop {
            sleep(START_EVERY).await;
            let now = Effort::so_far();
            if now.goes_on_since(last) {
                let extension = format!("EXTEND_TIMEOUT_USEC={}\n", START_EXTENSION.as_micros());
                let megabytes = now.bytes.saturating_sub(before.bytes) / 1_000_000;
                let text = format!("starting for {} s, {megabytes} MB read and written", since.elapsed().as_secs());
                self.say_status(&extension, &text);
                last = now;
            }
        }
    }

    async fn work(&self, mut ready: watch::Receiver<Readiness>, shutdown: CancellationToken) {
        let mut said = ready.borrow_and_update().to_string();
        self.say_status("READY=1\n", &said);
        let half = self.watchdog.map(|period| period / 2);
        let mut looks = interval(STATUS_EVERY);
        let mut pings = interval(half.unwrap_or(Duration::MAX / 2));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    self.say_status("STOPPING=1\n", "stopping");
                }
                _ = looks.tick() => {
                    let now = ready.borrow_and_update().to_string();
                    if now != said {
                        self.say_status("", &now);
                        said = now;
                    }
                }
                _ = pings.tick(), if half.is_some() => self.ping(half.unwrap_or_default(), &mut said),
            }
        }
    }

    fn ping(&self, limit: Duration, said: &mut String) {
        let stuck = parts::stuck(limit);
        if stuck.is_empty() {
            return self.say("WATCHDOG=1");
        }
        let text = format!("stuck for more than {:.1} s: the {}", limit.as_secs_f64(), stuck.join(", the "));
        error!(parts = ?stuck, ?limit, "a part does not give its thread back; the service manager will start us again");
        self.say_status("", &text);
        *said = text;
    }
}

/// What this process has done so far.
#[derive(Debug, Clone, Copy)]
struct Effort {
    work: Duration,
    bytes: u64,
}

impl Effort {
    fn so_far() -> Self {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let work = Duration::try_from(time).unwrap_or_default();
        // Bytes of all reads and writes, also those that a cache served. Absent where a sandbox hides /proc.
        let counters = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
        let of =
            |line: &str| line.strip_prefix("rchar: ").or_else(|| line.strip_prefix("wchar: "))?.parse::<u64>().ok();
        Self { work, bytes: counters.lines().filter_map(of).sum() }
    }

    fn goes_on_since(self, before: Self) -> bool {
        self.bytes.saturating_sub(before.bytes) >= START_BYTES || self.work.saturating_sub(before.work) >= START_WORK
    }
}

#[cfg(test)]
mod tests;
