//! L011, L018, L020: reading what may not be there.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{Expr, Position, Stmt};
use serde_json::Value;

use super::tree::{Chain, Function, Role, Seen, What, aliases, literal, walk};
use super::{Findings, Subject};
use crate::transform::stages::GUARANTEED;

/// Looks at what a script reads.
pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    for function in &subject.functions {
        let reader = Reader::of(function);
        walk(function, &mut |seen| {
            let Seen::Expr(expr, role) = seen else { return };
            let chain = Chain::of(expr);
            if chain.steps.is_empty() {
                return;
            }
            if foreign_property(subject, expr, &chain, role, findings) {
                return;
            }
            below_missing(subject, &reader, expr, &chain, role, findings);
            if role == Role::Condition {
                no_bool(subject, &reader, expr, &chain, findings);
            }
        });
    }
}

/// What is known about the values of one function.
struct Reader<'a> {
    event: &'a str,
    ctx: &'a str,
    aliases: BTreeMap<&'a str, (&'a str, Vec<&'a str>)>,
    /// Variables of loops over parts of the event.
    items: BTreeSet<&'a str>,
    /// Keys that the function asks for or writes somewhere: it knows that they may be missing.
    asked: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    fn of(function: &'a Function) -> Self {
        let param = |at: usize| function.params.get(at).map_or("", String::as_str);
        let mut reader = Self {
            event: param(0),
            ctx: param(1),
            aliases: aliases(function),
            items: BTreeSet::new(),
            asked: BTreeSet::new(),
        };
        walk(function, &mut |seen| match seen {
            Seen::Expr(expr, role) => reader.note(expr, role),
            Seen::Stmt(Stmt::For(x, _), _) => {
                reader.items.insert(x.0.name.as_str());
            }
            _ => {}
        });
        reader
    }

    /// Notes which keys an expression shows to be known as possibly missing.
    fn note(&mut self, expr: &Expr, role: Role) {
        if let Some(text) = literal(expr) {
            let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            self.asked.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
        }
        let chain = Chain::of(expr);
        let is_whole = role != Role::Looped && role != Role::Holder;
        if let Some(What::Property(last)) = chain.steps.last().map(|step| step.what)
            && is_whole
        {
            self.asked.insert(last.to_owned());
        }
        for step in chain.steps.iter().filter(|step| step.optional) {
            if let What::Property(name) = step.what {
                self.asked.insert(name.to_owned());
            }
        }
    }

    /// The way from the event to what a chain reads, without the chain's methods.
    fn way(&self, chain: &Chain<'a>) -> Option<(&'a str, Vec<&'a str>)> {
        let (root, way) = self.aliases.get(chain.variable()?)?;
        Some((root, way.clone()))
    }
}

/// L011: `event.properties.customer.email`, where there may be no customer.
fn below_missing<'a>(
    subject: &Subject<'_>,
    reader: &Reader<'a>,
    expr: &Expr,
    chain: &Chain<'a>,
    role: Role,
    findings: &mut Findings<'_>,
) {
    let Some((root, way)) = reader.way(chain) else { return };
    if root != reader.event {
        return;
    }
    let properties = chain.steps.iter().map_while(|step| match step.what {
        What::Property(name) => Some((name, step)),
        _ => None,
    });
    let properties: Vec<_> = properties.collect();
    let mut path: Vec<&str> = way;
    path.extend(properties.iter().map(|(name, _)| *name));
    if path.len() < 2 || !GUARANTEED.contains(&path[0]) {
        return;
    }
    if role == Role::Looped && properties.len() == chain.steps.len() && path.len() == 2 {
        looped(subject, reader, expr, chain, path[1], findings);
        return;
    }
    // The key that may be missing is the one below the guaranteed map; what is read below it fails.
    let own = path.len() - properties.len();
    let Some(missing_at) = 1usize.checked_sub(own) else { return };
    let Some((missing, _)) = properties.get(missing_at) else { return };
    let Some(next) = chain.steps.get(missing_at + 1) else { return };
    let fails = match next.what {
        What::Method(call) => subject.needs_value(call),
        _ => true,
    };
    if next.optional || !fails || reader.asked.contains(*missing) {
        return;
    }
    let message = format!("{missing} may be missing, and then this fails");
    let is_write = matches!(role, Role::Written | Role::Updated);
    let way = &path[..own];
    let (hint, corrected) = match chain.properties() {
        _ if is_write => {
            let hint =
                format!("event.set({:?}, value) makes what is missing on the way", path.join("."));
            (hint, None)
        }
        Some(names) => (
            "`?.` gives () where something is missing; get(event, path, default) takes a default"
                .to_owned(),
            optional(subject, expr.start_position(), chain, &names, missing_at),
        ),
        None if matches!(next.what, What::Method(_)) => (
            "`?.` gives () where something is missing, `??` another value".to_owned(),
            optional_method(subject, expr.start_position(), chain, missing_at),
        ),
        None => {
            let path = path_text(way, chain);
            (format!("get(event, {path:?}) gives () where something is missing"), None)
        }
    };
    findings.add_corrected("L011", next.position, message, hint, corrected);
}

/// A chain as a path for helpers: `properties.products[0].sku`.
fn path_text(way: &[&str], chain: &Chain<'_>) -> String {
    let mut path = way.join(".");
    for step in &chain.steps {
        match step.what {
            What::Property(name) if path.is_empty() => path.push_str(name),
            What::Property(name) => {
                path.push('.');
                path.push_str(name);
            }
            What::Index(Expr::IntegerConstant(at, _)) => path.push_str(&format!("[{at}]")),
            _ => break,
        }
    }
    path
}

/// The line with `?.` behind the key that may be missing.
fn optional(
    subject: &Subject<'_>,
    start: Position,
    chain: &Chain<'_>,
    names: &[&str],
    missing_at: usize,
) -> Option<String> {
    let old = chain.text()?;
    let (safe, risky) = names.split_at(missing_at + 1);
    let new = format!("{}.{}?.{}", chain.variable()?, safe.join("."), risky.join("?."));
    subject.with(start, &old, &new)
}

/// The line with `?.` in front of a method of what may be missing.
fn optional_method(
    subject: &Subject<'_>,
    start: Position,
    chain: &Chain<'_>,
    missing_at: usize,
) -> Option<String> {
    let holder = Chain { root: chain.root, steps: chain.steps[..=missing_at].to_vec() };
    let old = holder.text()?;
    subject.with(start, &format!("{old}."), &format!("{old}?."))
}

/// L011 for loops: `for item in event.properties.products`.
fn looped(
    subject: &Subject<'_>,
    reader: &Reader<'_>,
    expr: &Expr,
    chain: &Chain<'_>,
    missing: &str,
    findings: &mut Findings<'_>,
) {
    if reader.asked.contains(missing) {
        return;
    }
    let message = format!("{missing} may be missing, and then this loop fails");
    let hint =
        "as_array(value) is empty for what is missing, and makes one element of a single value";
    let corrected = chain
        .text()
        .and_then(|old| subject.with(expr.start_position(), &old, &format!("as_array({old})")));
    findings.add_corrected("L011", expr.start_position(), message, hint, corrected);
}

/// L018: a condition that is a property, which may be missing or no bool.
fn no_bool<'a>(
    subject: &Subject<'_>,
    reader: &Reader<'a>,
    expr: &Expr,
    chain: &Chain<'a>,
    findings: &mut Findings<'_>,
) {
    let Some(What::Property(last)) = chain.steps.last().map(|step| step.what) else { return };
    let of_item = chain.variable().is_some_and(|name| reader.items.contains(name));
    let way = reader.way(chain);
    let of_event = way.as_ref().is_some_and(|(root, _)| *root == reader.event);
    let names = chain.properties().unwrap_or_default();
    let of_vars = way.as_ref().is_some_and(|(root, _)| *root == reader.ctx)
        && names.first() == Some(&"vars")
        && !subject.bundle.vars().get(last).is_some_and(Value::is_boolean);
    if !(of_item || of_event || of_vars) {
        return;
    }
    let message = format!("a condition must be true or false, and {last} may be missing or a text");
    let old = chain.text();
    let old = old.as_deref().unwrap_or(last);
    let hint =
        format!("write {old} == true, or !is_blank({old}) to ask whether something is there");
    let corrected = subject.with(expr.start_position(), old, &format!("{old} == true"));
    // `!x` becomes `x != true`, which nobody can do by exchanging a word.
    let negated =
        subject.line(expr.start_position()).is_some_and(|line| line.contains(&format!("!{old}")));
    findings.add_corrected(
        "L018",
        expr.start_position(),
        message,
        hint,
        corrected.filter(|_| !negated),
    );
}

/// L020: `.length` of other languages, which is a property that is not there.
fn foreign_property(
    subject: &Subject<'_>,
    expr: &Expr,
    chain: &Chain<'_>,
    role: Role,
    findings: &mut Findings<'_>,
) -> bool {
    if matches!(role, Role::Written | Role::Updated) {
        return false;
    }
    let [.., last] = &chain.steps[..] else { return false };
    let What::Property("length") = last.what else { return false };
    let holder = match chain.steps.len().checked_sub(2).map(|at| chain.steps[at].what) {
        Some(What::Property(name)) => name,
        None => chain.variable().unwrap_or_default(),
        Some(_) => return false,
    };
    // A product has a length; products have a number.
    if !holder.ends_with('s') || matches!(holder, "properties" | "traits" | "dimensions") {
        return false;
    }
    let message = format!("{holder} has no property length: this is ()");
    let corrected = subject.with(last.position, ".length", "?.len()");
    findings.add_corrected("L020", expr.start_position(), message, "write ?.len()", corrected);
    true
}
