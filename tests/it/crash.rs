//! The process is killed, and what was answered 200 arrives all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use segue::clock::SystemClock;
use segue::emulator::settings::History;
use segue::emulator::{self, Emulator, Settings};
use serde_json::json;

use crate::support::{Process, eventually, free_port, http, track};

/// How often the process is killed. Long runs are for the fault bench.
const KILLS: usize = 4;
const USERS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_200_arrives_in_order_although_the_process_is_killed() {
    let emulator = emulator::serve(
        ([127, 0, 0, 1], 0).into(),
        Emulator::new(remembering_everything()),
        Arc::new(SystemClock),
    )
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let addr = format!("127.0.0.1:{}", free_port());
    let config = folder.path().join("segue.toml");
    let text = format!(
        "listen = \"{addr}\"\ntransforms = \"shipped\"\n[admin]\nlisten = \"\"\n[customerio]\nsite_id = \"s\"\n\
         api_key = \"k\"\nurl = \"{}\"\n[[source]]\nname = \"web\"\n",
        emulator.url()
    );
    std::fs::write(&config, text).unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let mut process = Process::start(&config, &addr).await;
    let sender = tokio::spawn(send_until(Arc::clone(&stop), addr.clone()));
    for _ in 0..KILLS {
        let seen = emulator.lock().events().count();
        eventually("some more events to arrive", async || {
            (emulator.lock().events().count() > seen + 300).then_some(())
        })
        .await;
        process.kill();
        process = Process::start(&config, &addr).await;
    }
    stop.store(true, Ordering::SeqCst);
    let acknowledged = sender.await.unwrap();

    let arrived = eventually("everything that was answered 200", async || {
        let arrived: BTreeSet<String> = emulator
            .lock()
            .events()
            .map(|event| event.data["n"].as_str().unwrap().to_owned())
            .collect();
        acknowledged.iter().all(|id| arrived.contains(id)).then_some(arrived)
    })
    .await;
    assert!(arrived.len() >= 300 * KILLS, "{}", arrived.len());
    assert_in_order(&emulator);
    assert!(process.terminate(), "it stops in good order");
    emulator.stop().await;
}

/// The oracle must not forget what arrived.
fn remembering_everything() -> Settings {
    let history = History { events: 10_000_000, activity: 10_000_000, ..History::default() };
    Settings { history, ..Settings::default() }
}

/// Sends events of many people, each numbered, and notes which were answered 200. One that was not
/// is sent again, as a vendor does.
async fn send_until(stop: Arc<AtomicBool>, addr: String) -> Vec<String> {
    let http = http();
    let url = format!("http://{addr}/webhook/web");
    let mut acknowledged = Vec::new();
    let mut number = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        let batch: Vec<_> = (0..10)
            .map(|at| {
                track(
                    &format!("u{}", (number + at) % USERS as u64),
                    "Step",
                    &format!("{:08}", number + at),
                )
            })
            .collect();
        let body = json!(batch).to_string();
        loop {
            match http.post(&url).body(body.clone()).send().await {
                Ok(answer) if answer.status() == 200 => break,
                _ => tokio::task::yield_now().await,
            }
        }
        acknowledged.extend((0..10).map(|at| format!("{:08}", number + at)));
        number += 10;
    }
    acknowledged
}

/// Events of one person come in the order in which they were sent.
fn assert_in_order(emulator: &emulator::Running) {
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for event in emulator.lock().events() {
        let (person, number) =
            (event.cio_id.clone().unwrap(), event.data["n"].as_str().unwrap().to_owned());
        let before = last.insert(person, number.clone());
        assert!(
            before.as_ref().is_none_or(|before| *before < number),
            "{before:?} before {number}"
        );
    }
}
