//! Customer.io: what it understands, how it is reached, what its answers mean.
