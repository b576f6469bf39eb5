//! A Bloom filter of one sealed bucket: "certainly not here" without a look at the disk.
//!
//! It is written to the file once and read at every start, so its bits must mean the same in every
//! later version; that is why it is not somebody else's. Keys are bits of a cryptographic hash: no
//! hashing is needed here. All bits of a key lie in one cache line.

/// Bits for each key. With seven probes in one line, under one key in a hundred is a false alarm.
const BITS_PER_KEY: usize = 12;
const PROBES: u32 = 7;
const LINE_WORDS: usize = 8;

/// A filter of a set of keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// The filter of these keys.
    pub(super) fn of(keys: &[u128]) -> Self {
        let lines = (keys.len() * BITS_PER_KEY).div_ceil(LINE_WORDS * 64).max(1);
        let mut filter = Self { words: vec![0; lines * LINE_WORDS] };
        for key in keys {
            let (line, probes) = filter.place(*key);
            for (word, bit) in probes {
                filter.words[line + word] |= bit;
            }
        }
        filter
    }

    /// Whether the key may be in the set; `false` is certain.
    pub(super) fn may_contain(&self, key: u128) -> bool {
        let (line, mut probes) = self.place(key);
        probes.all(|(word, bit)| self.words[line + word] & bit != 0)
    }

    /// The filter as it is stored.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The filter from its stored form; `None` when that cannot be one.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let line = LINE_WORDS * 8;
        if bytes.is_empty() || !bytes.len().is_multiple_of(line) {
            return None;
        }
        let (words, _) = bytes.as_chunks::<8>();
        Some(Self { words: words.iter().map(|word| u64::from_le_bytes(*word)).collect() })
    }

    /// The line of a key by its upper half, the bits in it by its lower half.
    #[allow(clippy::cast_possible_truncation)]
    fn place(&self, key: u128) -> (usize, impl Iterator<Item = (usize, u64)> + use<>) {
        let lines = (self.words.len() / LINE_WORDS) as u128;
        let line = (((key >> 64) * lines) >> 64) as usize * LINE_WORDS;
        let low = key as u64;
        let probes = (0..PROBES).map(move |probe| {
            let position = (low >> (9 * probe)) & 511;
            ((position >> 6) as usize, 1 << (position & 63))
        });
        (line, probes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> u128 {
        // Two rounds of a mixer: as random as a hash.
        let mix = |n: u64| {
            let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            n ^ (n >> 31)
        };
        (u128::from(mix(n.wrapping_add(0x9e37_79b9_7f4a_7c15))) << 64) | u128::from(mix(!n))
    }

    #[test]
    fn a_key_of_the_set_is_never_denied_and_few_others_are_admitted() {
        for size in [1, 10, 1000, 100_000] {
            let keys: Vec<u128> = (0..size).map(key).collect();
            let filter = Filter::from_bytes(&Filter::of(&keys).to_bytes()).unwrap();
            assert!(keys.iter().all(|key| filter.may_contain(*key)), "{size}");
            let false_alarms =
                (size..size + 100_000).filter(|n| filter.may_contain(key(*n))).count();
            assert!(false_alarms < 2000, "{false_alarms} of 100000 at {size}");
        }
    }

    #[test]
    fn bytes_of_another_length_are_no_filter() {
        assert_eq!(Filter::from_bytes(&[]), None);
        assert_eq!(Filter::from_bytes(&[0; 63]), None);
    }
}
