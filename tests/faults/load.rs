//! The senders: at a given pace, in the order of each person, again until the answer is 200.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::oracle::Oracle;

/// How events are sent.
#[derive(Clone)]
pub(crate) struct Load {
    /// Where to.
    pub(crate) url: String,
    /// So many people take turns.
    pub(crate) people: u64,
    /// The first of them.
    pub(crate) first_person: u64,
    /// Events a second, all senders together; 0: as fast as answers come.
    pub(crate) rate: u64,
    /// Events in a request.
    pub(crate) batch: u64,
    /// Connections. Each has people of its own, so that their order is known.
    pub(crate) senders: u64,
}

impl Load {
    /// A load for a webhook.
    pub(crate) fn new(addr: &str, rate: u64) -> Self {
        let url = format!("http://{addr}/webhook/web");
        Self { url, people: 200, first_person: 0, rate, batch: 10, senders: 8 }
    }
}

/// What the senders saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// From the first byte of a request that was answered 200 to its answer.
    pub(crate) answers: Vec<Duration>,
    /// Requests that were answered otherwise, by status; 0: not at all.
    pub(crate) others: std::collections::BTreeMap<u16, u64>,
    /// Whether every 503 said when to come again.
    pub(crate) says_when: bool,
}

/// A load on its way.
pub(crate) struct Sending {
    stop: Arc<AtomicBool>,
    senders: JoinSet<Seen>,
}

/// Begins to send; ends after `most` events, or when it is told to.
pub(crate) fn start(load: &Load, oracle: &Arc<Oracle>, most: Option<u64>) -> Sending {
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for lane in 0..load.senders {
        let (load, oracle, stop) = (load.clone(), Arc::clone(oracle), Arc::clone(&stop));
        senders.spawn(send(load, oracle, lane, most.map(|most| most / 8), stop));
    }
    Sending { stop, senders }
}

impl Sending {
    /// Waits for the end.
    pub(crate) async fn end(mut self) -> Seen {
        let mut all = Seen { says_when: true, ..Seen::default() };
        while let Some(seen) = self.senders.join_next().await {
            let seen = seen.expect("a sender must not fail");
            all.answers.extend(seen.answers);
            all.says_when &= seen.says_when;
            for (status, count) in seen.others {
                *all.others.entry(status).or_default() += count;
            }
        }
        all
    }

    /// Tells the senders to stop, and waits until what they have begun was answered 200.
    pub(crate) async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        self.end().await
    }
}

async fn send(
    load: Load,
    oracle: Arc<Oracle>,
    lane: u64,
    most: Option<u64>,
    stop: Arc<AtomicBool>,
) -> Seen {
    let http = client();
    let mut seen = Seen { says_when: true, ..Seen::default() };
    let pace = match load.rate {
        0 => Duration::ZERO,
        rate => {
            Duration::from_secs(1) * u32::try_from(load.batch * load.senders).unwrap()
                / u32::try_from(rate).unwrap()
        }
    };
    let people: Vec<u64> = (0..load.people).filter(|one| one % load.senders == lane).collect();
    let mut turn = Instant::now() + pace * u32::try_from(lane).unwrap() / 8;
    let mut count = 0;
    while !stop.load(Ordering::SeqCst) && most.is_none_or(|most| count < most) {
        sleep_until(turn).await;
        turn += pace;
        let (numbers, events): (Vec<u64>, Vec<Value>) = (0..load.batch)
            .map(|one| {
                let person = people[((count + one) % people.len() as u64) as usize];
                oracle.next(load.first_person + person)
            })
            .unzip();
        count += load.batch;
        until_taken(&http, &load.url, Value::Array(events).to_string(), &mut seen).await;
        oracle.acknowledge(&numbers);
    }
    seen
}

/// Sends a request again and again until it is answered 200.
pub(crate) async fn until_taken(http: &reqwest::Client, url: &str, body: String, seen: &mut Seen) {
    loop {
        let sent = Instant::now();
        match http.post(url).body(body.clone()).send().await {
            Ok(answer) if answer.status() == 200 => {
                seen.answers.push(sent.elapsed());
                return;
            }
            Ok(answer) => {
                let status = answer.status().as_u16();
                *seen.others.entry(status).or_default() += 1;
                let says = answer.headers().contains_key("retry-after");
                seen.says_when &= status != 503 || says;
            }
            Err(_) => *seen.others.entry(0).or_default() += 1,
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// How long an answer is waited for, as senders do; out of reach of a slow disk.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// An HTTP client that goes nowhere but where it is told.
pub(crate) fn client() -> reqwest::Client {
    // Another one may have installed it already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(ANSWERED_WITHIN).build().unwrap()
}
