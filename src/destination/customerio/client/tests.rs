//! The client against a server of its own: redirects, limits, no answer.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::destination::customerio::request::batch_request;

/// A server that answers each connection with the next of `answers` and closes it; an empty answer
/// closes it without one. What it was sent is kept.
async fn server(answers: Vec<String>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    tokio::spawn(async move {
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let request = read_request(&mut socket).await;
            kept.lock().unwrap().push(request);
            socket.write_all(answer.as_bytes()).await.unwrap();
            let _ = socket.shutdown().await;
        }
    });
    (url, seen)
}

async fn read_request(socket: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = socket.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return String::from_utf8(bytes).unwrap();
            }
        }
        assert!(read > 0, "the request ended early");
    }
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

fn client(url: &str) -> Client {
    let config = ClientConfig { url: Some(url), ..ClientConfig::new(Region::Us, "site", "key") };
    Client::new(&config).unwrap()
}

#[tokio::test]
async fn an_answer_tells_how_wrong_the_clock_here_is() {
    let dated = |date: &str| http("200 OK", &format!("date: {date}\r\n"), "{}");
    let there = SystemClock.now().plus(Duration::from_secs(7200)).millis();
    let there = jiff::Timestamp::from_millisecond(there).unwrap();
    let there = there.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let answers = vec![http("200 OK", "", "{}"), dated(&there), dated("half past nine")];
    let (url, _) = server(answers).await;
    let client = client(&url);
    let mut found = Vec::new();

    for _ in 0..3 {
        client.send(&batch_request(&[r#"{"a":1}"#])).await;
        found.push(client.clock_ahead().map(|ahead| (ahead as f64 / 60_000.0).round()));
    }

    assert_eq!(found, [None, Some(-120.0), Some(-120.0)], "minutes; what is no time says nothing");
}

#[tokio::test]
async fn a_batch_goes_out_with_credentials_and_content_type() {
    let (url, seen) = server(vec![http("200 OK", "", "{}")]).await;

    let answer = client(&url).send(&batch_request(&[r#"{"a":1}"#])).await;

    assert_eq!(answer, Answer::Accepted { rejected: Vec::new() });
    let request = seen.lock().unwrap().remove(0);
    assert!(request.starts_with("POST /api/v2/batch HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Basic c2l0ZTprZXk=\r\n"), "{request}");
    assert!(request.contains("content-type: application/json\r\n"), "{request}");
    assert!(request.contains(concat!("user-agent: segue/", env!("CARGO_PKG_VERSION"))));
    assert!(request.ends_with(r#"{"batch":[{"a":1}]}"#), "{request}");
}

#[tokio::test]
async fn a_path_arrives_as_it_was_encoded() {
    let (url, seen) = server(vec![http("200 OK", "", "{}")]).await;
    let path = "/api/v1/customers/a%2Fb%2Bc%25d%20%C3%BC'()*!~/suppress".to_owned();

    client(&format!("{url}/cio/"))
        .send(&Request { method: Method::Post, path: path.clone(), body: Bytes::new() })
        .await;

    let request = seen.lock().unwrap().remove(0);
    assert!(request.starts_with(&format!("POST /cio{path} HTTP/1.1\r\n")), "{request}");
    assert!(!request.contains("content-type"), "{request}");
}

#[tokio::test]
async fn a_redirect_on_the_same_host_is_followed_with_method_body_and_credentials() {
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let moved = http(status, "location: /elsewhere\r\n", "");
        let (url, seen) = server(vec![moved, http("200 OK", "", "{}")]).await;

        let answer = client(&url).send(&batch_request(&["1"])).await;

        assert_eq!(answer, Answer::Accepted { rejected: Vec::new() }, "{status}");
        let second = seen.lock().unwrap().remove(1);
        assert!(second.starts_with("POST /elsewhere HTTP/1.1\r\n"), "{status}: {second}");
        assert!(second.contains("authorization: Basic "), "{status}: {second}");
        assert!(second.ends_with(r#"{"batch":[1]}"#), "{status}: {second}");
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    let (other, elsewhere) = server(vec![http("200 OK", "", "{}")]).await;
    let moved = http("307 Temporary", &format!("location: {other}/api/v2/batch\r\n"), "");
    let (url, _) = server(vec![moved]).await;

    let answer = client(&url).send(&batch_request(&["1"])).await;

    let expected = Answer::TryAgain { status: Some(307), retry_after: None, unknown_fate: false };
    assert_eq!(answer, expected);
    assert!(elsewhere.lock().unwrap().is_empty());
}

#[tokio::test]
async fn endless_redirects_end() {
    let moved = http("302 Found", "location: /again\r\n", "");
    let (url, seen) = server(vec![moved; 10]).await;

    let answer = client(&url).send(&batch_request(&["1"])).await;

    assert!(matches!(answer, Answer::TryAgain { status: Some(302), .. }), "{answer:?}");
    assert_eq!(seen.lock().unwrap().len(), 1 + REDIRECTS);
}

#[tokio::test]
async fn no_connection_means_that_nothing_was_processed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);

    let answer = client(&url).send(&batch_request(&["1"])).await;

    let expected = Answer::TryAgain { status: None, retry_after: None, unknown_fate: false };
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn the_last_failure_says_what_became_of_the_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (busy, _) = server(vec!["HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".into()]).await;
    let (cut_off, _) = server(vec![String::new()]).await;
    for (what, url, says) in
        [("nobody", nobody, "refused"), ("busy", busy, "503"), ("cut off", cut_off, "connection")]
    {
        let client = client(&url);
        assert_eq!(client.last_failure(), None, "{what}");
        client.send(&batch_request(&["1"])).await;
        let why = client.last_failure().unwrap().why;
        assert!(why.to_lowercase().contains(says), "{what}: {why}");
        assert!(!why.contains("http://"), "{what}: {why}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_leaves_its_fate_unknown() {
    let cut_off = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned();
    for answer in [String::new(), cut_off] {
        let (url, _) = server(vec![answer]).await;

        let answer = client(&url).send(&batch_request(&["1"])).await;

        let expected = Answer::TryAgain { status: None, retry_after: None, unknown_fate: true };
        assert_eq!(answer, expected);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_leaves_the_fate_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let config = ClientConfig {
        url: Some(&url),
        timeout: Duration::from_millis(50),
        ..ClientConfig::new(Region::Us, "site", "key")
    };

    let answer = Client::new(&config).unwrap().send(&batch_request(&["1"])).await;

    let expected = Answer::TryAgain { status: None, retry_after: None, unknown_fate: true };
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn the_time_to_wait_is_taken_from_the_answer() {
    let limited = http("429 Too Many Requests", "retry-after: 7\r\n", "");
    let (url, _) = server(vec![limited]).await;

    let answer = client(&url).send(&batch_request(&["1"])).await;

    let retry_after = Some(Duration::from_secs(7));
    let expected = Answer::TryAgain { status: Some(429), retry_after, unknown_fate: false };
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn the_region_of_the_account_is_asked_for() {
    let eu = r#"{"url":"https://track-eu.customer.io","region":"eu","environment_id":3}"#;
    #[rustfmt::skip]
    let table = [
        ("the account's region", http("200 OK", "", eu),           Probe::Region(Region::Eu)),
        ("wrong credentials",    http("401 Unauthorized", "", ""), Probe::Unauthorized { status: 401 }),
        ("something else",       http("200 OK", "", "hello"),      Probe::Unreadable { status: 200 }),
    ];
    for (what, answer, expected) in table {
        let (url, seen) = server(vec![answer]).await;
        assert_eq!(client(&url).region_probe().await, expected, "{what}");
        let request = seen.lock().unwrap().remove(0);
        assert!(request.starts_with("GET /api/v1/accounts/region HTTP/1.1\r\n"), "{request}");
    }
}

#[test]
fn a_wrong_region_is_explained_and_a_right_one_is_not_worth_a_word() {
    assert_eq!(Probe::Region(Region::Us).complaint(Region::Us), None);
    let wrong = Probe::Region(Region::Eu).complaint(Region::Us).unwrap();
    assert!(wrong.contains("set customerio.region = \"eu\""), "{wrong}");
    let refused = Probe::Unauthorized { status: 401 }.complaint(Region::Eu).unwrap();
    assert!(refused.contains("customerio.region = \"us\" is meant"), "{refused}");
}

#[test]
fn the_key_follows_redirects_within_customer_io_only() {
    let url = |text| Url::parse(text).unwrap();
    #[rustfmt::skip]
    let table = [
        ("the other region",           false, "https://track.customer.io/a", "https://track-eu.customer.io/a", true),
        ("without TLS",                false, "https://track.customer.io/a", "http://track-eu.customer.io/a",  false),
        ("a name that ends like it",   false, "https://track.customer.io/a", "https://evilcustomer.io/a",      false),
        ("a name that begins like it", false, "https://track.customer.io/a", "https://customer.io.evil.com/a", false),
        ("a custom host, another",     true,  "https://cio.shop.com/a",      "https://track.customer.io/a",    false),
        ("a custom host, itself",      true,  "http://cio.shop.com:81/a",    "http://cio.shop.com:81/b",       true),
        ("a custom host, another port", true, "http://cio.shop.com:81/a",    "http://cio.shop.com:82/a",       false),
    ];
    for (what, custom, from, to, expected) in table {
        assert_eq!(may_follow(custom, &url(from), &url(to)), expected, "{what}");
    }
}

#[test]
fn a_client_that_cannot_work_is_refused_with_the_reason() {
    let new = |url, site_id, api_key| {
        let config = ClientConfig { url, ..ClientConfig::new(Region::Us, site_id, api_key) };
        Client::new(&config).unwrap_err().to_string()
    };
    assert!(new(None, "", "key").starts_with("the site id is empty"));
    assert!(new(None, "site", "").starts_with("the API key is empty"));
    for url in ["track.customer.io", "ftp://x", "http://a:b@x", "http://x/?a=1", "http://x/#a"] {
        assert!(new(Some(url), "site", "key").starts_with("customerio.url is not usable"), "{url}");
    }
}

#[test]
fn the_key_is_never_printed() {
    let printed = format!("{:?}", client("http://127.0.0.1:1"));
    assert!(!printed.contains("c2l0ZTprZXk") && !printed.contains("key"), "{printed}");
}
