//! `segue init`: writes a folder to start with: configuration, scripts, fixtures.
//!
//! What is there already is never touched.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::stdout;
use crate::transform::{manifest, shipped};

const CONFIG: &str = include_str!("init/segue.toml");

const FIXTURES: [(&str, &str); 2] = [
    ("fixtures/orders/money.test.json", include_str!("init/money.test.json")),
    ("fixtures/carts/late_cart.test.json", include_str!("init/late_cart.test.json")),
];

/// Write a commented segue.toml, scripts and fixtures to start with. Existing files are kept.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  segue init my-segue")]
pub struct InitArgs {
    /// The folder; it is made where there is none.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Something cannot be written.
pub fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    stdout::to_the_end(|out| execute(args, out))
}

fn execute(args: &InitArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    for (path, text) in files() {
        let file = args.dir.join(&path);
        match write_new(&file, &text)
            .with_context(|| format!("{} cannot be written", file.display()))?
        {
            true => writeln!(out, "wrote {}", file.display())?,
            false => writeln!(out, "kept  {}: it is there already", file.display())?,
        }
    }
    let dir = args.dir.display();
    writeln!(out, "\nNext:")?;
    writeln!(out, "  segue check {dir}                        which variables it wants")?;
    writeln!(out, "  segue test --config {dir}/segue.toml {dir}/fixtures")?;
    writeln!(out, "  segue serve --config {dir}/segue.toml")?;
    Ok(ExitCode::SUCCESS)
}

/// Every file, by its path in the folder.
fn files() -> Vec<(String, String)> {
    let scripts = shipped::FILES.iter().map(|(path, text)| {
        let text = match *path {
            manifest::FILE => as_sent(text),
            _ => (*text).to_owned(),
        };
        (format!("transforms/{path}"), text)
    });
    let fixtures = FIXTURES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    std::iter::once(("segue.toml".to_owned(), CONFIG.to_owned()))
        .chain(scripts)
        .chain(fixtures)
        .collect()
}

/// Renaming is visible to campaigns that run already: it is switched on by those who want it.
fn as_sent(manifest: &str) -> String {
    let line = |line: &str| match line.strip_prefix("names = \"title\"  ") {
        Some(rest) => format!("names = \"as_sent\"{rest}"),
        None => line.to_owned(),
    };
    manifest.lines().map(line).map(|line| line + "\n").collect()
}

/// Writes a file that is not there; says whether it did.
fn write_new(file: &Path, text: &str) -> std::io::Result<bool> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).open(file) {
        Ok(mut opened) => opened.write_all(text.as_bytes()).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::offline;
    use crate::config::{self, Config};
    use crate::fixture::suite;

    /// The template with everything in it that is only shown.
    fn all_switched_on() -> String {
        let is_setting =
            |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
        let line = |line: &'static str| match line.strip_prefix('#').filter(|rest| is_setting(rest))
        {
            Some(rest) => rest.to_owned() + "\n",
            None => line.to_owned() + "\n",
        };
        CONFIG.lines().map(line).collect()
    }

    fn parsed(text: &str) -> Config {
        config::parse(text, "segue.toml", &|_| Some("not-set".into()))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn keys(value: &toml::Value, found: &mut BTreeSet<String>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    found.insert(key.clone());
                    keys(value, found);
                }
            }
            toml::Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            _ => {}
        }
    }

    #[test]
    fn the_written_configuration_shows_every_key() {
        let complete = parsed(&all_switched_on());
        let mut shown = BTreeSet::new();
        keys(&toml::from_str(&all_switched_on()).unwrap(), &mut shown);
        let mut known = BTreeSet::new();
        keys(&toml::Value::try_from(&complete).unwrap(), &mut known);
        let missing: Vec<&String> = known.difference(&shown).collect();
        assert!(missing.is_empty(), "not in init/segue.toml: {missing:?}");
    }

    #[test]
    fn what_is_only_shown_is_the_default() {
        let (written, complete) = (parsed(CONFIG), parsed(&all_switched_on()));
        assert_eq!(written.ingest, complete.ingest);
        assert_eq!(written.journal, complete.journal);
        assert_eq!(written.log, complete.log);
        assert_eq!(written.admin.listen, complete.admin.listen);
        let mut customerio = complete.customerio.clone();
        customerio.device_token_event = None;
        assert_eq!(written.customerio, customerio);
        let mut guard = complete.guard.clone();
        guard.rule.clear();
        assert_eq!(written.guard, guard);
    }

    #[test]
    fn the_folder_works_at_once_and_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let args = InitArgs { dir: folder.path().to_path_buf() };
        execute(&args, &mut Vec::new()).unwrap();
        let offline = offline::load(Some(&folder.path().join("segue.toml"))).unwrap();
        let bundle = offline::load_bundle(&offline.config, None).unwrap();
        assert_eq!(bundle.vars()["names"], "as_sent");
        // Whoever has one vendor removes the other's source.
        let vendors: [&[&str]; 3] = [&["web", "shop"], &["web"], &["shop"]];
        for kept in vendors {
            let mut config = offline.config.clone();
            config.source.retain(|source| kept.contains(&source.name.as_str()));
            let passed =
                suite::check_bundle(&config, &bundle, &folder.path().join("fixtures")).unwrap();
            assert_eq!(passed, FIXTURES.len(), "{kept:?}");
        }

        let own = folder.path().join("segue.toml");
        std::fs::write(&own, "# mine").unwrap();
        execute(&args, &mut Vec::new()).unwrap();
        assert_eq!(std::fs::read_to_string(&own).unwrap(), "# mine");
    }
}
