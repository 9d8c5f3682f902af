//! A bus for tests, that answers what it is told to.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
};

use super::{Writer, wire};

/// Answers each question by its member: a body, or the name of an error. One that is not among them is unknown.
pub(in crate::collect) fn bus(folder: &Path, answers: Vec<(&'static str, Result<Vec<u8>, &'static str>)>) -> PathBuf {
    let socket = folder.join("system_bus_socket");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Ends with the other end.
            let _ = serve(stream.unwrap(), &answers);
        }
    });
    socket
}

fn serve(mut stream: UnixStream, answers: &[(&str, Result<Vec<u8>, &str>)]) -> std::io::Result<()> {
    let line = |stream: &mut UnixStream| {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        std::io::Result::Ok(line)
    };
    assert!(line(&mut stream)?.starts_with(b"\0AUTH EXTERNAL "));
    stream.write_all(b"OK 1234\r\n")?;
    assert_eq!(line(&mut stream)?, b"BEGIN\r\n");
    loop {
        let mut head = [0; wire::HEAD];
        stream.read_exact(&mut head)?;
        let mut rest = vec![0; wire::rest(&head).unwrap()];
        stream.read_exact(&mut rest)?;
        let serial = u32::from_le_bytes(*head[8..].first_chunk().unwrap());
        let asks = |member: &str| rest.windows(member.len()).any(|part| part == member.as_bytes());
        let unknown = Err("org.freedesktop.DBus.Error.ServiceUnknown");
        let answer = answers.iter().find(|(member, _)| asks(member)).map_or(unknown, |(_, answer)| answer.clone());
        // A signal that nobody asked for comes before each answer.
        stream.write_all(&wire::answer_for_test(u32::MAX, None, &Writer::new()))?;
        let bytes = match answer {
            Ok(body) => wire::answer_for_test(serial, None, &Writer::of(body)),
            Err(_) if asks("Hello") => wire::answer_for_test(serial, None, &Writer::new()),
            Err(error) => wire::answer_for_test(serial, Some(error), &Writer::new()),
        };
        stream.write_all(&bytes)?;
    }
}
