//! L012: functions, libraries and tables that nobody uses.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{ASTNode, Expr, FnPtr, Position, Stmt};

use super::calls::{READ_TABLES, imports, table_of};
use super::tree::{Seen, functions, literal, walk};
use super::{Findings, Subject};
use crate::transform::bundle::Bundle;
use crate::transform::compile::{HANDLERS, Script};
use crate::transform::diagnostic::Diagnostic;
use crate::transform::manifest::{Stage, is_stage_file};

/// Tables that Segue itself reads.
const READ_BY_SEGUE: [&str; 4] = ["synonyms", "spellings", "taxonomy", "owners"];

/// Looks for functions and libraries of one script.
pub(super) fn check_script(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    let script = subject.script;
    let is_stage = is_stage_file(&script.file);
    let called = called(script);
    let library = script.file.trim_end_matches(".rhai");
    let from_elsewhere: BTreeSet<String> = subject
        .scripts
        .values()
        .flat_map(|other| {
            let aliases: Vec<String> = imports(&other.ast)
                .into_iter()
                .filter(|(name, _)| name == library)
                .map(|(_, alias)| alias)
                .collect();
            qualified(other)
                .into_iter()
                .filter_map(move |(alias, function)| aliases.contains(&alias).then_some(function))
        })
        .collect();
    for function in &subject.functions {
        let name = function.name.as_str();
        let is_entry = is_stage && HANDLERS.contains(&name) || name.starts_with("anon$");
        if is_entry || called.contains(name) || from_elsewhere.contains(name) {
            continue;
        }
        let hint = "take it out, or call it; a handler must be named on_track, on_identify, …";
        findings.add("L012", definition(subject, name), format!("nobody calls {name}"), hint);
    }
    let used: BTreeSet<String> = qualified(script).into_iter().map(|(alias, _)| alias).collect();
    script.ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Import(x, position))) = path.last()
            && !used.contains(x.1.name.as_str())
        {
            let message = format!("nothing of {} is used", x.1.name);
            findings.add("L012", *position, message, "take the import out");
        }
        true
    });
}

/// Looks for tables that no script looks anything up in, and no stage matches by.
pub(super) fn check_tables(bundle: &Bundle, scripts: &BTreeMap<String, Script>) -> Vec<Diagnostic> {
    let matched = bundle.stages().iter().filter_map(Stage::event_in);
    let mut used: BTreeSet<String> = matched.map(str::to_owned).collect();
    let mut is_computed = false;
    for script in scripts.values() {
        for function in functions(&script.ast) {
            walk(&function, &mut |seen| {
                if let Seen::Call(call, _, is_method, _) = seen
                    && READ_TABLES.iter().any(|(name, _)| call.name == *name)
                {
                    match table_of(call, is_method) {
                        Some(table) => {
                            used.insert(table.to_owned());
                        }
                        None => is_computed = true,
                    }
                }
            });
        }
    }
    if is_computed {
        return Vec::new();
    }
    let unused =
        bundle.table_names().filter(|name| !(used.contains(*name) || READ_BY_SEGUE.contains(name)));
    let found = unused.map(|name| {
        let file = ["json", "csv"]
            .map(|end| format!("data/{name}.{end}"))
            .into_iter()
            .find(|file| bundle.source(file).is_some())
            .unwrap_or_default();
        Diagnostic::error(file, format!("no script looks anything up in {name}"))
            .by("L012")
            .with_hint("take the file out, or use it: lookup(\"NAME\", key)")
            .as_warning()
    });
    found.collect()
}

/// Where a function is defined; the syntax tree does not say.
fn definition(subject: &Subject<'_>, name: &str) -> Position {
    let found = subject.text.lines().enumerate().find_map(|(at, line)| {
        let start = line.find("fn ")?;
        let rest = line[start + 3..].trim_start();
        let is_it = rest.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('('));
        is_it.then(|| (at + 1, line[..start].chars().count() + 1))
    });
    let (Some((line, column)), _) = (found, ()) else { return Position::NONE };
    match (u16::try_from(line), u16::try_from(column)) {
        (Ok(line), Ok(column)) => Position::new(line, column),
        _ => Position::NONE,
    }
}

/// The functions that a script calls by their plain names, or makes pointers to.
fn called(script: &Script) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for function in functions(&script.ast) {
        walk(&function, &mut |seen| match seen {
            Seen::Call(call, ..) => {
                found.insert(call.name.to_string());
                if call.name == "Fn"
                    && let Some(name) = call.args.first().and_then(literal)
                {
                    found.insert(name.to_string());
                }
            }
            Seen::Expr(Expr::DynamicConstant(value, _), _) => {
                if let Some(pointer) = value.read_lock::<FnPtr>() {
                    found.insert(pointer.fn_name().to_owned());
                }
            }
            // A function is passed by its name: map_keys(map, snake).
            Seen::Expr(expr @ Expr::Variable(..), _) => {
                found.extend(super::tree::variable(expr).map(str::to_owned));
            }
            _ => {}
        });
    }
    found
}

/// The functions of libraries that a script calls, with the library's name in it.
fn qualified(script: &Script) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for function in functions(&script.ast) {
        walk(&function, &mut |seen| match seen {
            Seen::Call(call, ..) if call.is_qualified() => {
                found.push((call.namespace.root().to_owned(), call.name.to_string()));
            }
            Seen::Expr(Expr::Variable(x, ..), _) if !x.2.is_empty() => {
                found.push((x.2.root().to_owned(), x.1.to_string()));
            }
            _ => {}
        });
    }
    found
}
