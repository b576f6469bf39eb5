//! The schemas of a bundle: compiled with it, and their faults told like those of scripts.
//!
//! Not here: what a schema says ([`crate::contract`]).

use std::collections::BTreeMap;

use super::bundle::Bundle;
use super::diagnostic::Diagnostic;
use crate::contract::{self, Contracts, Policy, Rules};

/// Compiles the schemas.
pub(super) fn read(
    texts: &BTreeMap<String, String>,
    rules: Rules,
    findings: &mut Vec<Diagnostic>,
) -> Contracts {
    let files = texts.iter().filter_map(|(file, text)| {
        let key = file.strip_prefix(contract::FOLDER)?.strip_suffix(".json")?;
        Some((key, text.as_str()))
    });
    Contracts::read(files, rules).unwrap_or_else(|faults| {
        findings.extend(faults.into_iter().map(|fault| {
            let source = texts.get(&fault.file).map(String::as_str).unwrap_or_default();
            let finding = Diagnostic::error(&fault.file, fault.message);
            let finding = finding.at(source, Some(fault.line), Some(fault.column));
            match fault.hint {
                Some(hint) => finding.with_hint(hint),
                None => finding,
            }
        }));
        Contracts::default()
    })
}

/// Contracts that no event will ever meet, and those that may keep what ends journeys.
pub(super) fn check(bundle: &Bundle, findings: &mut Vec<Diagnostic>) {
    for (key, contract) in bundle.contracts().all() {
        let canonical = bundle.canonical(key);
        if canonical != key {
            let message = format!("no event has the key {key}: its canonical key is {canonical}");
            let hint = format!("name the file {}{canonical}.json", contract::FOLDER);
            findings.push(Diagnostic::error(&contract.file, message).with_hint(hint));
        } else if contract.policy == Policy::DeadLetter && bundle.manifest().is_exit(key) {
            let message = "an exit event that breaks its contract becomes a dead letter";
            let hint = "a purchase or cancellation that never arrives sends the wrong mail: \
                        \"on_violation\": \"deliver\" reports it all the same";
            let finding = Diagnostic::error(&contract.file, message).with_hint(hint);
            findings.push(finding.as_warning());
        }
    }
}
