//! L002, L007, L008, L016: values that go nowhere, and values that are none.

use std::collections::BTreeMap;

use rhai::{Expr, FnCallExpr, Position, Stmt};

use super::tree::{
    Chain, Function, Role, Seen, What, aliases, loop_variables, variable, variables, walk,
};
use super::{Findings, Subject};
use crate::transform::helpers::{Group, helpers};

/// Functions of Rhai that change what they are called on and give nothing back, with what gives the
/// result instead.
const IN_PLACE: [(&str, &str); 15] = [
    ("trim", "trimmed(text)"),
    ("replace", "replaced(text, find, with)"),
    ("make_upper", "upper(text)"),
    ("make_lower", "lower(text)"),
    ("crop", "sub_string"),
    ("truncate", "truncated(text, characters)"),
    ("pad", "a statement of its own"),
    ("clear", "a statement of its own"),
    ("push", "a statement of its own"),
    ("insert", "a statement of its own"),
    ("append", "a statement of its own"),
    ("sort", "a statement of its own"),
    ("reverse", "a statement of its own"),
    ("dedup", "unique(array)"),
    ("mixin", "merge(map, over)"),
];
/// Functions of Rhai that only give a result.
const PURE: [&str; 8] = [
    "to_upper",
    "to_lower",
    "sub_string",
    "starts_with",
    "ends_with",
    "index_of",
    "to_string",
    "copy",
];

/// Looks at what becomes of values.
pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    for function in &subject.functions {
        walk(function, &mut |seen| {
            if let Seen::Call(call, position, is_method, role) = seen
                && !subject.defines(&call.name)
                && !call.is_qualified()
            {
                match role {
                    Role::Discarded => thrown_away(subject, call, position, is_method, findings),
                    Role::Holder | Role::Written | Role::Updated => {}
                    _ if is_method => nothing_given(subject, call, position, findings),
                    _ => {}
                }
            }
        });
        unread(subject, function, findings);
    }
}

/// L002.
fn nothing_given(
    subject: &Subject<'_>,
    call: &FnCallExpr,
    position: Position,
    findings: &mut Findings<'_>,
) {
    let Some((name, instead)) = IN_PLACE.iter().find(|(name, _)| call.name == *name) else {
        return;
    };
    let message = format!("{name} changes its value in place and gives () back");
    let hint = match instead.contains('(') {
        true => format!("{instead} gives the result"),
        false if *instead == "sub_string" => "sub_string(start, length) gives the part".to_owned(),
        false => format!("write it as {instead}, then use the value"),
    };
    let pure = instead.split('(').next().filter(|_| instead.contains('('));
    let corrected = pure.and_then(|pure| subject.with(position, name, pure));
    findings.add_corrected("L002", position, message, hint, corrected);
}

/// L016.
fn thrown_away(
    subject: &Subject<'_>,
    call: &FnCallExpr,
    position: Position,
    is_method: bool,
    findings: &mut Findings<'_>,
) {
    let name = call.name.as_str();
    let is_helper = helpers().any(|helper| helper.name == name && gives_only(helper.group, name));
    if !(is_helper || is_method && PURE.contains(&name)) {
        return;
    }
    let message = format!("{name} changes nothing: its result is thrown away here");
    let target = call.args.first().filter(|_| !is_method).and_then(|first| Chain::of(first).text());
    let line = subject.line(position).map(str::trim_start).unwrap_or_default();
    let corrected = match target {
        Some(target) if line.starts_with(name) => {
            subject.with(position, name, &format!("{target} = {name}"))
        }
        None if is_method => line.find(&format!(".{name}(")).and_then(|end| {
            let target = &line[..end];
            let is_plain = target.chars().all(|c| c.is_alphanumeric() || "_.".contains(c));
            is_plain.then(|| {
                let full = subject.line(position).unwrap_or_default();
                let indent = &full[..full.len() - line.len()];
                format!("{indent}{target} = {line}")
            })
        }),
        _ => None,
    };
    let hint = "assign it, as in event.properties.x = …, or use it in an expression";
    findings.add_corrected("L016", position, message, hint, corrected);
}

/// Whether a helper does nothing but give a result.
fn gives_only(group: Group, name: &str) -> bool {
    !matches!(group, Group::Edit | Group::Report) || name == "is_drop"
}

/// What happens to a variable.
#[derive(Default)]
struct Uses {
    /// Somebody looks at it.
    reads: usize,
    /// It is given another value: where.
    sets: Vec<Position>,
    /// Something in it is changed: where.
    edits: Vec<Position>,
}

/// L007, L008.
fn unread(subject: &Subject<'_>, function: &Function, findings: &mut Findings<'_>) {
    let made = variables(function);
    let looped = loop_variables(function);
    let uses = uses_of(function);
    for (name, uses) in &uses {
        if uses.reads > 0 {
            continue;
        }
        let starts = made.get(name).map(Vec::as_slice).unwrap_or_default();
        if let (Some(edit), [start]) = (uses.edits.first(), starts)
            && uses.sets.is_empty()
            && is_own_value(start)
        {
            let message = format!("{name} is a copy that is changed here and used nowhere");
            let hint = format!(
                "put it into the event (event.properties = {name}) or return it; without copy() \
                 {name} is the event's own part and changes it"
            );
            findings.add("L007", *edit, message, hint);
        }
        let is_variable = !starts.is_empty() || looped.contains(name);
        if let (Some(set), true, true) = (uses.sets.first(), is_variable, uses.edits.is_empty()) {
            lost_write(subject, function, (name, starts), *set, findings);
        }
    }
}

/// Reports a variable that is given a value which nobody reads.
fn lost_write(
    subject: &Subject<'_>,
    function: &Function,
    (name, starts): (&str, &[&Expr]),
    set: Position,
    findings: &mut Findings<'_>,
) {
    let source = match starts {
        [start] => Chain::of(start).text().filter(|text| text.contains('.')),
        _ => None,
    };
    let message = format!("{name} is given a value that nobody reads");
    let known = aliases(function);
    let hint = match &source {
        Some(text) => format!(
            "a variable holds a copy of a text or a number; to change the event write {text} = …"
        ),
        None if known.contains_key(name) || starts.is_empty() => {
            "the loop's variable is a copy of each text or number; to change the elements assign \
             the whole array, as in event.properties.x = array.map(|x| …)"
                .to_owned()
        }
        None => "use it, or take the line out".to_owned(),
    };
    let corrected = source.and_then(|text| {
        let line = subject.line(set)?.trim_start();
        let column = subject.line(set)?.len() - line.len() + 1;
        let start = Position::new(u16::try_from(set.line()?).ok()?, u16::try_from(column).ok()?);
        line.starts_with(name).then(|| subject.with(start, name, &text)).flatten()
    });
    findings.add_corrected("L008", set, message, hint, corrected);
}

/// Whether a value is certainly no part of the event.
fn is_own_value(start: &Expr) -> bool {
    match start {
        Expr::Map(..) | Expr::Array(..) | Expr::DynamicConstant(..) => true,
        Expr::FnCall(call, _) => {
            helpers().any(|helper| helper.name == call.name && helper.group == Group::Maps)
        }
        _ => matches!(Chain::of(start).steps.last(), Some(step)
            if matches!(step.what, What::Method(call) if call.name == "copy")),
    }
}

fn uses_of(function: &Function) -> BTreeMap<&str, Uses> {
    let mut uses: BTreeMap<&str, Uses> = BTreeMap::new();
    // A variable on the right of its own assignment is not read by anybody else.
    let mut own: Vec<(*const Expr, &str)> = Vec::new();
    walk(function, &mut |seen| match seen {
        Seen::Stmt(Stmt::Assignment(x), _) => {
            if let Some(name) = variable(&x.1.lhs) {
                note_own(&x.1.rhs, name, &mut own);
            }
        }
        Seen::Expr(expr @ Expr::Variable(..), role) => {
            let Some(name) = variable(expr) else { return };
            let uses = uses.entry(name).or_default();
            match role {
                Role::Written | Role::Updated => uses.sets.push(expr.position()),
                Role::Holder => {}
                _ if own.contains(&(std::ptr::from_ref(expr), name)) => {}
                _ => uses.reads += 1,
            }
        }
        Seen::Expr(expr @ (Expr::Dot(..) | Expr::Index(..)), role) => {
            let chain = Chain::of(expr);
            let Some(name) = chain.variable() else { return };
            let is_own = own.contains(&(std::ptr::from_ref(chain.root), name));
            let uses = uses.entry(name).or_default();
            match role {
                Role::Written | Role::Updated => uses.edits.push(expr.start_position()),
                // What a method does may matter to somebody; a plain edit of a copy does not.
                Role::Discarded if is_edit(&chain) => uses.edits.push(expr.start_position()),
                _ if is_own => {}
                _ => uses.reads += 1,
            }
        }
        _ => {}
    });
    uses
}

/// Whether a chain ends in a call that only changes what it is called on.
fn is_edit(chain: &Chain<'_>) -> bool {
    let Some(What::Method(call)) = chain.steps.last().map(|step| step.what) else { return false };
    matches!(
        call.name.as_str(),
        "set"
            | "del"
            | "rename"
            | "convert"
            | "fold_keys"
            | "rename_keys"
            | "fold_values"
            | "keep_owned"
            | "remove"
    ) || IN_PLACE.iter().any(|(name, _)| call.name == *name)
}

/// The places where `name` is read within `expr`.
fn note_own<'a>(expr: &Expr, name: &'a str, own: &mut Vec<(*const Expr, &'a str)>) {
    expr.walk(&mut Vec::new(), &mut |path| {
        if let Some(rhai::ASTNode::Expr(inner)) = path.last()
            && variable(inner) == Some(name)
        {
            own.push((std::ptr::from_ref(*inner), name));
        }
        true
    });
}
