//! Whether the time that an answer takes tells anything about a secret, to be run by hand on an optimised
//! build: `cargo test --release --lib ingest::tests::timing -- --ignored --nocapture --test-threads 1`.
//!
//! Welch's t between two kinds of wrong guesses: those that are right but for their last digit, and those
//! that are wrong altogether. Beyond 4.5 in either direction they can be told apart. The guesses themselves
//! are all different and of the same making, only the secret is near to one kind or far: how long a guess
//! takes to read depends on its digits, which tells its sender nothing new.

use std::hint::black_box;
use std::time::Instant;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::super::Query;
use super::super::credentials::{Credentials, Keyring, Signable};
use super::auth::sign;
use super::support::SECRET;
use crate::config::{self, Secret};

/// Measurements of both kinds together.
const SAMPLES: usize = 1_000_000;

#[test]
#[ignore = "prints figures, decides nothing"]
fn what_the_time_of_an_answer_tells_about_a_secret() {
    let text = format!(
        "destination = \"emulator\"\n[[source]]\nname = \"web\"\nwrite_keys = [\"KEY\"]\n\
         webhook_secret = \"{SECRET}\"\n"
    );
    let source = config::parse(&text, "test", &|_| None).unwrap().source;
    let t = welch(
        |lot, is_close| {
            let guess = lot.hex(32);
            let key = if is_close { but_for_the_last(&guess) } else { lot.hex(32) };
            let mut source = source.clone();
            source[0].write_keys = vec![Secret::new(key)];
            (brings(AUTHORIZATION, &format!("Bearer {guess}")), Keyring::of(&source))
        },
        |(headers, keyring)| {
            let credentials = Credentials::read(headers, &Query::parse(""));
            black_box(keyring.source_of(&credentials));
        },
    );
    println!("write keys, {SAMPLES} samples: t = {t:.2}");

    let keyring = Keyring::of(&source);
    let t = welch(
        |lot, is_close| {
            let [body, other] = [lot.hex(64), lot.hex(64)];
            let right = sign(if is_close { &body } else { &other }.as_bytes());
            let guess = but_for_the_last(right.split_once(": ").unwrap().1);
            (brings(HeaderName::from_static("x-signature"), &guess), body)
        },
        |(headers, body)| {
            let credentials = Credentials::read(headers, &Query::parse(""));
            let signed = Signable { whole: body.as_bytes(), first: &[], is_batch: false };
            black_box(keyring.check_signature(0, &credentials, &signed).is_ok());
        },
    );
    println!("signatures, {SAMPLES} samples: t = {t:.2}");
}

fn brings(name: HeaderName, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(name, HeaderValue::from_str(value).unwrap());
    headers
}

/// The same with another digit at the end.
fn but_for_the_last(hex: &str) -> String {
    let (start, last) = hex.split_at(hex.len() - 1);
    format!("{start}{}", if last == "0" { "1" } else { "0" })
}

/// Numbers that nothing can predict but the seed (xorshift).
struct Lot(u64);

impl Lot {
    fn draw(&mut self, of: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 40).unwrap() % of
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits).filter_map(|_| char::from_digit(self.draw(16), 16)).collect()
    }
}

/// Runs `what` on one kind or the other, as the lot says; Welch's t of the times. What the system
/// interrupted is left out: the slowest twentieth of all.
fn welch<T>(make: impl Fn(&mut Lot, bool) -> T, what: impl Fn(&T)) -> f64 {
    let mut lot = Lot(0x9e37_79b9_7f4a_7c15);
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let kind = lot.draw(2);
        let made = make(&mut lot, kind == 0);
        let begun = Instant::now();
        what(&made);
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
