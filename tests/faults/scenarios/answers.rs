//! Customer.io fails for some: answers that are lost on the way, items and people that are refused.

use segue::emulator::FaultRule;
use tokio::time::{Duration, Instant, sleep};

use super::{World, emulate};
use crate::Options;
use crate::front::{self, Front, Trick};
use crate::load::{Load, start};
use crate::oracle::name;
use crate::proxy::{Mode, Proxy};
use crate::report::{Report, seconds};
use crate::server::Setup;

/// Connections that end after the request was done, within the answer, and while they are kept.
pub(super) async fn resets(options: Options) -> Report {
    let mut report = Report::new("resets");
    let emulator = emulate();
    let proxy = Proxy::start(emulator.addr()).await;
    let world = World::behind(Setup { url: proxy.url(), ..Setup::default() }, emulator).await;
    let sending = start(&world.load(options.rate), &world.oracle, None);
    for mode in [Mode::ResetAnswer(3), Mode::HalfAnswer(3), Mode::CloseAfter(2)] {
        proxy.set(mode);
        let before = proxy.broken();
        sleep(Duration::from_millis(800)).await;
        while proxy.broken() < before + 3 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    proxy.set(Mode::Pass);
    world.fail(&["share=0.2: reset, garbage, lost, ok*2, repeat"]);
    sleep(Duration::from_millis(1200)).await;
    world.fail(&[]);
    sending.stop().await;
    world.segue.drained().await;

    let broken = proxy.broken();
    report.must("connections broken by the proxy", "> 0", broken, broken > 0);
    let verdict = world.judge(&mut report).await;
    report.figure("resent, recognised by their ULID", verdict.duplicates);
    let dead = world.segue.counts().await.dead_lettered;
    report.must("dead letters", "0", dead, dead == 0);
    report
}

/// TLS and HTTP/2, as in production: refused and reset streams, `GOAWAY`, and connections that die while
/// they are kept. A certificate that nobody vouches for is not spoken to.
pub(super) async fn http2(options: Options) -> Report {
    let mut report = Report::new("http2");
    let emulator = emulate();
    let front = Front::start(&emulator).await;
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("authorities.pem");
    std::fs::write(&trusted, front::authority().pem()).unwrap();
    let before = format!("export SSL_CERT_FILE={}; ", trusted.display());
    let setup = Setup { url: front.url(), before, ..Setup::default() };
    let mut world = World::behind(setup, emulator).await;
    let sending = start(&world.load(options.rate), &world.oracle, None);
    while front.counts()[2] < 3 {
        sleep(Duration::from_millis(20)).await;
    }
    let [early, _, distrusted] = front.counts();
    world.segue.terminate().await;
    std::fs::write(&trusted, front.authority()).unwrap();
    world.segue.launch().await;

    let tricks =
        [Trick::Refuse, Trick::Reset, Trick::Half, Trick::GoAway, Trick::Abort, Trick::Die];
    for trick in tricks {
        front.play(trick, 3);
        while front.played(trick) < 4 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    front.play(Trick::Hang, 1);
    while front.played(Trick::Hang) == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    front.play(Trick::None, 1);
    let (hung, before) = (Instant::now(), front.counts()[1]);
    while front.counts()[1] == before {
        sleep(Duration::from_millis(20)).await;
    }
    let hung = hung.elapsed();
    sending.stop().await;
    world.segue.drained().await;

    report.must(
        "another connection after one hung open",
        "< 30 s",
        seconds(hung),
        hung < Duration::from_secs(30),
    );
    report.must(
        "connections without trust; requests",
        "> 0; 0",
        format!("{distrusted}; {early}"),
        early == 0,
    );
    let [requests, connections, _] = front.counts();
    report.figure("requests over HTTP/2; connections", format!("{requests}; {connections}"));
    let played: Vec<String> = tricks.iter().map(|trick| front.played(*trick).to_string()).collect();
    report.figure("refused, reset, halved, goaway, aborted, died", played.join(" "));
    let verdict = world.judge(&mut report).await;
    // Four of the tricks leave every third request unanswered, and what flies beside it.
    let (again, most) = (verdict.duplicates, verdict.arrived / 2);
    report.must(
        "resent, recognised by their ULID",
        format!("<= {most}, half"),
        again,
        again <= most,
    );
    let dead = world.segue.counts().await.dead_lettered;
    report.must("dead letters", "0", dead, dead == 0);
    report
}

/// Some items are refused within a batch, in both ways; for one person the whole batch is.
pub(super) async fn partial(options: Options) -> Report {
    let mut report = Report::new("partial");
    let world = World::start(Setup::default()).await;
    // One after the other, each with people of their own: a request takes the first rule that fits.
    let refusals = [(3, "reject"), (1014, "reject200"), (2025, "400")];
    for (person, step) in refusals {
        world.fail(&[&format!("person={}: {step}, repeat", name(person))]);
        let load = Load { first_person: person / 1000 * 1000, ..world.load(options.rate) };
        start(&load, &world.oracle, Some(options.rate)).end().await;
        world.segue.drained().await;
    }

    let refused = |person: u64| refusals.iter().any(|(refused, _)| *refused == person);
    world.judge_but(&mut report, |_, person| refused(person)).await;
    let letters = world.segue.dead_letters().await.into_iter().map(|letter| letter.message_id);
    let (died, just) = (letters.collect::<Vec<_>>(), world.oracle.sent_by(refused));
    let each_once = died.len() == just.len() && died.iter().all(|dead| just.contains(dead));
    report.must("dead letters", "just the refused", died.len(), each_once && !died.is_empty());
    report
}

/// People who fail each in their own way, while the process is killed now and then.
pub(super) async fn order(options: Options) -> Report {
    let mut report = Report::new("order");
    let mut world = World::start(Setup::default()).await;
    let scripts = ["500*2, ok*3", "429/0, ok*4", "reset, ok*2", "503, lost, ok*5", "garbage, ok*3"];
    let rules = (0..50).map(|person: u64| {
        let script = scripts[person as usize % scripts.len()];
        let rounds = [script; 3].join(", ");
        FaultRule::parse(&format!("person={}: {rounds}", name(person))).unwrap()
    });
    world.emulator.lock().set_faults(rules.collect());
    let load = Load { people: 50, ..world.load(options.rate) };
    let sending = start(&load, &world.oracle, Some(50 * 40));
    for _ in 0..options.kills.min(10) {
        sleep(Duration::from_millis(900)).await;
        world.segue.kill();
        world.segue.launch().await;
    }
    sending.end().await;
    world.segue.drained().await;
    report.figure("people; events of each; kills", format!("50; 40; {}", options.kills.min(10)));
    let verdict = world.judge(&mut report).await;
    report.figure("resent, recognised by their ULID", verdict.duplicates);
    report
}
