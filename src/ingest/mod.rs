//! Stage 1: bytes become raw calls; decides who is asking and what the sender is answered.
