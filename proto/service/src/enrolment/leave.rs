//! Being a member no more: `starling-node leave` and its like.

use std::{path::PathBuf, time::Duration};

use starling_proto::v1;
use tokio::time::{Instant, sleep, timeout};

use super::{
    folder::{Folder, Joined, leave_request, program},
    join::Reason,
};
use crate::{
    channel::Dial,
    credentials::{Stranger, TlsSettings},
    grpc::enrolment_client::EnrolmentClient,
    identity::{Identity, Role},
};

/// All attempts together: one that was stopped a moment ago counts as connected for 5 s, and who signs may be away for a moment.
const WITHIN: Duration = Duration::from_secs(14);
const DIAL: Dial = Dial::within(Duration::from_secs(2));
/// For one question.
const ASKED_WITHIN: Duration = Duration::from_secs(4);
const ASKED_AGAIN: Duration = Duration::from_secs(2);
/// The membership stays, or there is none.
const FAILED: u8 = 1;
/// It cannot be put aside, as of `join`.
const FOLDER: u8 = 13;

/// Ends the membership in a cluster: the cluster takes this host out, and what it had is put aside.
#[derive(Debug, Clone, clap::Args)]
pub struct LeaveArgs {
    /// Put the membership aside also when the cluster cannot be told
    #[arg(long)]
    force: bool,
    /// Where the membership is kept [default: `identity` in the state folder of the program]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl LeaveArgs {
    /// Leaves as `role`; the exit code. `name` names the state folder, such as "node".
    #[must_use]
    pub fn run(self, role: Role, name: &str) -> u8 {
        let say = |error: &dyn std::fmt::Display| eprintln!("starling-{name} leave: {error}");
        let folder = match &self.folder {
            Some(folder) => Folder::at(folder.clone()),
            None => Folder::at(TlsSettings::joined(name).folder.unwrap_or_default()),
        };
        let joined = match folder.joined() {
            Ok(Some(joined)) => joined,
            Ok(None) => {
                say(&format_args!("this host has not joined: there is no membership in {}", folder.path().display()));
                return FAILED;
            }
            Err(error) => {
                say(&error);
                return FOLDER;
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let told =
            runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(tell(&folder, &joined)));
        if let Err(why) = &told {
            if !self.force {
                let next = format!("`{} leave --force` puts it aside all the same", program(role));
                say(&format_args!("the cluster was not told, so this stays a member: {why}; {next}"));
                return FAILED;
            }
            let next = "starling node remove";
            say(&format_args!("the cluster was not told: {why}; it still knows {}: `{next}` there", joined.identity));
        }
        match folder.put_aside() {
            Ok(aside) => {
                let aside = aside.unwrap_or_default();
                println!("left as {}; what there was is in {}", joined.identity, aside.display());
                0
            }
            Err(error) => {
                say(&error);
                FOLDER
            }
        }
    }
}

/// Tells the cluster; it is told when it does not know the key any more.
async fn tell(folder: &Folder, joined: &Joined) -> Result<(), String> {
    let key = folder.open_key().map_err(|error| error.to_string())?;
    let identity = Identity::parse(&joined.identity).map_err(|error| error.to_string())?;
    let (_, stranger) = folder.believed(joined)?;
    let request = v1::LeaveRequest { request: leave_request(&key, &identity)? };
    let until = Instant::now() + WITHIN;
    loop {
        let mut last = "no aggregator is known".to_owned();
        for (address, left) in joined.aggregators.iter().zip((1..=joined.aggregators.len()).rev()) {
            let share = until.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
            let asked = timeout(share.min(ASKED_WITHIN), ask(&stranger, address, request.clone())).await;
            match asked.unwrap_or_else(|_| Err((None, format!("{address} does not answer")))) {
                Ok(()) | Err((Some(Reason::Removed | Reason::Unknown), _)) => return Ok(()),
                Err((Some(Reason::Alive) | None, why)) => last = why,
                Err((Some(_), why)) => return Err(why),
            }
        }
        if Instant::now() + ASKED_AGAIN > until {
            return Err(last);
        }
        sleep(ASKED_AGAIN).await;
    }
}

async fn ask(stranger: &Stranger, address: &str, request: v1::LeaveRequest) -> Result<(), (Option<Reason>, String)> {
    let channel = DIAL.connect_as(stranger, address).await.map_err(|error| (None, format!("{address}: {error}")))?;
    let answer = EnrolmentClient::new(channel).leave(request).await;
    answer.map(drop).map_err(|status| (Reason::of(&status), format!("{address}: {}", status.message())))
}
