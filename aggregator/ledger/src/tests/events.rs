//! Driven by events, as a service does it.

use super::*;

/// Handles an event and two ticks, the store answering between them; returns what else is to be done.
fn drive(ledger: &mut Ledger, now_ms: u64, event: Event) -> Vec<Action> {
    let mut actions = Vec::new();
    for event in [event, Event::Tick, Event::Tick] {
        ledger.handle(now_ms, event);
        actions.extend(sync(ledger));
    }
    actions
}

fn open(ledger: &mut Ledger, now_ms: u64, key: u64) -> StreamNo {
    let event = Event::Open { key, node: NodeId::parse("web-1").unwrap(), stream: StreamId::new([1; 16]) };
    match drive(ledger, now_ms, event).remove(0) {
        Action::Opened { key: answered, result } if answered == key => result.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn offered(ledger: &Ledger, stream: StreamNo, tick: u32, pin: WriterId) -> Event {
    let (columns, _) = Columns::of_samples(ledger.own.interner(), samples(5).iter());
    Event::Offer(Offered { stream, tick, pin: Some(pin), groups: [].into(), columns, cores: Cores::default() })
}

#[test]
fn a_second_goes_from_offer_to_settled() {
    let mut a = ledger(1);
    a.handle(T_MS - 1000, Event::Copies(1));
    let stream = open(&mut a, T_MS - 1000, 1);
    let event = offered(&a, stream, T, writer(1));
    let actions = drive(&mut a, T_MS + 10, event);
    let settled = actions.iter().find_map(|action| match action {
        Action::Settled(view) if view.tick == T => Some(view.clone()),
        _ => None,
    });
    let view = settled.expect("its only stream has reported");
    assert_eq!((view.revision, view.frames.counted, view.coverage.reporting, view.skipped_cells), (1, 1, 1, 0));
    assert!(actions.iter().any(|action| matches!(action, Action::Changed(view) if view.tick == T)));
    assert!(actions.iter().any(|action| matches!(action, Action::Acks(acks) if acks.len() == 1 && acks[0].tick == T)));
    // A snapshot stays what it was.
    let event = offered(&a, stream, T, writer(9));
    let again = drive(&mut a, T_MS + 20, event);
    assert!(matches!(&again[..], [Action::Acks(acks)] if acks.len() == 1), "known, so acknowledged again: {again:?}");
    // Packed in time, and at last pruned with the sums it had.
    let packed = drive(&mut a, T_MS + 6000, Event::Tick);
    assert!(packed.iter().any(|action| matches!(action, Action::Packed(view) if view.tick == T)), "{packed:?}");
    let pruned = drive(&mut a, T_MS + 1000 * u64::from(KEPT + 1), Event::Tick);
    let last = pruned.iter().find_map(|action| match action {
        Action::Pruned { tick: T, sums, frames } => Some((sums.read(), *frames)),
        _ => None,
    });
    assert_eq!(last, Some((view.sums(), view.frames)));
}

#[test]
fn what_is_refused_is_answered() {
    let mut a = ledger(1);
    let stream = open(&mut a, T_MS, 1);
    let event = offered(&a, stream, T - LATE_WINDOW - 1, writer(1));
    let actions = drive(&mut a, T_MS, event);
    let late = |action: &Action| matches!(action, Action::Refused { refused: crate::Refused::TooLate, .. });
    assert!(actions.iter().any(late), "{actions:?}");
}

#[test]
fn the_end_of_a_connection_never_closes_the_next_one() {
    let mut a = ledger(1);
    let stream = open(&mut a, T_MS, 1);
    assert_eq!(open(&mut a, T_MS, 2), stream);
    drive(&mut a, T_MS, Event::Close { key: 1, stream, last_tick: Some(T) });
    assert_eq!((a.sessions_len(), a.logs()[0].length), (1, 0), "the old connection has nothing to say");
    drive(&mut a, T_MS, Event::Close { key: 2, stream, last_tick: Some(T) });
    assert_eq!((a.sessions_len(), a.logs()[0].length), (0, 1));
}

#[test]
fn a_peer_gets_entries_as_its_connection_has_room_and_digests_in_any_case() {
    let mut a = ledger(1);
    let stream = open(&mut a, T_MS, 1);
    let b = writer(2);
    a.handle(T_MS, Event::PeerOpened(b));
    let sent = |actions: &[Action]| {
        let of = |action: &Action| match action {
            Action::Send { peer, message: Outgoing::Entries(runs) } => {
                assert_eq!(*peer, b);
                runs.iter().map(|run| run.payloads.len()).sum()
            }
            _ => 0,
        };
        actions.iter().map(of).sum::<usize>()
    };
    let event = offered(&a, stream, T, writer(1));
    let actions = drive(&mut a, T_MS + 10, event);
    assert_eq!(sent(&actions), 0, "no room was said");
    assert!(actions.iter().any(|action| matches!(action, Action::Send { message: Outgoing::Digest(_), .. })));
    let actions = drive(&mut a, T_MS + 20, Event::Room { peer: b, bytes: 1000 });
    assert_eq!(sent(&actions), 1);
    let event = offered(&a, stream, T + 1, writer(1));
    assert_eq!(sent(&drive(&mut a, T_MS + 1010, event)), 0, "the room is used up");
}
