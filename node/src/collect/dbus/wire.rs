//! Messages of D-Bus as bytes, little endian.

use super::Question;

/// What every message begins with: kind, lengths, serial, and the length of its fields.
pub(super) const HEAD: usize = 16;

/// The kinds of messages that are answers.
const RETURN: u8 = 2;
const ERROR: u8 = 3;
/// The one that is sent, and that nobody is to be started for it.
const CALL: u8 = 1;
const NO_AUTO_START: u8 = 2;

/// Writes values, each at a multiple of its size.
#[derive(Debug, Default)]
pub(in crate::collect) struct Writer(Vec<u8>);

impl Writer {
    pub(in crate::collect) fn new() -> Self {
        Self::default()
    }

    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    pub(in crate::collect) fn number(&mut self, value: u32) {
        self.align(4);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(in crate::collect) fn text(&mut self, text: &str) {
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    pub(in crate::collect) fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(signature.as_bytes());
        self.0.push(0);
    }

    /// A list whose elements stand at multiples of `align`.
    pub(in crate::collect) fn list(&mut self, align: usize, write: impl FnOnce(&mut Self)) {
        self.number(0);
        let length_at = self.0.len() - 4;
        self.align(align);
        let from = self.0.len();
        write(self);
        let length = u32::try_from(self.0.len() - from).unwrap_or(u32::MAX);
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    #[cfg(test)]
    pub(in crate::collect) fn long(&mut self, value: u64) {
        self.align(8);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    #[cfg(test)]
    pub(super) const fn of(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    #[cfg(test)]
    pub(in crate::collect) fn structure(&mut self) {
        self.align(8);
    }

    /// What was written.
    #[cfg(test)]
    pub(in crate::collect) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn message(kind: u8, serial: u32, fields: impl FnOnce(&mut Writer), body: &Writer) -> Vec<u8> {
    let mut out = Writer(vec![b'l', kind, NO_AUTO_START, 1]);
    out.number(u32::try_from(body.0.len()).unwrap_or(u32::MAX));
    out.number(serial);
    out.list(8, fields);
    out.align(8);
    out.0.extend_from_slice(&body.0);
    out.0
}

/// A field of a head: its number, and its text.
fn field(out: &mut Writer, number: u8, signature: &str, text: &str) {
    out.align(8);
    out.0.push(number);
    out.signature(signature);
    if signature == "g" { out.signature(text) } else { out.text(text) }
}

/// The bytes of a question.
pub(super) fn call(serial: u32, question: Question<'_>, signature: &str, body: &Writer) -> Vec<u8> {
    let Question { destination, path, interface, member } = question;
    let fields = |out: &mut Writer| {
        field(out, 1, "o", path);
        field(out, 2, "s", interface);
        field(out, 3, "s", member);
        field(out, 6, "s", destination);
        if !signature.is_empty() {
            field(out, 8, "g", signature);
        }
    };
    message(CALL, serial, fields, body)
}

/// How many bytes follow a head; `None` for what is none.
pub(super) fn rest(head: &[u8; HEAD]) -> Option<usize> {
    let number = |at: usize| Some(u32::from_le_bytes(*head.get(at..)?.first_chunk()?) as usize);
    if head[0] != b'l' || head[3] != 1 {
        return None;
    }
    // The body begins at a multiple of 8.
    (HEAD + number(12)?).checked_next_multiple_of(8)?.checked_add(number(4)?)?.checked_sub(HEAD)
}

/// A message that came.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    /// The serial of the question that it answers.
    pub(super) to: Option<u32>,
    pub(super) error: Option<String>,
    pub(super) body: &'a [u8],
}

/// Reads a whole message; `None` when it is none.
pub(super) fn answer(message: &[u8]) -> Option<Answer<'_>> {
    let mut reader = Reader::new(message);
    let (_, kind) = (reader.byte()?, reader.byte()?);
    reader.at = 12;
    let (mut to, mut error) = (None, None);
    reader.list(8, |reader| {
        reader.align(8)?;
        let number = reader.byte()?;
        match reader.variant()? {
            "u" => {
                let value = reader.number()?;
                to = if number == 5 { Some(value) } else { to };
            }
            "g" => drop(reader.signature()?),
            "s" | "o" => {
                let text = reader.text()?;
                if number == 4 && kind == ERROR {
                    error = Some(text.chars().take(200).filter(|c| !c.is_control()).collect());
                }
            }
            _ => return None,
        }
        Some(())
    })?;
    reader.align(8)?;
    if kind == ERROR && error.is_none() {
        error = Some("an error without a name".to_owned());
    }
    let to = to.filter(|_| [RETURN, ERROR].contains(&kind));
    Some(Answer { to, error, body: message.get(reader.at..)? })
}

/// Reads values. Everything is `None` where bytes are missing or are something else.
#[derive(Debug, Clone)]
pub(in crate::collect) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(in crate::collect) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(in crate::collect) fn align(&mut self, to: usize) -> Option<()> {
        self.at = self.at.checked_next_multiple_of(to).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(taken)
    }

    pub(in crate::collect) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    pub(in crate::collect) fn number(&mut self) -> Option<u32> {
        self.align(4)?;
        self.take(4)?.first_chunk().map(|four| u32::from_le_bytes(*four))
    }

    pub(in crate::collect) fn long(&mut self) -> Option<u64> {
        self.align(8)?;
        self.take(8)?.first_chunk().map(|eight| u64::from_le_bytes(*eight))
    }

    pub(in crate::collect) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        self.byte()?;
        Some(text)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = self.byte()?;
        let text = std::str::from_utf8(self.take(length.into())?).ok()?;
        self.byte()?;
        Some(text)
    }

    /// The type of the value that follows in a variant.
    pub(in crate::collect) fn variant(&mut self) -> Option<&'a str> {
        self.signature()
    }

    /// A list whose elements stand at multiples of `align`.
    pub(in crate::collect) fn list<T>(
        &mut self,
        align: usize,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let length = usize::try_from(self.number()?).ok()?;
        self.align(align)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let mut all = Vec::new();
        while self.at < end {
            let before = self.at;
            all.push(read(self)?);
            // What takes no bytes would never end.
            if self.at == before || self.at > end {
                return None;
            }
        }
        Some(all)
    }
}

#[cfg(test)]
pub(super) fn answer_for_test(to: u32, error: Option<&str>, body: &Writer) -> Vec<u8> {
    let fields = |out: &mut Writer| {
        out.align(8);
        out.0.push(5);
        out.signature("u");
        out.number(to);
        if let Some(error) = error {
            field(out, 4, "s", error);
        }
    };
    message(if error.is_some() { ERROR } else { RETURN }, 7, fields, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_question_is_laid_out_as_the_specification_has_it() {
        let question = Question { destination: "a.b", path: "/", interface: "c.d", member: "E" };
        let mut body = Writer::new();
        body.text("x");
        let bytes = call(1, question, "s", &body);
        assert_eq!(bytes[..16], [b'l', 1, 2, 1, 6, 0, 0, 0, 1, 0, 0, 0, 71, 0, 0, 0], "{bytes:?}");
        assert_eq!(bytes[16..26], [1, 1, b'o', 0, 1, 0, 0, 0, b'/', 0], "{bytes:?}");
        assert_eq!(bytes[bytes.len() - 6..], [1, 0, 0, 0, b'x', 0]);
        assert_eq!(rest(bytes.first_chunk().unwrap()), Some(bytes.len() - HEAD));
        assert_eq!(answer(&bytes).unwrap().to, None, "a question answers nothing");
    }

    #[test]
    fn an_answer_is_read_back_and_a_cut_one_is_none() {
        let mut body = Writer::new();
        body.list(8, |out| {
            out.structure();
            out.text("one.service");
            out.long(u64::MAX);
        });
        let bytes = answer_for_test(9, None, &body);
        let read = answer(&bytes).unwrap();
        assert_eq!((read.to, read.error), (Some(9), None));
        let of = |reader: &mut Reader<'_>| {
            reader.list(8, |reader| {
                reader.align(8)?;
                Some((reader.text()?.to_owned(), reader.long()?))
            })
        };
        assert_eq!(of(&mut Reader::new(read.body)), Some(vec![("one.service".to_owned(), u64::MAX)]));
        for n in 0..body.bytes().len() {
            assert_eq!(of(&mut Reader::new(&body.bytes()[..n])), None, "{n}");
        }
        let refused = answer_for_test(9, Some("org.freedesktop.DBus.Error.ServiceUnknown"), &Writer::new());
        assert!(answer(&refused).unwrap().error.unwrap().ends_with("ServiceUnknown"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = answer(&bytes);
            if let Some(head) = bytes.first_chunk() {
                let _ = rest(head);
            }
            let _ = Reader::new(&bytes).list(8, |reader| reader.text().map(str::len));
            let _ = Reader::new(&bytes).list(1, |_| Some(()));
        }
    }
}
