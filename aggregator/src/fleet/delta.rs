//! What changed in the table since a reader last looked. Pure.

use starling_proto::{nodes::Writer, v1};

use super::table::{Filter, Table};

/// Bytes of entries per message, of which the first may be larger: with the columns below, far under the 4 MiB that a
/// gRPC client takes by default.
const ENTRIES_BYTES: usize = 1024 * 1024;
/// Rows per message: at most 105 bytes each, 0.9 MB; usually 20 to 30.
const ROWS: usize = 8_192;
/// Of an entry beside its texts: keys, lengths, numbers.
const ENTRY_OVERHEAD: usize = 64;
/// Of a label beside its texts.
const LABEL_OVERHEAD: usize = 8;
/// Numbers of removed nodes per message: 5 bytes each at most.
const REMOVED: usize = 100_000;

/// The messages that take a reader who has seen `after` (0: nothing) to the present state at second `tick`; the last
/// one is the only one without `more`. Empty only when nothing changed and the reader has seen something.
pub(super) fn since(table: &Table, generation: u64, filter: &Filter, after: u64, tick: u32) -> Vec<v1::NodesUpdate> {
    let reset = after == 0;
    let with_busiest = *filter == Filter::Own;
    let revision = table.revision();
    let new_part = |first: bool| v1::NodesUpdate {
        tick,
        generation,
        revision,
        reset: reset && first,
        more: true,
        ..v1::NodesUpdate::default()
    };
    let mut parts = vec![new_part(true)];
    let mut bytes = 0;
    let changed = || table.slots().filter(|(_, slot)| slot.changed() > after);
    for (number, slot) in changed().filter(|(_, slot)| slot.entry_changed > after) {
        let held = slot.held.as_ref().filter(|held| filter.holds(held));
        let Some(part) = parts.last_mut() else { break };
        match held {
            Some(held) => {
                part.entries.push(held.entry.to_wire(number));
                bytes += ENTRY_OVERHEAD + held.entry.bytes() + held.entry.labels.len() * LABEL_OVERHEAD;
            }
            // A reader who never knew it has nothing to forget.
            None if reset => {}
            None => part.removed.push(number),
        }
        if bytes >= ENTRIES_BYTES || part.removed.len() >= REMOVED {
            bytes = 0;
            parts.push(new_part(false));
        }
    }
    let mut writer = Writer::new(tick, with_busiest);
    for (number, slot) in changed() {
        let Some(held) = slot.held.as_ref().filter(|held| filter.holds(held)) else { continue };
        writer.push(number, &held.row);
        if writer.len() == ROWS {
            let full = std::mem::replace(&mut writer, Writer::new(tick, with_busiest));
            close(&mut parts, full.finish(), new_part(false));
        }
    }
    if let Some(last) = parts.last_mut() {
        last.columns = writer.finish();
        last.more = false;
    }
    let nothing = |part: &v1::NodesUpdate| part.entries.is_empty() && part.removed.is_empty() && part.columns.is_none();
    // A part that was begun and not needed.
    if parts.len() > 1 && parts.last().is_some_and(nothing) {
        parts.pop();
        if let Some(last) = parts.last_mut() {
            last.more = false;
        }
    }
    if !reset && parts.iter().all(nothing) {
        parts.clear();
    }
    parts
}

/// Ends a message with columns and begins the next one.
fn close(parts: &mut Vec<v1::NodesUpdate>, columns: Option<v1::NodeColumns>, next: v1::NodesUpdate) {
    if let Some(last) = parts.last_mut() {
        last.columns = columns;
    }
    parts.push(next);
}
