//! Counts of the recent past, piece of time by piece.

/// How often something happened in each of the last pieces of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recent<const PIECES: usize>([(i64, u64); PIECES]);

impl<const PIECES: usize> Default for Recent<PIECES> {
    fn default() -> Self {
        Self([(0, 0); PIECES])
    }
}

impl<const PIECES: usize> Recent<PIECES> {
    /// Counts one in the piece with this number.
    pub(super) fn add(&mut self, piece: i64) {
        let slot = usize::try_from(piece.rem_euclid(PIECES as i64)).unwrap_or(0);
        if self.0[slot].0 != piece {
            self.0[slot] = (piece, 0);
        }
        self.0[slot].1 += 1;
    }

    /// How many there were in the last pieces, `now` being the number of the present one.
    pub(super) fn count(&self, now: i64) -> u64 {
        let oldest = now - PIECES as i64;
        self.0.iter().filter(|(piece, _)| *piece > oldest).map(|(_, count)| count).sum()
    }
}
