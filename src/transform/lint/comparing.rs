//! L009, L013, L017, L019, L023: comparisons that are never true, and sums that lose their cents.

use std::collections::BTreeMap;

use rhai::{Expr, FnCallExpr, Position};

use super::tree::{Chain, Function, Seen, What, aliases, literal, variable, variables, walk};
use super::{Findings, Subject};
use crate::spec::{Object, names};
use crate::transform::shipped;

/// Fields of an event that are texts, whatever was sent.
const TEXTS: [&str; 8] =
    ["type", "event", "userId", "anonymousId", "groupId", "previousId", "messageId", "timestamp"];
/// Words in the names of amounts.
const MONEY: [&str; 12] = [
    "total", "price", "amount", "revenue", "value", "cents", "tax", "shipping", "discount", "cost",
    "fee", "subtotal",
];
/// How alike a name must be to one that is known.
const ALIKE: f64 = 0.94;

/// Looks at comparisons and sums.
pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    for function in &subject.functions {
        let known = aliases(function);
        let names = Names::of(subject, function);
        walk(function, &mut |seen| match seen {
            Seen::Call(call, position, ..) if call.op_token.is_some() && call.args.len() == 2 => {
                match call.name.as_str() {
                    "==" | "!=" => {
                        never_equal(subject, &known, function, call, position, findings);
                        names.compare(subject, call, position, findings);
                    }
                    "<" | ">" | "<=" | ">=" => text_order(subject, call, position, findings),
                    "/" => whole_division(subject, function, call, position, findings),
                    _ => {}
                }
            }
            Seen::Expr(Expr::StringConstant(text, position), _) => {
                unfilled(subject, text, *position, findings);
            }
            Seen::Expr(expr @ Expr::Dot(..), _) => cut_cents(subject, expr, findings),
            _ => {}
        });
    }
}

/// L023: `(total * 100.0).to_int()`, which is 1998 for 19.99.
fn cut_cents(subject: &Subject<'_>, expr: &Expr, findings: &mut Findings<'_>) {
    let chain = Chain::of(expr);
    let (Expr::FnCall(product, _), Some(What::Method(cut))) =
        (chain.root, chain.steps.first().map(|step| step.what))
    else {
        return;
    };
    let hundred = |factor: &Expr| match factor {
        Expr::IntegerConstant(100, _) => Some("100"),
        Expr::FloatConstant(by, _) if **by == 100.0 => Some("100.0"),
        _ => None,
    };
    let [one, other] = &product.args[..] else { return };
    if product.name != "*" || !matches!(cut.name.as_str(), "to_int" | "floor") {
        return;
    }
    let (amount, by) = match (hundred(one), hundred(other)) {
        (None, Some(by)) => (one, by),
        (Some(by), None) => (other, by),
        _ => return,
    };
    let position = chain.steps[0].position;
    let amount = Chain::of(amount).text();
    let name = amount.as_deref().unwrap_or("amount");
    let message =
        format!("{} cuts what is behind the mark: 19.99 * {by} is 1998.9999…, so 1998", cut.name);
    let hint = format!("to_cents({name}) rounds, and gives a whole number");
    let corrected = amount.and_then(|text| {
        let old = [format!("({text} * {by}).to_int()"), format!("({by} * {text}).to_int()")];
        old.iter().find_map(|old| subject.with(position, old, &format!("to_cents({text})")))
    });
    findings.add_corrected("L023", position, message, hint, corrected);
}

/// L017: an id, which is always a text, is compared with a number.
fn never_equal(
    subject: &Subject<'_>,
    known: &BTreeMap<&str, (&str, Vec<&str>)>,
    function: &Function,
    call: &FnCallExpr,
    position: Position,
    findings: &mut Findings<'_>,
) {
    let event = function.params.first().map(String::as_str).unwrap_or_default();
    for (one, other) in [(0, 1), (1, 0)] {
        let chain = Chain::of(&call.args[one]);
        let (Some(variable), Some(properties)) = (chain.variable(), chain.properties()) else {
            continue;
        };
        let Some((root, way)) = known.get(variable) else { continue };
        let way: Vec<&str> = way.iter().copied().chain(properties).collect();
        let [field] = way[..] else { continue };
        if *root != event || !TEXTS.contains(&field) {
            continue;
        }
        let shown = match &call.args[other] {
            Expr::IntegerConstant(number, _) => number.to_string(),
            Expr::FloatConstant(number, _) => number.to_string(),
            Expr::BoolConstant(flag, _) => flag.to_string(),
            _ => continue,
        };
        let message = format!("{field} is always a text, so it never equals {shown}");
        let corrected = subject.with(call.args[other].position(), &shown, &format!("\"{shown}\""));
        let hint = format!("compare with \"{shown}\"");
        findings.add_corrected("L017", position, message, hint, corrected);
    }
}

/// L017: a number in quotes is compared by `<` or `>`.
fn text_order(
    subject: &Subject<'_>,
    call: &FnCallExpr,
    position: Position,
    findings: &mut Findings<'_>,
) {
    for argument in &call.args {
        let Some(text) = literal(argument) else { continue };
        if text.parse::<f64>().is_err() {
            continue;
        }
        let message = format!("a number and the text {text:?} are never smaller or larger");
        let corrected = subject.with(argument.position(), &format!("\"{text}\""), text);
        let hint =
            format!("write the number: {text}; a text is made a number by parse_number(value)");
        findings.add_corrected("L017", position, message, hint, corrected);
    }
}

/// L013: an amount that came as a whole number is divided without decimals.
fn whole_division(
    subject: &Subject<'_>,
    function: &Function,
    call: &FnCallExpr,
    position: Position,
    findings: &mut Findings<'_>,
) {
    let Expr::IntegerConstant(by, at) = &call.args[1] else { return };
    let chain = Chain::of(&call.args[0]);
    let name = match chain.steps.last().map(|step| step.what) {
        Some(What::Property(name)) => name,
        None => match variable(&call.args[0]) {
            Some(name) if may_be_whole(function, name) => name,
            _ => return,
        },
        Some(_) => return,
    };
    let words = names::words(name);
    if !words.iter().any(|word| MONEY.contains(&word.as_str())) {
        return;
    }
    let message = format!(
        "{name} may be a whole number, and then the result has no decimals: 4999 / 100 is 49"
    );
    let hint = match by {
        100 => format!("from_cents({name}) gives 49.99; or divide by 100.0"),
        by => format!("divide by {by}.0"),
    };
    let corrected = subject.with(*at, &by.to_string(), &format!("{by}.0"));
    findings.add_corrected("L013", position, message, hint, corrected);
}

/// Whether a variable holds what the event has, or a whole number.
fn may_be_whole(function: &Function, name: &str) -> bool {
    let made = variables(function);
    let Some(starts) = made.get(name) else { return true };
    starts.iter().any(|start| match start {
        Expr::IntegerConstant(..) => true,
        start => matches!(
            Chain::of(start).steps.last().map(|step| step.what),
            Some(What::Property(_) | What::Index(_))
        ),
    })
}

/// L019: `${…}` in a text that is not filled in.
fn unfilled(subject: &Subject<'_>, text: &str, position: Position, findings: &mut Findings<'_>) {
    let Some(start) = text.find("${") else { return };
    if !text[start..].contains('}') {
        return;
    }
    let quoted = format!("\"{text}\"");
    let corrected = subject.with(position, &quoted, &format!("`{text}`"));
    let message = "only a text in backticks is filled in: this one keeps its ${…} as it is";
    findings.add_corrected("L019", position, message, "write it between backticks", corrected);
}

/// L009: names that no event has.
struct Names<'a> {
    /// Variables that hold a canonical key.
    keys: Vec<&'a str>,
    /// Variables that hold the name of the event.
    names: Vec<&'a str>,
    event: &'a str,
}

/// What one side of a comparison is.
enum Side {
    Key,
    Name,
}

impl<'a> Names<'a> {
    fn of(subject: &Subject<'_>, function: &'a Function) -> Self {
        let event = function.params.first().map(String::as_str).unwrap_or_default();
        let mut known = Self { keys: Vec::new(), names: Vec::new(), event };
        for (name, starts) in variables(function) {
            let [start] = starts[..] else { continue };
            match known.side(subject, start) {
                Some(Side::Key) => known.keys.push(name),
                Some(Side::Name) => known.names.push(name),
                None => {}
            }
        }
        known
    }

    fn side(&self, subject: &Subject<'_>, expr: &Expr) -> Option<Side> {
        if let Expr::FnCall(call, _) = expr {
            let gives_key = call.name == "canonical" && !subject.defines("canonical");
            return gives_key.then_some(Side::Key);
        }
        let chain = Chain::of(expr);
        let root = chain.variable()?;
        if chain.steps.is_empty() {
            return match root {
                root if self.keys.contains(&root) => Some(Side::Key),
                root if self.names.contains(&root) => Some(Side::Name),
                _ => None,
            };
        }
        let is_name = root == self.event && chain.properties()? == ["event"];
        is_name.then_some(Side::Name)
    }

    fn compare(
        &self,
        subject: &Subject<'_>,
        call: &FnCallExpr,
        position: Position,
        findings: &mut Findings<'_>,
    ) {
        for (one, other) in [(0, 1), (1, 0)] {
            let Some(written) = literal(&call.args[other]) else { continue };
            let (message, right) = match self.side(subject, &call.args[one]) {
                Some(Side::Key) => {
                    let key = subject.bundle.canonical(written);
                    if key == written.as_str() {
                        continue;
                    }
                    (format!("canonical(…) never gives {written:?}: keys are folded"), key)
                }
                Some(Side::Name) => match nearly(subject, written) {
                    Some(near) => (format!("no event that is known is called {written:?}"), near),
                    None => continue,
                },
                None => continue,
            };
            let quoted = format!("\"{written}\"");
            let corrected =
                subject.with(call.args[other].position(), &quoted, &format!("\"{right}\""));
            let hint = format!("did you mean \"{right}\"?");
            findings.add_corrected("L009", position, message, hint, corrected);
        }
    }
}

/// The name that is probably meant, where `written` is none and nearly one.
fn nearly(subject: &Subject<'_>, written: &str) -> Option<String> {
    let key = names::key(written);
    let titles = titles(subject);
    let schemas = subject.bundle.files().filter_map(|(file, _)| {
        file.strip_prefix("schemas/")?.strip_suffix(".json").map(str::to_owned)
    });
    let is_known = titles.contains_key(&key)
        || subject.bundle.canonical(written) != key
        || schemas.into_iter().any(|schema| schema == key);
    if is_known {
        return None;
    }
    titles
        .iter()
        .map(|(known, title)| (strsim::jaro_winkler(&key, known), title))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, title)| title.clone())
}

/// The names that are known, by their keys.
fn titles(subject: &Subject<'_>) -> BTreeMap<String, String> {
    let shipped = || {
        let file = shipped::FILES.iter().find(|(file, _)| *file == "data/spellings.json");
        let table: Option<Object> = file.and_then(|(_, text)| serde_json::from_str(text).ok());
        table.unwrap_or_default().into_iter().collect()
    };
    let table = subject.bundle.table("spellings").cloned().unwrap_or_else(shipped);
    table
        .into_iter()
        .filter_map(|(key, title)| title.as_str().map(|title| (key, title.to_owned())))
        .collect()
}
