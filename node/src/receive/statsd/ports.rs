//! Where lines come in: sockets, opened.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::net::sockopt::{set_socket_recv_buffer_size, socket_recv_buffer_size};
use starling_service::listen::ListenError;
use tokio::net::{UdpSocket, UnixDatagram, UnixListener};
use tracing::{info, warn};

/// What the settings say.
#[derive(Debug, Clone)]
pub(crate) struct StatsdSettings {
    pub(crate) listen: SocketAddr,
    /// The port was left at its default: when it is taken, it is another StatsD's.
    pub(crate) is_spare: bool,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) stream_socket: Option<PathBuf>,
    pub(crate) receive_buffer: usize,
}

/// The open sockets.
#[derive(Debug)]
pub(crate) struct StatsdPorts {
    pub(super) udp: Option<(UdpSocket, SocketAddr)>,
    pub(super) datagrams: Option<(UnixDatagram, SocketFile)>,
    pub(super) streams: Option<(UnixListener, SocketFile)>,
}

/// Removes a socket's file when it is closed.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone; another one's stays, since the next start finds that nobody listens.
        let _ = fs::remove_file(&self.0);
    }
}

impl StatsdPorts {
    /// Opens them.
    ///
    /// # Errors
    /// Names the setting. A default UDP port that is taken is none: the daemon goes on without it, and says so.
    pub(crate) fn open(settings: &StatsdSettings) -> anyhow::Result<Self> {
        let StatsdSettings { listen, is_spare, socket, stream_socket, receive_buffer } = settings;
        let udp = match udp(*listen, *receive_buffer) {
            Ok(udp) => Some(udp),
            Err(source) => {
                let is_taken = source.kind() == io::ErrorKind::AddrInUse;
                let error = ListenError { setting: "statsd_listen".to_owned(), address: *listen, source };
                if !(is_taken && *is_spare) {
                    return Err(error.into());
                }
                warn!(
                    reason = %error,
                    "StatsD is not taken by UDP: another StatsD has the default port; stop it, set statsd_listen, or set \
                     statsd = false"
                );
                None
            }
        };
        let datagrams = socket.as_deref().map(|path| {
            let (bound, file) = bind(path, "statsd_socket", |path| UnixDatagram::bind(path))?;
            enlarge(&bound, *receive_buffer, "statsd_socket");
            anyhow::Ok((bound, file))
        });
        let streams =
            stream_socket.as_deref().map(|path| bind(path, "statsd_stream_socket", |path| UnixListener::bind(path)));
        Ok(Self { udp, datagrams: datagrams.transpose()?, streams: streams.transpose()? })
    }

    /// The address by name: `statsd`, when there is one.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.udp.as_ref().map(|(_, address)| ("statsd", *address)).into_iter()
    }
}

fn udp(address: SocketAddr, receive_buffer: usize) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    enlarge(&socket, receive_buffer, "statsd_listen");
    let bound = socket.local_addr()?;
    Ok((UdpSocket::from_std(socket)?, bound))
}

/// Asks for a receive buffer; the kernel gives at most `net.core.rmem_max`, and doubles what it shows for its own use.
fn enlarge(socket: &impl std::os::fd::AsFd, wanted: usize, setting: &str) {
    let given =
        set_socket_recv_buffer_size(socket.as_fd(), wanted).and_then(|()| socket_recv_buffer_size(socket.as_fd()));
    match given {
        Ok(given) if given / 2 < wanted => {
            info!(
                setting,
                wanted,
                given = given / 2,
                "the kernel gives a smaller receive buffer; raise net.core.rmem_max for bursts beyond it"
            );
        }
        Ok(_) => {}
        Err(error) => warn!(setting, %error, "the receive buffer keeps its size"),
    }
}

/// Binds a unix socket that every user of this host may write to, as it is with a port on loopback. A file that a killed
/// daemon left is taken away; one on which somebody listens is not.
fn bind<T>(path: &Path, setting: &str, bind: impl Fn(&Path) -> io::Result<T>) -> anyhow::Result<(T, SocketFile)> {
    let of = || format!("{setting} = {:?}", path.display().to_string());
    if let Ok(found) = fs::symlink_metadata(path) {
        anyhow::ensure!(
            found.file_type().is_socket(),
            "{}: a file that is no socket stands there; set another path",
            of()
        );
        anyhow::ensure!(!is_listened_to(path), "{}: another program listens there; stop it or set another path", of());
        fs::remove_file(path).with_context(of)?;
    }
    let bound = bind(path).with_context(of)?;
    let file = SocketFile(path.to_owned());
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).with_context(of)?;
    Ok((bound, file))
}

fn is_listened_to(path: &Path) -> bool {
    use std::os::unix::net::{UnixDatagram, UnixStream};
    let datagram = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    // A socket of the other type says so by another error.
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    let stream = UnixStream::connect(path).map(drop);
    !(datagram.as_ref().is_err_and(refused) || stream.as_ref().is_err_and(refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_left_is_taken_over_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("statsd.sock");
        let datagram = |path: &Path| bind(path, "statsd_socket", |path| UnixDatagram::bind(path));
        drop(std::os::unix::net::UnixDatagram::bind(&path).unwrap());
        let first = datagram(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        let error = format!("{:#}", datagram(&path).unwrap_err());
        assert!(error.contains("statsd_socket = ") && error.contains("another program listens"), "{error}");
        drop(first);
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(bind(&path, "statsd_stream_socket", |path| UnixListener::bind(path)).unwrap());
        fs::write(&path, "x").unwrap();
        assert!(format!("{:#}", datagram(&path).unwrap_err()).contains("no socket"));
        let nowhere = format!("{:#}", datagram(Path::new("/nowhere/statsd.sock")).unwrap_err());
        assert!(nowhere.contains("/nowhere/statsd.sock") && nowhere.contains("No such file"), "{nowhere}");
    }

    #[tokio::test]
    async fn a_taken_default_port_is_done_without_and_one_that_was_set_is_not() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut settings = StatsdSettings {
            listen: taken.local_addr().unwrap(),
            is_spare: true,
            socket: None,
            stream_socket: None,
            receive_buffer: 1 << 20,
        };
        assert!(StatsdPorts::open(&settings).unwrap().udp.is_none());
        settings.is_spare = false;
        let error = format!("{:#}", StatsdPorts::open(&settings).unwrap_err());
        assert!(error.contains("statsd_listen") && error.contains("set another port"), "{error}");
        settings.listen.set_port(0);
        assert_eq!(StatsdPorts::open(&settings).unwrap().addresses().count(), 1);
    }
}
