//! One gRPC stream on one HTTP/2 connection, client side, as far as the load driver needs it: RFC 9113 frames, header
//! literals without compression (RFC 7541 section 6.2.2), flow control both ways. Pure: bytes in, bytes out.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;

/// Frame types of RFC 9113 section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// Flag of SETTINGS and PING: an answer. Of DATA and HEADERS the same bit: the end of the stream.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
/// Flag of HEADERS: no continuation follows.
const END_HEADERS: u8 = 4;
/// The setting that gives the window of a new stream.
const INITIAL_WINDOW_SIZE: u16 = 4;
/// The window before anything else is said, of the connection and of a stream.
const WINDOW: i64 = 65_535;
/// The largest payload every receiver takes.
const PAYLOAD_MAX: usize = 16_384;
/// Received bytes after which their window is given back.
const GIVE_BACK: u32 = 16_384;
const HEADER: usize = 9;
/// The only stream.
const STREAM: u32 = 1;

/// Why a connection is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Over {
    /// The server ended the stream.
    #[error("the aggregator ended the stream")]
    Ended,
    /// RST_STREAM or GOAWAY, with its code.
    #[error("the aggregator closed the connection with frame type {kind}, code {code}")]
    Closed { kind: u8, code: u32 },
}

/// The client's end of the stream.
#[derive(Debug)]
pub(super) struct GrpcStream {
    /// To be written to the socket.
    pub(super) wire: BytesMut,
    /// Messages that wait for a window.
    waiting: BytesMut,
    connection_window: i64,
    stream_window: i64,
    initial_window: i64,
    read: BytesMut,
    messages: BytesMut,
    to_give_back: u32,
}

impl GrpcStream {
    /// The connection's first bytes and the request of `path`.
    pub(super) fn open(authority: &str, path: &str) -> Self {
        let mut wire = BytesMut::from(&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..]);
        put_frame(&mut wire, SETTINGS, 0, 0, &[]);
        // 0x83 `:method: POST`, 0x86 `:scheme: http`; 0x04, 0x01 and 0x0f 0x10 name `:path`, `:authority` and
        // `content-type` by the static table.
        let mut headers = vec![0x83, 0x86, 0x04];
        put_text(&mut headers, path);
        headers.push(0x01);
        put_text(&mut headers, authority);
        headers.extend_from_slice(&[0x0f, 0x10]);
        put_text(&mut headers, "application/grpc");
        headers.push(0x00);
        put_text(&mut headers, "te");
        put_text(&mut headers, "trailers");
        put_frame(&mut wire, HEADERS, END_HEADERS, STREAM, &headers);
        Self {
            wire,
            waiting: BytesMut::new(),
            connection_window: WINDOW,
            stream_window: WINDOW,
            initial_window: WINDOW,
            read: BytesMut::new(),
            messages: BytesMut::new(),
            to_give_back: 0,
        }
    }

    /// Queues a message and moves to the wire what the windows allow. Returns its length with the gRPC prefix.
    pub(super) fn send(&mut self, message: &impl Message) -> usize {
        let length = message.encoded_len();
        self.waiting.reserve(5 + length);
        self.waiting.put_u8(0);
        self.waiting.put_u32(length as u32);
        message.encode_raw(&mut self.waiting);
        self.pump();
        5 + length
    }

    fn pump(&mut self) {
        while !self.waiting.is_empty() {
            let room = self.connection_window.min(self.stream_window).max(0) as usize;
            let length = self.waiting.len().min(room).min(PAYLOAD_MAX);
            if length == 0 {
                return;
            }
            let payload = self.waiting.split_to(length);
            put_frame(&mut self.wire, DATA, 0, STREAM, &payload);
            self.connection_window -= length as i64;
            self.stream_window -= length as i64;
        }
    }

    /// Where the socket's bytes go; [`GrpcStream::take_in`] afterwards.
    pub(super) fn read_buffer(&mut self) -> &mut BytesMut {
        self.read.reserve(512);
        &mut self.read
    }

    /// Works through what was read; messages are then ready in [`GrpcStream::next_message`].
    pub(super) fn take_in(&mut self) -> Result<(), Over> {
        while self.read.len() >= HEADER {
            let length = usize::from(self.read[0]) << 16 | usize::from(self.read[1]) << 8 | usize::from(self.read[2]);
            if self.read.len() < HEADER + length {
                break;
            }
            let (kind, flags) = (self.read[3], self.read[4]);
            let mut payload = self.read.split_to(HEADER + length).freeze();
            let stream = payload.slice(5..HEADER).get_u32() & 0x7fff_ffff;
            payload.advance(HEADER);
            self.frame(kind, flags, stream, payload)?;
        }
        Ok(())
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, mut payload: Bytes) -> Result<(), Over> {
        match kind {
            SETTINGS if flags & ACK == 0 => {
                while payload.remaining() >= 6 {
                    let (setting, value) = (payload.get_u16(), i64::from(payload.get_u32()));
                    if setting == INITIAL_WINDOW_SIZE {
                        self.stream_window += value - self.initial_window;
                        self.initial_window = value;
                    }
                }
                put_frame(&mut self.wire, SETTINGS, ACK, 0, &[]);
                self.pump();
            }
            PING if flags & ACK == 0 => put_frame(&mut self.wire, PING, ACK, 0, &payload),
            WINDOW_UPDATE if payload.remaining() >= 4 => {
                let by = i64::from(payload.get_u32() & 0x7fff_ffff);
                *(if stream == 0 { &mut self.connection_window } else { &mut self.stream_window }) += by;
                self.pump();
            }
            DATA => {
                self.to_give_back += payload.len() as u32;
                if self.to_give_back >= GIVE_BACK {
                    let by = std::mem::take(&mut self.to_give_back).to_be_bytes();
                    put_frame(&mut self.wire, WINDOW_UPDATE, 0, 0, &by);
                    put_frame(&mut self.wire, WINDOW_UPDATE, 0, STREAM, &by);
                }
                self.messages.extend_from_slice(&payload);
                if flags & END_STREAM != 0 {
                    return Err(Over::Ended);
                }
            }
            HEADERS if flags & END_STREAM != 0 => return Err(Over::Ended),
            RST_STREAM if payload.remaining() >= 4 => return Err(Over::Closed { kind, code: payload.get_u32() }),
            GOAWAY if payload.remaining() >= 8 => {
                payload.advance(4);
                return Err(Over::Closed { kind, code: payload.get_u32() });
            }
            _ => {}
        }
        Ok(())
    }

    /// The next whole message.
    pub(super) fn next_message(&mut self) -> Option<Bytes> {
        let length = self.messages.get(1..5)?.get_u32() as usize;
        if self.messages.len() < 5 + length {
            return None;
        }
        let mut message = self.messages.split_to(5 + length);
        message.advance(5);
        Some(message.freeze())
    }
}

fn put_frame(out: &mut BytesMut, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.put_uint(payload.len() as u64, 3);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(stream);
    out.put_slice(payload);
}

/// A header text: its length in seven bits, then the bytes.
fn put_text(out: &mut Vec<u8>, text: &str) {
    assert!(text.len() < 127, "header texts of the driver are short");
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(stream: &mut GrpcStream, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Result<(), Over> {
        put_frame(stream.read_buffer(), kind, flags, id, payload);
        stream.take_in()
    }

    #[test]
    fn a_message_beyond_the_window_waits_for_it() {
        let mut stream = GrpcStream::open("127.0.0.1:1", "/a/b");
        stream.wire.clear();
        stream.send(&Bytes::from(vec![7; 100_000]));
        // The message has a tag and a length of three bytes before it, and the gRPC prefix.
        assert_eq!(stream.waiting.len(), 100_009 - 65_535);
        feed(&mut stream, WINDOW_UPDATE, 0, 0, &50_000u32.to_be_bytes()).unwrap();
        assert_eq!(stream.waiting.len(), 100_009 - 65_535, "the stream's own window is still shut");
        feed(&mut stream, WINDOW_UPDATE, 0, STREAM, &10_000u32.to_be_bytes()).unwrap();
        assert_eq!(stream.waiting.len(), 100_009 - 75_535);
        let mut settings = Vec::new();
        settings.put_u16(INITIAL_WINDOW_SIZE);
        settings.put_u32(65_535 + 100_000);
        feed(&mut stream, SETTINGS, 0, 0, &settings).unwrap();
        assert!(stream.waiting.is_empty());
    }

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let mut stream = GrpcStream::open("127.0.0.1:1", "/a/b");
        let mut bytes = BytesMut::new();
        for text in ["ab", "cde"] {
            put_frame(&mut bytes, DATA, 0, STREAM, &[&[0, 0, 0, 0, text.len() as u8], text.as_bytes()].concat());
        }
        let mut seen = Vec::new();
        for byte in bytes {
            stream.read_buffer().put_u8(byte);
            stream.take_in().unwrap();
            seen.extend(stream.next_message());
        }
        assert_eq!(seen, [Bytes::from("ab"), Bytes::from("cde")]);
    }

    #[test]
    fn an_end_is_an_end() {
        let mut stream = GrpcStream::open("127.0.0.1:1", "/a/b");
        assert_eq!(feed(&mut stream, HEADERS, END_HEADERS | END_STREAM, STREAM, &[]), Err(Over::Ended));
        let code = [0, 0, 0, 8];
        assert_eq!(feed(&mut stream, RST_STREAM, 0, STREAM, &code), Err(Over::Closed { kind: RST_STREAM, code: 8 }));
        stream.wire.clear();
        feed(&mut stream, PING, 0, 0, &[1; 8]).unwrap();
        assert_eq!(&stream.wire[..5], &[0, 0, 8, PING, ACK]);
    }
}
