//! Targets from files of the shape that Prometheus reads (`file_sd`), in JSON or YAML by their name: a list of
//! `{"targets": [...], "labels": {...}}`.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    target::{Place, ScrapeTarget},
    yaml,
};

/// Longest file: ten thousand targets, of which a host scrapes a few.
const BYTES_MAX: u64 = 1 << 20;
/// Files that one pattern may mean.
const FILES_MAX: usize = 100;

/// Targets of all files, and what is wrong with some: a file with a mistake gives none, the others do.
pub(super) fn read(patterns: &[PathBuf]) -> (Vec<ScrapeTarget>, Vec<String>) {
    let (mut targets, mut wrong) = (Vec::new(), Vec::new());
    let mut paths = Vec::new();
    for pattern in patterns {
        paths.extend(files(pattern, &mut wrong).into_iter().take(FILES_MAX));
    }
    for path in paths {
        match of_file(&path) {
            Ok(of_file) => targets.extend(of_file),
            Err(error) => wrong.push(format!("{}: {error}", path.display())),
        }
    }
    (targets, wrong)
}

/// The files that a pattern means: in its last part `*` is any text.
fn files(pattern: &Path, wrong: &mut Vec<String>) -> Vec<PathBuf> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    if !name.contains('*') {
        return vec![pattern.to_owned()];
    }
    let folder = pattern.parent().unwrap_or(Path::new("/"));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // Nobody has put one there yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            wrong.push(format!("{}: {error}", folder.display()));
            return Vec::new();
        }
    };
    let fits = |path: &PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        crate::receive::mapping::fits(name.as_bytes(), file.as_bytes())
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(fits).collect();
    files.sort_unstable();
    files
}

fn of_file(path: &Path) -> Result<Vec<ScrapeTarget>, String> {
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if read as u64 > BYTES_MAX {
        return Err(format!("longer than {BYTES_MAX} bytes"));
    }
    let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    of_text(&text, is_yaml)
}

fn of_text(text: &str, is_yaml: bool) -> Result<Vec<ScrapeTarget>, String> {
    const WANTED: &str = "wanted: [{\"targets\": [\"HOST:PORT\"], \"labels\": {\"job\": \"NAME\"}}]";
    let parsed: Value = if is_yaml {
        yaml::read(text).map_err(|error| format!("{error}; {WANTED}"))?
    } else {
        serde_json::from_str(text).map_err(|error| format!("no JSON ({error}); {WANTED}"))?
    };
    let groups = parsed.as_array().ok_or(WANTED)?;
    let mut targets = Vec::new();
    for group in groups {
        let empty = serde_json::Map::new();
        let labels = match group.get("labels") {
            None | Some(Value::Null) => &empty,
            Some(labels) => labels.as_object().ok_or(WANTED)?,
        };
        let pairs: Option<Vec<(String, String)>> =
            labels.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
        let pairs = pairs.ok_or_else(|| format!("a label that is no text; {WANTED}"))?;
        for target in group.get("targets").and_then(Value::as_array).ok_or(WANTED)? {
            let address = target.as_str().ok_or(WANTED)?;
            targets.push(ScrapeTarget::of(address, address, pairs.clone(), Place::File)?);
        }
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_give_targets_and_one_with_a_mistake_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a.json"), r#"[{"targets": ["a:1", "b:2"], "labels": {"job": "shop", "__metrics_path__": "/m", "__scrape_interval__": "5s"}}, {"targets": ["c:3"]}]"#).unwrap();
        fs::write(path("b.json"), "[{\"targets\": 1}]").unwrap();
        fs::write(path("c.txt"), "no").unwrap();
        fs::write(path("d.yml"), "- targets: [d:4]\n").unwrap();
        let (targets, wrong) = read(&[path("*.json"), path("gone.json"), "/nowhere/*.json".into(), path("d.yml")]);
        let urls: Vec<String> = targets.iter().map(ScrapeTarget::url).collect();
        assert_eq!(urls, ["http://a:1/m", "http://b:2/m", "http://c:3/metrics", "http://d:4/metrics"]);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(
            wrong[0].contains("b.json") && wrong[0].contains("wanted: [{") && wrong[1].contains("gone.json"),
            "{wrong:?}"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), near in r#"[\[\]{}":,a-b1targetslabels ]{0,60}"#) {
            let _ = (of_text(&text, false), of_text(&near, false), of_text(&near, true));
        }
    }
}
