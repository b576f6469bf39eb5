//! When to try again: exponential, with full jitter, so that those who failed together do not come
//! back together.

use std::time::Duration;

/// The shortest base of a wait.
const BASE: Duration = Duration::from_millis(500);
/// The longest wait.
pub const LONGEST: Duration = Duration::from_secs(300);

/// A source of jitter that can be seeded: a fixture's waits are the same on every run.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// Jitter that follows from `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number from 0 up to 1 (xorshift64*; spreading retries needs no more).
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40;
        // 24 bits fit a double exactly.
        f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(1 << 24)
    }

    /// How long to wait after `tries` tries without success: anything up to the exponential bound.
    pub fn wait(&mut self, tries: u32) -> Duration {
        bound(tries).mul_f64(self.next())
    }
}

/// The longest wait after `tries` tries.
pub fn bound(tries: u32) -> Duration {
    BASE.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1).min(16))).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the seed and however often: within a bound that never shrinks, nor passes the cap.
        #[test]
        fn every_wait_is_within_a_bound_that_grows(seed: u64, tries: u32) {
            prop_assert!(Jitter::seeded(seed).wait(tries) <= bound(tries));
            prop_assert!(bound(tries) <= bound(tries.saturating_add(1)));
            prop_assert!((BASE..=LONGEST).contains(&bound(tries)));
        }
    }

    #[test]
    fn waits_grow_up_to_the_cap_and_never_beyond_their_bound() {
        let mut jitter = Jitter::seeded(7);
        for tries in 1..100 {
            assert!(jitter.wait(tries) <= bound(tries));
        }
        assert_eq!(bound(1), BASE);
        assert_eq!(bound(4), BASE * 8);
        assert_eq!(bound(60), LONGEST);
    }

    #[test]
    fn those_who_failed_together_do_not_come_back_together() {
        let mut jitter = Jitter::seeded(1);
        let waits: std::collections::HashSet<_> =
            (0..100).map(|_| jitter.wait(6).as_millis()).collect();
        assert!(waits.len() > 90, "{}", waits.len());
    }
}
