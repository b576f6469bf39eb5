//! Reads the file, the environment, and what no single field can check.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Config, DestinationKind};
use crate::clock::Time;

/// The configuration in force and where it comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The file; `None`: the built-in defaults.
    pub file: Option<PathBuf>,
}

/// What is wrong with the configuration, and where.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: String,
    /// The line, counted from 1, where one can be named.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// Reads `file`, or `segue.toml` of the working folder where that exists, or takes the defaults.
///
/// # Errors
/// When a named file cannot be read, or its content is wrong.
pub fn load(file: Option<&Path>) -> Result<Loaded, ConfigError> {
    load_with(file, &|variable| std::env::var(variable).ok())
}

/// As [`load`], with an environment of its own.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    file: Option<&Path>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigError> {
    let default = Path::new("segue.toml");
    let file = match file {
        Some(file) => file,
        None if default.exists() => default,
        None => return Ok(Loaded { config: Config::demo(), file: None }),
    };
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| ConfigError {
        file: name.clone(),
        line: None,
        message: format!("cannot be read: {error}"),
    })?;
    let mut config = parse(&text, &name, environment)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    config.data_dir = folder.join(&config.data_dir);
    if !config.ships_scripts() {
        config.transforms = folder.join(&config.transforms);
        if !config.transforms.is_dir() {
            return Err(ConfigError {
                file: name,
                line: None,
                message: format!(
                    "the folder of scripts {} is not there: `segue init` writes one; or set transforms = \"shipped\", which renames events",
                    config.transforms.display()
                ),
            });
        }
    }
    Ok(Loaded { config, file: Some(file.to_path_buf()) })
}

/// Reads a configuration from its text; `environment` answers what `${NAME}` stands for.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn parse(
    text: &str,
    file: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let source = Source { text, file };
    // First as written: positions are right, and no message can show what a variable holds.
    toml::from_str::<Config>(text)
        .map_err(|error| source.error(error.span().map(|span| span.start), error.message()))?;
    let mut table: toml::Value =
        toml::from_str(text).map_err(|error| source.error(None, error.message()))?;
    expand(&mut table, environment).map_err(|variable| {
        let at = text.find(&format!("${{{variable}}}"));
        source.error(
            at,
            &format!("the environment variable {variable} is not set or empty; set it, or remove the line"),
        )
    })?;
    let config = Config::deserialize(table).map_err(|error| source.error(None, error.message()))?;
    check(&config, &source)?;
    Ok(config)
}

/// Checks that the emulator does not stand in for Customer.io where others could take it for the
/// real thing, unless `demo` says that it is meant.
///
/// # Errors
/// What to do instead.
pub fn check_exposure(config: &Config, demo: bool) -> Result<(), ConfigError> {
    let loopback =
        config.listen.parse::<SocketAddr>().is_ok_and(|listen| listen.ip().is_loopback());
    if config.destination == DestinationKind::Emulator && !loopback && !demo {
        return Err(ConfigError {
            file: "destination".into(),
            line: None,
            message: format!(
                "events would go to the emulator, and {} is reachable from outside: configure [customerio], or say --demo",
                config.listen
            ),
        });
    }
    Ok(())
}

struct Source<'a> {
    text: &'a str,
    file: &'a str,
}

impl Source<'_> {
    fn error(&self, at: Option<usize>, message: &str) -> ConfigError {
        let line = at.map(|at| self.text[..at.min(self.text.len())].lines().count().max(1));
        let line = line
            .map(|line| line + usize::from(at.is_some_and(|at| self.text[..at].ends_with('\n'))));
        ConfigError { file: self.file.into(), line, message: message.trim().into() }
    }

    /// An error about a value, found in the text by its key and, where that repeats, what it says.
    fn about(&self, key: &str, value: &str, message: &str) -> ConfigError {
        let at = self.text.match_indices(key).map(|(at, _)| at).find(|at| {
            let line = self.text[*at..].lines().next().unwrap_or_default();
            (value.is_empty() || line.contains(&format!("\"{value}\"")))
                && !self.text[..*at]
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start()
                    .starts_with('#')
        });
        self.error(at, message)
    }
}

/// Replaces `${NAME}` in every text; fails with the name of a variable that is not there.
fn expand(
    value: &mut toml::Value,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(), String> {
    match value {
        toml::Value::String(text) => {
            *text = expand_text(text, environment)?;
            Ok(())
        }
        toml::Value::Array(items) => {
            items.iter_mut().try_for_each(|item| expand(item, environment))
        }
        toml::Value::Table(table) => {
            table.iter_mut().try_for_each(|(_, item)| expand(item, environment))
        }
        _ => Ok(()),
    }
}

/// What a variable holds is never expanded again.
fn expand_text(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${")
        && let Some((name, behind)) = after.split_once('}')
    {
        expanded.push_str(before);
        let said = environment(name).filter(|said| !said.is_empty());
        expanded.push_str(&said.ok_or_else(|| name.to_owned())?);
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn check(config: &Config, source: &Source<'_>) -> Result<(), ConfigError> {
    let listen = address(source, "listen", &config.listen)?;
    if config.source.is_empty() {
        return Err(source.error(
            None,
            "no [[source]] is configured; add one with a name and a kind (segment or rudderstack)",
        ));
    }
    for (at, one) in config.source.iter().enumerate() {
        check_source(one, listen, source)?;
        let others = &config.source[..at];
        if let Some(other) = others.iter().find(|other| shares_a_key(other, one)) {
            return Err(source.about(
                "name",
                &one.name,
                &format!(
                    "sources {:?} and {:?} have the same write key: events could not be told apart",
                    other.name, one.name
                ),
            ));
        }
        if others.iter().any(|other| other.name == one.name) {
            return Err(source.about(
                "name",
                &one.name,
                &format!("two sources are named {:?}", one.name),
            ));
        }
    }
    if !config.admin.listen.is_empty() {
        let admin = address(source, "listen", &config.admin.listen)?;
        if !admin.ip().is_loopback()
            && config.admin.token.as_ref().is_none_or(super::Secret::is_empty)
        {
            return Err(source.about(
                "listen",
                &config.admin.listen,
                "the admin listener is reachable from outside: give [admin] a token",
            ));
        }
    }
    let customerio = &config.customerio;
    if config.destination == DestinationKind::Customerio {
        for (key, value) in [("site_id", &customerio.site_id), ("api_key", &customerio.api_key)] {
            if value.is_empty() {
                return Err(source.about(key, "", &format!(
                    "[customerio] needs {key}; or set destination = \"emulator\" to try things out"
                )));
            }
        }
    }
    if customerio.rate == 0 || customerio.concurrency == 0 {
        return Err(source.about(
            "rate",
            "",
            "[customerio] rate and concurrency must be at least 1",
        ));
    }
    config.guard.check().map_err(|message| source.about("[guard", "", &message))
}

fn shares_a_key(one: &super::SourceConfig, other: &super::SourceConfig) -> bool {
    one.write_keys.iter().any(|key| other.write_keys.contains(key))
}

fn check_source(
    one: &super::SourceConfig,
    listen: SocketAddr,
    source: &Source<'_>,
) -> Result<(), ConfigError> {
    let name = &one.name;
    let wrong = |message: String| source.about("name", name, &message);
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return Err(wrong(format!("source name {name:?}: use letters, digits, - and _")));
    }
    let empty = one
        .write_keys
        .iter()
        .chain(&one.webhook_secret)
        .chain(&one.token)
        .any(super::Secret::is_empty);
    if empty {
        return Err(wrong(format!(
            "source {name:?} has an empty secret; remove it or give it a value"
        )));
    }
    if !listen.ip().is_loopback() && !one.webhook_is_protected() && one.write_keys.is_empty() {
        return Err(wrong(format!(
            "source {name:?} has no secret and {listen} is reachable from outside: give it a token, a webhook_secret or write_keys"
        )));
    }
    if let Some(cutover) = &one.cutover
        && Time::parse(cutover).is_none()
    {
        return Err(source.about(
            "cutover",
            cutover,
            "cutover must be a time such as \"2026-12-01T00:00:00Z\"",
        ));
    }
    Ok(())
}

fn address(source: &Source<'_>, key: &str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| {
        source.about(
            key,
            text,
            &format!(
                "{text:?} is no address; write for example \"127.0.0.1:8080\" or \"0.0.0.0:8080\""
            ),
        )
    })
}
