//! Which texts are dates for Segment's destination, and the seconds it sends instead.
//!
//! It converts exactly one dialect, so that a product called "May 15" stays a name: a full ISO 8601
//! date, with or without a time, a fraction of up to nine digits and a zone. A time without a zone is
//! UTC. The day may run over the month (February 30 is March 2), as JavaScript's `Date` has it.
//!
//! Not here: event times, which are read in many dialects ([`crate::spec::timestamp`]).

use jiff::civil::Date;
use jiff::tz::TimeZone;

const DAY_S: i64 = 86_400;

/// The seconds since the epoch that a text stands for, rounded down; `None` for any other text.
pub(super) fn iso_seconds(text: &str) -> Option<i64> {
    // Nearly every text leaves here.
    if text.len() < 10 || text.len() > 35 || !text.as_bytes()[0].is_ascii_digit() {
        return None;
    }
    let mut rest = Rest(text.as_bytes());
    let year = rest.number(4)?;
    rest.expect(b'-')?;
    let month = rest.number(2)?;
    rest.expect(b'-')?;
    let day = rest.number(2).filter(|day| (1..=31).contains(day))?;
    let first = Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, 1).ok()?;
    let midnight = first.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second() + (day - 1) * DAY_S;
    if rest.0.is_empty() {
        return Some(midnight);
    }
    Some(midnight + rest.time()? - rest.zone()?).filter(|_| rest.0.is_empty())
}

/// What is left of a text.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take(&mut self, wanted: u8) -> bool {
        let found = self.0.first() == Some(&wanted);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        self.take(wanted).then_some(())
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        if !number.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = rest;
        Some(number.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
    }

    /// `Thh:mm`, `Thh:mm:ss` or `Thh:mm:ss.fraction`, in whole seconds.
    fn time(&mut self) -> Option<i64> {
        self.expect(b'T')?;
        let hour = self.number(2)?;
        self.expect(b':')?;
        let minute = self.number(2)?;
        let mut second = 0;
        let mut beyond = false;
        if self.take(b':') {
            second = self.number(2)?;
            if self.take(b'.') {
                let digits = self.0.iter().take_while(|c| c.is_ascii_digit()).count();
                let (fraction, rest) = self.0.split_at(digits);
                beyond = fraction.iter().any(|digit| *digit != b'0');
                self.0 = rest;
                if !(1..=9).contains(&digits) {
                    return None;
                }
            }
        }
        let whole_day = hour == 24 && minute == 0 && second == 0 && !beyond;
        ((hour < 24 && minute < 60 && second < 60) || whole_day)
            .then_some(hour * 3600 + minute * 60 + second)
    }

    /// Nothing, `Z`, `±hh:mm` or `±hhmm`, in seconds east of UTC.
    fn zone(&mut self) -> Option<i64> {
        if self.0.is_empty() || self.take(b'Z') {
            return Some(0);
        }
        let sign = if self.take(b'-') {
            -1
        } else {
            self.expect(b'+')?;
            1
        };
        let hours = self.number(2).filter(|hours| *hours < 24)?;
        self.take(b':');
        let minutes = self.number(2).filter(|minutes| *minutes < 60)?;
        Some(sign * (hours * 3600 + minutes * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_iso_dates_become_seconds() {
        #[rustfmt::skip]
        let table = [
            ("2019-02-01",                          Some(1_548_979_200)),
            ("2007-01-02T18:04",                    Some(1_167_761_040)),
            ("2007-01-02T18:04:07",                 Some(1_167_761_047)),
            ("2006-01-02T18:04:07Z",                Some(1_136_225_047)),
            ("2006-01-02T18:04:07+01:00",           Some(1_136_221_447)),
            ("2006-01-02T15:04:05-0800",            Some(1_136_243_045)),
            ("2006-01-02T15:04:05.007",             Some(1_136_214_245)),
            ("2006-01-02T15:04:05.007123456Z",      Some(1_136_214_245)),
            ("1955-01-01",                          Some(-473_385_600)),
            ("1969-12-31T23:59:59.5Z",              Some(-1)),
            ("2023-02-30",                          Some(1_677_715_200)),
            ("2023-02-28T24:00:00Z",                Some(1_677_628_800)),
            ("2023-02-28T24:00:01Z",                None),
            ("2023-02-32",                          None),
            ("2023-13-01",                          None),
            ("2023-00-01",                          None),
            ("2016-12-31T23:59:60Z",                None),
            ("2006-01-02T15:04:05.0071234567Z",     None),
            ("2006-01-02T15:04:05.",                None),
            ("2006-01-02T15:04.5",                  None),
            ("2006-01-02T15:04:05z",                None),
            ("2006-01-02t15:04:05Z",                None),
            ("2006-01-02 15:04:05",                 None),
            ("2006-01-02T15:04:05 PDT",             None),
            ("2006-01-02Z",                         None),
            ("20060102T150405Z",                    None),
            ("2020",                                None),
            ("2020-05",                             None),
            ("25 Mar 2015",                         None),
            ("2020-05-1é",                          None),
            ("",                                    None),
        ];
        for (text, expected) in table {
            assert_eq!(iso_seconds(text), expected, "{text:?}");
        }
    }
}
