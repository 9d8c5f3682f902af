//! SIGHUP without a terminal: the settings are read again, and what of them takes a restart is said. Files that the settings name (certificates,
//! keys, tokens, rules, notifiers) are read again and again without it.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::settings::{self, Settings, Sources};

/// From now on a SIGHUP ends nothing. `running` are the settings that `program` runs with, which were read from `sources`.
///
/// # Errors
/// When the handler cannot be installed.
pub(crate) fn on_hangup<S: Settings + Send + 'static>(
    program: &'static str,
    sources: Sources,
    running: &S,
) -> io::Result<()> {
    let mut asked = signal(SignalKind::hangup())?;
    let running = values(running);
    // Owned by the process: it lives until the process ends.
    tokio::spawn(async move {
        // Signals that come while one is served are one.
        while asked.recv().await.is_some() {
            let sources = sources.clone();
            let read = tokio::task::spawn_blocking(move || settings::load::<S>(program, &sources)).await;
            match read.map(|read| read.map(|loaded| changed(&running, &values(&loaded.settings)))) {
                Ok(Ok(changed)) if changed.is_empty() => {
                    info!(
                        "settings read again: as they run; certificates, keys, tokens and rules are read again by themselves"
                    );
                }
                Ok(Ok(changed)) => {
                    warn!(changed = changed.join(", "), "settings read again: a restart takes up what changed");
                }
                Ok(Err(mistakes)) => {
                    error!(
                        mistakes = mistakes.lines().join("; "),
                        "settings read again: not valid, a restart would fail"
                    );
                }
                // A panic while they were read: said by its own line.
                Err(_) => {}
            }
        }
    });
    Ok(())
}

/// Every key with its value, in the order of the table.
fn values<S: Settings>(settings: &S) -> Vec<(String, Option<toml::Value>)> {
    let mut rows = Vec::new();
    settings.rows("", &mut rows);
    rows.into_iter().map(|row| (row.key, row.value)).collect()
}

fn changed(running: &[(String, Option<toml::Value>)], read: &[(String, Option<toml::Value>)]) -> Vec<String> {
    running.iter().zip(read).filter(|(one, other)| one != other).map(|((key, _), _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_named() {
        let of = |number: Option<i64>, text: &str| {
            let text = Some(toml::Value::String(text.to_owned()));
            vec![("number".to_owned(), number.map(toml::Value::Integer)), ("text".to_owned(), text)]
        };
        assert_eq!(changed(&of(Some(1), "a"), &of(Some(1), "a")), Vec::<String>::new());
        assert_eq!(changed(&of(Some(1), "a"), &of(None, "a")), ["number"]);
        assert_eq!(changed(&of(Some(1), "a"), &of(Some(2), "b")), ["number", "text"]);
    }
}
