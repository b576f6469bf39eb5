//! The composition root: builds every stage from the configuration, starts and stops them in order.
//!
//! Events are taken only when everything behind the door stands; on the way down the door closes
//! first, what is on its way to Customer.io gets its answer, and the journal is closed last.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arc_swap::ArcSwap;

use crate::admin::{self, Admin};
use crate::clock::{Clock, SlowClock, Time};
use crate::config::{Config, DestinationKind};
use crate::delivery::CourierConfig;
use crate::delivery::batch::Room;
use crate::destination::customerio::client::{Client, ClientConfig};
use crate::destination::customerio::limits;
use crate::emulator::{self, Emulator};
use crate::fixture::suite;
use crate::ingest::Intake;
use crate::journal::sqlite::{SqliteJournal, SqliteOptions};
use crate::journal::{Journal, JournalError};
use crate::relay::{self, Purge, Relay};
use crate::server::{Server, StopHandle};
use crate::transform::Bundle;
use crate::transform::reload::{self, Check, Reloaded, Reloader, Start, Watching};
use crate::transform::shelf::Shelf;
use crate::transform::trial::Trial;

/// Where the emulator listens under `serve`, if that is free.
const EMULATOR_PORT: u16 = 8090;
/// How long requests may take to end when the door closes.
const DOOR_CLOSES_WITHIN: Duration = Duration::from_secs(3);
/// How often a journal that somebody holds is tried again at the start, 50 ms apart.
const LOOKS_FOR_THE_JOURNAL: usize = 60;
/// How often the journal takes one small step of forgetting what has expired.
const MAINTAIN_EVERY: Duration = Duration::from_secs(1);

/// A running Segue.
pub struct App {
    addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    emulator: Option<emulator::Running>,
    journal: Arc<dyn Journal>,
    bundle: Arc<ArcSwap<Bundle>>,
    relay: Arc<Mutex<relay::Handle>>,
    server: Option<StopHandle>,
    admin: Option<admin::Running>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    reloader: Arc<Reloader>,
    watching: Option<Watching>,
}

impl App {
    /// Starts everything. Needs a running tokio runtime.
    ///
    /// # Errors
    /// The first thing that cannot be started, and why.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let check = fixtures_check(&config);
        let start = scripts_at_start(&config, &check)?;
        let emulator = match config.destination {
            DestinationKind::Emulator => Some(start_emulator(&clock)?),
            DestinationKind::Customerio => None,
        };
        let client = Arc::new(connect(&config, emulator.as_ref())?);
        let journal = open_journal(&config, &clock)?;
        let mut tasks = vec![tokio::spawn(probe_region(Arc::clone(&config), Arc::clone(&client)))];
        let (verdicts, judged) = std::sync::mpsc::channel();
        let trial = Arc::new(Trial::new(start.bundle.hash(), verdicts));
        let bundle = Arc::new(ArcSwap::from_pointee(start.bundle));
        let reloader = reloader(&config, &bundle, (check, start.refusal), &trial);
        let watch = admin::Watch::new(clock.now());
        let tap = Arc::new(relay::Tap::default());
        let relay = Relay {
            config: Arc::clone(&config),
            journal: Arc::clone(&journal),
            clock: Arc::clone(&clock),
            bundle: Arc::clone(&bundle),
            client: Arc::clone(&client),
            courier: courier_config(&config),
            trial,
            observer: watch.observer(),
            tap: Arc::clone(&tap),
        };
        let relay = relay.start(tokio::runtime::Handle::current())?;
        let contact = relay.contact();
        let relay = Arc::new(Mutex::new(relay));
        let admin = Admin {
            config: Arc::clone(&config),
            journal: Arc::clone(&journal),
            clock: Arc::clone(&clock),
            bundle: Arc::clone(&bundle),
            relay: contact,
            client,
            reloader: Arc::clone(&reloader),
            watch,
            tap,
        };
        let admin = Arc::new(admin);
        admin::scripts::judge(&admin, judged)?;
        let (server, operator) = match open_doors(&admin) {
            Ok(doors) => doors,
            Err(error) => {
                // It has begun to work on what waits: to go down with that would look like its fault.
                stop_relay(relay).await;
                close(&journal).await;
                return Err(error);
            }
        };
        let addr = server.addr();
        let stop = server.stop_handle();
        tasks.push(tokio::spawn(async move {
            if let Err(error) = server.run().await {
                tracing::error!(%error, "the listener failed");
            }
        }));
        tasks.push(tokio::spawn(maintain(Arc::clone(&admin))));
        let watching = config
            .scripts_folder()
            .map(|_| reload::watch(Arc::clone(&reloader), reload::STILL_FOR, tell));
        Ok(Self {
            addr,
            admin_addr: operator.addr(),
            emulator,
            journal,
            bundle,
            relay,
            server: Some(stop),
            admin: Some(operator),
            tasks,
            reloader,
            watching: watching.and_then(|watching| {
                watching.map_err(|reason| tracing::warn!("{reason}: reload by hand")).ok()
            }),
        })
    }

    /// Where events are taken.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where the operator's listener is.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// The emulator that stands in for Customer.io, where one does.
    pub fn emulator(&self) -> Option<&emulator::Running> {
        self.emulator.as_ref()
    }

    /// The store.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// The scripts in force.
    pub fn bundle(&self) -> Arc<Bundle> {
        self.bundle.load_full()
    }

    /// Why the scripts of the folder are not in force, where they are not.
    pub fn refusal(&self) -> Option<String> {
        self.reloader.refusal()
    }

    /// Brings a changed transforms folder into force, or says why not.
    pub async fn reload(&self) -> Reloaded {
        let reloader = Arc::clone(&self.reloader);
        let reloaded = tokio::task::spawn_blocking(move || reloader.reload()).await;
        reloaded
            .unwrap_or_else(|error| Reloaded::Refused(format!("the reload ended early: {error}")))
    }

    /// As [`Self::reload`], and says in the log what came of it.
    pub async fn reload_and_tell(&self) {
        tell(&self.reload().await);
    }

    /// Stops everything in good order, within 10 s.
    pub async fn stop(mut self) {
        drop(self.watching.take());
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        stop_relay(Arc::clone(&self.relay)).await;
        if let Some(admin) = self.admin.take() {
            admin.stop().await;
        }
        close(&self.journal).await;
        for task in &self.tasks {
            task.abort();
        }
        if let Some(emulator) = self.emulator.take() {
            emulator.stop().await;
        }
    }
}

/// Where events are taken, and where an operator asks.
///
/// # Errors
/// When somebody else listens there.
fn open_doors(admin: &Arc<Admin>) -> anyhow::Result<(Server, admin::Running)> {
    let Admin { config, journal, clock, .. } = &**admin;
    let intake = Arc::new(Intake::new(Arc::clone(config), Arc::clone(journal), Arc::clone(clock)));
    let readiness = admin::readiness(Arc::clone(admin));
    let server = Server::bind(config, intake, readiness, DOOR_CLOSES_WITHIN)
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    Ok((server, admin::serve(Arc::clone(admin))?))
}

async fn stop_relay(relay: Arc<Mutex<relay::Handle>>) {
    let stopped = tokio::task::spawn_blocking(move || {
        relay.lock().unwrap_or_else(PoisonError::into_inner).stop();
    });
    drop(stopped.await);
}

async fn close(journal: &Arc<dyn Journal>) {
    if let Ok(Err(error)) = journal.close().await {
        tracing::error!(%error, "the journal could not be closed");
    }
}

/// What scripts must pass before they come into force: the fixtures that lie beside their folder.
fn fixtures_check(config: &Arc<Config>) -> Check {
    let fixtures = config.transforms.with_file_name("fixtures");
    let config = Arc::clone(config);
    Box::new(move |bundle| {
        match suite::check_bundle(&config, bundle, &fixtures)? {
            0 => tracing::warn!("the scripts are untested: there are no fixtures beside them"),
            passed => tracing::info!(fixtures = passed, "the scripts pass their fixtures"),
        }
        Ok(())
    })
}

/// The scripts to start with: those of the configured folder, or the last good ones; the shipped ones
/// where there is no folder.
///
/// # Errors
/// Why the scripts cannot be run, where no good ones are known.
fn scripts_at_start(config: &Config, check: &Check) -> anyhow::Result<Start> {
    let start = match config.scripts_folder() {
        Some(folder) => reload::at_start(&shelf(config), reload::load(folder), check),
        None => reload::at_start(&shelf(config), reload::shipped(), |_| Ok(())),
    };
    start.map_err(|reason| {
        anyhow::anyhow!(
            "the scripts cannot be used, and no good ones are known from before:\n{reason}"
        )
    })
}

/// What brings changed scripts into force; `refusal` says why those of the folder are not already.
fn reloader(
    config: &Config,
    bundle: &Arc<ArcSwap<Bundle>>,
    (check, refusal): (Check, Option<String>),
    trial: &Arc<Trial>,
) -> Arc<Reloader> {
    if let Some(refusal) = &refusal {
        let (folder, hash) = (config.transforms.display(), bundle.load().hash().to_owned());
        tracing::error!("the scripts in {folder} are refused, {hash} are in force: {refusal}");
    }
    let reloader = Reloader::new(config.transforms.clone(), Arc::clone(bundle), check);
    // Read again: now that the journal is ours, nobody else writes there.
    Arc::new(reloader.with_shelf(shelf(config), Arc::clone(trial), refusal))
}

fn shelf(config: &Config) -> Shelf {
    Shelf::open(config.data_dir.join("bundles"))
}

/// Says what a reload did.
fn tell(reloaded: &Reloaded) {
    admin::scripts::count(reloaded);
    match reloaded {
        Reloaded::Unchanged => {}
        Reloaded::Swapped { from, to } => {
            tracing::info!(%from, %to, "the changed scripts are in force")
        }
        Reloaded::Refused(reason) => {
            tracing::error!(
                "the changed scripts cannot be used; the ones before stay in force:\n{reason}"
            );
        }
    }
}

/// Opens the journal of the configured folder.
///
/// # Errors
/// When another process holds it, or it cannot be read.
pub fn open_journal(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Arc<dyn Journal>> {
    Ok(Arc::new(open_when_free(&journal_options(config), clock)?))
}

/// Opens a journal, patiently: an operator's command that looks into it while no server runs holds
/// it for a moment, and must not keep a server from starting. Neither must a program that is just
/// being started from here: until it runs, it holds whatever this process had open.
///
/// # Errors
/// When somebody holds it for longer, or it cannot be read.
pub fn open_when_free(
    options: &SqliteOptions,
    clock: &Arc<dyn Clock>,
) -> Result<SqliteJournal, JournalError> {
    let open = || SqliteJournal::open(options.clone(), Arc::clone(clock));
    when_free(open, || std::thread::sleep(Duration::from_millis(50)))
}

fn when_free<T>(
    mut open: impl FnMut() -> Result<T, JournalError>,
    mut wait: impl FnMut(),
) -> Result<T, JournalError> {
    for _ in 0..LOOKS_FOR_THE_JOURNAL {
        match open() {
            Err(JournalError::InUse(_)) => wait(),
            opened => return opened,
        }
    }
    open()
}

/// The journal's options from the configuration.
pub fn journal_options(config: &Config) -> SqliteOptions {
    let journal = &config.journal;
    SqliteOptions {
        directory: config.data_dir.clone(),
        dedupe_window: journal.dedupe_window.duration(),
        dedupe_max_keys: usize::try_from(journal.dedupe_max_keys).unwrap_or(usize::MAX),
        max_pending_rows: journal.max_pending,
        max_bytes: journal.max_bytes,
        disk_floor_bytes: journal.disk_floor_bytes,
        trail_keep: journal.keep_trail.duration(),
        max_facts: journal.max_facts,
        dead_keep: journal.keep_dead_letters.duration(),
        record_keep: config.record.keep.duration(),
        record_max: config.record.max_events,
        ..SqliteOptions::default()
    }
}

/// How the courier goes about it, from the configuration.
pub fn courier_config(config: &Config) -> CourierConfig {
    let customerio = &config.customerio;
    CourierConfig {
        rate: customerio.rate,
        concurrency: customerio.concurrency,
        linger: customerio.linger.duration(),
        room: Room { items: limits::BATCH_ITEMS, bytes: limits::BATCH_BYTES },
        age_budget: customerio.age_budget.duration(),
        seed: u64::from(std::process::id()),
    }
}

fn start_emulator(clock: &Arc<dyn Clock>) -> anyhow::Result<emulator::Running> {
    let preferred = SocketAddr::from((Ipv4Addr::LOCALHOST, EMULATOR_PORT));
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let start = |addr| {
        emulator::serve(addr, Emulator::new(emulator::Settings::default()), Arc::clone(clock))
    };
    start(preferred).or_else(|_| start(any)).context("the emulator cannot be started")
}

fn connect(config: &Config, emulator: Option<&emulator::Running>) -> anyhow::Result<Client> {
    let customerio = &config.customerio;
    let url = match emulator {
        Some(running) => running.url(),
        None => customerio.url.clone(),
    };
    let (site_id, api_key) = match emulator {
        Some(_) => ("demo", "demo"),
        None => (customerio.site_id.expose(), customerio.api_key.expose()),
    };
    let account = ClientConfig::new(customerio.region, site_id, api_key);
    Ok(Client::new(&ClientConfig {
        url: Some(url.as_str()).filter(|url| !url.is_empty()),
        ..account
    })?)
}

/// Says so when the account lives elsewhere or the credentials are wrong, before the first event
/// shows it.
async fn probe_region(config: Arc<Config>, client: Arc<Client>) {
    if config.destination == DestinationKind::Customerio
        && let Some(complaint) = client.region_probe().await.complaint(config.customerio.region)
    {
        tracing::warn!("{complaint}");
    }
}

async fn maintain(admin: Arc<Admin>) {
    let (journal, relay) = (&admin.journal, &admin.relay);
    let mut purge = Purge::new(Arc::clone(journal));
    let mut slow = SlowClock::default();
    loop {
        tokio::time::sleep(MAINTAIN_EVERY).await;
        let ahead = admin.client.clock_ahead();
        let now = slow.time(admin.clock.now(), ahead, Instant::now());
        purge = forget_people(purge, journal, relay, now).await;
        if let Ok(Err(error)) = journal.maintain(now).await {
            tracing::warn!(%error, "the journal could not forget what has expired; trying again");
        }
    }
}

/// One step of forgetting people who were deleted.
async fn forget_people(
    mut purge: Purge,
    journal: &Arc<dyn Journal>,
    relay: &relay::Contact,
    now: Time,
) -> Purge {
    let (fresh, relay) = (Purge::new(Arc::clone(journal)), relay.clone());
    let step = tokio::task::spawn_blocking(move || {
        let done = purge.step(now, |seqs| relay.forgotten(seqs));
        (purge, done)
    });
    let Ok((purge, done)) = step.await else { return fresh };
    if let Err(error) = done {
        tracing::warn!(%error, "a deleted person could not be forgotten here; trying again");
    }
    purge
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_folder_of_the_journal_is_for_nobody_else() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data_dir: folder.path().join("a/data"), ..Config::demo() };
        let clock: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock);

        let _journal = open_journal(&config, &clock).unwrap();

        let mode = std::fs::metadata(&config.data_dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_start_that_fails_leaves_no_event_under_suspicion() {
        let folder = tempfile::tempdir().unwrap();
        let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let config = Config {
            data_dir: folder.path().into(),
            listen: taken.local_addr().unwrap().to_string(),
            ..Config::demo()
        };
        let clock: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock);

        let error = App::start(config.clone(), Arc::clone(&clock)).await.err().unwrap();

        assert!(error.to_string().starts_with("cannot listen on "), "{error}");
        assert!(open_journal(&config, &clock).unwrap().opened().clean);
    }

    #[test]
    fn a_journal_that_somebody_only_looks_into_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { directory: folder.path().into(), ..SqliteOptions::default() };
        let clock: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock);
        let open = || SqliteJournal::open(options.clone(), Arc::clone(&clock));
        let mut looker = Some(open().unwrap());
        let mut waits = 0;

        let opened = when_free(open, || {
            waits += 1;
            looker = looker.take().filter(|_| waits < 3);
        });

        assert!(opened.is_ok());
        assert_eq!(waits, 3);
        let still_held = when_free(open, || waits += 1);
        assert!(
            matches!(still_held, Err(JournalError::InUse(_))),
            "a server that stays is told of"
        );
    }
}
