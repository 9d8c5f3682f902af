//! A socket in plain text or under TLS, without a task of its own.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::{BufMut as _, BytesMut};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use tokio::{
    io::{Interest, Ready},
    net::{TcpSocket, TcpStream},
};

/// Read at once, more than a record of TLS.
const PIECE: usize = 17 * 1024;

/// One connection.
pub(super) struct Wire {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Under TLS, what the socket has not taken yet.
    out: BytesMut,
}

impl Wire {
    /// Connects to `address`; the handshake of TLS is made by what follows.
    pub(super) async fn connect(
        address: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        within: Duration,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_nodelay(true)?;
        let socket = tokio::select! {
            stream = socket.connect(address) => stream?,
            () = tokio::time::sleep(within) => return Err(io::ErrorKind::TimedOut.into()),
        };
        let name = || ServerName::try_from("starling").map_err(io::Error::other);
        let begin = |config: &Arc<ClientConfig>| {
            ClientConnection::new(Arc::clone(config), name()?).map(Box::new).map_err(io::Error::other)
        };
        Ok(Self { socket, tls: tls.map(begin).transpose()?, out: BytesMut::new() })
    }

    /// Waits until it can be read, or written while `wire` or the handshake has something to send.
    pub(super) async fn ready(&self, wire: &BytesMut) -> io::Result<Ready> {
        let handshake = self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        let idle = wire.is_empty() && self.out.is_empty() && !handshake;
        self.socket.ready(if idle { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE }).await
    }

    /// Reads what is there; 0 at the end of the connection.
    pub(super) fn read(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.try_read_buf(into) };
        let mut piece = [0; PIECE];
        let count = self.socket.try_read(&mut piece)?;
        let mut left = &piece[..count];
        while !left.is_empty() {
            tls.read_tls(&mut left)?;
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let at = into.len();
            into.resize(at + state.plaintext_bytes_to_read(), 0);
            tls.reader().read_exact(&mut into[at..])?;
        }
        Ok(count)
    }

    /// Writes as much of `wire` as the socket takes.
    pub(super) fn write(&mut self, wire: &mut BytesMut) -> io::Result<()> {
        match &mut self.tls {
            None => flush(&self.socket, wire),
            Some(tls) => {
                let taken = tls.writer().write(wire)?;
                drop(wire.split_to(taken));
                while tls.wants_write() {
                    tls.write_tls(&mut (&mut self.out).writer())?;
                }
                flush(&self.socket, &mut self.out)
            }
        }
    }
}

fn flush(socket: &TcpStream, bytes: &mut BytesMut) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(count) => drop(bytes.split_to(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
