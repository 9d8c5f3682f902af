//! Names of nodes, daemon starts and aggregator processes.

use std::{fmt, sync::Arc};

use crate::limits::NODE_ID_LEN_MAX;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, or longer than [`NODE_ID_LEN_MAX`].
    #[error("a name has 1 to {NODE_ID_LEN_MAX} characters, this one has {0}")]
    Length(usize),
    /// A character outside `[a-z0-9._-]`.
    #[error("a name is made of a-z, 0-9, '.', '_' and '-', found {0:?}")]
    Character(char),
    /// An identifier of another length than 16 bytes.
    #[error("an identifier has 16 bytes, this one has {0}")]
    Bytes(usize),
}

/// Stable name of a host or an aggregator: 1 to 64 characters of `[a-z0-9._-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// Checks a name.
    ///
    /// # Errors
    /// [`IdError::Length`] and [`IdError::Character`].
    pub fn parse(name: &str) -> Result<Self, IdError> {
        let length = name.chars().count();
        if length == 0 || length > NODE_ID_LEN_MAX {
            return Err(IdError::Length(length));
        }
        match name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-')) {
            Some(bad) => Err(IdError::Character(bad)),
            None => Ok(Self(name.into())),
        }
    }

    /// Makes a name of any text, such as a host name: lower case, cut at the limit. Other characters become `-`, and then four
    /// digits made of the text stand behind it, so that "köln" and "käln" stay two. Empty text becomes `unnamed`.
    #[must_use]
    pub fn sanitised(text: &str) -> Self {
        let text = text.to_lowercase();
        let is_taken = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
        let cut = |most| text.chars().map(|c| if is_taken(c) { c } else { '-' }).take(most).collect::<String>();
        if text.is_empty() {
            Self("unnamed".into())
        } else if text.chars().all(is_taken) {
            Self(cut(NODE_ID_LEN_MAX).into())
        } else {
            // FNV-1a, 32 bits: it must be the same in every version.
            let hash =
                text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
            let digits = format!("-{:04x}", (hash >> 16) ^ (hash & 0xffff));
            Self((cut(NODE_ID_LEN_MAX - digits.len()) + &digits).into())
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

macro_rules! id_of_16_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Takes 16 bytes as they are.
            #[must_use]
            pub const fn new(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Draws a new one.
            #[must_use]
            pub fn random() -> Self {
                Self(rand::random())
            }

            /// Reads 16 bytes from a message.
            ///
            /// # Errors
            /// [`IdError::Bytes`] for any other length.
            pub fn parse(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| IdError::Bytes(bytes.len()))
            }

            /// Reads what [`fmt::Display`] writes, 32 hexadecimal digits; `None` for anything else.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                crate::hex::decode_array(text).map(Self)
            }

            /// The 16 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// The 16 bytes, for a message.
            #[must_use]
            pub fn to_bytes(self) -> bytes::Bytes {
                bytes::Bytes::copy_from_slice(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&crate::hex::encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id_of_16_bytes! {
    /// One daemon start on one node. A frame is named by its dot: (stream, tick).
    StreamId
}

id_of_16_bytes! {
    /// One aggregator process, and so one log. A restarted process is a new writer.
    WriterId
}

/// Which machine a daemon runs on, as far as it can tell. Two that run under one name are told apart by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Made of its machine-id. The same on clones of one image, and after a reboot.
    pub id: Option<[u8; 16]>,
    /// Its boot. The same in all containers of one machine, and another one after a reboot.
    pub boot: Option<[u8; 16]>,
}

impl Machine {
    /// Reads both from a message; empty means unknown.
    ///
    /// # Errors
    /// [`IdError::Bytes`] for a length other than 0 and 16.
    pub fn parse(id: &[u8], boot: &[u8]) -> Result<Self, IdError> {
        let read = |bytes: &[u8]| match bytes.len() {
            0 => Ok(None),
            length => bytes.try_into().map(Some).map_err(|_| IdError::Bytes(length)),
        };
        Ok(Self { id: read(id)?, boot: read(boot)? })
    }

    /// Both for a message.
    #[must_use]
    pub fn to_bytes(self) -> (bytes::Bytes, bytes::Bytes) {
        let write = |part: Option<[u8; 16]>| part.map_or_else(bytes::Bytes::new, bytes::Bytes::from_owner);
        (write(self.id), write(self.boot))
    }

    /// Whether the two are known to be different machines, or one before and after a reboot. False as long as they may be
    /// one.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        let differ = |one: Option<[u8; 16]>, two: Option<[u8; 16]>| one.zip(two).is_some_and(|(one, two)| one != two);
        differ(self.boot, other.boot) || differ(self.id, other.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(NodeId::parse("web-1.example").unwrap().as_str(), "web-1.example");
        assert_eq!(NodeId::parse(""), Err(IdError::Length(0)));
        assert_eq!(NodeId::parse(&"a".repeat(65)), Err(IdError::Length(65)));
        assert_eq!(NodeId::parse("Web"), Err(IdError::Character('W')));
        let odd = NodeId::sanitised("Büro PC");
        assert!(odd.as_str().starts_with("b-ro-pc-") && odd.as_str().len() == 12, "{odd}");
        assert_eq!(odd, NodeId::sanitised("BÜRO pc"));
        assert_ne!(NodeId::sanitised("köln"), NodeId::sanitised("käln"));
        assert_eq!(NodeId::sanitised("WEB-1.Example.COM").as_str(), "web-1.example.com");
        let long = NodeId::sanitised(&"ö".repeat(200));
        assert!(long.as_str().len() == NODE_ID_LEN_MAX && NodeId::parse(long.as_str()).is_ok(), "{long}");
        assert_eq!(NodeId::sanitised("").as_str(), "unnamed");
    }

    #[test]
    fn machines_are_told_apart_only_by_what_both_know() {
        let machine = |id: u8, boot: u8| {
            let part = |n: u8| if n == 0 { Vec::new() } else { vec![n; 16] };
            Machine::parse(&part(id), &part(boot)).unwrap()
        };
        // A clone of an image, containers of one machine, another machine.
        for (one, two) in [((1, 1), (1, 2)), ((1, 1), (2, 1)), ((1, 1), (2, 2)), ((1, 0), (2, 5)), ((0, 1), (4, 2))] {
            assert!(machine(one.0, one.1).differs(&machine(two.0, two.1)), "{one:?} {two:?}");
        }
        for (one, two) in [((1, 1), (1, 1)), ((0, 0), (1, 1)), ((1, 0), (0, 1)), ((1, 2), (0, 2)), ((1, 2), (1, 0))] {
            assert!(!machine(one.0, one.1).differs(&machine(two.0, two.1)), "{one:?} {two:?}");
        }
        let (id, boot) = machine(3, 0).to_bytes();
        assert_eq!((Machine::parse(&id, &boot), boot.len()), (Ok(machine(3, 0)), 0));
        assert_eq!(Machine::parse(&[1; 15], &[]), Err(IdError::Bytes(15)));
    }

    #[test]
    fn identifiers_have_16_bytes() {
        assert_eq!(StreamId::parse(&[7; 16]).unwrap(), StreamId::new([7; 16]));
        assert_eq!(WriterId::parse(&[7; 3]), Err(IdError::Bytes(3)));
        assert_eq!(WriterId::new([0xab; 16]).to_string(), "ab".repeat(16));
        assert_ne!(StreamId::random(), StreamId::random());
    }
}
