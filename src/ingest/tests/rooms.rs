//! How much memory bodies take, and who waits for whom.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Weak};

use actix_web::http::header::HeaderMap;
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::support::*;
use crate::clock::{Clock, Time};
use crate::ingest::body::SMALL;
use crate::ingest::{Intake, RequestHead, Surface};

const KEY: &str = "Authorization: Bearer demo-segment";

/// An event of about this many bytes that gzip makes little of.
fn event(size: usize) -> Vec<u8> {
    let mut event = br#"{"type":"track","event":""#.to_vec();
    let mut state = 1_u64;
    while event.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        event.extend(format!("{:x}", state >> 32).bytes());
    }
    event.extend(br#""}"#);
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_journal_takes_the_room_of_its_plain_bytes_and_no_more() {
    let app = App::start();
    let taken = Arc::new(AtomicUsize::new(0));
    let (note, intake) = (Arc::clone(&taken), Arc::downgrade(&app.intake));
    let look = move || {
        let taken = Weak::upgrade(&intake).map_or(0, |intake| intake.rooms.taken());
        note.store(taken, Ordering::SeqCst);
    };
    *app.journal.on_accept.lock().unwrap() = Some(Box::new(look));
    let (small, large) = (event(10_000), event(3 * SMALL));
    #[rustfmt::skip]
    let table: &[(&str, &[u8], usize)] = &[
        ("small", &small, small.len()),
        ("small, by gzip", &gzip(&small), small.len()),
        ("large", &large, large.len()),
        ("large, by gzip", &gzip(&large), large.len()),
        ("small, and inflates to something large", &gzip(&[&b" ".repeat(SMALL), &small[..]].concat()), SMALL + small.len()),
    ];
    for (what, body, plain) in table {
        assert_eq!(app.post("/v1/track", &[KEY], body).await.told(), "200", "{what}");
        assert_eq!(taken.swap(0, Ordering::SeqCst), plain.next_multiple_of(1024), "{what}");
        assert_eq!(app.intake.rooms.taken(), 0, "{what}: all of it comes back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_takes_room_for_what_was_sent_and_not_for_what_is_announced() {
    let app = App::start();
    let mut announcing = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(app.addr).await.unwrap();
        let head =
            "POST /webhook/signed HTTP/1.1\r\nHost: segue.test\r\nContent-Length: 33554432\r\n";
        stream.write_all(format!("{head}\r\n[").as_bytes()).await.unwrap();
        announcing.push(stream);
    }
    while app.intake.rooms.taken() < announcing.len() * 1024 {
        tokio::task::yield_now().await;
    }

    assert_eq!(app.intake.rooms.taken(), announcing.len() * 1024);
    let large = event(3 * SMALL);
    assert_eq!(app.post("/v1/track", &[KEY], &large).await.told(), "200");
}

/// Says that it was asked for the time, and answers when it is told to.
struct SlowClock(Mutex<(Sender<()>, Receiver<()>)>);

impl Clock for SlowClock {
    fn now(&self) -> Time {
        let both = self.0.lock().unwrap();
        both.0.send(()).unwrap();
        let _ = both.1.recv();
        now()
    }
}

#[tokio::test]
async fn who_hangs_up_frees_no_room_that_is_still_in_use() {
    let ((asked, was_asked), (go_on, told)) = (channel(), channel());
    let clock = Arc::new(SlowClock(Mutex::new((asked, told))));
    let journal = Arc::new(MemoryJournal::default());
    let intake = Arc::new(Intake::new(Arc::new(config()), journal, clock));
    let head = RequestHead {
        surface: Surface::Batch,
        headers: &HeaderMap::new(),
        query: "writeKey=demo-segment",
        peer: None,
    };
    let admission = intake.admit(&head).unwrap();
    let sent = Bytes::from(format!("[{}]", String::from_utf8(event(3 * SMALL)).unwrap()));
    let room = sent.len().next_multiple_of(1024);

    let mut accepting = Box::pin(intake.accept(admission, sent));
    assert_eq!((&mut accepting).now_or_never(), None);
    was_asked.recv().unwrap();
    drop(accepting);
    assert_eq!(intake.rooms.taken(), room, "the body is still being taken apart");

    drop(go_on);
    while intake.rooms.taken() > 0 {
        tokio::task::yield_now().await;
    }
}
