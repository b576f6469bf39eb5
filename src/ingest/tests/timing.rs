//! Whether the time that an answer takes tells anything about a secret, to be run by hand on an optimised
//! build: `cargo test --release --lib ingest::tests::timing -- --ignored --nocapture --test-threads 1`.
//!
//! Welch's t between two kinds of wrong guesses: those that are right but for their last character, and
//! those that are wrong from the first. Beyond 4.5 in either direction they can be told apart.

use std::hint::black_box;
use std::time::Instant;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::super::Query;
use super::super::credentials::{Credentials, Keyring, Signable};
use super::auth::sign;
use super::support::SECRET;
use crate::config;

/// Measurements of both kinds together.
const SAMPLES: usize = 1_000_000;
const KEY: &str = "0123456789abcdef0123456789abcdef";
const BODY: &[u8] = br#"{"type":"track","event":"A","userId":"u"}"#;

#[test]
#[ignore = "prints figures, decides nothing"]
fn what_the_time_of_an_answer_tells_about_a_secret() {
    let text = format!(
        "destination = \"emulator\"\n[[source]]\nname = \"web\"\nwrite_keys = [\"{KEY}\"]\n\
         webhook_secret = \"{SECRET}\"\n"
    );
    let config = config::parse(&text, "test", &|_| None).unwrap();
    let keyring = Keyring::of(&config.source);
    let brings = |name: HeaderName, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    };
    let key = |guess: &str| brings(AUTHORIZATION, &format!("Bearer {guess}"));
    let close = key(&format!("{}0", &KEY[..31]));
    let far = key("f123456789abcdef0123456789abcdee");
    let t = welch([&close, &far], |headers| {
        let credentials = Credentials::read(headers, &Query::parse(""));
        black_box(keyring.source_of(&credentials));
    });
    println!("write keys, {SAMPLES} samples: t = {t:.2}");

    let right = sign(BODY).split_once(": ").unwrap().1.to_owned();
    let other = |digit: &str| if digit == "0" { "1" } else { "0" };
    let signature = |guess: String| brings(HeaderName::from_static("x-signature"), &guess);
    let close = signature(format!("{}{}", &right[..39], other(&right[39..])));
    let far = signature(format!("{}{}", other(&right[..1]), &right[1..]));
    let signed = Signable { whole: BODY, first: &[], is_batch: false };
    let t = welch([&close, &far], |headers| {
        let credentials = Credentials::read(headers, &Query::parse(""));
        black_box(keyring.check_signature(0, &credentials, &signed).is_ok());
    });
    println!("signatures, {SAMPLES} samples: t = {t:.2}");
}

/// Runs `what` on one or the other in turns that nothing can predict; Welch's t of the times. What the
/// system interrupted is left out: the slowest twentieth of all.
fn welch<T>(kinds: [&T; 2], what: impl Fn(&T)) -> f64 {
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        let kind = (bits >> 40) as usize % 2;
        let begun = Instant::now();
        what(kinds[kind]);
        times.push((kind, begun.elapsed().as_nanos() as f64));
    }
    let mut sorted: Vec<f64> = times.iter().map(|(_, time)| *time).collect();
    sorted.sort_by(f64::total_cmp);
    let most = sorted[SAMPLES * 19 / 20];
    let figures = [0, 1].map(|kind| {
        let mine = || times.iter().filter(|(k, time)| *k == kind && *time <= most).map(|one| one.1);
        let count = mine().count() as f64;
        let mean = mine().sum::<f64>() / count;
        let variance = mine().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    let [(one, one_error), (other, other_error)] = figures;
    (one - other) / (one_error + other_error).sqrt()
}
