//! `/proc/PID/stat` (proc_pid_stat(5)): one line, whose second field is a name in parentheses that may hold anything.

use super::super::text;

/// Of the flags of a process: it is a thread of the kernel (`PF_KTHREAD` in `include/linux/sched.h`).
const KERNEL: u64 = 0x0020_0000;

/// Places of fields after the name.
const FLAGS: usize = 6;
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const THREADS: usize = 17;
const STARTED: usize = 19;
const RESIDENT: usize = 21;
const FIELDS: usize = RESIDENT + 1;

/// What is taken of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat<'a> {
    /// As the kernel keeps it: at most 15 bytes of a program, more of a thread of the kernel.
    pub(super) name: &'a [u8],
    pub(super) kernel: bool,
    /// One letter.
    pub(super) state: u8,
    /// Of its processor time since it began, all its threads.
    pub(super) ticks: u64,
    pub(super) threads: u64,
    /// When it began, in ticks since boot: tells it from an earlier one with its number.
    pub(super) started: u64,
    pub(super) resident_pages: u64,
}

/// `None` for anything else.
pub(super) fn parse(line: &[u8]) -> Option<Stat<'_>> {
    let open = line.iter().position(|&byte| byte == b'(')?;
    // The last one: a name may hold one.
    let close = line.iter().rposition(|&byte| byte == b')')?;
    let name = line.get(open + 1..close)?;
    let mut fields: [&[u8]; FIELDS] = [&[]; FIELDS];
    let mut words = text::words(&line[close + 1..]);
    for field in &mut fields {
        *field = words.next()?;
    }
    let number = |place: usize| text::number(fields[place]);
    let &[state] = fields[0] else { return None };
    Some(Stat {
        name,
        kernel: number(FLAGS)? & KERNEL != 0,
        state,
        ticks: number(USER_TICKS)?.checked_add(number(SYSTEM_TICKS)?)?,
        threads: number(THREADS)?,
        started: number(STARTED)?,
        resident_pages: number(RESIDENT)?,
    })
}

impl Stat<'_> {
    /// What it is called among all that run the same. The kernel has a thread for each processor, device and queue,
    /// and says which behind a slash: `kworker/u8:3-flush-8:0`.
    pub(super) fn command(&self) -> String {
        let whole = self.name;
        let name = match whole.iter().position(|&byte| byte == b'/') {
            Some(slash) if self.kernel && slash > 0 => &whole[..slash],
            _ => whole,
        };
        if name.is_empty() { "?".to_owned() } else { text::printable(name) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(name: &str, flags: u64) -> String {
        format!(
            "26411 ({name}) R 26169 26169 7833 0 -1 {flags} 96 0 0 0 30 12 0 0 20 0 1 0 155028 3133440 381 1844674 0"
        )
    }

    #[test]
    fn usual_and_odd() {
        let usual = line("cat", 4_194_304);
        let stat = parse(usual.as_bytes()).unwrap();
        let expected = Stat {
            name: b"cat",
            kernel: false,
            state: b'R',
            ticks: 42,
            threads: 1,
            started: 155_028,
            resident_pages: 381,
        };
        assert_eq!(stat, expected);
        for name in ["a) R (b", "", "x y", "((", "))"] {
            let text = line(name, 0);
            assert_eq!(parse(text.as_bytes()).map(|stat| stat.name), Some(name.as_bytes()));
        }
        for bad in ["", "1 (x", "1 x) R", "1 (x) R 1 2 3", ")(", "1 (x) RR 0 0 0 0 0 0 0 0 0 0 1 1 0 0 0 0 0 0 1 1 1"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn names_of_kernel_threads_end_at_the_slash() {
        let named = |name: &str, flags| parse(line(name, flags).as_bytes()).unwrap().command();
        assert_eq!(named("kworker/u8:3-flush-8:0", KERNEL), "kworker");
        assert_eq!(named("a/b", 0), "a/b");
        assert_eq!((named("", 0), named("/x", KERNEL)), ("?".to_owned(), "/x".to_owned()));
        assert_eq!(named("evil\u{1}\n", 0), "evil\\x01\\x0a");
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes);
        }
    }
}
