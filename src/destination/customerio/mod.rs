//! Customer.io: what it understands, how it is reached, what its answers mean.
//!
//! In the order of the path: [`mapping`] turns an event into [`operation`]s, `encode` writes them
//! for a [`Transport`] as `wire` spells it, [`client`] carries the [`request`]s and [`response`] reads the answers.
//! [`limits`] has the published limits, all in one place.
//!
//! Everything but [`client`] is pure: no I/O, no clock.

mod attributes;
pub mod client;
pub mod coalesce;
mod dates;
mod encode;
pub mod limits;
pub mod mapping;
pub mod operation;
mod person;
pub mod request;
pub mod response;
mod wire;

pub use encode::Encoded;
pub use person::{PersonId, Subject, Who};

use serde::{Deserialize, Serialize};

/// Where a Customer.io account lives. The wrong region costs a redirect, or fails.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    /// The United States.
    #[default]
    Us,
    /// The European Union.
    Eu,
}

impl Region {
    /// The base URL of the Track API, without a slash at the end.
    pub fn url(self) -> &'static str {
        match self {
            Self::Us => "https://track.customer.io",
            Self::Eu => "https://track-eu.customer.io",
        }
    }

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Eu => "eu",
        }
    }
}

/// How operations travel.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Track v2: items of `POST /api/v2/batch`.
    #[default]
    V2,
    /// Track v1: a request for each operation.
    V1,
}

impl Transport {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V1 => "v1",
        }
    }
}
