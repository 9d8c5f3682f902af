//! Whether this aggregator lost all its nodes at once. Then it is more likely cut off from them than that all of them failed in
//! one moment, and nobody is called gone for it before the nodes had time to go elsewhere.

/// Nodes from which on that is said: a handful can fail together.
pub const LEAST: u32 = 5;
/// Seconds in which no node is called gone whose stream was lost so.
pub const UNSURE: u32 = 60;
/// Seconds within which a node must have reported to be one that was lost just now.
pub const LATELY: u32 = 10;

/// Of how many nodes; 0 while it hears some.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Blind {
    lost: u32,
}

impl Blind {
    /// So many nodes are connected here, so many are expected anywhere, and so many were connected here a
    /// moment ago, did not end their streams, and are connected nowhere ([`LATELY`]). Returns how many were lost; 0 while it
    /// is not blind.
    pub const fn see(&mut self, connected: u32, expected: u32, lost: u32) -> u32 {
        // They are missed one after another.
        let more = lost > self.lost && lost >= LEAST;
        if connected > 0 || expected == 0 {
            self.lost = 0;
        } else if more {
            self.lost = lost;
        }
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_lost_all_its_nodes_is_blind_until_one_is_back() {
        // A37.
        let mut blind = Blind::default();
        assert_eq!(blind.see(1_000, 3_000, 0), 0);
        assert_eq!(blind.see(10, 3_000, 990), 0, "it hears some");
        assert_eq!(blind.see(0, 3_000, 998), 998);
        assert_eq!(blind.see(0, 3_000, 1_000), 1_000);
        assert_eq!(blind.see(0, 3_000, 0), 1_000, "they went elsewhere, and it hears nobody yet");
        assert_eq!(blind.see(1, 3_000, 0), 0);
        assert_eq!(blind.see(0, 3_000, LEAST - 1), 0, "a few can fail together");
        assert_eq!(Blind::default().see(0, 0, 9), 0, "none is expected any more");
    }
}
