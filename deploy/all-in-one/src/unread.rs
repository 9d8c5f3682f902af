//! Output that nobody reads any more, as of `starling rules backtest | head -1`.

use std::{
    io,
    panic::{self, PanicHookInfo},
    process,
};

/// What a shell shows for a program that ended by SIGPIPE: 128 and its number.
const CODE: i32 = 141;
/// `EPIPE` of Linux and macOS.
const BROKEN_PIPE: i32 = 32;

/// From now on printing to a closed pipe ends the process without a word, as `SIGPIPE` ends other tools: the standard
/// library ignores that signal and `println!` panics instead, with a text that says nothing of a pipe to a person.
pub(crate) fn ends_quietly() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if is_unread(info) {
            process::exit(CODE);
        }
        usual(info);
    }));
}

/// Whether it is what `print!` says when its pipe is closed.
fn is_unread(info: &PanicHookInfo<'_>) -> bool {
    let broken = io::Error::from_raw_os_error(BROKEN_PIPE).to_string();
    let text = info.payload().downcast_ref::<String>().map_or("", String::as_str);
    text.starts_with("failed printing to stdout") && text.ends_with(&broken)
}
