//! How far the clock of the host is off, by whoever keeps it: chrony, asked as `chronyc tracking` does, else systemd-timesyncd,
//! asked by the system bus. A host that has neither has nothing of this: the kernel knows whether its clock is
//! synchronised (adjtimex(2)), but there is no way to ask it without unsafe code.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    time::Duration,
};

use starling_proto::{catalogue, series::Series};
use starling_service::clock;

use super::{
    CollectConfig, CollectError, Collected, Collector,
    dbus::{Bus, DbusError, Question, Reader},
    sink::Sink,
    units::socket,
};

/// Where chrony answers questions of this host, unless it is set otherwise (`cmdport`).
const CHRONY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 323);
/// It answers at once, or is not there.
const CHRONY_WITHIN: Duration = Duration::from_millis(50);
/// systemd-timesyncd asks its server at least each 2,048 s; of two that it missed nothing is known.
const TIMESYNCD_SILENT: Duration = Duration::from_secs(2 * 2_048 + 60);

const TIMESYNCD: Question<'_> = Question {
    destination: "org.freedesktop.timesync1",
    path: "/org/freedesktop/timesync1",
    interface: "org.freedesktop.timesync1.Manager",
    member: "NTPMessage",
};

/// What is known of the clock.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Known {
    /// Whether something keeps it right.
    is_synchronised: bool,
    /// Seconds by which it is ahead of its source, as it was measured last.
    ahead: Option<f64>,
}

/// The collector.
pub(super) struct Timekeeping {
    chrony: SocketAddr,
    socket: PathBuf,
    bus: Option<Bus>,
    sequence: u32,
    offset: Series,
    synchronised: Series,
}

impl Timekeeping {
    pub(super) fn new(config: &CollectConfig) -> Self {
        Self {
            chrony: CHRONY,
            socket: socket(config),
            bus: None,
            sequence: 0,
            offset: Series::of(&catalogue::CLOCK_OFFSET, &[]),
            synchronised: Series::of(&catalogue::CLOCK_SYNCHRONISED, &[]),
        }
    }

    fn timesyncd(&mut self) -> Result<Option<Known>, DbusError> {
        if self.bus.is_none() {
            self.bus = Bus::connect(&self.socket)?;
        }
        let Some(bus) = self.bus.as_mut() else { return Ok(None) };
        match bus.property(TIMESYNCD) {
            Ok(body) => ntp_message(&body, clock::unix()).map(Some).ok_or(DbusError::Malformed("NTPMessage")),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `None` when it is not there.
    fn ask_chrony(&mut self) -> io::Result<Option<Known>> {
        self.sequence = self.sequence.wrapping_add(1);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.chrony)?;
        socket.set_read_timeout(Some(CHRONY_WITHIN))?;
        socket.send(&tracking_request(self.sequence))?;
        let mut answer = [0; 512];
        match socket.recv(&mut answer) {
            Ok(length) => Ok(tracking(&answer[..length], self.sequence)),
            // Nobody listens there, or it does not answer this user.
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_absence(error: &io::Error) -> bool {
    [io::ErrorKind::ConnectionRefused, io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&error.kind())
}

/// Version 6 of the protocol of `chronyc`; request 33 is "tracking". As long as its answer, or it would not be answered.
fn tracking_request(sequence: u32) -> [u8; ANSWER] {
    let mut request = [0; ANSWER];
    request[0] = 6;
    request[1] = 1;
    request[4..6].copy_from_slice(&33u16.to_be_bytes());
    request[8..12].copy_from_slice(&sequence.to_be_bytes());
    request
}

/// Bytes of an answer to "tracking": a head of 28, and 76.
const ANSWER: usize = 104;

/// Reads an answer to [`tracking_request`]; `None` when it is none.
fn tracking(answer: &[u8], sequence: u32) -> Option<Known> {
    let short = |at: usize| Some(u16::from_be_bytes(*answer.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u32::from_be_bytes(*answer.get(at..)?.first_chunk()?));
    let is_tracking = answer.len() >= ANSWER
        && answer[..2] == [6, 2]
        && (short(4)?, short(6)?, short(8)?) == (33, 5, 0)
        && long(16)? == sequence;
    if !is_tracking {
        return None;
    }
    let (stratum, leap) = (short(52)?, short(54)?);
    let is_synchronised = leap != 3 && stratum > 0;
    // By which the clock of the system is slow.
    let slow = float(long(68)?);
    Some(Known { is_synchronised, ahead: is_synchronised.then_some(-slow) })
}

/// A number of chrony's: 7 bits of exponent and 25 of coefficient, both with a sign.
fn float(bits: u32) -> f64 {
    let exponent = (bits as i32) >> 25;
    let coefficient = ((bits << 7) as i32) >> 7;
    f64::from(coefficient) * 2f64.powi(exponent - 25)
}

/// A variant with the last message of an NTP server: (uuuuittayttttbtt), times in microseconds.
fn ntp_message(body: &[u8], now: Duration) -> Option<Known> {
    let mut reader = Reader::new(body);
    if reader.variant()? != "(uuuuittayttttbtt)" {
        return None;
    }
    reader.align(8)?;
    let leap = reader.number()?;
    for _ in 0..4 {
        reader.number()?;
    }
    let _delay_and_dispersion = (reader.long()?, reader.long()?);
    reader.list(1, |reader| reader.byte())?;
    let [origin, received, sent, arrived] =
        [reader.long()?, reader.long()?, reader.long()?, reader.long()?].map(i128::from);
    let _spike = reader.number()?;
    let packets = reader.long()?;
    let age = now.as_micros() as i128 - arrived;
    let is_synchronised = packets > 0 && leap != 3 && age <= TIMESYNCD_SILENT.as_micros() as i128;
    // By which the server is ahead (RFC 5905, section 8).
    let behind = ((received - origin) + (sent - arrived)) as f64 / 2.0 / 1e6;
    Some(Known { is_synchronised, ahead: is_synchronised.then_some(-behind) })
}

impl Collector for Timekeeping {
    fn collect(&mut self, _: Duration, sink: &mut Sink<'_>) -> Result<Collected, CollectError> {
        let known = match self.ask_chrony().map_err(CollectError::Chrony)? {
            Some(known) => Some(known),
            None => self.timesyncd().inspect_err(|_| self.bus = None)?,
        };
        let Some(Known { is_synchronised, ahead }) = known else { return Ok(Collected::Absent) };
        sink.gauge(&self.synchronised, is_synchronised.into());
        if let Some(ahead) = ahead {
            // Saturates.
            sink.signed(&self.offset, (ahead * 1e9) as i64);
        }
        Ok(Collected::Present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::dbus::{Writer, testing::bus};
    use proptest::prelude::*;
    use starling_proto::series::{Sample, Value};

    /// What chronyd 4.3 answered when `chronyc tracking` said "0.000001035 seconds fast of NTP time".
    const CHRONYD: &str = include_str!("timekeeping/tracking.hex");

    fn chronyd() -> Vec<u8> {
        let digits: Vec<u8> = CHRONYD.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    fn timesyncd(times: [u64; 4], packets: u64, leap: u32) -> Vec<u8> {
        let mut body = Writer::new();
        body.signature("(uuuuittayttttbtt)");
        body.structure();
        for number in [leap, 4, 4, 2, u32::MAX - 22] {
            body.number(number);
        }
        body.long(1_000);
        body.long(2_000);
        body.list(1, |body| body.signature("AB"));
        times.into_iter().for_each(|time| body.long(time));
        body.number(0);
        body.long(packets);
        body.long(500);
        body.bytes().to_vec()
    }

    #[test]
    fn what_chronyd_answers_is_read() {
        let answer = chronyd();
        let sequence = u32::from_be_bytes(*answer[16..].first_chunk().unwrap());
        let known = tracking(&answer, sequence).unwrap();
        assert!(known.is_synchronised && (known.ahead.unwrap() - 1.0335e-6).abs() < 1e-9, "{known:?}");
        assert_eq!(tracking(&answer, sequence + 1), None, "an answer to another question");
        assert_eq!(tracking(&answer[..ANSWER - 1], sequence), None);
        let mut unset = answer;
        unset[55] = 3;
        assert_eq!(tracking(&unset, sequence), Some(Known { is_synchronised: false, ahead: None }));
    }

    #[test]
    fn numbers_of_chrony_have_their_own_form() {
        let of = |exponent: i32, coefficient: i32| float((exponent << 25) as u32 | (coefficient as u32 & 0x01ff_ffff));
        assert_eq!((of(2, 1 << 23), of(0, -(1 << 24)), of(-20, 1 << 23), float(0)), (1.0, -0.5, 2f64.powi(-22), 0.0));
    }

    #[test]
    fn the_offset_is_that_of_the_four_times_and_an_old_one_is_none() {
        // Sent at 100 s, received 5 ms later by a clock that is 3 ms ahead, and so back.
        let second = 1_000_000;
        let times = [100 * second, 100 * second + 8_000, 100 * second + 9_000, 100 * second + 11_000];
        let at = |seconds| ntp_message(&timesyncd(times, 3, 0), Duration::from_secs(seconds)).unwrap();
        let known = at(200);
        assert!(known.is_synchronised && (known.ahead.unwrap() + 0.003).abs() < 1e-9, "{known:?}");
        let none = Known { is_synchronised: false, ahead: None };
        assert_eq!(at(10_000), none);
        assert_eq!(ntp_message(&timesyncd(times, 0, 0), Duration::from_secs(200)), Some(none));
        assert_eq!(ntp_message(&timesyncd(times, 3, 3), Duration::from_secs(200)), Some(none));
        assert_eq!(ntp_message(&[1, b'u', 0, 0, 7, 0, 0, 0], Duration::ZERO), None);
    }

    #[test]
    fn chrony_is_asked_first_then_the_bus_and_without_both_there_is_nothing() {
        let collect = |keeping: &mut Timekeeping| {
            let mut samples: Vec<Sample> = Vec::new();
            let collected = keeping.collect(Duration::ZERO, &mut Sink::new(&mut samples)).unwrap();
            (collected, samples)
        };
        let mut keeping = Timekeeping::new(&CollectConfig { rootfs: "/nowhere".into(), ..CollectConfig::default() });
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        keeping.chrony = closed;
        assert_eq!(collect(&mut keeping).0, Collected::Absent);

        let folder = tempfile::tempdir().unwrap();
        let now = clock::unix().as_micros() as u64;
        keeping.socket = bus(
            folder.path(),
            vec![("NTPMessage", Ok(timesyncd([now, now + 8_000, now + 9_000, now + 11_000], 3, 0)))],
        );
        let (collected, samples) = collect(&mut keeping);
        assert_eq!((collected, &samples[0].value), (Collected::Present, &Value::Gauge(1)));
        assert_eq!((samples[1].series.name(), &samples[1].value), ("system.clock.offset", &Value::Gauge(-3_000_000)));

        let chrony = UdpSocket::bind("127.0.0.1:0").unwrap();
        keeping.chrony = chrony.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut request, mut answer) = ([0; 512], chronyd());
            let (length, from) = chrony.recv_from(&mut request).unwrap();
            assert!(length >= ANSWER);
            answer[16..20].copy_from_slice(&request[8..12]);
            chrony.send_to(&answer, from).unwrap();
        });
        let (collected, samples) = collect(&mut keeping);
        server.join().unwrap();
        assert_eq!((collected, samples.len()), (Collected::Present, 2));
        assert_ne!(samples[1].value, Value::Gauge(-3_000_000));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), bits: u32) {
            let _ = (tracking(&bytes, 0), ntp_message(&bytes, Duration::MAX), float(bits));
        }
    }
}
