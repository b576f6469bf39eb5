//! Finds what the compiler lets pass and a run would trip over, or quietly get wrong.
//!
//! An error is certain to go wrong and makes the bundle unusable; a warning is probably not what was
//! meant. Every lint has a code and a page in [`catalogue`]. Traps of Rhai's own maps that an event
//! does not have (parts of an event are no copies) need no lint.
//!
//! Not here: what the parser refuses ([`syntax`] only words it), what a contract demands of a file
//! ([`super::compile`]).

mod calls;
mod catalogue;
mod closures;
mod comparing;
mod endings;
mod reading;
pub(in crate::transform) mod syntax;
mod tree;
mod unused;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use rhai::{Engine, FnCallExpr, Position};

use super::bundle::Bundle;
use super::compile::Script;
use super::diagnostic::Diagnostic;
use super::helpers::helpers;

pub use catalogue::{Lint, lints};

/// Functions by name, with the numbers of arguments that they take.
type Known = BTreeMap<String, BTreeSet<usize>>;

/// Looks at every script of a bundle.
pub(crate) fn lint(
    engine: &Engine,
    bundle: &Bundle,
    scripts: &BTreeMap<String, Script>,
) -> Vec<Diagnostic> {
    let natives = calls::natives(engine);
    let mut findings = Vec::new();
    for script in scripts.values() {
        let subject = Subject {
            bundle,
            scripts,
            natives: &natives,
            script,
            text: bundle.source(&script.file).unwrap_or_default(),
            functions: tree::functions(&script.ast),
        };
        let mut found = Findings { subject: &subject, list: Vec::new() };
        calls::check(&subject, &mut found);
        values::check(&subject, &mut found);
        endings::check(&subject, &mut found);
        reading::check(&subject, &mut found);
        comparing::check(&subject, &mut found);
        closures::check(&subject, &mut found);
        unused::check_script(&subject, &mut found);
        found.list.sort_by_key(|finding| (finding.line, finding.column, finding.code));
        found.list.dedup();
        findings.extend(found.list);
    }
    findings.extend(unused::check_tables(bundle, scripts));
    findings
}

/// One script, with all that is known around it.
struct Subject<'a> {
    bundle: &'a Bundle,
    scripts: &'a BTreeMap<String, Script>,
    natives: &'a Known,
    script: &'a Script,
    text: &'a str,
    functions: Vec<tree::Function>,
}

impl Subject<'_> {
    /// Whether the script has a function of this name itself.
    fn defines(&self, name: &str) -> bool {
        self.functions.iter().any(|function| function.name == name)
    }

    /// Whether a step is a method of Rhai's own that fails when it is called on ().
    fn needs_value(&self, call: &FnCallExpr) -> bool {
        const ON_ANYTHING: [&str; 5] = ["type_of", "to_string", "to_debug", "is_shared", "copy"];
        let name = call.name.as_str();
        self.natives.contains_key(name)
            && !ON_ANYTHING.contains(&name)
            && !self.defines(name)
            && !helpers().any(|helper| helper.name == name)
    }

    fn line(&self, position: Position) -> Option<&str> {
        self.text.lines().nth(position.line()?.checked_sub(1)?)
    }

    /// The line at a position, with `old` exchanged for `new` where it stands at the position, or
    /// else at the only place of the line where it is.
    fn with(&self, position: Position, old: &str, new: &str) -> Option<String> {
        let line = self.line(position)?;
        let column = position.position()?.checked_sub(1)?;
        let start = line.char_indices().nth(column).map(|(at, _)| at)?;
        let at = match line.get(start..) {
            Some(rest) if rest.starts_with(old) => start,
            _ => {
                let mut places = line.match_indices(old);
                let (at, _) = places.next()?;
                if places.next().is_some() {
                    return None;
                }
                at
            }
        };
        Some(format!("{}{new}{}", &line[..at], &line[at + old.len()..]))
    }
}

/// What was found in one script.
struct Findings<'a> {
    subject: &'a Subject<'a>,
    list: Vec<Diagnostic>,
}

impl Findings<'_> {
    /// Adds a finding, as bad as its page says.
    fn add(
        &mut self,
        code: &'static str,
        position: Position,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> &mut Diagnostic {
        let finding = Diagnostic::error(&self.subject.script.file, message)
            .by(code)
            .at(self.subject.text, position.line(), position.position())
            .with_hint(hint);
        let is_warning = lints().iter().any(|lint| lint.code == code && !lint.is_error);
        let at = self.list.len();
        self.list.push(if is_warning { finding.as_warning() } else { finding });
        &mut self.list[at]
    }

    /// As [`Self::add`], with the line as it would be right.
    fn add_corrected(
        &mut self,
        code: &'static str,
        position: Position,
        message: impl Into<String>,
        hint: impl Into<String>,
        corrected: Option<String>,
    ) {
        self.add(code, position, message, hint).corrected = corrected;
    }
}

#[cfg(test)]
mod tests;
