//! The event that everything is measured with: an order of four products, about 1.4 kB, as a web
//! shop's SDK sends it. Every event has its own message, person and order; one in five is the first
//! sight of an anonymous id with its person, the others carry the person's id only.

use std::fmt::Write as _;
use std::ops::Range;

use segue::clock::{Clock, SystemClock};

/// Stands before an event's number in its content; the scripts leave it alone, so that the sink
/// knows what has arrived.
pub(crate) const MARK: &[u8] = b"\"ck-";
/// Digits of the number behind the mark.
pub(crate) const DIGITS: usize = 9;

const PRODUCTS: &str = r#"[{"product_id":"622c6f5d5cf86a4c77358033","sku":"8472-998-0112","name":"Cones of Dunshire","price":40,"quantity":1,"category":"Games","position":1},{"product_id":"577c6f5d5cf86a4c7735ba03","sku":"3309-483-2201","name":"Five Crowns","price":"5.00","quantity":"2","category":"Games","position":2},{"product_id":"1f2d6f5d5cf86a4c77358ab1","sku":"7712-110-0043","name":"Walnut Tray","price":12.5,"quantity":1,"category":"Home","position":3},{"product_id":"90aa6f5d5cf86a4c773580cd","sku":"1020-555-9001","name":"Gift Card","price":25,"quantity":1,"category":"Gifts","position":4}]"#;

/// The body of one event, sent now.
pub(crate) fn one(number: usize) -> String {
    let mut body = String::with_capacity(1600);
    write(&mut body, number, &SystemClock.now().to_string());
    body
}

/// The body of a batch, sent now.
pub(crate) fn batch(numbers: Range<usize>) -> String {
    let now = SystemClock.now().to_string();
    let mut body = String::with_capacity(1600 * numbers.len());
    body.push('[');
    for number in numbers {
        if body.len() > 1 {
            body.push(',');
        }
        write(&mut body, number, &now);
    }
    body.push(']');
    body
}

fn write(body: &mut String, number: usize, now: &str) {
    let anonymous = match number % 5 {
        0 => format!(r#""anonymousId":"507f191e-810c-4197-29de-{number:012}","#),
        _ => String::new(),
    };
    let _ = write!(
        body,
        r#"{{"type":"track","event":"Order Completed","messageId":"ajs-next-1767225600000-{number:012}","userId":"user-{number:09}",{anonymous}"timestamp":"{now}","sentAt":"{now}","context":{{"library":{{"name":"analytics.js","version":"next-1.70.0"}},"page":{{"path":"/checkout/thanks","referrer":"https://shop.example.com/checkout","search":"","title":"Thank you","url":"https://shop.example.com/checkout/thanks"}},"userAgent":"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36","campaign":{{"name":"autumn","source":"newsletter","medium":"email"}},"traits":{{"plan":"gold"}}}},"properties":{{"checkout_id":"ck-{number:09}","order_id":"ord-{number:09}","total":"$82.50","tax":4.1,"shipping":3,"currency":"usd","coupon":"AUTUMN","products":{PRODUCTS}}}}}"#
    );
}
