//! Reads what a question asks for: here, and from the other aggregators what is not here.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::future::join_all;
use starling_history::Subject;
use starling_proto::{group::Group, ids::NodeId, v1};
use tonic::Status;

use super::{
    super::{Holders, forward},
    asked::Whose,
    found::{Found, Readied},
    older::{self, Older},
    question::Question,
    work::Turn,
};
use crate::{
    engine::Engine,
    membership::Member,
    select::{Folding, Held, Mixed, Part, Span, Stop, wire},
};

/// Cells of one question that are held before they are in its steps, with those of other aggregators: about 110 MB.
const OPEN_CELLS_MAX: usize = 1_000_000;
/// Threads that read the nodes of one question: enough for a question of all nodes to be answered while somebody waits, and
/// together no more than a few dozen.
const READERS_MAX: usize = 4;
/// Nodes that are worth a thread.
const SUBJECTS_A_READER: usize = 8;
/// Names of nodes in one part of what is missing.
const MISSING_NAMES_MAX: usize = 32;

/// What is read so far.
struct State {
    question: Arc<Question>,
    /// Newest settled second.
    settled: u32,
    found: Found,
    /// Of which another aggregator may hold more.
    open: BTreeMap<Subject, Mixed>,
    open_cells: usize,
    /// From where on something is missing, of those that stay incomplete.
    incomplete: BTreeMap<NodeId, u32>,
}

impl State {
    /// Adds a reading of `subject`.
    fn add(&mut self, subject: Subject, read: Mixed) -> Result<(), Status> {
        let reading = Reading::of(&subject, read, &self.question, self.settled)?;
        self.put(subject, reading)
    }

    fn put(&mut self, subject: Subject, reading: Reading) -> Result<(), Status> {
        match reading {
            Reading::Whole(readied) => self.found.add_readied(subject, *readied),
            Reading::Open(read) => {
                self.open_cells += cells(&read.part);
                self.open.insert(subject, read);
                self.bounded()
            }
        }
    }

    /// Adds what another aggregator holds of `subject`.
    fn add_theirs(&mut self, subject: Subject, theirs: Part) -> Result<(), Status> {
        if self.found.has(&subject) {
            // It was whole.
            return Ok(());
        }
        let mut read = self.open.remove(&subject).unwrap_or_default();
        self.open_cells -= cells(&read.part);
        read.merge(theirs);
        self.add(subject, read)
    }

    /// Adds what an engine knows of the seconds before the first one that is known here or elsewhere.
    fn add_older(&mut self, subject: Subject, mut older: Part) -> Result<(), Status> {
        if self.found.has(&subject) {
            return Ok(());
        }
        let read = self.open.entry(subject).or_default();
        older.end_before(read.first().unwrap_or(u32::MAX));
        self.open_cells += cells(&older);
        read.part.append(older);
        self.bounded()
    }

    fn bounded(&self) -> Result<(), Status> {
        if self.open_cells > OPEN_CELLS_MAX {
            return Err(Status::resource_exhausted(format!(
                "from_tick: more than {OPEN_CELLS_MAX} cells would be read: ask for fewer nodes or series, or for a shorter range"
            )));
        }
        Ok(())
    }

    /// Nothing more comes: what is open goes into its steps as it is.
    fn close(&mut self) -> Result<(), Status> {
        let Span { from, to, .. } = self.question.span;
        for (subject, read) in std::mem::take(&mut self.open) {
            if let (Some(missing), Some(node)) = (read.first_missing(from, to.min(self.settled)), subject.node()) {
                self.incomplete.insert(node.clone(), missing);
            }
            let folded = self.question.fold(&read)?;
            self.found.add(subject, folded)?;
        }
        Ok(())
    }
}

/// A reading of one subject.
enum Reading {
    /// Nothing is missing: it is in its steps.
    Whole(Box<Readied>),
    Open(Mixed),
}

impl Reading {
    fn of(subject: &Subject, read: Mixed, question: &Question, settled: u32) -> Result<Self, Status> {
        let Span { from, to, .. } = question.span;
        if read.first_missing(from, to.min(settled)).is_some() {
            return Ok(Self::Open(read));
        }
        let readied = Readied::of(subject, question.fold(&read)?, question.keep, &question.span);
        Ok(Self::Whole(Box::new(readied)))
    }
}

fn cells(part: &Part) -> usize {
    part.series.iter().map(|series| series.cells.len()).sum()
}

/// What was found for a question, and what was not.
pub(crate) struct Gathered {
    /// In the steps of the question.
    pub(crate) found: Found,
    /// What could not be had.
    pub(crate) missing: Vec<v1::MissingPart>,
    /// What came from an engine.
    pub(crate) from_engine: Option<v1::FromEngine>,
}

/// Who did not answer, and why.
struct Silent {
    aggregator: String,
    reason: String,
}

/// Finds what `question` asks for, of nodes that are `known` to have reported.
///
/// # Errors
/// The limit that it exceeds.
pub(crate) async fn find(
    (held, engine): (&Held, Option<&Engine>),
    holders: &Holders,
    turn: &Turn,
    question: Question,
    known: &BTreeSet<NodeId>,
) -> Result<Gathered, Status> {
    let question = Arc::new(question);
    let settled = holders.ledger().published().borrow().settled;
    let found = Found::new(question.span, question.keep);
    let state = State {
        question: Arc::clone(&question),
        settled,
        found,
        open: BTreeMap::new(),
        open_cells: 0,
        incomplete: BTreeMap::new(),
    };
    let local = {
        let (held, question, known) = (held.clone(), Arc::clone(&question), known.clone());
        let wanted = engine.is_some();
        turn.run(move |stop| {
            let (state, unread) = read_here(&held, &question, &known, state, stop)?;
            Ok::<_, Status>((state, unread, wanted.then(|| held.oldest()).flatten()))
        })
        .await?
    };
    let (state, unread, oldest) = local?;
    let whole = state.open.is_empty() && !question.whose.is_each_node() && !state.found.is_empty();
    let mut silent = Vec::new();
    let older = engine
        .filter(|_| !whole)
        .and_then(|engine| Older::of(engine, &question, (oldest, settled), holders.fleet(), &state.found, &state.open));
    let state = Mutex::new(state);
    let mut answered = None;
    if !whole {
        let members = holders.membership().view().live.clone();
        let asked = join_all(members.iter().map(|member| ask(holders, member, &state, turn.stop())));
        // At the same time: what is slow is not waited for twice.
        let (answers, from_engine) = tokio::join!(asked, older::read(older, turn.stop().until()));
        answered = from_engine;
        for (member, answer) in members.iter().zip(answers) {
            match answer {
                Ok(()) => {}
                Err(Failed::Silent(reason)) => silent.push(Silent { aggregator: member.id.to_string(), reason }),
                Err(Failed::Refused(status)) => return Err(*status),
            }
        }
        if question.whose.is_each_node() || question.whose.node().is_some() {
            silent.extend(gone(holders));
        }
    }
    let mut state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (parts, unanswered) = answered.map_or_else(Default::default, |answered| (answered.parts, answered.missing));
    let closed = turn.run(move |_| {
        let mut told = None;
        for (subject, part) in parts {
            older::tell(&mut told, &part);
            state.add_older(subject, part)?;
        }
        state.close().map(|()| (state, told))
    });
    let (state, told) = closed.await??;
    let mut missing = missing(holders, &question, &state, known, &silent, &unread);
    missing.extend(unanswered.map(|(from, to, reason)| part_of(String::new(), &reason, [].iter(), (from, to))));
    let from_engine = engine.and_then(|engine| Some(v1::FromEngine { engine: engine.name().to_owned(), ..told? }));
    Ok(Gathered { found: state.found, missing, from_engine })
}

/// The nodes that `question` asks for and that are known to have reported since its first second.
pub(super) fn known(holders: &Holders, question: &Question) -> BTreeSet<NodeId> {
    let whose = &question.whose;
    let group = match whose {
        Whose::EachNode(group) => group.clone(),
        Whose::Subject(_) => Group::cluster(),
    };
    let wanted = whose.node();
    let all = holders.fleet().known(&group, question.span.from).into_iter();
    let all = all.filter(|node| question.wanted.wants_node(node));
    match whose {
        Whose::Subject(Subject::Cluster | Subject::Group(_)) => BTreeSet::new(),
        _ => all.filter(|node| wanted.is_none_or(|wanted| wanted == node)).collect(),
    }
}

/// Reads what is held here, many nodes with several threads; returns also the nodes that were not read because the time was over.
fn read_here(
    held: &Held,
    question: &Question,
    known: &BTreeSet<NodeId>,
    state: State,
    stop: &Stop,
) -> Result<(State, Vec<NodeId>), Status> {
    let Span { from, to, .. } = question.span;
    let selection = question.selection();
    let fold = |part: &Part, span: &Span| question.steps(part, span).ok();
    let folding = Folding { span: question.span, identity: question.identity(), fold: &fold };
    let subjects: Vec<Subject> = match &question.whose {
        Whose::Subject(subject) => vec![subject.clone()],
        Whose::EachNode(group) => {
            let here = held.nodes(from, to).into_iter();
            let asked =
                |node: &NodeId| question.wanted.wants_node(node) && (group.is_cluster() || known.contains(node));
            here.filter(asked).map(Subject::Node).collect()
        }
    };
    let settled = state.settled;
    let read = |subject: &Subject| {
        let read = held.read_folding(subject, (&selection, question.span.grain()), Some(&folding), stop);
        (!read.is_empty()).then(|| Reading::of(subject, read, question, settled)).transpose()
    };
    let (state, unread) = (Mutex::new(state), Mutex::new(Vec::new()));
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(subject) = subjects.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.is_due() {
                unread.lock().unwrap_or_else(PoisonError::into_inner).extend(subject.node().cloned());
            } else if let Some(reading) = read(subject)? {
                lock(&state).put(subject.clone(), reading)?;
            }
        }
        Ok::<_, Status>(())
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let others = cores.min(READERS_MAX).min(subjects.len() / SUBJECTS_A_READER).saturating_sub(1);
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
        let own = work();
        let ended = |other: std::thread::ScopedJoinHandle<'_, _>| {
            other.join().unwrap_or_else(|_| Err(Status::internal("a thread that read for this question ended")))
        };
        others.into_iter().map(ended).fold(own, Result::and)
    })?;
    held.written();
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((state, unread.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// Why another aggregator has not answered.
enum Failed {
    /// It did not, in time or at all.
    Silent(String),
    /// The question exceeds a limit of ours.
    Refused(Box<Status>),
}

/// Asks `member` for what is not whole yet, and adds what it says.
async fn ask(holders: &Holders, member: &Member, state: &Mutex<State>, stop: Stop) -> Result<(), Failed> {
    let request = {
        let state = lock(state);
        let question = &state.question;
        let mut request = question.wanted.request();
        match &question.whose {
            Whose::Subject(subject) => request.subjects.push(subject.to_string()),
            Whose::EachNode(group) => {
                request.group = group.name().to_owned();
                let all = holders.fleet().known(group, question.span.from).into_iter();
                let others = all.filter(|node| !question.wanted.wants_node(node));
                let except: BTreeSet<_> = state.found.nodes().cloned().chain(others).collect();
                request.except = except.iter().map(ToString::to_string).collect();
            }
        }
        let Span { from, to, .. } = question.span;
        let (from_tick, to_tick, histograms) = (from, to, question.histograms);
        let step_seconds = question.span.grain();
        v1::ReadHistoryRequest { from_tick, to_tick, step_seconds, histograms, ..request }
    };
    let talk = async {
        let silent = |status: &Status| Failed::Silent(forward::explained(member, status).message().to_owned());
        let mut parts =
            forward::read_history(holders, member, request, stop.until()).await.map_err(|status| silent(&status))?;
        let mut gathered: Option<(Subject, Part)> = None;
        while let Some(message) = parts.message().await.map_err(|status| silent(&status))? {
            if message.cut {
                return Err(Failed::Silent(format!("aggregator {} had more than it could send in time", member.id)));
            }
            let odd =
                |text: String| Failed::Silent(format!("aggregator {} sent what cannot be read: {text}", member.id));
            let subject = Subject::parse(&message.subject).map_err(|error| odd(error.to_string()))?;
            if !lock(state).question.asks_for(&subject) {
                return Err(odd(format!("{subject} was not asked for")));
            }
            let (_, part) = match &mut gathered {
                Some(held) if held.0 == subject => held,
                none => none.insert((subject.clone(), Part::default())),
            };
            wire::take(part, &subject, &message).map_err(|error| odd(error.to_string()))?;
            if !message.more
                && let Some((subject, part)) = gathered.take()
                && subject.node().is_none_or(|node| lock(state).question.wanted.wants_node(node))
            {
                lock(state).add_theirs(subject, part).map_err(|status| Failed::Refused(Box::new(status)))?;
            }
        }
        Ok(())
    };
    match tokio::time::timeout_at(stop.until().into(), talk).await {
        Ok(answer) => answer,
        Err(_) => Err(Failed::Silent(format!("aggregator {} did not answer in time", member.id))),
    }
}

/// Short sections: of what is read here only putting it in its place.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The aggregators that have gone in the last 15 minutes.
fn gone(holders: &Holders) -> Vec<Silent> {
    let view = holders.membership().view();
    let dead = view.listed.iter().filter(|listed| listed.dead);
    let dead = dead.map(|listed| Silent {
        aggregator: listed.member.id.to_string(),
        reason: format!("aggregator {} is gone", listed.member.id),
    });
    dead.collect()
}

/// What an answer lacks.
fn missing(
    holders: &Holders,
    question: &Question,
    state: &State,
    known: &BTreeSet<NodeId>,
    silent: &[Silent],
    unread: &[NodeId],
) -> Vec<v1::MissingPart> {
    let Span { from, to, .. } = question.span;
    let to = to.min(state.settled).max(from);
    let mut parts = Vec::new();
    if !unread.is_empty() {
        parts.push(part_of(String::new(), "the time was over before they were read", unread.iter(), (from, to)));
    }
    let of_nodes = question.whose.is_each_node() || question.whose.node().is_some();
    if !of_nodes {
        let incomplete = state.found.is_empty() || state.found.lacks_seconds(state.settled);
        for Silent { aggregator, reason } in silent.iter().filter(|_| incomplete) {
            parts.push(part_of(aggregator.clone(), reason, [].iter(), (from, to)));
        }
        return parts;
    }
    // Who lacks something, and from when on.
    let absent = known.iter().filter(|node| !state.found.has(&Subject::Node((*node).clone())));
    let mut lacking: BTreeMap<&NodeId, u32> = absent.map(|node| (node, from)).collect();
    lacking.extend(state.incomplete.iter().map(|(node, since)| (node, *since)));
    let mut by_silent: BTreeMap<usize, Vec<(&NodeId, u32)>> = BTreeMap::new();
    for (node, since) in lacking {
        let place = holders.fleet().place(node);
        let held =
            silent.iter().position(|one| place.as_ref().is_some_and(|place| place.aggregator_id == one.aggregator));
        if let Some(at) = held.or_else(|| (!silent.is_empty()).then_some(0)) {
            by_silent.entry(at).or_default().push((node, since));
        }
    }
    for (at, nodes) in by_silent {
        let since = nodes.iter().map(|(_, since)| *since).min().unwrap_or(from);
        let Silent { aggregator, reason } = &silent[at];
        parts.push(part_of(aggregator.clone(), reason, nodes.iter().map(|(node, _)| *node), (since, to)));
    }
    parts
}

fn part_of<'a>(
    aggregator_id: String,
    reason: &str,
    nodes: impl ExactSizeIterator<Item = &'a NodeId>,
    (from_tick, to_tick): (u32, u32),
) -> v1::MissingPart {
    let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let node_ids = nodes.take(MISSING_NAMES_MAX).map(ToString::to_string).collect();
    v1::MissingPart { aggregator_id, node_ids, nodes: count, from_tick, to_tick, reason: reason.to_owned() }
}
