//! Everything at once, by lot: what no scenario of its own thought of.

use std::time::Duration;

use tokio::time::sleep;

use super::{World, emulate};
use crate::Options;
use crate::load::{Load, start};
use crate::lot::Lot;
use crate::oracle::OLD;
use crate::proxy::{Mode, Proxy};
use crate::report::{Report, seconds};
use crate::server::Setup;

/// What Customer.io answers. Nothing of it is final: every event must arrive once it is over.
const ANSWERS: [&[&str]; 14] = [
    &[],
    &[],
    &["503, repeat"],
    &["503*4, ok*6, repeat"],
    &["share=0.1: 500, repeat"],
    &["share=0.5: 502, repeat"],
    &["429/1*3"],
    &["429*2, ok*3, repeat"],
    &["401*2"],
    &["slow/400, repeat"],
    &["share=0.2: reset, repeat"],
    &["garbage*2, lost*2, ok*4, repeat"],
    &["person=person-7: 500, repeat", "share=0.1: slow/1500, repeat"],
    &["person=person-7: 408, repeat", "person=person-11: reset, repeat"],
];
/// What happens to the connections, to Customer.io and from the senders.
const MODES: [Mode; 9] = [
    Mode::Pass,
    Mode::Pass,
    Mode::Pass,
    Mode::Refuse,
    Mode::Swallow,
    Mode::ResetAnswer(3),
    Mode::HalfAnswer(4),
    Mode::CloseAfter(2),
    Mode::Trickle(5, 10),
];

/// Answers, connections and the process itself fail by lot, with live events and a backfill on the way.
/// `--seed` gives another weather.
pub(super) async fn weather(options: Options) -> Report {
    let mut report = Report::new("weather");
    let emulator = emulate();
    let out = Proxy::start(emulator.addr()).await;
    let mut lot = Lot::seeded(options.seed);
    // What may wait in memory goes by it: with one, that is soon full.
    let customerio = format!("concurrency = {}", lot.pick(&[1, 2, 8]));
    let setup = Setup { url: out.url(), customerio, ..Setup::default() };
    let mut world = World::behind(setup, emulator).await;
    let door = Proxy::start(world.segue.addr.parse().unwrap()).await;
    let live = Load::new(&door.addr(), options.rate);
    let url = format!("{}?replay=weather", live.url);
    let old = Load { url, batch: 40, first_person: OLD, senders: 2, ..live.clone() };
    let sending = [&live, &old].map(|load| start(load, &world.oracle, None));

    let (mut left, mut changes, mut stops) = (options.seconds * 4, 0_u64, 0_u64);
    while !left.is_zero() {
        changes += 1;
        world.fail(lot.pick(&ANSWERS));
        out.set(lot.pick(&MODES));
        door.set(if lot.draw(3) == 0 { Mode::ResetAnswer(4) } else { Mode::Pass });
        match lot.draw(8) {
            0 => world.segue.kill(),
            1 => drop(world.segue.terminate().await),
            2 => world.segue.stand_still(Duration::from_millis(300)).await,
            _ => {}
        }
        if world.segue.pid() == 0 {
            stops += 1;
            world.segue.launch().await;
        }
        let span = Duration::from_millis([200, 700, 1500, 4000, 15_000][lot.draw(5)]).min(left);
        sleep(span).await;
        left -= span;
    }
    [&out, &door].iter().for_each(|proxy| proxy.set(Mode::Pass));
    world.fail(&[]);
    for load in sending {
        load.stop().await;
    }
    let drained = world.segue.drained().await;

    report.figure("seed; changes of it; stops", format!("{}; {changes}; {stops}", options.seed));
    report.figure("drained in", seconds(drained));
    let dead = world.segue.counts().await.dead_lettered;
    report.must("dead letters", "0", dead, dead == 0);
    world.judge(&mut report).await;
    report
}
