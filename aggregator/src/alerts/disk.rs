//! The records of alerts in one file of the state folder.

use std::{io, path::Path};

use prost::Message as _;
use starling_alerts::Record;
use starling_proto::v1;
use starling_service::state_folder;

/// First bytes of the file: its form, then the checksum of the rest.
const HEAD: &[u8; 8] = b"stalert1";
/// Largest file that is read: 50,000 records of at most 16 KiB would be more, those that are written are far smaller.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What the file holds; nothing without one.
///
/// # Errors
/// Of the file system, and when the file is not what was written.
pub(super) fn read(path: &Path) -> io::Result<Vec<Record>> {
    let Some(bytes) = state_folder::read(path, BYTES_MAX)? else { return Ok(Vec::new()) };
    let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let (head, rest) = bytes.split_at_checked(HEAD.len() + 4).ok_or_else(|| odd("it is too short"))?;
    if &head[..HEAD.len()] != HEAD || head[HEAD.len()..] != crc32fast::hash(rest).to_le_bytes() {
        return Err(odd("it is damaged"));
    }
    let mut rest = rest;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let wire = v1::AlertRecord::decode_length_delimited(&mut rest).map_err(|_| odd("a record is damaged"))?;
        // One that a later version wrote is left out.
        records.extend(Record::try_from(wire));
    }
    Ok(records)
}

/// Writes them, in the place of what was there.
///
/// # Errors
/// Of the file system.
pub(super) fn write(path: &Path, records: Vec<Record>) -> io::Result<()> {
    let mut rest = Vec::new();
    for record in records {
        v1::AlertRecord::from(record).encode_length_delimited(&mut rest).map_err(io::Error::other)?;
    }
    let mut bytes = Vec::with_capacity(rest.len() + HEAD.len() + 4);
    bytes.extend_from_slice(HEAD);
    bytes.extend_from_slice(&crc32fast::hash(&rest).to_le_bytes());
    bytes.extend_from_slice(&rest);
    state_folder::replace(path, &bytes, state_folder::OPEN)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts");
        assert!(read(&path).unwrap().is_empty());
        let delivery = v1::AlertDelivery {
            notifier: "mail".into(),
            episode_id: "0000000000000007".into(),
            ..v1::AlertDelivery::default()
        };
        let records = vec![Record::Delivery(delivery)];
        write(&path, records.clone()).unwrap();
        assert_eq!(read(&path).unwrap(), records);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(read(&path).is_err(), "byte {at}");
        }
    }
}
