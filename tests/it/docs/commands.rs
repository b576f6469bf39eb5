//! Every command that is shown can be typed, and every command shows an example of itself.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use clap::{CommandFactory, Parser};
use segue::cli::Cli;
use serde_json::Value;

use super::PAGES;
use super::markdown::Page;
use super::shell;

/// Every command without one below it, with its name in full: `dead-letters list`.
fn leaves(command: &clap::Command, name: &str, found: &mut Vec<(String, clap::Command)>) {
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        let name = format!("{name} {}", below.get_name()).trim().to_owned();
        if below.has_subcommands() {
            leaves(below, &name, found);
        } else {
            found.push((name, below.clone()));
        }
    }
}

fn all_commands() -> Vec<(String, clap::Command)> {
    let mut found = Vec::new();
    leaves(&Cli::command(), "", &mut found);
    found
}

/// The commands in the help behind the word `Example`, as words.
fn examples(mut command: clap::Command) -> Vec<Vec<String>> {
    let help = command.render_long_help().to_string();
    let Some((_, rest)) = help.split_once("Example") else { return Vec::new() };
    let lines = rest.trim_start_matches('s').trim_start_matches(':').lines().map(str::trim);
    let shown = lines.skip_while(|line| line.is_empty()).take_while(|line| line.contains("segue "));
    shown.flat_map(shell::commands).collect()
}

#[test]
fn every_command_line_in_the_documents_parses() {
    let mut count = 0;
    for name in PAGES {
        for block in Page::read(name).blocks_of("sh") {
            for words in shell::commands(&block) {
                let Some(arguments) = shell::segue(&words) else { continue };
                if let Err(error) = Cli::try_parse_from(&arguments) {
                    panic!("{name}: {}\n{error}", words.join(" "));
                }
                count += 1;
            }
        }
    }
    assert!(count > 20, "only {count} command lines were found: are the documents still read?");
}

#[test]
fn every_command_is_in_the_table_of_the_readme_and_has_an_example_that_parses() {
    let documented = Page::read("README.md").codes("commands");
    let mut known = BTreeSet::new();
    for (name, command) in all_commands() {
        let examples = examples(command);
        let shown: Vec<_> = examples.iter().filter_map(|words| shell::segue(words)).collect();
        assert!(!shown.is_empty(), "segue {name} --help shows no example");
        for words in &shown {
            assert!(
                words[1..].join(" ").starts_with(&name),
                "the example of segue {name} is {words:?}"
            );
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("the example of segue {name}: {error}");
            }
        }
        known.insert(format!("segue {name}"));
    }
    assert_eq!(documented, known);
}

#[test]
fn the_example_of_map_maps_the_event_that_it_pipes() {
    let (_, map) = all_commands().into_iter().find(|(name, _)| name == "map").unwrap();
    let [echo, segue] = &examples(map)[..] else { panic!("it pipes an event") };
    let mut child = Command::new(env!("CARGO_BIN_EXE_segue"))
        .args(&segue[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(echo[1].as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();

    let mapped: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(mapped["requests"][0]["body"]["batch"][0]["name"], "Order Completed");
}
