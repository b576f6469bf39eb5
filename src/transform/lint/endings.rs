//! L003, L015: what handlers give back.

use std::collections::BTreeMap;

use rhai::{Expr, FnCallExpr, Position, Stmt};

use super::tree::{Chain, Function, Seen, What, aliases, variable, walk};
use super::{Findings, Subject};
use crate::transform::compile::HANDLERS;
use crate::transform::diagnostic::Severity;
use crate::transform::helpers::{Group, helpers};
use crate::transform::manifest::is_stage_file;

/// Looks at the handlers of a stage.
pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    if !is_stage_file(&subject.script.file) {
        return;
    }
    for function in &subject.functions {
        if HANDLERS.contains(&function.name.as_str()) && function.params.len() == 2 {
            check_paths(function, findings);
        }
        check_twice(function, findings);
    }
}

/// L003.
fn check_paths(function: &Function, findings: &mut Findings<'_>) {
    let mut ends = Ends { gives: false, empty: Vec::new() };
    ends.block(&function.body, function.end);
    walk(function, &mut |seen| match seen {
        Seen::Stmt(Stmt::Return(value, flags, position), _)
            if !flags.intersects(rhai::ASTFlags::BREAK) =>
        {
            match value.as_deref() {
                None | Some(Expr::Unit(_)) => ends.empty.push(*position),
                Some(_) => ends.gives = true,
            }
        }
        _ => {}
    });
    let Some(first) = ends.empty.iter().min_by_key(|at| (at.line(), at.position())) else { return };
    let event = &function.params[0];
    let name = &function.name;
    let hint = format!(
        "end with {event} on a line of its own, or return drop(\"reason\"): an event is never \
         dropped by giving nothing back"
    );
    if ends.gives {
        let message = format!("{name} may end here without giving an event back");
        findings.add("L003", *first, message, hint);
    } else {
        let message = format!("{name} never gives an event back");
        let finding = findings.add("L003", *first, message, hint);
        finding.severity = Severity::Error;
        finding.corrected = Some(format!("    {event}"));
    }
}

/// How the paths through a handler end, but for `return`s, which are looked for apart.
struct Ends {
    gives: bool,
    empty: Vec<Position>,
}

impl Ends {
    /// A block whose value is the handler's.
    fn block(&mut self, block: &[Stmt], end: Position) {
        match block.split_last() {
            _ if block.iter().rev().skip(1).any(always_leaves) => {}
            None => self.empty.push(end),
            Some((last, _)) => self.last(last),
        }
    }

    fn last(&mut self, last: &Stmt) {
        match last {
            _ if always_leaves(last) => {}
            Stmt::Expr(expr) => self.value(expr, last.position()),
            Stmt::FnCall(call, position) if gives_nothing(call) => self.empty.push(*position),
            Stmt::FnCall(..) => self.gives = true,
            Stmt::Block(block) => self.block(block.statements(), block.end_position()),
            Stmt::If(x, position) => {
                self.block(x.body.statements(), x.body.end_position());
                if x.branch.is_empty() {
                    self.empty.push(*position);
                } else {
                    self.block(x.branch.statements(), x.branch.end_position());
                }
            }
            Stmt::Switch(x, position) => {
                for case in &x.1.expressions {
                    self.value(&case.rhs, case.rhs.position());
                }
                if x.1.def_case.is_none() {
                    self.empty.push(*position);
                }
            }
            // `break value` is too rare to be followed.
            Stmt::While(x, _) if matches!(x.expr, Expr::Unit(_) | Expr::BoolConstant(true, _)) => {
                self.gives = true;
            }
            other => self.empty.push(other.position()),
        }
    }

    fn value(&mut self, expr: &Expr, position: Position) {
        match expr {
            Expr::Unit(at) => self.empty.push(*at),
            Expr::Stmt(block) => self.block(block.statements(), block.end_position()),
            Expr::FnCall(call, at) if gives_nothing(call) => self.empty.push(*at),
            _ => match Chain::of(expr).steps.last().map(|step| step.what) {
                Some(What::Method(call)) if gives_nothing(call) => {
                    self.empty.push(expr.start_position().or_else(position));
                }
                _ => self.gives = true,
            },
        }
    }
}

/// Whether a call certainly gives no event: it reports, or changes something in place.
fn gives_nothing(call: &FnCallExpr) -> bool {
    let name = call.name.as_str();
    !call.is_qualified()
        && (matches!(name, "push" | "sort" | "clear" | "print" | "debug")
            || helpers().any(|helper| {
                helper.name == name
                    && matches!(helper.group, Group::Report | Group::Edit)
                    && !matches!(name, "drop" | "fail" | "is_drop")
            }))
}

/// Whether nothing behind a statement runs.
fn always_leaves(stmt: &Stmt) -> bool {
    let block = |block: &rhai::StmtBlock| block.statements().iter().any(always_leaves);
    let expr = |expr: &Expr| match expr {
        Expr::FnCall(call, _) => call.name == "fail",
        Expr::Stmt(inner) => block(inner),
        _ => false,
    };
    match stmt {
        Stmt::Return(..) => true,
        Stmt::FnCall(call, _) => call.name == "fail",
        Stmt::Expr(inner) => expr(inner),
        Stmt::Block(inner) => block(inner),
        Stmt::If(x, _) => block(&x.body) && block(&x.branch),
        Stmt::TryCatch(x, _) => block(&x.body) && block(&x.branch),
        Stmt::Switch(x, _) => {
            x.1.def_case.is_some() && x.1.expressions.iter().all(|case| expr(&case.rhs))
        }
        Stmt::While(x, _) => {
            let is_endless = matches!(x.expr, Expr::Unit(_) | Expr::BoolConstant(true, _));
            is_endless && !breaks(x.body.statements())
        }
        _ => false,
    }
}

fn breaks(block: &[Stmt]) -> bool {
    let mut found = false;
    super::tree::walk_block(block, super::tree::Role::Discarded, 0, &mut |seen| {
        found |= matches!(seen, Seen::Stmt(Stmt::BreakLoop(..), _));
    });
    found
}

/// L015: one handle is put into a result twice.
fn check_twice(function: &Function, findings: &mut Findings<'_>) {
    let known = aliases(function);
    let Some(event) = function.params.first().map(String::as_str) else { return };
    // The loops around the place where each variable is made; parameters are outside of all.
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    let root = |name: &str| match known.get(name) {
        Some((root, way)) if way.is_empty() => (*root).to_owned(),
        _ => name.to_owned(),
    };
    let mut loops = 0;
    let mut found = Vec::new();
    walk(function, &mut |seen| match seen {
        Seen::Stmt(stmt, depth) => {
            loops = depth;
            if let Stmt::Var(x, ..) = stmt {
                made.insert(x.0.name.as_str(), depth);
            }
        }
        Seen::Expr(Expr::Array(items, position), _) => {
            let roots: Vec<String> = items.iter().filter_map(variable).map(root).collect();
            let twice = roots.iter().enumerate().any(|(at, one)| roots[..at].contains(one));
            if twice && roots.iter().any(|one| one == event) {
                found.push((*position, "this array"));
            }
        }
        Seen::Call(call, position, true, _) if call.name == "push" => {
            let Some(name) = call.args.first().and_then(variable) else { return };
            let pushed = root(name);
            let is_copy = made.contains_key(pushed.as_str());
            let outside = made.get(pushed.as_str()).copied().unwrap_or(0) < loops;
            if outside && (pushed == event || is_copy && is_made_by_copy(function, &pushed)) {
                found.push((position, "every round of this loop"));
            }
        }
        _ => {}
    });
    for (position, place) in found {
        let message =
            format!("{place} has the same event again: what one changes, the others have too");
        let hint = format!("each result is an event of its own: let child = {event}.copy();");
        findings.add("L015", position, message, hint);
    }
}

fn is_made_by_copy(function: &Function, name: &str) -> bool {
    let made = super::tree::variables(function);
    made.get(name).is_some_and(|starts| {
        starts.iter().any(|start| {
            matches!(Chain::of(start).steps.last(), Some(step)
                if matches!(step.what, What::Method(call) if call.name == "copy"))
        })
    })
}
