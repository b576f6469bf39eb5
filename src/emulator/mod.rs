//! A Customer.io that runs here.
