//! Reads the file, and says what is wrong with it.
//!
//! Not here: where values stand in it (`super::document`), what they must be (`super::check`).

use std::fmt;
use std::path::{Path, PathBuf};

use super::check::check;
use super::document::{Document, Environment, Unset};
use super::{Config, mistake};

/// The configuration in force and where it comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The file; `None`: the built-in defaults.
    pub file: Option<PathBuf>,
    /// The variables that the file reads and that are not set. Only [`load_partly`] lets them be.
    pub unset: Vec<Unset>,
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

/// What the command line says beside the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides<'a> {
    /// Where events are taken, instead of `listen`.
    pub listen: Option<&'a str>,
    /// The emulator may stand in for Customer.io on an address that others can reach.
    pub demo: bool,
}

/// Reads `file`, or `segue.toml` of the working folder where that exists, or takes the defaults.
///
/// # Errors
/// When a named file cannot be read, or its content is wrong.
pub fn load(file: Option<&Path>, overrides: &Overrides<'_>) -> Result<Loaded, ConfigError> {
    let variable = |variable: &str| std::env::var(variable).ok();
    load_with(file, overrides, &Environment { variable: &variable, is_partial: false })
}

/// As [`load`], for commands that need no secret: variables that are not set are no error. A stand-in
/// takes the place of a secret, the default that of anything else.
///
/// # Errors
/// As [`load`].
pub fn load_partly(file: Option<&Path>, overrides: &Overrides<'_>) -> Result<Loaded, ConfigError> {
    let variable = |variable: &str| std::env::var(variable).ok();
    load_with(file, overrides, &Environment { variable: &variable, is_partial: true })
}

/// As [`load`], with an environment of its own.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    file: Option<&Path>,
    overrides: &Overrides<'_>,
    environment: &Environment<'_>,
) -> Result<Loaded, ConfigError> {
    let default = Path::new("segue.toml");
    let file = match file {
        Some(file) => file,
        None if default.exists() => default,
        None => {
            let document = Document::parse("", "built-in defaults")?;
            let config = checked(Config::demo(), &document, overrides)?;
            return Ok(Loaded { config, file: None, unset: Vec::new() });
        }
    };
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| ConfigError {
        file: name.clone(),
        line: None,
        message: format!("cannot be read: {error}"),
    })?;
    let document = Document::parse(&text, &name)?;
    let (config, unset) = mistake::read(&document, environment)?;
    let mut config = checked(config, &document, overrides)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    config.data_dir = folder.join(&config.data_dir);
    if !config.ships_scripts() {
        config.transforms = folder.join(&config.transforms);
        if !config.transforms.is_dir() {
            let message = format!(
                "the folder of scripts {} is not there: `segue init` writes one; or set transforms = \"shipped\", which renames events",
                config.transforms.display()
            );
            return Err(document.about("transforms", &message));
        }
    }
    Ok(Loaded { config, file: Some(file.to_path_buf()), unset })
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
    let document = Document::parse(text, file)?;
    let environment = Environment { variable: environment, is_partial: false };
    let (config, _) = mistake::read(&document, &environment)?;
    checked(config, &document, &Overrides::default())
}

fn checked(
    mut config: Config,
    document: &Document<'_>,
    overrides: &Overrides<'_>,
) -> Result<Config, ConfigError> {
    if let Some(listen) = overrides.listen {
        listen.clone_into(&mut config.listen);
    }
    check(&config, document, overrides)?;
    Ok(config)
}
