//! A client of D-Bus that asks a few questions of the system bus: enough of the protocol for that,
//! and nothing of a runtime. A client library (zbus) brings dozens of crates, and `systemctl` costs 4 ms of a
//! processor before it has asked anything (`systemctl --version`, measured), where a question is a write and two reads.
//!
//! Services are never started by being asked: who is not there is not there.

mod wire;

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

pub(super) use wire::{Reader, Writer};

/// A bus that says nothing for this long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// Longest message that is read: a list of a thousand units has 300 KiB. The specification has 128 MiB.
const MESSAGE_MAX: usize = 1024 * 1024;
/// Other messages (signals) before an answer.
const OTHERS_MAX: usize = 64;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbusError {
    /// The socket.
    #[error("the system bus: {0}")]
    Socket(#[from] io::Error),
    /// The other end does not speak as it should.
    #[error("the system bus answers with what is no D-Bus: {0}")]
    Malformed(&'static str),
    /// The answer is an error.
    #[error("the system bus answers {0}")]
    Refused(String),
}

impl DbusError {
    /// Nobody of that name is there, or it has no such thing.
    pub(super) fn is_absence(&self) -> bool {
        const NAMES: [&str; 4] = ["ServiceUnknown", "NameHasNoOwner", "UnknownObject", "UnknownMethod"];
        matches!(self, Self::Refused(name) if NAMES.iter().any(|end| name.ends_with(end)))
    }
}

/// Whom and what to ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
}

impl Bus {
    /// Connects and says who asks, which the bus knows from the socket. `None` where there is no bus.
    ///
    /// # Errors
    /// [`DbusError`].
    pub(super) fn connect(socket: &Path) -> Result<Option<Self>, DbusError> {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        let mut stream = match UnixStream::connect(socket) {
            Ok(stream) => stream,
            Err(error) if [NotFound, ConnectionRefused].contains(&error.kind()) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        let user: String =
            rustix::process::getuid().as_raw().to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        stream.write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
            if line.len() > 200 {
                return Err(DbusError::Malformed("its greeting has no end"));
            }
        }
        if !line.starts_with(b"OK ") {
            return Err(DbusError::Refused("that it does not know this user".to_owned()));
        }
        stream.write_all(b"BEGIN\r\n")?;
        let mut bus = Self { stream, serial: 0 };
        let bus_itself = "org.freedesktop.DBus";
        let hello =
            Question { destination: bus_itself, path: "/org/freedesktop/DBus", interface: bus_itself, member: "Hello" };
        bus.ask(hello, "", &Writer::new())?;
        Ok(Some(bus))
    }

    /// Asks for a property; the answer is a variant.
    ///
    /// # Errors
    /// [`DbusError`].
    pub(super) fn property(&mut self, of: Question<'_>) -> Result<Vec<u8>, DbusError> {
        let mut body = Writer::new();
        body.text(of.interface);
        body.text(of.member);
        let get = Question { interface: "org.freedesktop.DBus.Properties", member: "Get", ..of };
        self.ask(get, "ss", &body)
    }

    /// Asks, with a `body` of that `signature`; gives the body of the answer.
    ///
    /// # Errors
    /// [`DbusError`]; the connection is of no further use after [`DbusError::Socket`] and [`DbusError::Malformed`].
    pub(super) fn ask(&mut self, question: Question<'_>, signature: &str, body: &Writer) -> Result<Vec<u8>, DbusError> {
        self.serial = self.serial.wrapping_add(1).max(1);
        self.stream.write_all(&wire::call(self.serial, question, signature, body))?;
        for _ in 0..OTHERS_MAX {
            let mut head = [0; wire::HEAD];
            self.stream.read_exact(&mut head)?;
            let rest = wire::rest(&head).filter(|rest| *rest <= MESSAGE_MAX);
            let mut message = head.to_vec();
            message.resize(wire::HEAD + rest.ok_or(DbusError::Malformed("a message without a head, or too long"))?, 0);
            self.stream.read_exact(&mut message[wire::HEAD..])?;
            let answer = wire::answer(&message).ok_or(DbusError::Malformed("the fields of a head"))?;
            if answer.to != Some(self.serial) {
                continue;
            }
            return match answer.error {
                Some(name) => Err(DbusError::Refused(name)),
                None => Ok(answer.body.to_vec()),
            };
        }
        Err(DbusError::Malformed("it says much and does not answer"))
    }
}

#[cfg(test)]
pub(super) mod testing;

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn without_a_bus_there_is_nothing_and_a_bus_that_is_none_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Bus::connect(&folder.path().join("none")).unwrap().is_none());
        let other = folder.path().join("other");
        let listener = std::os::unix::net::UnixListener::bind(&other).unwrap();
        let server = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"220 smtp ready\r\n"));
        assert!(matches!(Bus::connect(&other), Err(DbusError::Refused(_) | DbusError::Socket(_))));
        server.join().unwrap().unwrap();
    }

    /// The daemon of the reference implementation, where it is installed.
    #[test]
    fn the_bus_of_others_answers() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("bus");
        let address = format!("--address=unix:path={}", socket.display());
        let started = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--nosyslog", "--print-address", &address])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut daemon) = started else {
            eprintln!("skipped: dbus-daemon is not installed");
            return;
        };
        // It says where it listens as soon as it does.
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut bus = Bus::connect(&socket).unwrap().unwrap();
        let itself = "org.freedesktop.DBus";
        let of = |member| Question { destination: itself, path: "/org/freedesktop/DBus", interface: itself, member };
        let body = bus.ask(of("ListNames"), "", &Writer::new()).unwrap();
        let names = Reader::new(&body).list(4, |reader| reader.text().map(str::to_owned)).unwrap();
        assert!(names.iter().any(|name| name == itself) && names.iter().any(|name| name.starts_with(':')), "{names:?}");
        let interfaces = bus.property(of("Interfaces")).unwrap();
        assert_eq!(Reader::new(&interfaces).variant(), Some("as"));
        let nobody = Question { destination: "org.freedesktop.systemd1", path: "/", interface: "a.b", member: "C" };
        assert!(bus.ask(nobody, "", &Writer::new()).unwrap_err().is_absence());
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
}
