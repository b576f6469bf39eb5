//! Stage 8: operations travel to Customer.io, in order for each person.
