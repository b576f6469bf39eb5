//! What scripts cost, as CPU time of the thread. Not a test of a threshold: machines differ, and the
//! figures are only worth something beside one another.
//!
//! `cargo test --release --lib transform::tests::speed -- --ignored --nocapture`

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::*;

/// An order with four products and the usual context: 1.4 kB as JSON.
fn order() -> Event {
    let product = |at: u32| {
        json!({"product_id": format!("P-{at}"), "sku": format!("SKU-{at}"), "name": "Gentle Cleanser",
               "category": "Skin Care", "price": "$24.50", "quantity": "2"})
    };
    event(&json!({
        "type": "track", "event": "Purchase", "messageId": "ajs-next-1700000000000-abc", "userId": "u_1001",
        "anonymousId": "3b1f0c2e-7a55-4f7c-9a55-1c2d3e4f5a6b", "timestamp": "2026-01-15T11:59:00.000Z",
        "sentAt": "2026-01-15T11:59:01.000Z", "originalTimestamp": "2026-01-15T11:59:00.000Z",
        "properties": {"order_id": 100_001, "order_total": "$1,249.00", "currency": "usd",
            "revenue": "1,200.00", "coupon": "WELCOME10",
            "products": [product(1), product(2), product(3), product(4)]},
        "context": {"library": {"name": "analytics.js", "version": "2.1.0"}, "ip": "203.0.113.7",
            "page": {"url": "https://shop.example/checkout/done", "path": "/checkout/done", "title": "Thank you"},
            "userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15",
            "campaign": {"source": "newsletter", "medium": "email", "name": "january"},
            "traits": {"email": "ann@example.com"}},
        "integrations": {"All": true},
    }))
}

const HELPERS: &str = "fn on_track(event, ctx) {
    event.event = lookup(\"names\", event.event, event.event);
    event.rename(\"properties.order_total\", \"properties.total\");
    event.convert(\"properties.total\", \"money\");
    event.convert(\"properties.revenue\", \"money\");
    event.convert(\"properties.currency\", \"upper\");
    event.convert(\"properties.order_id\", \"id\");
    event.convert(\"properties.products[].price\", \"money\");
    event.convert(\"properties.products[].quantity\", \"int\");
    event.set(\"properties.source\", ctx.source);
    event.del(\"properties.coupon\");
    event.set(\"properties.has_items\", has(event, \"properties.products\"));
    event.dedupe_by(\"order_completed\", event.properties.order_id);
    event
}";

const NATURAL: &str = "fn on_track(event, ctx) {
    if event.event == \"Purchase\" { event.event = \"Order Completed\"; }
    let p = event.properties;
    p.total = parse_money(p.order_total);
    p.remove(\"order_total\");
    p.revenue = parse_money(p.revenue);
    p.currency = upper(p.currency);
    p.order_id = as_id(p.order_id);
    p.item_count = 0;
    for item in p.products {
        item.price = parse_money(item.price);
        item.quantity = parse_int_or(item.quantity, 1);
        p.item_count += item.quantity;
    }
    event.dedupe_by(\"order_completed\", p.order_id);
    event
}";

fn cpu() -> Duration {
    let at = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(at.tv_sec.unsigned_abs(), u32::try_from(at.tv_nsec).unwrap())
}

/// The best of several rounds, in microseconds for one event.
fn cost(mut work: impl FnMut(Event)) -> f64 {
    const EVENTS: u32 = 500;
    let rounds = (0..20).map(|_| {
        let events: Vec<Event> = (0..EVENTS).map(|_| order()).collect();
        let start = cpu();
        events.into_iter().for_each(&mut work);
        (cpu() - start).as_secs_f64() * 1e6 / f64::from(EVENTS)
    });
    rounds.fold(f64::INFINITY, f64::min)
}

#[test]
#[ignore = "prints figures"]
fn what_an_event_costs() {
    // One case alone, for a profiler.
    let only = std::env::var("CASE").unwrap_or_default();
    let names = ("data/names.json", "{\"Purchase\": \"Order Completed\"}");
    let bytes = Value::Object(order().fields().clone()).to_string();
    println!("event: {} bytes; microseconds of CPU for one event", bytes.len());
    let line = |what: &str, micros: f64| println!("{what:<42} {micros:>6.2}");
    line(
        "parse and serialise (calibration)",
        cost(|_| {
            let value: Value = serde_json::from_str(&bytes).unwrap();
            std::hint::black_box(value.to_string());
        }),
    );
    line("copy and drop of the event's fields", cost(|event| drop(event.fields().clone())));
    let ctx = context();
    let time = |what: &str, files: &[(&str, &str)]| {
        if !what.contains(&only) {
            return;
        }
        let mut runner = runner(files);
        line(
            what,
            cost(|event| {
                let made = runner.run_with_original(event, &mut || None, &ctx);
                assert!(matches!(made, Made::Events(_)), "{made:?}");
            }),
        );
    };
    time("no handler", &[("10_a.rhai", "fn on_identify(event, ctx) { event }")]);
    time("empty handler", &[("10_a.rhai", "fn on_track(event, ctx) { event }")]);
    time("13 helper calls", &[("10_a.rhai", HELPERS), names]);
    time("natural script", &[("10_a.rhai", NATURAL)]);
    time("shipped bundle", crate::transform::shipped::FILES);
    for stage in ["00_names", "10_orders", "20_items", "30_people"] {
        let files: Vec<(&str, String)> = crate::transform::shipped::FILES
            .iter()
            .filter(|(path, _)| {
                path.contains('/') || path.starts_with(stage) || path.ends_with("toml")
            })
            .map(|(path, text)| {
                let vars = text.split("[[stage]]").next().unwrap_or_default();
                (*path, if path.ends_with("toml") { vars.to_owned() } else { (*text).to_owned() })
            })
            .collect();
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        time(&format!("  {stage} alone"), &files);
    }
}
