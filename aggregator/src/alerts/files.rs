//! The rules from their files, again when these change. Files with a mistake change nothing: the rules before stay in force, also
//! over a restart, for which those that were in force last are kept in the state folder.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use starling_alerts::{Mistake, Rules, defaults, rule::FILE_BYTES_MAX};
use starling_service::state_folder;

use super::InForce;
use crate::config::AlertSettings;

/// What a file was when it was read last.
type Stamp = Option<(SystemTime, u64)>;

/// See the module.
pub(crate) struct Files {
    paths: Vec<PathBuf>,
    off: Vec<String>,
    stamps: Vec<Stamp>,
    /// The folder with the texts of the files that were taken last, by their place among `paths`.
    kept: PathBuf,
}

/// The texts of files, each with its name.
type Texts = Vec<(String, String)>;

fn rules_of(texts: &Texts, off: &[String]) -> Result<Rules, Vec<Mistake>> {
    let files: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    defaults::with(&files, off)
}

/// The rules of `settings`: with mistakes in the files those that were in force last, of which the folder `kept` has the texts,
/// without them the default rules; and the mistakes. Blocks.
pub(crate) fn read(settings: &AlertSettings, kept: PathBuf, tick: u32) -> (Files, InForce) {
    let paths = settings.rules.clone();
    let mut files = Files { stamps: Vec::new(), paths, off: settings.defaults_off.clone(), kept };
    files.stamps = files.look();
    let in_force = match files.load() {
        Ok(rules) => InForce { rules: Arc::new(rules), mistakes: Arc::from([]), refused_since: None },
        Err(mistakes) => {
            let rules = files.before().or_else(|| defaults::with(&[], &[]).ok()).unwrap_or_else(Rules::none);
            InForce { rules: Arc::new(rules), mistakes: mistakes.into(), refused_since: Some(tick) }
        }
    };
    (files, in_force)
}

impl Files {
    fn look(&self) -> Vec<Stamp> {
        let stamp = |path: &PathBuf| fs::metadata(path).ok().and_then(|is| Some((is.modified().ok()?, is.len())));
        self.paths.iter().map(stamp).collect()
    }

    fn load(&self) -> Result<Rules, Vec<Mistake>> {
        let (mut texts, mut mistakes) = (Texts::new(), Vec::new());
        for path in &self.paths {
            match text(path) {
                Ok(text) => texts.push((path.display().to_string(), text)),
                Err(what) => mistakes.push(Mistake {
                    file: path.display().to_string(),
                    rule: String::new(),
                    key: String::new(),
                    what,
                }),
            }
        }
        match rules_of(&texts, &self.off) {
            Ok(rules) if mistakes.is_empty() => {
                self.keep(&texts);
                Ok(rules)
            }
            Ok(_) => Err(mistakes),
            Err(more) => Err(mistakes.into_iter().chain(more).collect()),
        }
    }

    fn kept(&self, at: usize) -> PathBuf {
        self.kept.join(format!("{at}.toml"))
    }

    /// Keeps what was taken. What cannot be written is no reason to refuse rules: a start then goes on with the default ones.
    fn keep(&self, texts: &Texts) {
        if fs::create_dir_all(&self.kept).is_err() {
            return;
        }
        for (at, (_, text)) in texts.iter().enumerate() {
            if fs::read_to_string(self.kept(at)).is_ok_and(|kept| kept == *text) {
                continue;
            }
            if state_folder::replace(&self.kept(at), text.as_bytes(), state_folder::OPEN).is_err() {
                return;
            }
        }
    }

    /// The rules that were in force last; `None` when they are not kept, or no longer fit the settings.
    fn before(&self) -> Option<Rules> {
        let named = self.paths.iter().enumerate();
        let texts = named.map(|(at, path)| Some((path.display().to_string(), text(&self.kept(at)).ok()?)));
        rules_of(&texts.collect::<Option<Texts>>()?, &self.off).ok().filter(|_| !self.paths.is_empty())
    }

    /// What is in force at second `tick` after `before`; `None` when no file changed. Blocks.
    pub(super) fn again(&mut self, before: &InForce, tick: u32) -> Option<InForce> {
        let stamps = self.look();
        if stamps == self.stamps {
            return None;
        }
        self.stamps = stamps;
        Some(match self.load() {
            Ok(rules) => InForce { rules: Arc::new(rules), mistakes: Arc::from([]), refused_since: None },
            Err(mistakes) => InForce {
                rules: Arc::clone(&before.rules),
                mistakes: mistakes.into(),
                refused_since: before.refused_since.or(Some(tick)),
            },
        })
    }
}

fn text(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > FILE_BYTES_MAX as u64 {
        return Err(format!("{size} bytes are too much, at most {FILE_BYTES_MAX} are wanted"));
    }
    fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "[[rule]]\nname = \"mine\"\nscope = \"cluster\"\nexpression = \"system.cpu.busy\"\nabove = 0.9\nseverity = \"error\"\nsummary = \"is busy\"\n";

    #[test]
    fn a_file_with_a_mistake_changes_nothing_and_is_named() {
        // Scenario A47.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rules.toml");
        fs::write(&path, RULE).unwrap();
        let settings = AlertSettings { rules: vec![path.clone()], ..AlertSettings::default() };
        let (mut files, first) = read(&settings, dir.path().join("kept"), 5);
        assert!(first.rules.get("mine").is_some() && first.mistakes.is_empty());
        assert!(files.again(&first, 6).is_none(), "nothing changed");
        fs::write(&path, RULE.replace("0.9", "\"much\"")).unwrap();
        let second = files.again(&first, 7).unwrap();
        assert!(second.rules.get("mine").is_some() && second.refused_since == Some(7));
        assert!(second.mistakes[0].to_string().contains("rules.toml: mine: above"), "{:?}", second.mistakes);
        fs::remove_file(&path).unwrap();
        let third = files.again(&second, 9).unwrap();
        assert!(third.mistakes[0].what.contains("cannot be read") && third.refused_since == Some(7));
        // A start goes on with the rules that were in force last, the first one of all with the default ones.
        let (_, again) = read(&settings, dir.path().join("kept"), 10);
        assert!(again.rules.get("mine").is_some() && again.refused_since == Some(10));
        assert!(again.mistakes[0].what.contains("cannot be read"), "{:?}", again.mistakes);
        let (mut files, started) = read(&settings, dir.path().join("other"), 10);
        assert!(started.rules.get("mine").is_none() && started.rules.get("cpu-busy").is_some());
        assert_eq!(started.refused_since, Some(10));
        fs::write(&path, RULE).unwrap();
        assert!(files.again(&started, 11).unwrap().rules.get("mine").is_some());
    }
}
