//! The pages and files that are made from the tables of helpers and lints: what people read, and what
//! editors complete from.
//!
//! Not here: what a helper does ([`mod@super::helpers`]), what a lint finds (`super::lint`).

use std::fmt::Write as _;

use super::helpers::{Group, Helper, helpers};
use super::lint::{Lint, lints};

/// The chapters of the helpers, in their order, as the documents call them.
pub const GROUPS: [(Group, &str); 13] = [
    (Group::Presence, "presence"),
    (Group::Edit, "edit"),
    (Group::Maps, "maps"),
    (Group::Arrays, "arrays"),
    (Group::Text, "text"),
    (Group::Names, "names"),
    (Group::Numbers, "numbers"),
    (Group::Ids, "ids"),
    (Group::Consent, "consent"),
    (Group::People, "people"),
    (Group::Time, "time"),
    (Group::Codec, "codec"),
    (Group::Report, "report"),
];

/// The helpers of one chapter.
pub fn helpers_of(group: Group) -> impl Iterator<Item = &'static Helper> {
    helpers().filter(move |helper| helper.group == group)
}

/// The reference of all helpers, as Markdown.
pub fn helpers_page() -> String {
    let mut text = String::from(
        "# Helpers for scripts\n\n\
         The functions that scripts have beside [Rhai's own](https://rhai.rs/book/). This page is made from the table that registers them;\n\
         `segue docs` prints it. Every example is run by a test.\n\n\
         What is in brackets can be left out. A helper that reads a value fails with the value and what was wanted; with a default as the\n\
         last argument it never fails.\n\n",
    );
    for (group, name) in GROUPS {
        let _ = writeln!(text, "## {name}\n");
        for helper in helpers_of(group) {
            let Helper { name, signature, doc, example, gives, .. } = helper;
            let _ = writeln!(text, "### {name}\n\n`{signature}`\n\n{doc}\n");
            let _ = match *gives {
                "" => writeln!(text, "Example: `{example}`\n"),
                gives => writeln!(text, "Example: `{example}` gives `{gives}`.\n"),
            };
        }
    }
    text.trim_end().to_owned() + "\n"
}

/// The reference of all lints, as Markdown.
pub fn lints_page() -> String {
    let mut text = String::from(
        "# Lints\n\n\
         What `segue check` finds in scripts before a run would trip over it, or quietly get it wrong. An error makes the scripts\n\
         unusable: they never come into force. A warning is probably not what was meant; `segue check --deny-warnings` fails on it. This\n\
         page is made from the table that the lints use; `segue check --explain L007` shows one of them. Every example is run by a test.\n\n\
         Parts of an event are no copies here, as they would be in Rhai's own maps: `let p = event.properties; p.total = 1` changes the\n\
         event, and so does an element in a loop. So there is no lint for a part that is not written back. There is no `L006`\n\
         either: a misspelt function inside of `try` is an error by `L001`, as everywhere.\n\n",
    );
    for lint in lints() {
        let Lint { code, title, why, wrong, right, .. } = lint;
        let _ = write!(
            text,
            "## {code}\n\n{}: {title}.\n\n{why}\n\n```text\n{wrong}\n```\n\nRight:\n\n```rhai\n{right}\n```\n\n",
            severity(lint)
        );
    }
    text.trim_end().to_owned() + "\n"
}

/// One lint for a terminal.
pub fn lint_page(lint: &Lint) -> String {
    let indented =
        |script: &str| -> String { script.lines().map(|line| format!("    {line}\n")).collect() };
    format!(
        "{} ({}): {}\n\n{}\n\nWrong:\n\n{}\nRight:\n\n{}",
        lint.code,
        severity(lint),
        lint.title,
        lint.why,
        indented(lint.wrong),
        indented(lint.right)
    )
}

fn severity(lint: &Lint) -> &'static str {
    if lint.is_error { "error" } else { "warning" }
}

/// The helpers as a definition file of Rhai, from which editors complete and show documentation.
pub fn definitions() -> String {
    let mut text = String::from("module static;\n");
    for helper in helpers() {
        let names = parameters(helper);
        for arity in helper.arity.0..=helper.arity.1 {
            let parameters: Vec<String> =
                names.iter().take(arity).map(|name| format!("{name}: ?")).collect();
            let comment = [helper.doc, "", helper.signature, helper.example]
                .map(|line| format!("/// {line}").trim_end().to_owned());
            let _ = write!(
                text,
                "\n{}\nfn {}({}) -> ?;\n",
                comment.join("\n"),
                helper.name,
                parameters.join(", ")
            );
        }
    }
    text
}

/// The names of a helper's parameters, as many as it takes at most. The signature has them, but for
/// literal texts and the further ones of `…`.
fn parameters(helper: &Helper) -> Vec<String> {
    let signature = helper.signature.split("  or  ").last().unwrap_or(helper.signature);
    let receiver =
        signature.trim_start_matches("return ").split(helper.name).next().unwrap_or_default();
    let receiver = receiver.strip_suffix('.').map(str::to_owned);
    let inside = signature.split_once('(').map_or("", |(_, rest)| rest).trim_end_matches(')');
    let cleaned = inside.replace(['[', ']', '#', '{', '}'], "");
    let written = cleaned.split(',').map(|word| word.trim().to_owned());
    let mut names: Vec<String> = Vec::new();
    for word in receiver.into_iter().chain(written) {
        let is_name = !word.is_empty()
            && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            && !names.contains(&word);
        if is_name && names.len() < helper.arity.1 {
            names.push(word);
        }
    }
    while names.len() < helper.arity.1 {
        names.push(format!("value{}", names.len() + 1));
    }
    names
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::transform::helpers::arities;

    #[test]
    fn editors_learn_every_helper_with_each_number_of_arguments() {
        let text = definitions();
        let defined: BTreeSet<(String, usize)> = text
            .lines()
            .filter_map(|line| line.strip_prefix("fn ")?.strip_suffix(") -> ?;")?.split_once('('))
            .map(|(name, parameters)| (name.to_owned(), parameters.matches(": ?").count()))
            .collect();
        assert_eq!(defined, arities());
        assert!(text.starts_with("module static;\n"));
        let of = |name: &str| parameters(helpers().find(|helper| helper.name == name).unwrap());
        let table: [(&str, &[&str]); 6] = [
            ("round_to", &["number", "digits"]),
            ("rename", &["event", "from", "to"]),
            ("drop", &["reason", "details"]),
            ("violation", &["event", "kind", "path"]),
            ("parse_money", &["value", "default"]),
            ("coalesce", &["value", "value2", "value3", "value4", "value5", "value6"]),
        ];
        for (name, expected) in table {
            assert!(
                of(name)
                    .iter()
                    .map(String::as_str)
                    .take(expected.len())
                    .eq(expected.iter().copied()),
                "{name}: {:?}",
                of(name)
            );
        }
    }

    #[test]
    fn every_helper_and_every_lint_has_its_place_on_its_page() {
        let listed = GROUPS.iter().flat_map(|(group, _)| helpers_of(*group)).count();
        assert_eq!(listed, helpers().count(), "a group is missing");
        let page = lints_page();
        for lint in lints() {
            assert!(page.contains(&format!("## {}\n", lint.code)));
            assert!(lint_page(lint).contains(lint.title));
        }
    }
}
