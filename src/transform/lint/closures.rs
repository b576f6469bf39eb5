//! L021, L022: functions without a name that are given to a method.

use rhai::{Expr, FnCallExpr, FnPtr, Position, Stmt};

use super::tree::{Chain, Link, Seen, What, variable, walk};
use super::{Findings, Subject};
use crate::transform::repair;

/// Methods that an array has, also one that was made by `as_array`.
const OF_ARRAYS: [&str; 10] =
    ["map", "filter", "for_each", "reduce", "some", "all", "find", "find_map", "index_of", "sort"];

/// Looks at the functions that a script gives to methods.
pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    for function in &subject.functions {
        walk(function, &mut |seen| {
            let Seen::Expr(expr, _) = seen else { return };
            let chain = Chain::of(expr);
            for (at, step) in chain.steps.iter().enumerate() {
                let What::Method(call) = step.what else { continue };
                for closure in call.args.iter().filter_map(Closure::of) {
                    on_itself(subject, expr, (&chain, at), (&call.name, &closure), findings);
                    if call.name == "for_each" {
                        element_of_each(subject, step, &closure, findings);
                    }
                }
            }
        });
    }
}

/// A function without a name, where it is made.
struct Closure<'a> {
    name: String,
    /// The variables around it that it uses.
    captured: Vec<&'a str>,
}

impl<'a> Closure<'a> {
    /// Rhai writes one that uses variables around it as `{ share variables; curry(function, variables) }`.
    fn of(expr: &'a Expr) -> Option<Self> {
        match expr {
            Expr::DynamicConstant(value, _) => {
                let function = value.clone().try_cast::<FnPtr>()?;
                Some(Self { name: function.fn_name().to_owned(), captured: Vec::new() })
            }
            Expr::FnCall(call, _) => Self::of_curry(call),
            Expr::Stmt(block) => match block.statements().last()? {
                Stmt::Expr(expr) => Self::of(expr),
                Stmt::FnCall(call, _) => Self::of_curry(call),
                _ => None,
            },
            _ => None,
        }
    }

    fn of_curry(call: &'a FnCallExpr) -> Option<Self> {
        let (function, variables) = call.args.split_first().filter(|_| call.name == "curry")?;
        let captured = variables.iter().filter_map(variable).collect();
        Some(Self { captured, ..Self::of(function)? })
    }
}

/// L021: `event.properties.products.map(|p| p.price * event.properties.rate)`.
fn on_itself(
    subject: &Subject<'_>,
    expr: &Expr,
    (chain, at): (&Chain<'_>, usize),
    (method, closure): (&str, &Closure<'_>),
    findings: &mut Findings<'_>,
) {
    let Some(variable) = chain.variable().filter(|name| closure.captured.contains(name)) else {
        return;
    };
    let holder = Chain { root: chain.root, steps: chain.steps[..at].to_vec() };
    let message = format!(
        "the function given to {method} uses {variable}, on which {method} is called: Rhai refuses that"
    );
    let hint = "take what it is called on out first: let items = event.properties.items; \
                items.map(|item| …)";
    let corrected = holder.text().filter(|_| at > 0 && OF_ARRAYS.contains(&method));
    let corrected = corrected
        .and_then(|text| subject.with(expr.start_position(), &text, &format!("as_array({text})")));
    findings.add_corrected("L021", chain.steps[at].position, message, hint, corrected);
}

/// L022: `products.for_each(|product| product.price = 0)`.
fn element_of_each(
    subject: &Subject<'_>,
    step: &Link<'_>,
    closure: &Closure<'_>,
    findings: &mut Findings<'_>,
) {
    let body = subject.functions.iter().find(|function| function.name == closure.name);
    let Some(body) = body.filter(|body| body.params.len() > closure.captured.len()) else { return };
    let mut knows_this = false;
    walk(body, &mut |seen| {
        knows_this |= matches!(seen, Seen::Expr(Expr::ThisPtr(..), _));
    });
    if knows_this {
        return;
    }
    let message =
        "for_each gives the element as `this`; its parameter is the number of the element";
    let corrected = as_loop(subject, step.position);
    findings.add_corrected("L022", step.position, message, LOOP, corrected);
}

/// What to write instead of `forEach`.
pub(super) const LOOP: &str = "write a loop: for item in array { … }";

/// The line with a loop in place of a method that is given what to do with each element.
pub(super) fn as_loop(subject: &Subject<'_>, position: Position) -> Option<String> {
    repair::as_loop(subject.line(position)?, position.position()?)
}
