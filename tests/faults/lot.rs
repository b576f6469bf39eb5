//! Draws the same numbers in every run.

/// A linear congruential generator, of which the upper bits are good.
pub(crate) struct Lot(u64);

impl Lot {
    /// One with a sequence of its own.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `of`.
    pub(crate) fn draw(&mut self, of: u64) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % of) as usize
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.draw(of.len() as u64)]
    }
}
