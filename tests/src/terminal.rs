//! A terminal of our own with a program on it: keys in, the screen out.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    num::NonZeroU16,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::Path,
    process::{Child, Command},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::{
    fs::OFlags,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use starling_testkit::eventually;

/// Bytes kept of what was written: some minutes of a busy screen.
const WRITTEN_MAX: usize = 8 << 20;

/// A program on a terminal. Killed when dropped.
#[allow(missing_debug_implementations, reason = "a parser says nothing")]
pub struct Terminal {
    child: Child,
    keys: File,
    /// Kept open, so that what the program left can be looked at.
    line: OwnedFd,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    screen: vt100::Parser,
    written: Vec<u8>,
}

impl Terminal {
    /// Starts a program, with variables beside those of this process, on a terminal of so many columns and lines.
    ///
    /// # Panics
    /// When there is no terminal, or the program does not start.
    #[must_use]
    pub fn start(program: &Path, arguments: &[&str], variables: &[(&str, &str)], (columns, lines): (u16, u16)) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("a terminal of ours");
        unlockpt(&master).expect("a terminal of ours");
        let name = ptsname(&master, Vec::new()).expect("its name").into_string().expect("a path");
        // The terminal of the program, not of this process.
        let no_line_of_ours = OFlags::NOCTTY.bits().cast_signed();
        let line =
            File::options().read(true).write(true).custom_flags(no_line_of_ours).open(&name).expect("its other end");
        tcsetwinsize(&line, Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).expect("its size");
        let end = || line.try_clone().expect("its other end");
        // A session of its own, whose terminal this is. It becomes the program: the process id is that of the program.
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(program)
            .args(arguments)
            .env_remove("NO_COLOR")
            .env("TERM", "xterm-256color")
            .envs(variables.iter().copied())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("setsid of util-linux");
        let seen = Seen { screen: vt100::Parser::new(size_of(lines), size_of(columns), 0), written: Vec::new() };
        let seen = Arc::new(Mutex::new(seen));
        let mut output = File::from(master);
        let keys = output.try_clone().expect("a second handle");
        let into = Arc::clone(&seen);
        // Ends with this process: the other end stays open for as long as the terminal is looked at.
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let mut seen = into.lock().unwrap_or_else(PoisonError::into_inner);
                seen.screen.process(&buffer[..length]);
                if seen.written.len() < WRITTEN_MAX {
                    seen.written.extend_from_slice(&buffer[..length]);
                }
            }
        });
        Self { child, keys, line: line.into(), seen }
    }

    fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Presses keys, as the bytes that a terminal sends for them.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Makes it another size.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn resize(&self, columns: u16, lines: u16) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).screen.set_size(size_of(lines), size_of(columns));
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(self.line.as_fd(), size).expect("its size");
    }

    /// The lines of the screen.
    #[must_use]
    pub fn screen(&self) -> String {
        self.look(|seen| seen.screen.screen().contents())
    }

    /// All bytes that were written to it.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        self.look(|seen| seen.written.clone())
    }

    /// Waits until all of these texts are on the screen; the screen.
    pub async fn shows(&self, texts: &[&str]) -> String {
        eventually(&format!("{texts:?} on the screen"), async || {
            let screen = self.screen();
            if texts.iter().all(|text| screen.contains(text)) { Ok(screen) } else { Err(screen) }
        })
        .await
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the program has ended; its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let seen = Arc::clone(&self.seen);
        let child = &mut self.child;
        eventually("the program ends", async || match child.try_wait() {
            Ok(Some(status)) => Ok(status.code()),
            other => {
                let screen = seen.lock().unwrap_or_else(PoisonError::into_inner).screen.screen().contents();
                Err(format!("{other:?}\n{screen}"))
            }
        })
        .await
    }

    /// Waits until the terminal is as a shell wants it: the first screen, a cursor, lines that are edited and echoed.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub async fn is_restored(&self) {
        eventually("the terminal is as it was", async || {
            let (alternate, hidden) = self.look(|seen| {
                let screen = seen.screen.screen();
                (screen.alternate_screen(), screen.hide_cursor())
            });
            let modes = tcgetattr(self.line.as_fd()).expect("its modes").local_modes;
            let cooked = modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            if !alternate && !hidden && cooked { Ok(()) } else { Err(format!("{alternate} {hidden} {modes:?}")) }
        })
        .await;
    }
}

/// At least one.
fn size_of(cells: u16) -> NonZeroU16 {
    NonZeroU16::new(cells).unwrap_or(NonZeroU16::MIN)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
