//! Replacements that a crash interrupted.

use std::{collections::HashSet, path::PathBuf};

use crate::{
    disk::{Disk, FileError, remove_if_there},
    folder::Findings,
    segment::{REPLACED_MAX, SegmentName, head_length, read_head},
};

/// Finishes them. Reads the heads of segments that replace others, but only of those
/// that have an older one inside their window: else there is nothing left to remove.
pub(crate) fn drop_replaced(
    disk: &dyn Disk,
    findings: &mut Findings,
    segments: &mut Vec<(SegmentName, PathBuf)>,
) -> Result<(), FileError> {
    segments.sort_by_key(|(name, _)| (name.start, name.id));
    let mut replaced = HashSet::new();
    for (name, path) in segments.iter().filter(|(name, _)| name.replaces) {
        let from = segments.partition_point(|(other, _)| other.start < name.start);
        let mut inside = segments[from..].iter().take_while(|(other, _)| other.start < name.end);
        if !inside.any(|(other, _)| other.id < name.id && other.end <= name.end) {
            continue;
        }
        let read = disk.open(path).and_then(|file| {
            let mut bytes = vec![0; head_length("0123456789abcdef", REPLACED_MAX)];
            let count = file.read_at(&mut bytes, 0)?;
            bytes.truncate(count);
            Ok(read_head(&bytes, name.id))
        });
        match read {
            Ok(Some(head)) => replaced.extend(head.replaced),
            _ => findings.damaged_heads.push(path.clone()),
        }
    }
    for (_, path) in segments.extract_if(.., |(name, _)| replaced.contains(&name.id)) {
        remove_if_there(disk, &path).map_err(FileError::at("cannot remove", &path))?;
        findings.replaced += 1;
    }
    Ok(())
}
