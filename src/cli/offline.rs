//! What the offline commands share: a configuration without its secrets, and the scripts.
//!
//! `check`, `test`, `explain` and `replay` need no secret, so an environment variable that is not
//! set costs them nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::clock::{Clock, SystemClock, Time};
use crate::config::{self, Config, ConfigError, Loaded, Overrides};
use crate::transform::Bundle;

/// A configuration for commands that talk to nobody.
pub(super) struct Offline {
    /// The values.
    pub(super) config: Config,
    /// The file; `None`: the built-in defaults.
    pub(super) file: Option<PathBuf>,
    /// The variables of the file that are not set.
    pub(super) unset: Vec<String>,
}

impl Offline {
    /// How the configuration is called in what a command prints.
    pub(super) fn name(&self) -> String {
        match &self.file {
            Some(file) => file.display().to_string(),
            None => "built-in defaults (no segue.toml here)".into(),
        }
    }
}

/// Reads `file`, or `segue.toml` where that exists, or takes the defaults. Variables that are not
/// set are no error.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn load(file: Option<&Path>) -> Result<Offline, ConfigError> {
    // Whether the server may be reached from outside is no matter of these commands.
    load_with(file, &Overrides { demo: true, ..Overrides::default() })
}

/// As [`load`], judged as `serve` would with these overrides.
///
/// # Errors
/// As [`load`].
pub(super) fn load_with(
    file: Option<&Path>,
    overrides: &Overrides<'_>,
) -> Result<Offline, ConfigError> {
    let Loaded { config, file, unset } = config::load_partly(file, overrides)?;
    let mut variables: Vec<String> = Vec::new();
    for unset in unset {
        if !variables.contains(&unset.variable) {
            variables.push(unset.variable);
        }
    }
    Ok(Offline { config, file, unset: variables })
}

/// The moment that `--at` names, else now.
///
/// # Errors
/// It cannot be read.
pub(super) fn moment(at: Option<&str>) -> anyhow::Result<Time> {
    let Some(text) = at else { return Ok(SystemClock.now()) };
    Time::parse(text).with_context(|| {
        format!("--at {text:?} is no time; write for example 2026-01-15T12:00:00Z")
    })
}

/// The scripts of `folder`, else those of the configuration, else the shipped ones.
///
/// # Errors
/// What is wrong with them, with file and line.
pub(super) fn load_bundle(config: &Config, folder: Option<&Path>) -> anyhow::Result<Arc<Bundle>> {
    let folder = match folder {
        Some(folder) if !folder.is_dir() => bail!("{} is no folder", folder.display()),
        Some(folder) => Some(folder),
        None => config.scripts_folder(),
    };
    let bundle = match folder {
        Some(folder) => Bundle::load(folder),
        None => Bundle::shipped(),
    };
    let bundle = bundle.map_err(|findings| {
        let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the scripts cannot be used:\n{}", said.join("\n"))
    });
    bundle.map(Arc::new)
}

/// The options that choose configuration and scripts, as they were given.
pub(super) fn options(config: Option<&Path>, transforms: Option<&Path>) -> String {
    let given = [("--config", config), ("--transforms", transforms)];
    let given = given.into_iter().filter_map(|(name, path)| {
        let path = path?.display().to_string();
        let is_plain = path.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
        Some(match is_plain {
            true => format!(" {name} {path}"),
            false => format!(" {name} '{}'", path.replace('\'', "'\\''")),
        })
    });
    given.collect()
}

/// The name of the source that is meant: the given one, else the first.
///
/// # Errors
/// There is none of this name; which there are.
pub(super) fn choose_source(config: &Config, name: Option<&str>) -> anyhow::Result<String> {
    let Some(name) = name else {
        return config
            .source
            .first()
            .map(|source| source.name.clone())
            .context("no source is configured");
    };
    if config.source(name).is_none() {
        let names: Vec<&str> = config.source.iter().map(|source| source.name.as_str()).collect();
        bail!("no source is named {name:?}; there are {}", names.join(", "));
    }
    Ok(name.to_owned())
}

/// Reads a whole file, or stdin for `-`.
///
/// # Errors
/// It cannot be read.
pub(super) fn read_input(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)
            .context("stdin cannot be read")?;
        return Ok(bytes);
    }
    std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}
