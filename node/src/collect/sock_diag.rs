//! Asks the kernel for every TCP socket over netlink (sock_diag(7)).
//!
//! `/proc/net/tcp` says the same at fifteen times the cost, because it writes text for a walk over the whole table
//! (262,144 places on a small host). Here one walk serves IPv4 and IPv6: the request is the one of the first version
//! of the interface (`TCPDIAG_GETSOCK`, `struct inet_diag_req` in `include/uapi/linux/inet_diag.h`), which takes both
//! families at once and which the kernel still answers; the second version takes one family, and so two walks.

use std::{io, time::Duration};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};

use super::{ports::Ports, refused::Refused};

/// Sockets read in one tick: about 2 ms, so half of what the whole daemon may cost. A larger table is read over several
/// ticks: the kernel keeps the place.
const SOCKETS_PER_TICK: u64 = 2048;
/// Ticks one pass may take: 122,880 sockets. A larger table has no numbers, rather than old ones.
const TICKS_PER_PASS: u32 = 60;
/// What the kernel fills at once at most (`netlink_dump` in `net/netlink/af_netlink.c`).
const BUFFER_BYTES: usize = 32 * 1024;
/// A connection without data in both directions for longer than this is idle.
const IDLE_MS: u32 = 300_000;

const TCPDIAG_GETSOCK: u16 = 18;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = HEADER_BYTES + 60;
/// `struct inet_diag_msg`; attributes follow it.
const MESSAGE_BYTES: usize = 72;
const INET_DIAG_INFO: u16 = 2;

/// Names of the states by number, after the semantic conventions (`network.connection.state`). Numbers are those of
/// `include/net/tcp_states.h`; 0 does not exist and 7, closed, is not in any table.
pub(super) const STATES: [Option<&str>; 12] = [
    None,
    Some("established"),
    Some("syn_sent"),
    Some("syn_received"),
    Some("fin_wait_1"),
    Some("fin_wait_2"),
    Some("time_wait"),
    None,
    Some("close_wait"),
    Some("last_ack"),
    Some("listen"),
    Some("closing"),
];
const ESTABLISHED: usize = 1;
const LISTEN: usize = 10;

/// Why the sockets could not be listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SockDiagError {
    /// The socket could not be opened, written or read.
    #[error("netlink socket")]
    Socket(#[from] io::Error),
    /// The kernel answered with an error.
    #[error("the kernel refused the request")]
    Refused(#[source] io::Error),
    /// The answer is not what the kernel documents.
    #[error("malformed answer")]
    Malformed,
    /// The pass took more than [`TICKS_PER_PASS`].
    #[error("more sockets than can be read in {TICKS_PER_PASS} ticks")]
    TooMany,
}

impl SockDiagError {
    /// True when the kernel was built without the interface.
    pub(super) fn is_absent(&self) -> bool {
        // EPROTONOSUPPORT on opening, ENOENT on asking.
        matches!(self, Self::Socket(error) if error.raw_os_error() == Some(93))
            || matches!(self, Self::Refused(error) if error.raw_os_error() == Some(2))
    }
}

/// The sockets counted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    /// By number of the state.
    pub(super) states: [u64; STATES.len()],
    /// Established and silent for more than 300 s in both directions.
    pub(super) idle: u64,
    /// Established, and idle or with more than 2 % of its segments sent again since it was opened.
    pub(super) warning: u64,
    /// Those established, by local port.
    pub(super) ports: Ports,
}

impl Tally {
    /// Established connections: healthy, in warning.
    pub(super) fn established(&self) -> [u64; 2] {
        [self.states[ESTABLISHED].saturating_sub(self.warning), self.warning]
    }
}

/// A pass over the table, perhaps longer than a tick.
pub(super) struct SockDiag {
    buffer: Box<[u8]>,
    budget: Budget,
    socket: Option<Socket>,
    pass: Option<Pass>,
    refused: Refused,
}

#[derive(Debug, Clone, Copy)]
struct Budget {
    sockets_per_tick: u64,
    ticks_per_pass: u32,
}

struct Pass {
    tally: Tally,
    ticks: u32,
}

/// Whether more of an answer is to come.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// So many sockets, and more to come.
    More(u64),
    Done,
}

impl SockDiag {
    pub(super) fn new() -> Self {
        Self::with_budget(Budget { sockets_per_tick: SOCKETS_PER_TICK, ticks_per_pass: TICKS_PER_PASS })
    }

    fn with_budget(budget: Budget) -> Self {
        let refused = Refused::once_in(Duration::from_secs(1));
        Self { buffer: vec![0; BUFFER_BYTES].into(), budget, socket: None, pass: None, refused }
    }

    /// Goes on with the pass, or starts one, and reads up to [`SOCKETS_PER_TICK`]. Gives the tally when the pass is
    /// through, which with fewer sockets is at once. Never waits: the kernel makes the answer inside the read.
    ///
    /// # Errors
    /// [`SockDiagError`]; the next call starts again with a new socket, and when the kernel refuses, one in ten minutes.
    pub(super) fn read(&mut self) -> Result<Option<Tally>, SockDiagError> {
        if let Some(refusal) = self.refused.stands() {
            return Err(SockDiagError::Refused(refusal));
        }
        let result = self.advance();
        if let Err(error) = &result {
            self.socket = None;
            self.pass = None;
            if let SockDiagError::Socket(error) | SockDiagError::Refused(error) = error {
                self.refused.note(error);
            }
        }
        result
    }

    fn advance(&mut self) -> Result<Option<Tally>, SockDiagError> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(open()?),
        };
        let pass = match &mut self.pass {
            Some(pass) => pass,
            none => {
                let request = request();
                if socket.send(&request, 0)? != request.len() {
                    return Err(SockDiagError::Malformed);
                }
                none.insert(Pass { tally: Tally::default(), ticks: 0 })
            }
        };
        pass.ticks += 1;
        if pass.ticks > self.budget.ticks_per_pass {
            return Err(SockDiagError::TooMany);
        }
        let mut read = 0;
        while read < self.budget.sockets_per_tick {
            let length = socket.recv(&mut &mut self.buffer[..], 0)?;
            let answer = self.buffer.get(..length).ok_or(SockDiagError::Malformed)?;
            match digest(answer, &mut pass.tally)? {
                Progress::More(sockets) => read += sockets.max(1),
                Progress::Done => return Ok(self.pass.take().map(|pass| pass.tally)),
            }
        }
        Ok(None)
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    // Only the kernel may answer.
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// A request for all TCP sockets of both families that are in a state with a name, with their `tcp_info`.
fn request() -> [u8; REQUEST_BYTES] {
    let mut states = 0u32;
    for (number, name) in STATES.iter().enumerate() {
        states |= u32::from(name.is_some()) << number;
    }
    let mut request = [0u8; REQUEST_BYTES];
    {
        let mut header = NetlinkBuffer::new(&mut request);
        header.set_length(REQUEST_BYTES as u32);
        header.set_message_type(TCPDIAG_GETSOCK);
        header.set_flags(NLM_F_REQUEST | NLM_F_DUMP);
    }
    // idiag_family, idiag_src_len, idiag_dst_len, idiag_ext; 48 bytes of an address; idiag_states; idiag_dbs.
    let body = &mut request[HEADER_BYTES..];
    body[3] = 1 << (INET_DIAG_INFO - 1);
    body[52..56].copy_from_slice(&states.to_ne_bytes());
    request
}

/// Adds the sockets in one part of the answer to `tally`.
fn digest(answer: &[u8], tally: &mut Tally) -> Result<Progress, SockDiagError> {
    let mut rest = answer;
    let mut sockets = 0;
    while !rest.is_empty() {
        let message = NetlinkBuffer::new_checked(rest).map_err(|_| SockDiagError::Malformed)?;
        let payload = message.payload();
        match message.message_type() {
            NLMSG_DONE => return Ok(Progress::Done),
            NLMSG_ERROR => {
                let errno = number(payload, 0).ok_or(SockDiagError::Malformed)?;
                return Err(SockDiagError::Refused(io::Error::from_raw_os_error(errno.cast_signed().wrapping_neg())));
            }
            _ => {
                count(payload, tally).ok_or(SockDiagError::Malformed)?;
                sockets += 1;
            }
        }
        // Messages start at multiples of four.
        let step = (message.length() as usize).next_multiple_of(4);
        rest = rest.get(step..).unwrap_or_default();
    }
    Ok(Progress::More(sockets))
}

/// Adds one socket: a `struct inet_diag_msg` and its attributes.
fn count(payload: &[u8], tally: &mut Tally) -> Option<()> {
    let (message, attributes) = payload.split_at_checked(MESSAGE_BYTES)?;
    let state = usize::from(message[1]);
    *tally.states.get_mut(state)? += 1;
    // idiag_sport, in network order.
    let port = u16::from_be_bytes([message[4], message[5]]);
    if state == LISTEN {
        tally.ports.listens(port);
    }
    if state != ESTABLISHED {
        return Some(());
    }
    let mut warning = false;
    if let Some(info) = attribute(attributes, INET_DIAG_INFO) {
        let silent = |offset| number(info, offset).is_some_and(|ms| ms > IDLE_MS);
        let idle = silent(tcp_info::LAST_DATA_SENT) && silent(tcp_info::LAST_DATA_RECEIVED);
        let retransmits = match (number(info, tcp_info::TOTAL_RETRANS), number(info, tcp_info::SEGS_OUT)) {
            (Some(again), Some(sent)) => u64::from(again) * 50 > u64::from(sent),
            _ => false, // before Linux 4.2
        };
        warning = idle || retransmits;
        tally.idle += u64::from(idle);
    }
    tally.warning += u64::from(warning);
    tally.ports.established(port, warning);
    Some(())
}

/// Offsets in `struct tcp_info` (`include/uapi/linux/tcp.h`), which only ever grows at its end. Each is 32 bits.
mod tcp_info {
    /// `tcpi_last_data_sent`, ms.
    pub(super) const LAST_DATA_SENT: usize = 44;
    /// `tcpi_last_data_recv`, ms.
    pub(super) const LAST_DATA_RECEIVED: usize = 52;
    /// `tcpi_total_retrans`, segments.
    pub(super) const TOTAL_RETRANS: usize = 100;
    /// `tcpi_segs_out`, segments, those sent again among them.
    pub(super) const SEGS_OUT: usize = 136;
}

/// The value of the attribute `kind`: length and kind of 16 bits each, the value, padding to a multiple of four.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let found = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        let value = attributes.get(4..length)?;
        if found == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn number(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut message = vec![0; HEADER_BYTES];
        message[..4].copy_from_slice(&((HEADER_BYTES + payload.len()) as u32).to_ne_bytes());
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(payload);
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    /// A socket in `state`; `info` is ms since sent and received, segments sent again and sent.
    fn socket(state: u8, info: Option<[u32; 4]>) -> Vec<u8> {
        let mut payload = vec![0; MESSAGE_BYTES];
        payload[1] = state;
        payload.extend([5, 0, 8, 0, 1, 0, 0, 0]); // INET_DIAG_SHUTDOWN, one byte and padding
        if let Some(values) = info {
            let mut info = vec![0; 232];
            for (offset, value) in [44, 52, 100, 136].into_iter().zip(values) {
                info[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
            }
            payload.extend([236, 0, 2, 0]);
            payload.extend(info);
        }
        message(TCPDIAG_GETSOCK, &payload)
    }

    #[test]
    fn states_idle_and_warning() {
        let answer = [
            socket(1, Some([0, 0, 0, 1000])),
            socket(1, Some([300_001, 300_001, 0, 10])),
            socket(1, Some([300_001, 299_999, 0, 10])),
            socket(1, Some([5, 5, 21, 1000])),
            socket(1, Some([5, 5, 20, 1000])),
            socket(6, None),
            socket(10, None),
        ]
        .concat();
        let mut tally = Tally::default();
        assert_eq!(digest(&answer, &mut tally).unwrap(), Progress::More(7));
        assert_eq!((tally.states[1], tally.states[6], tally.states[10]), (5, 1, 1));
        assert_eq!((tally.idle, tally.warning), (1, 2));
        assert_eq!(digest(&message(NLMSG_DONE, &[0; 4]), &mut tally).unwrap(), Progress::Done);
    }

    #[test]
    fn refusals_and_rubbish() {
        let mut tally = Tally::default();
        let refused = digest(&message(NLMSG_ERROR, &(-2i32).to_ne_bytes()), &mut tally).unwrap_err();
        assert!(refused.is_absent(), "{refused:?}");
        let refused = digest(&message(NLMSG_ERROR, &(-1i32).to_ne_bytes()), &mut tally).unwrap_err();
        assert!(matches!(&refused, SockDiagError::Refused(error) if error.kind() == io::ErrorKind::PermissionDenied));
        assert!(!refused.is_absent());
        for bad in [vec![1, 2, 3], message(20, &[0; 71]), socket(12, None), message(NLMSG_ERROR, &[])] {
            assert!(matches!(digest(&bad, &mut tally), Err(SockDiagError::Malformed)), "{bad:?}");
        }
    }

    /// One whole pass, and the ticks it took: other sockets of this host may make it long. `None` without sock_diag.
    fn pass(diag: &mut SockDiag) -> Option<(Tally, u32)> {
        for ticks in 1.. {
            match diag.read() {
                Err(error) if error.is_absent() => return None,
                result => {
                    if let Some(tally) = result.unwrap() {
                        return Some((tally, ticks));
                    }
                }
            }
        }
        None
    }

    #[test]
    fn this_kernel_lists_both_families() {
        let mut listeners = vec![TcpListener::bind("127.0.0.1:0").unwrap()];
        listeners.extend(TcpListener::bind((Ipv6Addr::LOCALHOST, 0)));
        let mut open = Vec::new();
        for listener in &listeners {
            for _ in 0..5 {
                open.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
                open.push(listener.accept().unwrap().0);
            }
        }
        let mut diag = SockDiag::new();
        for _ in 0..2 {
            // The second pass is over the same socket.
            let Some((tally, _)) = pass(&mut diag) else { return };
            for listener in &listeners {
                let port = listener.local_addr().unwrap().port();
                let mut alone = Ports::default();
                alone.listens(port);
                (0..5).for_each(|_| alone.established(port, false));
                assert!(tally.ports.has(&alone), "the five of {port}: {tally:?}");
            }
            assert!(tally.states[ESTABLISHED] >= 10 * listeners.len() as u64, "{tally:?}");
            assert!(tally.states[10] >= listeners.len() as u64, "{tally:?}");
        }
    }

    #[test]
    fn a_table_beyond_the_budget_is_refused_and_read_again() {
        let mut diag = SockDiag::with_budget(Budget { sockets_per_tick: 0, ticks_per_pass: 2 });
        match diag.read() {
            Err(error) if error.is_absent() => return,
            result => assert_eq!(result.unwrap(), None),
        }
        assert_eq!(diag.read().unwrap(), None);
        assert!(matches!(diag.read(), Err(SockDiagError::TooMany)));
        diag.budget = Budget { sockets_per_tick: u64::MAX, ticks_per_pass: 1 };
        assert!(diag.read().unwrap().is_some());
    }

    #[test]
    fn a_large_table_takes_several_ticks() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut open = Vec::new();
        for _ in 0..150 {
            open.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            open.push(listener.accept().unwrap().0);
        }
        let mut diag = SockDiag::with_budget(Budget { sockets_per_tick: 1, ticks_per_pass: u32::MAX });
        for _ in 0..2 {
            let Some((tally, ticks)) = pass(&mut diag) else { return };
            assert!(ticks > 1 && tally.states[ESTABLISHED] >= 300, "{ticks} {tally:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400), state in any::<u8>()) {
            let mut tally = Tally::default();
            let _ = digest(&bytes, &mut tally);
            let mut payload = vec![0, state];
            payload.extend(&bytes);
            let _ = digest(&message(20, &payload), &mut tally);
            let established = [&[0, 1][..], &[0; 70], &bytes].concat();
            let _ = digest(&message(20, &established), &mut tally);
        }
    }
}
