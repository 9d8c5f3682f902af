//! Answers another aggregator what is held here of the history.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use prost::Message as _;
use starling_history::{Selection, Subject};
use starling_proto::{group::Group, ids::NodeId, v1};
use tokio::sync::{Semaphore, mpsc};
use tonic::{Request, Status};

use crate::{
    fleet::ClusterFleet,
    select::{Held, Stop, time_of, wire},
};

/// Questions of other aggregators that are answered at once: as many as one of them works on.
const READS_MAX: usize = 8;
/// Messages on their way to one asker: up to a megabyte each.
const OUTBOX: usize = 4;
/// What is read is passed on in pieces of so many bytes, each once it survives the end of this process.
const PASSED_BYTES: usize = 4 << 20;
/// Subjects in one question.
const SUBJECTS_MAX: usize = 4_096;
/// Nodes in one question that the asker has whole.
const EXCEPT_MAX: usize = 16_384;
/// How long an answer takes when the asker does not say.
const LONGEST: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Reads {
    held: Held,
    fleet: Arc<ClusterFleet>,
    running: Arc<Semaphore>,
}

/// Whose history is asked for.
enum Asked {
    Subjects(Vec<Subject>),
    Nodes { group: Group, except: BTreeSet<NodeId> },
}

impl Reads {
    /// Of what is held here.
    pub(super) fn new(held: Held, fleet: Arc<ClusterFleet>) -> Self {
        Self { held, fleet, running: Arc::new(Semaphore::new(READS_MAX)) }
    }

    /// Begins to read on a thread for work that blocks; it ends when nobody takes the answer, or when the time of the asker
    /// is over.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a field that is wrong, `RESOURCE_EXHAUSTED` while as many are answered as may be.
    pub(super) fn begin(
        &self,
        request: Request<v1::ReadHistoryRequest>,
    ) -> Result<mpsc::Receiver<Result<v1::HistoryPart, Status>>, Status> {
        let within = time_of(request.metadata()).unwrap_or(LONGEST);
        let request = request.into_inner();
        let selection = wire::selection(&request).map_err(Status::invalid_argument)?;
        let (asked, step) = (parse(&request)?, request.step_seconds.max(1));
        let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() else {
            return Err(Status::resource_exhausted(format!(
                "{READS_MAX} questions of other aggregators are being answered"
            )));
        };
        let stop = Stop::at(Instant::now() + within);
        let (outbox, answer) = mpsc::channel(OUTBOX);
        let (held, fleet) = (self.held.clone(), self.fleet.clone());
        tokio::task::spawn_blocking(move || {
            read(&held, &fleet, asked, &selection, step, &stop, &outbox);
            drop(permit);
        });
        Ok(answer)
    }
}

fn parse(request: &v1::ReadHistoryRequest) -> Result<Asked, Status> {
    if request.subjects.len() > SUBJECTS_MAX || request.except.len() > EXCEPT_MAX {
        return Err(Status::invalid_argument(format!(
            "subjects: {} and {} left out, at most {SUBJECTS_MAX} and {EXCEPT_MAX} are taken",
            request.subjects.len(),
            request.except.len()
        )));
    }
    if request.subjects.is_empty() {
        let invalid = |error: &dyn std::fmt::Display| Status::invalid_argument(format!("group: {error}"));
        let group = Group::parse(&request.group).map_err(|error| invalid(&error))?;
        let except: Result<_, _> = request.except.iter().map(|name| NodeId::parse(name)).collect();
        let except = except.map_err(|error| Status::invalid_argument(format!("except: {error}")))?;
        return Ok(Asked::Nodes { group, except });
    }
    let subjects: Result<_, _> = request.subjects.iter().map(|text| Subject::parse(text)).collect();
    Ok(Asked::Subjects(subjects.map_err(|error| Status::invalid_argument(format!("subjects: {error}")))?))
}

fn read(
    held: &Held,
    fleet: &ClusterFleet,
    asked: Asked,
    selection: &Selection,
    step: u32,
    stop: &Stop,
    outbox: &mpsc::Sender<Result<v1::HistoryPart, Status>>,
) {
    let (mut read, mut bytes) = (Vec::new(), 0);
    let pass = |read: &mut Vec<v1::HistoryPart>| {
        held.written();
        read.drain(..).all(|message| outbox.blocking_send(Ok(message)).is_ok())
    };
    let subjects = match asked {
        Asked::Subjects(subjects) => subjects,
        Asked::Nodes { group, except } => {
            let known: BTreeSet<NodeId> = fleet.known(&group, selection.from).into_iter().collect();
            let wanted = |node: &NodeId| !except.contains(node) && (group.is_cluster() || known.contains(node));
            held.nodes(selection.from, selection.to).into_iter().filter(wanted).map(Subject::Node).collect()
        }
    };
    for subject in subjects {
        if outbox.is_closed() {
            return;
        }
        if stop.is_due() {
            pass(&mut read);
            // Who asks may be gone.
            let _ = outbox.blocking_send(Ok(v1::HistoryPart { cut: true, ..v1::HistoryPart::default() }));
            return;
        }
        let part = held.read(&subject, selection, step, stop);
        if part.coverage.is_empty() {
            continue;
        }
        let messages = wire::messages(&subject, &part).into_iter();
        read.extend(messages.inspect(|message| bytes += message.encoded_len()));
        if bytes >= PASSED_BYTES {
            bytes = 0;
            if !pass(&mut read) {
                return;
            }
        }
    }
    pass(&mut read);
}
