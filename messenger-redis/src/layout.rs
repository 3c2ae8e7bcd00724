use std::sync::Arc;

use redis::Client;

/// The number of slots of a cluster.
const SLOTS: usize = 1 << 14;

/// A server that has data.
#[derive(Clone)]
pub(crate) struct Member {
    /// Host and port: two members with the same address are the same.
    pub(crate) address: Arc<str>,
    pub(crate) client: Client,
}

/// Which server has what.
pub(crate) struct Layout {
    members: Vec<Member>,
    /// For each slot the place of its server in `members`, [`NOBODY`] if none has it; empty if there is only one server.
    slots: Vec<u16>,
}

const NOBODY: u16 = u16::MAX;

impl Layout {
    /// One server, which has everything.
    pub(crate) fn of_one(member: Member) -> Self {
        Self { members: vec![member], slots: vec![] }
    }

    /// A cluster that has no slots yet.
    pub(crate) fn of_cluster() -> Self {
        Self { members: vec![], slots: vec![NOBODY; SLOTS] }
    }

    /// Gives slots to a server. Slots beyond the last one don't exist.
    pub(crate) fn give(&mut self, first: usize, last: usize, member: Member) {
        let known = self.members.iter().position(|known| known.address == member.address);
        let place = known.unwrap_or_else(|| {
            self.members.push(member);
            self.members.len() - 1
        });
        let slots = self.slots.iter_mut().take(last.saturating_add(1)).skip(first);
        // A cluster has at most a thousand servers.
        slots.for_each(|slot| *slot = u16::try_from(place).unwrap_or(NOBODY));
    }

    pub(crate) fn is_cluster(&self) -> bool {
        !self.slots.is_empty()
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The server that has the key or the channel.
    pub(crate) fn of(&self, key: &str) -> Option<&Member> {
        let place = if self.is_cluster() { self.slots[slot(key)] } else { 0 };
        self.members.get(usize::from(place))
    }

    /// Whether both have everything in the same places.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let place = |layout: &'_ Self, slot: usize| {
            let member = layout.members.get(usize::from(layout.slots[slot]));
            member.map(|member| Arc::clone(&member.address))
        };
        self.slots.len() == other.slots.len()
            && if self.is_cluster() {
                (0..SLOTS).all(|slot| place(self, slot) == place(other, slot))
            } else {
                self.members[0].address == other.members[0].address
            }
    }
}

/// As in <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model>: of what stands
/// between the first `{` and the next `}`, if anything does.
fn slot(key: &str) -> usize {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    usize::from(
        hashed.bytes().fold(0, |crc: u16, byte| (crc << 8) ^ CRC[usize::from((crc >> 8) as u8 ^ byte)]),
    ) % SLOTS
}

/// CRC16 as in XMODEM, a byte at a time.
static CRC: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = ((byte as u16) << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn member(address: &str) -> Member {
        Member { address: address.into(), client: Client::open(format!("redis://{address}")).unwrap() }
    }

    #[test]
    fn slots_are_those_of_redis() {
        // `CLUSTER KEYSLOT` of Redis 7.0.
        for (key, expected) in
            [("123456789", 12739), ("", 0), ("a{b}c", 3300), ("b", 3300), ("a{}b", 13694), ("a{b", 13340)]
        {
            assert_eq!(slot(key), expected, "{key}");
        }
        assert_eq!(slot("{a}{b}"), slot("a"));
        assert_eq!(slot("{user1000}.following"), slot("{user1000}.followers"));
    }

    #[test]
    fn each_slot_has_a_server_or_none() {
        let mut layout = Layout::of_cluster();
        assert!(layout.of("b").is_none());
        layout.give(0, 5000, member("a:1"));
        layout.give(5001, 5001, member("b:1"));
        layout.give(16383, 20000, member("a:1"));
        let address = |key| layout.of(key).map(|member| &*member.address);
        assert_eq!((address("b"), address("123456789")), (Some("a:1"), None));
        assert_eq!(layout.members().len(), 2);
        assert_eq!(Layout::of_one(member("c:1")).of("b").map(|member| &*member.address), Some("c:1"));
    }

    #[test]
    fn layouts_are_the_same_wherever_their_servers_stand_in_the_list() {
        let two = |first: (&str, usize, usize), second: (&str, usize, usize)| {
            let mut layout = Layout::of_cluster();
            layout.give(first.1, first.2, member(first.0));
            layout.give(second.1, second.2, member(second.0));
            layout
        };
        let layout = two(("a:1", 0, 99), ("b:1", 100, 16383));
        assert!(layout.is_same_as(&two(("b:1", 100, 16383), ("a:1", 0, 99))));
        assert!(!layout.is_same_as(&two(("b:1", 101, 16383), ("a:1", 0, 100))));
        assert!(!layout.is_same_as(&Layout::of_one(member("a:1"))));
        assert!(!Layout::of_one(member("b:1")).is_same_as(&Layout::of_one(member("a:1"))));
    }
}
