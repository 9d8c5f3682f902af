//! What others named, made harmless for a terminal: names of nodes, labels, sentences of alerts and reasons come from hosts and
//! from rules, and a terminal obeys what it is sent.

use unicode_width::UnicodeWidthChar as _;

/// Stands for a character that is not shown.
const HIDDEN: char = '\u{fffd}';
/// Marks on one character: no script needs more than three, and a heap of them runs into the lines around it.
const MARKS_MAX: usize = 3;

/// `text` without what moves the cursor, changes colours, turns the direction of reading, or cannot be seen: each such
/// character becomes U+FFFD.
#[must_use]
pub fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut marks = MARKS_MAX;
    for character in text.chars() {
        if is_hidden(character) {
            shown.push(HIDDEN);
            marks = 0;
        } else if character.width() == Some(0) {
            marks += 1;
            if marks <= MARKS_MAX {
                shown.push(character);
            }
        } else {
            shown.push(character);
            marks = 0;
        }
    }
    shown
}

/// Controls, the escape of terminals among them; marks of direction; what has no width and no shape; line separators; tags.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}'
                | '\u{00ad}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        for hostile in [
            "\u{1b}[2J",
            "\u{9b}31m",
            "a\rb",
            "a\nb",
            "a\tb",
            "\u{7}",
            "\u{8}",
            "\u{7f}",
            "a\u{202e}b",
            "a\u{2066}b\u{2069}",
            "\u{200b}",
            "\u{feff}",
            "\u{2028}",
            "\u{e0041}",
            "\u{061c}",
        ] {
            let shown = harmless(hostile);
            assert!(!shown.chars().any(is_hidden), "{hostile:?} became {shown:?}");
            assert!(shown.contains(HIDDEN), "{hostile:?} is told");
        }
    }

    #[test]
    fn names_of_all_scripts_stay() {
        for name in ["web-1", "köln", "東京", "ελ", "नमस्ते", "שלום", "e\u{301}"] {
            assert_eq!(harmless(name), name);
        }
    }

    #[test]
    fn a_heap_of_marks_is_cut() {
        let heap: String = std::iter::once('a').chain(std::iter::repeat_n('\u{300}', 50)).collect();
        assert_eq!(harmless(&heap).chars().count(), 1 + MARKS_MAX);
        assert_eq!(harmless("\u{300}"), "", "a mark on nothing");
    }
}
