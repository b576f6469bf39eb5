//! What no single field can check, and values that can be read and would not do what they say: the
//! one place where `serve`, `check` and `config` decide whether a configuration can be used.
//!
//! Not here: types and names of values (`super::mistake`).

use std::net::SocketAddr;

use super::document::Document;
use super::{Config, ConfigError, DestinationKind, Overrides, Secret, SourceConfig, Span};
use crate::clock::Time;
use crate::destination::customerio::client;

/// Request headers that no script may see.
pub const SECRET_HEADERS: [&str; 5] =
    ["authorization", "cookie", "proxy-authorization", "x-segue-token", "x-signature"];

/// Checks a configuration that was read from `document`.
///
/// # Errors
/// The first thing that is wrong, and what to do.
pub(super) fn check(
    config: &Config,
    document: &Document<'_>,
    overrides: &Overrides<'_>,
) -> Result<(), ConfigError> {
    let check = Check { config, document, overrides };
    let listen = check.listen()?;
    check.sources(listen)?;
    check.admin(listen)?;
    check.customerio()?;
    check.exposure(listen)?;
    check.limits()?;
    check.headers()?;
    check.log()?;
    let names: Vec<&str> = config.source.iter().map(|source| source.name.as_str()).collect();
    let guard = config.guard.check(&names);
    guard.map_err(|wrong| document.about(&wrong.path, &wrong.message))
}

struct Check<'a> {
    config: &'a Config,
    document: &'a Document<'a>,
    overrides: &'a Overrides<'a>,
}

impl Check<'_> {
    fn wrong(&self, path: &str, message: impl AsRef<str>) -> Result<(), ConfigError> {
        Err(self.document.about(path, message.as_ref()))
    }

    /// A text as it is written in the file, else the default in force.
    fn shown(&self, path: &str, in_force: &str) -> String {
        self.document.written(path).unwrap_or_else(|| format!("{in_force:?}"))
    }

    /// Where events are taken, as somebody wrote it.
    fn shown_listen(&self) -> String {
        match self.overrides.listen {
            Some(listen) => format!("{listen:?}"),
            None => self.shown("listen", &self.config.listen),
        }
    }

    fn listen(&self) -> Result<SocketAddr, ConfigError> {
        let listen = &self.config.listen;
        listen.parse().map_err(|_| {
            let message = no_address(&self.shown_listen());
            match self.overrides.listen {
                Some(_) => ConfigError { file: "--listen".into(), line: None, message },
                None => self.document.about("listen", &message),
            }
        })
    }

    fn sources(&self, listen: SocketAddr) -> Result<(), ConfigError> {
        let sources = &self.config.source;
        if sources.is_empty() {
            return self.wrong(
                "source",
                "no [[source]] is configured; add one with a name and a kind (segment or rudderstack)",
            );
        }
        for (at, source) in sources.iter().enumerate() {
            self.source(at, source, listen)?;
            for (before, other) in sources[..at].iter().enumerate() {
                let [name, others] = [at, before].map(|at| self.name(at));
                if other.name == source.name {
                    return self.wrong(
                        &format!("source.{at}.name"),
                        format!("two sources are named {name}; names tell events apart"),
                    );
                }
                if source.write_keys.iter().any(|key| other.write_keys.contains(key)) {
                    return self.wrong(
                        &format!("source.{at}.write_keys"),
                        format!(
                            "sources {others} and {name} have the same write key: events could not be told apart"
                        ),
                    );
                }
            }
        }
        Ok(())
    }

    fn name(&self, at: usize) -> String {
        let name = self.config.source.get(at).map(|source| source.name.as_str());
        self.shown(&format!("source.{at}.name"), name.unwrap_or_default())
    }

    fn source(
        &self,
        at: usize,
        source: &SourceConfig,
        listen: SocketAddr,
    ) -> Result<(), ConfigError> {
        let of = |key: &str| format!("source.{at}.{key}");
        let name = self.name(at);
        if source.name.is_empty() {
            return self
                .wrong(&of("name"), "a source has no name; add one, such as name = \"web\"");
        }
        let is_good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !source.name.chars().all(is_good) {
            let message = format!("source name {name}: use letters, digits, - and _");
            return self.wrong(&of("name"), message);
        }
        let secrets = [
            ("write_keys", source.write_keys.iter().any(Secret::is_empty)),
            ("webhook_secret", source.webhook_secret.as_ref().is_some_and(Secret::is_empty)),
            ("token", source.token.as_ref().is_some_and(Secret::is_empty)),
        ];
        if let Some((key, _)) = secrets.into_iter().find(|(_, is_empty)| *is_empty) {
            let message =
                format!("source {name} has an empty secret: remove {key} or give it a value");
            return self.wrong(&of(key), message);
        }
        if !listen.ip().is_loopback()
            && !source.webhook_is_protected()
            && source.write_keys.is_empty()
        {
            let listen = self.shown_listen();
            return self.wrong(&of("name"), format!(
                "source {name} has no secret and {listen} is reachable from outside: give it a token, a webhook_secret or write_keys"
            ));
        }
        if source.cutover.as_ref().is_some_and(|cutover| Time::parse(cutover).is_none()) {
            let message = "cutover must be a time such as \"2026-12-01T00:00:00Z\"";
            return self.wrong(&of("cutover"), message);
        }
        Ok(())
    }

    fn admin(&self, listen: SocketAddr) -> Result<(), ConfigError> {
        let admin = &self.config.admin;
        if admin.token.as_ref().is_some_and(Secret::is_empty) {
            let message = "the operator's token is empty: remove it or give it a value";
            return self.wrong("admin.token", message);
        }
        if admin.listen.is_empty() {
            return Ok(());
        }
        let shown = self.shown("admin.listen", &admin.listen);
        let Ok(address) = admin.listen.parse::<SocketAddr>() else {
            return self.wrong("admin.listen", no_address(&shown));
        };
        if !address.ip().is_loopback() && admin.token.is_none() {
            let message = "the admin listener is reachable from outside: give [admin] a token";
            return self.wrong("admin.listen", message);
        }
        let same_ip = address.ip() == listen.ip()
            || address.ip().is_unspecified()
            || listen.ip().is_unspecified();
        if same_ip && address.port() == listen.port() && listen.port() != 0 {
            return self.wrong("admin.listen", format!(
                "the operator's listener cannot have the port of the events' ({}): give [admin] listen another one",
                self.shown_listen()
            ));
        }
        Ok(())
    }

    fn customerio(&self) -> Result<(), ConfigError> {
        let customerio = &self.config.customerio;
        let needed = [("site_id", &customerio.site_id), ("api_key", &customerio.api_key)];
        let missing = needed.into_iter().find(|(_, value)| value.is_empty());
        if self.config.destination == DestinationKind::Customerio
            && let Some((key, _)) = missing
        {
            return self.wrong(
                &format!("customerio.{key}"),
                format!(
                    "[customerio] needs {key}; or set destination = \"emulator\" to try things out"
                ),
            );
        }
        if !customerio.url.is_empty()
            && let Err(error) = client::check_url(&customerio.url)
        {
            return self.wrong("customerio.url", error.to_string());
        }
        Ok(())
    }

    /// The emulator must not stand in for Customer.io where others could take it for the real thing,
    /// unless that is meant.
    fn exposure(&self, listen: SocketAddr) -> Result<(), ConfigError> {
        let is_emulated = self.config.destination == DestinationKind::Emulator;
        if !is_emulated || self.overrides.demo || listen.ip().is_loopback() {
            return Ok(());
        }
        let listen = self.shown_listen();
        self.wrong("destination", format!(
            "events would go to the emulator, and {listen} is reachable from outside: configure [customerio], or serve with --demo"
        ))
    }

    /// Values with which nothing would work.
    fn limits(&self) -> Result<(), ConfigError> {
        let Config { customerio, ingest, journal, .. } = self.config;
        let size = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        let counts = [
            ("customerio.rate", customerio.rate.into(), "nothing would be sent"),
            ("customerio.concurrency", size(customerio.concurrency), "nothing would be sent"),
            (
                "ingest.max_body_bytes",
                size(ingest.max_body_bytes),
                "every request would be refused",
            ),
            (
                "ingest.max_webhook_body_bytes",
                size(ingest.max_webhook_body_bytes),
                "every request would be refused",
            ),
            ("journal.max_pending", journal.max_pending, "no event would be taken"),
            ("journal.max_bytes", journal.max_bytes, "no event would be taken"),
        ];
        for (path, value, else_what) in counts {
            if value == 0 {
                return self.wrong(path, format!("{path} must be at least 1, or {else_what}"));
            }
        }
        let (second, minute, hour, forever) = (
            Span::from_secs(1),
            Span::from_secs(60),
            Span::from_hours(1),
            Span::from_hours(1 << 30),
        );
        #[rustfmt::skip]
        let spans = [
            ("customerio.linger", customerio.linger, Span::from_secs(0)..=minute, "live events wait that long"),
            ("customerio.age_budget", customerio.age_budget, minute..=forever, "an event becomes a dead letter after it"),
            ("ingest.body_deadline", ingest.body_deadline, second..=hour, "a client has that long to send a body"),
            ("journal.keep_dead_letters", journal.keep_dead_letters, hour..=forever, "they are lost after it"),
        ];
        for (path, value, allowed, why) in spans {
            if !allowed.contains(&value) {
                let bound = match value < *allowed.start() {
                    true => format!("at least {}", allowed.start()),
                    false => format!("at most {}", allowed.end()),
                };
                return self.wrong(path, format!("{path} must be {bound}: {why}"));
            }
        }
        Ok(())
    }

    fn headers(&self) -> Result<(), ConfigError> {
        for (at, header) in self.config.ingest.headers.iter().enumerate() {
            let path = format!("ingest.headers.{at}");
            let shown = self.shown(&path, header);
            if !is_header(header) {
                let message =
                    format!("{shown} is no name of a header; write for example \"user-agent\"");
                return self.wrong(&path, message);
            }
            if SECRET_HEADERS.contains(&header.to_ascii_lowercase().as_str()) {
                let message = format!(
                    "{shown} holds secrets, which scripts never see: remove it from headers"
                );
                return self.wrong(&path, message);
            }
        }
        Ok(())
    }

    fn log(&self) -> Result<(), ConfigError> {
        let filter = &self.config.log.filter;
        match tracing_subscriber::EnvFilter::try_new(filter) {
            Ok(_) => Ok(()),
            Err(_) => self.wrong("log.filter", format!(
                "log.filter {} cannot be read; write for example \"info\" or \"info,segue=debug\"",
                self.shown("log.filter", filter)
            )),
        }
    }
}

fn no_address(shown: &str) -> String {
    format!("{shown} is no address; write for example \"127.0.0.1:8080\" or \"0.0.0.0:8080\"")
}

/// Whether HTTP knows such a name.
fn is_header(name: &str) -> bool {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(is_token)
}
