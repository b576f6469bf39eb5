//! The operator's surface from outside: a whole Segue, its doors, and what they answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::App;
use crate::clock::SystemClock;
use crate::config::{Config, Secret};

/// A whole Segue with the emulator behind it.
pub(crate) struct Segue {
    pub(crate) app: App,
    http: reqwest::Client,
}

/// Scripts under which every order fails, exit event or not.
pub(crate) const BROKEN: &str = r#"fn on_track(event, ctx) { fail("no price") }"#;
pub(crate) const MENDED: &str = "fn on_track(event, ctx) { event }";

pub(crate) fn scripts(folder: &Path, script: &str) {
    let transforms = folder.join("transforms");
    std::fs::create_dir_all(&transforms).unwrap();
    let manifest = "[pipeline]\non_error = \"dead_letter\"\non_error_exit = \"dead_letter\"\n\n[[stage]]\nfile = \"10_price\"\n";
    std::fs::write(transforms.join("transforms.toml"), manifest).unwrap();
    std::fs::write(transforms.join("10_price.rhai"), script).unwrap();
}

fn http() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

impl Segue {
    pub(crate) async fn start(folder: &TempDir) -> Self {
        Self::start_with(folder, |_| {}).await
    }

    pub(crate) async fn start_with(folder: &TempDir, adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::demo();
        config.listen = "127.0.0.1:0".into();
        config.admin.listen = "127.0.0.1:0".into();
        config.data_dir = folder.path().join("data");
        config.transforms = folder.path().join("transforms");
        adjust(&mut config);
        let app = App::start(config, Arc::new(SystemClock)).await.unwrap();
        Self { app, http: http().build().unwrap() }
    }

    pub(crate) async fn post(&self, events: Value) {
        let url = format!("http://{}/webhook/segment", self.app.addr());
        let answer = self.http.post(url).body(events.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }

    fn ask(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("http://{}{path}", self.app.admin_addr().unwrap()))
    }

    fn tell(&self, path: &str, body: &Value) -> RequestBuilder {
        let url = format!("http://{}{path}", self.app.admin_addr().unwrap());
        self.http.post(url).body(body.to_string())
    }

    async fn get(&self, path: &str) -> Value {
        answer(self.ask(path)).await.1
    }

    async fn metrics(&self) -> Metrics {
        let text = self.ask("/metrics").send().await.unwrap().text().await.unwrap();
        Metrics(text)
    }

    /// Waits until nothing waits any more.
    pub(crate) async fn settled(&self, accepted: f64) -> Metrics {
        until("every event has its outcome", async || {
            let metrics = self.metrics().await;
            metrics.check_conservation();
            let done = metrics.sum("segue_events_accepted_total") >= accepted
                && metrics.sum("segue_events_pending") == 0.0;
            done.then_some(metrics)
        })
        .await
    }

    /// Waits until so many events are parked.
    pub(crate) async fn parked(&self, count: u64) {
        until("events to be parked", async || {
            let status = self.get("/api/status").await;
            (status["pending"]["parked"] == count).then_some(())
        })
        .await;
    }

    async fn healthy_when(&self, what: &str, status: &str) -> Value {
        until(what, async || {
            let health = self.get("/health").await;
            (health["status"] == status).then_some(health)
        })
        .await
    }
}

async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let body = answer.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Asks again and again until there is an answer.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let asking = async {
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.expect(what)
}

/// Prometheus' text, as a scraper reads it.
pub(crate) struct Metrics(String);

impl Metrics {
    /// The sum over all series of a name that have all of these labels.
    pub(crate) fn sum_of(&self, name: &str, labels: &[&str]) -> f64 {
        let series = self.0.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        series.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }

    fn sum(&self, name: &str) -> f64 {
        self.sum_of(name, &[])
    }

    #[allow(clippy::float_cmp)] // whole numbers
    fn check_conservation(&self) {
        let came =
            self.sum("segue_events_accepted_total") + self.sum("segue_events_redriven_total");
        let went = self.sum("segue_events_total") + self.sum("segue_events_pending");
        assert_eq!(came, went, "accepted + redriven = ended + pending:\n{}", self.0);
    }
}

pub(crate) fn order(message_id: &str, person: &str) -> Value {
    json!({"type": "track", "event": "Order Completed", "messageId": message_id, "userId": person,
        "properties": {"order_id": message_id, "total": 49.5}})
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_in_exactly_one_number() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), MENDED);
    let segue = Segue::start(&folder).await;

    segue
        .post(json!([
            order("m-1", "u-1"),
            order("m-1", "u-1"),
            {"type": "nonsense", "messageId": "m-2", "userId": "u-1"},
            {"type": "track", "event": "Paid", "messageId": "m-3", "userId": "u-1", "integrations": {"Customer.io": false}},
            "no event",
        ]))
        .await;
    let metrics = segue.settled(5.0).await;

    let count = |labels: &[&str]| metrics.sum_of("segue_events_total", labels);
    assert_eq!(count(&[r#"outcome="delivered""#]), 1.0, "{}", metrics.0);
    assert_eq!(count(&[r#"reason="duplicate""#]), 1.0);
    assert_eq!(count(&[r#"reason="opted_out""#]), 1.0);
    assert_eq!(count(&[r#"reason="unknown_type""#, r#"source="segment""#]), 1.0);
    assert_eq!(count(&[r#"outcome="dead_lettered""#]), 2.0);
    let hash = segue.app.bundle().hash().to_owned();
    assert_eq!(metrics.sum_of("segue_bundle_info", &[&hash]), 1.0);
    assert_eq!(metrics.sum("segue_relay_up"), 1.0);
    let status = segue.get("/api/status").await;
    assert_eq!(status["events"]["accepted"], 5);
    assert_eq!(status["events"]["dead_lettered"], 2);
    assert_eq!(status["delivery"]["breaker_open"], false);
    segue.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_order_makes_health_degraded_until_it_is_redriven_under_a_mended_script() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), BROKEN);
    let segue = Segue::start(&folder).await;
    segue.healthy_when("it starts well", "ready").await;
    segue.post(order("m-1", "u-1")).await;
    segue.settled(1.0).await;

    let health = segue.healthy_when("a dead order is a reason", "degraded").await;
    assert_eq!(health["reasons"][0]["code"], "exit_dead_letters");
    until("the public probe says so too, without reasons", async || {
        let url = format!("http://{}/health/ready", segue.app.addr());
        let said = answer(segue.http.get(url)).await.1;
        let expected = json!({"status": "degraded", "bundle": segue.app.bundle().hash()});
        (said == expected).then_some(())
    })
    .await;
    assert_eq!(segue.metrics().await.sum("segue_exit_dead_letters"), 1.0);

    let page = segue.get("/api/dead-letters?code=script_failed&since=1h").await;
    let row = &page["dead_letters"][0];
    assert_eq!(row["event"], "track Order Completed");
    assert_eq!(row["message_id"], "m-1");
    assert!(!page.to_string().contains("49.5"), "no payload in a list: {page}");
    assert_eq!(segue.get("/api/dead-letters?code=rejected").await["dead_letters"], json!([]));
    let letter = segue.get(&format!("/api/dead-letters/{}", row["seq"])).await;
    assert_eq!(letter["payload"]["properties"]["total"], json!(49.5));
    assert_eq!(letter["dead_letter"], *row);

    scripts(folder.path(), MENDED);
    let reloaded = answer(segue.tell("/api/reload", &json!(null))).await.1;
    assert_eq!(reloaded["before"], row["bundle"]);
    assert_ne!(reloaded["bundle"], row["bundle"]);
    let redrive = json!({"filter": {"code": "script_failed"}});
    let redriven = answer(segue.tell("/api/dead-letters/redrive", &redrive)).await.1;
    assert_eq!(redriven, json!({"redriven": 1}));

    let metrics = segue.settled(1.0).await;
    assert_eq!(metrics.sum_of("segue_events_total", &[r#"outcome="delivered""#]), 1.0);
    assert_eq!(metrics.sum_of("segue_events_redriven_total", &["script_failed"]), 1.0);
    segue.healthy_when("nothing is left to look after", "ready").await;
    let gone = answer(segue.ask(&format!("/api/dead-letters/{}", row["seq"]))).await;
    assert_eq!((gone.0, &gone.1["code"]), (StatusCode::NOT_FOUND, &json!("no_such_dead_letter")));
    segue.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_cannot_be_used_do_not_come_into_force_and_health_says_where() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), MENDED);
    let segue = Segue::start(&folder).await;
    let before = segue.app.bundle().hash().to_owned();
    scripts(folder.path(), "fn on_track(event, ctx) { let }");

    let (status, refused) = answer(segue.tell("/api/reload", &json!(null))).await;

    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused["code"], "broken_scripts");
    assert!(refused["message"].as_str().unwrap().contains("10_price.rhai"), "{refused}");
    assert_eq!(segue.app.bundle().hash(), before);
    let health = segue.get("/health").await;
    assert_eq!(health["reasons"][0]["code"], "broken_scripts");
    scripts(folder.path(), MENDED);
    let mended = answer(segue.tell("/api/reload", &json!(null))).await;
    assert_eq!((mended.0, &mended.1["bundle"]), (StatusCode::OK, &json!(before)));
    assert_eq!(segue.get("/health").await["status"], "ready");
    segue.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_knows_a_message_and_a_person() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), MENDED);
    let segue = Segue::start(&folder).await;
    segue.post(json!([order("m-1", "u-1"), order("m-2", "u-1"), order("m-3", "u 2/x")])).await;
    segue.settled(3.0).await;

    let ids = |story: &Value| {
        let events = story["events"].as_array().unwrap().clone();
        let mut ids: Vec<String> =
            events.iter().map(|event| event["message_id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let message = segue.get("/api/why?of=m-2").await;
    assert_eq!(ids(&message), ["m-2"]);
    let event = &message["events"][0];
    assert_eq!((&event["outcome"], &event["person"]), (&json!("delivered"), &json!("u-1")));
    assert_eq!((&event["class"], &event["answer"]), (&json!("live"), &json!("200")));
    assert_eq!(ids(&segue.get("/api/why?of=u-1").await), ["m-1", "m-2"]);
    assert_eq!(ids(&segue.get("/api/why?of=u%202%2Fx").await), ["m-3"]);
    assert_eq!(ids(&segue.get("/api/why?of=nobody").await), [""; 0]);
    segue.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_meant_are_refused_with_a_code() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), BROKEN);
    let segue = Segue::start(&folder).await;
    segue.post(json!([order("m-1", "u-1"), order("m-2", "u-2")])).await;
    segue.settled(2.0).await;
    let redrive = "/api/dead-letters/redrive";
    let long = "x".repeat(100_000);
    #[rustfmt::skip]
    let table = [
        ("no filter", segue.tell(redrive, &json!({})), 400, "empty_filter"),
        ("only a limit", segue.tell(redrive, &json!({"max": 1})), 400, "empty_filter"),
        ("a misspelt filter", segue.tell(redrive, &json!({"filter": {"reason": "x"}})), 400, "bad_request"),
        ("no such reason", segue.tell(redrive, &json!({"filter": {"code": "x"}})), 400, "unknown_reason"),
        ("no JSON", segue.tell(redrive, &json!("x")), 400, "bad_request"),
        ("too long", segue.tell(redrive, &json!({"filter": {"source": long}})), 400, "bad_request"),
        ("asked instead of told", segue.ask(redrive), 405, "method_not_allowed"),
        ("an unknown parameter", segue.ask("/api/dead-letters?reason=x"), 400, "bad_request"),
        ("no number", segue.ask("/api/dead-letters/one"), 400, "bad_request"),
        ("why of nothing", segue.ask("/api/why?of="), 400, "bad_request"),
        ("nowhere", segue.ask("/nowhere"), 404, "not_found"),
    ];
    for (what, request, status, code) in table {
        let (found, body) = answer(request).await;
        assert_eq!((found.as_u16(), &body["code"]), (status, &json!(code)), "{what}: {body}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}");
    }
    let page = segue.get("/api/dead-letters?limit=1").await;
    assert_eq!(page["dead_letters"].as_array().unwrap().len(), 1, "nothing was redriven: {page}");
    let rest = segue.get(&format!("/api/dead-letters?limit=1&after={}", page["next"])).await;
    assert_eq!(rest["dead_letters"].as_array().unwrap().len(), 1);
    assert_eq!(rest["next"], Value::Null);
    segue.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_on_tcp_and_config_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let segue = Segue::start_with(&folder, |config| {
        config.admin.token = Some(Secret::new("op-s3cret"));
        config.source[0].token = Some(Secret::new("web-s3cret"));
    })
    .await;

    let (status, refused) = answer(segue.ask("/metrics")).await;
    assert_eq!((status, &refused["code"]), (StatusCode::UNAUTHORIZED, &json!("missing_token")));
    let wrong = answer(segue.ask("/api/status").bearer_auth("op-s3cre")).await;
    assert_eq!((wrong.0, &wrong.1["code"]), (StatusCode::UNAUTHORIZED, &json!("invalid_token")));
    assert_eq!(answer(segue.ask("/health/live")).await.0, StatusCode::OK);
    let (status, config) = answer(segue.ask("/api/config").bearer_auth("op-s3cret")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(!config.to_string().contains("s3cret"), "{config}");
    assert!(!config.to_string().contains("demo-segment"), "write keys too: {config}");
    assert_eq!(config["source"][0]["name"], "segment");
    segue.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_a_web_page_that_points_its_name_at_us_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let segue = Segue::start(&folder).await;
    let port = segue.app.admin_addr().unwrap().port();

    let rebound = segue.ask("/api/status").header("host", format!("evil.example:{port}"));
    assert_eq!(answer(rebound).await.1["code"], "foreign_host");
    let named = segue.ask("/api/status").header("host", format!("localhost:{port}"));
    assert_eq!(answer(named).await.0, StatusCode::OK);
    let page = segue.tell("/api/reload", &json!(null)).header("origin", "https://evil.example");
    assert_eq!(answer(page).await.1["code"], "cross_site");
    segue.app.stop().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_socket_needs_no_token_and_is_gone_after_the_stop() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let segue = Segue::start_with(&folder, |config| {
        config.admin.listen = String::new();
        config.admin.token = Some(Secret::new("op-s3cret"));
    })
    .await;
    let socket = folder.path().join("data").join(super::SOCKET);
    let client = http().unix_socket(socket.as_path()).build().unwrap();

    let (status, body) = answer(client.get("http://segue/api/status")).await;

    assert_eq!(segue.app.admin_addr(), None);
    assert_eq!((status, &body["sources"]), (StatusCode::OK, &json!(["segment", "rudderstack"])));
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    segue.app.stop().await;
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_neither_the_counts_nor_the_dead_orders() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), BROKEN);
    let first = Segue::start(&folder).await;
    first.post(json!([order("m-1", "u-1"), {"type": "track", "event": "Paid Up", "messageId": "m-2", "userId": "u"}])).await;
    first.settled(2.0).await;
    first.app.stop().await;

    let second = Segue::start(&folder).await;

    let metrics = second.settled(2.0).await;
    assert_eq!(metrics.sum_of("segue_events_total", &["script_failed"]), 2.0);
    let health = second.healthy_when("the order is remembered", "degraded").await;
    let said = health["reasons"][0]["message"].as_str().unwrap();
    assert!(said.starts_with("1 exit event"), "only the order is one: {said}");
    second.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_withdrawn_scripts_broke_are_no_trouble_once_they_are_redriven() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), MENDED);
    let segue = Segue::start(&folder).await;
    let good = segue.app.bundle().hash().to_owned();
    scripts(folder.path(), BROKEN);
    segue.app.reload().await;
    assert_ne!(segue.app.bundle().hash(), good);

    let orders: Vec<Value> = (0..12).map(|n| order(&format!("m-{n}"), "u-1")).collect();
    segue.post(json!(orders)).await;

    until("the scripts to be withdrawn and the orders to arrive", async || {
        let events = segue.app.emulator().unwrap().lock().events().count();
        (segue.app.bundle().hash() == good && events == 12).then_some(())
    })
    .await;
    // Sooner than a dead letter is believed to be on its way to the journal.
    until("the orders to be forgotten", async || {
        (segue.metrics().await.sum("segue_exit_dead_letters") == 0.0).then_some(())
    })
    .await;
    segue.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_why_nothing_arrives_is_told_what_became_of_the_last_request() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), MENDED);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let segue = Segue::start_with(&folder, |config| {
        config.destination = crate::config::DestinationKind::Customerio;
        let customerio = &mut config.customerio;
        customerio.url = format!("http://{nobody}");
        customerio.transport = crate::destination::customerio::Transport::V1;
        (customerio.site_id, customerio.api_key) = (Secret::new("s"), Secret::new("k"));
    })
    .await;
    let orders: Vec<Value> = (0..8).map(|n| order(&format!("m-{n}"), &format!("u-{n}"))).collect();

    segue.post(json!(orders)).await;

    let health = segue.healthy_when("most requests fail", "degraded").await;
    let reason = &health["reasons"][0];
    assert_eq!(reason["code"], "breaker_open");
    let said = reason["message"].as_str().unwrap().to_lowercase();
    assert!(said.contains("the last one at") && said.contains("refused"), "{said}");
    segue.app.stop().await;
}

/// What a rule of Prometheus asks for: a name, with or without labels.
fn asked_for(rules: &str) -> Vec<(String, Vec<String>)> {
    let selector = regex::Regex::new(r"(segue_[a-z_]+)(?:\{([^}]*)\})?").unwrap();
    let found = selector.captures_iter(rules).map(|found| {
        let labels = found.get(2).map_or("", |labels| labels.as_str());
        let labels = labels.split(',').filter(|label| !label.is_empty()).map(str::to_owned);
        (found[1].to_owned(), labels.collect())
    });
    found.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_an_alert_asks_for_is_there_with_its_labels() {
    let folder = tempfile::tempdir().unwrap();
    scripts(folder.path(), MENDED);
    let schemas = folder.path().join("transforms/schemas");
    std::fs::create_dir(&schemas).unwrap();
    let schema = r#"{"properties": {}, "required": ["currency"]}"#;
    std::fs::write(schemas.join("order_completed.json"), schema).unwrap();
    let segue = Segue::start(&folder).await;
    let with_device = |mut event: Value| {
        event["anonymousId"] = "shared-device".into();
        event
    };
    segue.post(json!([with_device(order("m-1", "u-1")), with_device(order("m-2", "u-2"))])).await;
    segue.settled(2.0).await;

    let text = segue.ask("/metrics").send().await.unwrap().text().await.unwrap();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts.yml");
    let asked = asked_for(&std::fs::read_to_string(rules).unwrap());
    assert!(asked.len() >= 8, "{asked:?}");
    for (name, labels) in asked {
        let is_it = |line: &str| {
            let rest = line.strip_prefix(name.as_str()).filter(|rest| rest.starts_with([' ', '{']));
            rest.is_some_and(|rest| labels.iter().all(|label| rest.contains(label.as_str())))
        };
        assert!(text.lines().any(is_it), "no {name} with {labels:?} in\n{text}");
    }
    let missing = r#"segue_contract_violations_total{event="order_completed",property="currency",kind="Required-Missing",when="after"} 2"#;
    assert!(text.contains(missing), "{text}");
    assert!(
        text.contains(r#"segue_contract_events_total{event="order_completed",when="before"} 2"#),
        "{text}"
    );
    segue.app.stop().await;
}
