//! One table a program: the macro, and the files that are written from it.

use std::{collections::BTreeMap, fmt::Write as _};

use toml::Value;

use super::{Origin, Settings, kind::Kind};

/// One key of the settings.
#[derive(Debug, Clone)]
pub struct Row {
    /// Dotted name.
    pub key: String,
    /// What it is, a line an entry.
    pub doc: &'static [&'static str],
    /// What it may hold, in words.
    pub wanted: String,
    /// Its value; `None` when it is not set.
    pub value: Option<Value>,
    /// What the example shows instead of the default, as TOML.
    pub example: Option<&'static str>,
}

impl Row {
    /// A row of the table; for [`settings!`](crate::settings!).
    pub fn new<K: Kind>(
        key: String,
        doc: &'static [&'static str],
        kind: &K,
        value: &K::Value,
        example: Option<&'static str>,
    ) -> Self {
        Self { key, doc, wanted: kind.wanted(), value: kind.show(value), example }
    }
}

/// Makes the settings of a program from one table.
///
/// A row is `pub name: Type = default, kind;` with the documentation above it. After the kind may follow
/// `key "other_name"` for the name outside, and `example "..."` for what the example file shows (as TOML) where the
/// default is absent or differs from host to host. Tables within the settings follow the rows; `together` names a
/// function that checks what one value alone cannot show.
///
/// ```
/// use std::time::Duration;
/// use starling_service::settings::{Settings as _, kind};
///
/// starling_service::settings! {
///     /// Settings of a kettle.
///     pub struct Kettle {
///         /// How hot it gets.
///         pub degrees: u8 = 100, kind::number(40..=100);
///         /// When it switches itself off.
///         pub off_after: Duration = Duration::from_secs(60), kind::seconds(10..=600), key "off_after_secs";
///     }
/// }
///
/// assert_eq!(Kettle::default().degrees, 100);
/// let cold = Kettle { degrees: 4, ..Kettle::default() };
/// assert_eq!(
///     cold.check().unwrap_err().to_string(),
///     "degrees: 4 is out of range, wanted: a whole number from 40 to 100"
/// );
/// ```
#[macro_export]
macro_rules! settings {
    (
        $(#[doc = $about:literal])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                pub $field:ident: $type:ty = $default:expr, $kind:expr $(, key $key:literal)? $(, example $example:literal)?;
            )*
        }
        $(tables {
            $(
                $(#[doc = $table_doc:literal])*
                pub $table:ident: $table_type:ty = $table_default:expr;
            )*
        })?
        $(together $together:path;)?
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])* pub $field: $type,)*
            $($($(#[doc = $table_doc])* pub $table: $table_type,)*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    $($($table: $table_default,)*)?
                }
            }
        }

        impl $crate::settings::Settings for $name {
            fn rows(&self, prefix: &str, rows: &mut Vec<$crate::settings::Row>) {
                $(rows.push($crate::settings::Row::new(
                    format!("{prefix}{}", $crate::settings!(@key $field $($key)?)),
                    &[$($doc),*],
                    &$kind,
                    &self.$field,
                    $crate::settings!(@example $($example)?),
                ));)*
                $($($crate::settings::Settings::rows(
                    &self.$table,
                    &format!("{prefix}{}.", stringify!($table)),
                    rows,
                );)*)?
            }

            fn read(&mut self, prefix: &str, reader: &mut $crate::settings::Reader) {
                $(
                    let key = format!("{prefix}{}", $crate::settings!(@key $field $($key)?));
                    if let Some(value) = reader.value(&key, &$kind) {
                        self.$field = value;
                    }
                )*
                $($($crate::settings::Settings::read(
                    &mut self.$table,
                    &format!("{prefix}{}.", stringify!($table)),
                    reader,
                );)*)?
            }

            fn check_together(&self, prefix: &str, mistakes: &mut $crate::settings::Mistakes) {
                let _ = (prefix, &mistakes);
                $($together(self, mistakes);)?
                $($($crate::settings::Settings::check_together(
                    &self.$table,
                    &format!("{prefix}{}.", stringify!($table)),
                    mistakes,
                );)*)?
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@example) => { None };
    (@example $example:literal) => { Some($example) };
}

/// The example file of a program: every key with its documentation, what it may hold, and its default, commented out.
#[must_use]
pub fn example<S: Settings>(program: &str) -> String {
    let mut rows = Vec::new();
    S::default().rows("", &mut rows);
    let key = rows.first().map_or("key", |row| row.key.as_str());
    let variable = format!("STARLING_{}__{}", program.to_uppercase(), key.replace('.', "__").to_uppercase());
    let name = if program == "up" { "starling up".to_owned() } else { format!("starling-{program}") };
    let mut text = format!(
        "# Settings of {name}. Every key stands here with its default or an example; take away the '#' to set it.\n\
         # A variable {variable}=... wins over this file, a flag --set {key}=... over both.\n\
         # `{name} --check-config --config FILE` says everything that is wrong with a file, `--print-config` shows\n\
         # every value and where it came from.\n",
    );
    for row in rows {
        text.push('\n');
        for line in row.doc {
            let _ = writeln!(text, "#{line}");
        }
        let _ = writeln!(text, "# Wanted: {}.", row.wanted);
        let shown = row.example.map(ToOwned::to_owned).or_else(|| row.value.map(|value| value.to_string()));
        let _ = writeln!(text, "#{} = {}", row.key, shown.unwrap_or_default());
    }
    text
}

/// An example file with every key set.
#[must_use]
pub fn example_uncommented(example: &str) -> String {
    let set = |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned();
    example.lines().map(|line| set(line) + "\n").collect()
}

/// A settings file with every value and its origin; see [`Loaded::print`](super::Loaded::print).
pub(super) fn print<S: Settings>(settings: &S, origins: &BTreeMap<String, Origin>) -> String {
    let mut rows = Vec::new();
    settings.rows("", &mut rows);
    let mut text = String::new();
    for row in rows {
        let _ = match (row.value, origins.get(&row.key)) {
            (None, _) => writeln!(text, "#{} =  # not set", row.key),
            (Some(value), Some(origin)) => writeln!(text, "{} = {value}  # {origin}", row.key),
            (Some(value), None) => writeln!(text, "{} = {value}  # default", row.key),
        };
    }
    text
}
