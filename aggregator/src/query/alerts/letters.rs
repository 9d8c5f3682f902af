//! Dead letters: each is at the aggregator that tried to send it, any of them lists and sends those of all.

use futures_util::future::join_all;
use starling_notify::DeadLetter;
use starling_proto::v1;
use tonic::{Request, Status};

use super::{super::forward, AlertService, PAGE_MAX, PAGE_USUAL};
use crate::membership::Member;

/// Episodes of a letter that are listed.
const ITEMS_MAX: usize = 20;
/// Longest reason that is listed.
const REASON_MAX: usize = 500;

fn shown(service: &AlertService, letter: &DeadLetter) -> v1::DeadLetter {
    let items = letter.message.items.iter().take(ITEMS_MAX).map(|item| v1::DeadLetterItem {
        episode_id: item.id.to_string(),
        what: item.what.as_str().to_owned(),
        sentence: item.alert.sentence.clone(),
    });
    v1::DeadLetter {
        aggregator_id: service.id.to_string(),
        notifier: letter.notifier.clone(),
        letter_id: letter.id,
        at_unix_ms: letter.at_unix_ms,
        reason: letter.reason.chars().take(REASON_MAX).collect(),
        attempts: letter.attempts,
        items: items.collect(),
        episodes: u32::try_from(letter.message.items.len()).unwrap_or(u32::MAX),
    }
}

/// Whether `notifier` is a name that no aggregator can know, or is known here.
fn check(service: &AlertService, notifier: &str, needed: bool) -> Result<(), Status> {
    let is_known = |known: &(String, u32)| known.0 == notifier;
    match &service.notifiers {
        _ if notifier.is_empty() && !needed => Ok(()),
        _ if notifier.is_empty() => Err(Status::invalid_argument("notifier: is missing, ListDeadLetters has it")),
        Some(notifiers) if notifiers.names().iter().any(is_known) => Ok(()),
        _ => {
            let name: String = notifier.chars().take(64).collect();
            Err(Status::not_found(format!("notifier: there is none called {name:?}")))
        }
    }
}

/// The other aggregators, unless the request comes from one.
fn others<T>(service: &AlertService, request: &Request<T>) -> Vec<Member> {
    if forward::was_forwarded(request.metadata()) {
        return Vec::new();
    }
    service.holders.membership().view().others.to_vec()
}

/// `ListDeadLetters`.
pub(super) async fn list(
    service: &AlertService,
    request: Request<v1::ListDeadLettersRequest>,
) -> Result<v1::ListDeadLettersResponse, Status> {
    let others = others(service, &request);
    let request = request.into_inner();
    check(service, &request.notifier, false)?;
    let own = service.notifiers.as_ref().map(|notifiers| notifiers.dead_letters()).unwrap_or_default();
    let wanted = |letter: &&DeadLetter| request.notifier.is_empty() || letter.notifier == request.notifier;
    let mut letters: Vec<v1::DeadLetter> = own.iter().filter(wanted).map(|letter| shown(service, letter)).collect();
    let (mut left_out, mut missing) = (0u32, Vec::new());
    let asked = others.iter().map(|member| forward::list_dead_letters(&service.holders, member, request.clone()));
    for answer in join_all(asked).await {
        match answer {
            Ok(theirs) => {
                letters.extend(theirs.letters);
                left_out = left_out.saturating_add(theirs.left_out);
            }
            Err(status) => missing.push(status.message().to_owned()),
        }
    }
    letters.sort_by_key(|letter| (std::cmp::Reverse(letter.at_unix_ms), letter.letter_id));
    let size = if request.page_size == 0 { PAGE_USUAL } else { request.page_size.min(PAGE_MAX) } as usize;
    left_out = left_out.saturating_add(u32::try_from(letters.len().saturating_sub(size)).unwrap_or(u32::MAX));
    letters.truncate(size);
    let of_notifier = |one: &&v1::DeadLetterResend| request.notifier.is_empty() || one.notifier == request.notifier;
    let resends = service.alerts.as_ref().map(|alerts| {
        let mut all: Vec<_> = alerts.read(|book| book.resends().filter(of_notifier).cloned().collect());
        all.reverse();
        all
    });
    Ok(v1::ListDeadLettersResponse { letters, left_out, missing, resends: resends.unwrap_or_default() })
}

/// `ResendDeadLetters`.
pub(super) async fn resend(
    service: &AlertService,
    request: Request<v1::ResendDeadLettersRequest>,
) -> Result<v1::ResendDeadLettersResponse, Status> {
    let (others, is_forwarded) = (others(service, &request), forward::was_forwarded(request.metadata()));
    let request = request.into_inner();
    check(service, &request.notifier, true)?;
    let v1::ResendDeadLettersRequest { notifier, aggregator_id, letter_id, author } = &request;
    let note = v1::DeadLetterResend {
        author: author.clone(),
        notifier: notifier.clone(),
        aggregator_id: aggregator_id.chars().take(64).collect(),
        letter_id: *letter_id,
        ..v1::DeadLetterResend::default()
    };
    if !is_forwarded {
        starling_alerts::control::check_resend(&note).map_err(|error| Status::invalid_argument(error.to_string()))?;
    }
    if *letter_id != 0 && aggregator_id.is_empty() {
        return Err(Status::invalid_argument("aggregator_id: is missing, a letter_id is of one aggregator"));
    }
    let is_ours = *aggregator_id == service.id.as_str();
    let asked: Vec<&Member> = others
        .iter()
        .filter(|member| !is_ours && (aggregator_id.is_empty() || *aggregator_id == member.id.as_str()))
        .collect();
    if !is_ours && !aggregator_id.is_empty() && asked.is_empty() {
        let name: String = aggregator_id.chars().take(64).collect();
        return Err(Status::not_found(format!("aggregator_id: there is no aggregator {name:?}, or it is gone")));
    }
    let id = (*letter_id != 0).then_some(*letter_id);
    let ours = service.notifiers.as_ref().filter(|_| is_ours || aggregator_id.is_empty());
    let (mut resent, mut missing) = (ours.map_or(0, |notifiers| notifiers.resend(notifier, id)) as u32, Vec::new());
    let asked = asked.into_iter().map(|member| forward::resend_dead_letters(&service.holders, member, request.clone()));
    for answer in join_all(asked).await {
        match answer {
            Ok(theirs) => resent = resent.saturating_add(theirs.resent),
            Err(status) if id.is_some() => return Err(status),
            Err(status) => missing.push(status.message().to_owned()),
        }
    }
    if resent == 0 && id.is_some() {
        return Err(Status::not_found(format!("letter_id: {letter_id} is none of {notifier}, or was sent already")));
    }
    // Whoever was asked by a person notes it, once.
    if !is_forwarded && resent > 0 {
        let note = v1::DeadLetterResend { resent, ..note };
        service.note(note).await;
    }
    Ok(v1::ResendDeadLettersResponse { resent, missing })
}
