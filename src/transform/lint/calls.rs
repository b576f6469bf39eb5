//! L001, L010, L014: functions that are not there, calls with the wrong number of arguments, tables
//! that are not there.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Engine, FnAccess, FnCallExpr, Position, Stmt};

use super::tree::{Seen, literal, walk};
use super::{Findings, Known, Subject, closures};
use crate::transform::compile::Script;
use crate::transform::helpers::helpers;

/// Words that look like functions and are part of the language.
const LANGUAGE: [&str; 9] =
    ["call", "curry", "Fn", "type_of", "is_shared", "is_def_fn", "is_def_var", "print", "debug"];
/// Functions of Rhai that scripts do not get, with what to use instead.
const WITHHELD: [(&str, &str); 5] = [
    ("sleep", "a script cannot wait"),
    ("timestamp", "use ctx.now: fixtures can freeze it"),
    ("exit", "use return"),
    ("eval", "write the code into the file"),
    ("parse_json", "use from_json(text)"),
];
/// What other languages call it, and what it is called here.
#[rustfmt::skip]
const FOREIGN: [(&str, &str); 44] = [
    ("toUpperCase", "upper"), ("toLowerCase", "lower"), ("upcase", "upper"), ("downcase", "lower"),
    ("uppercase", "upper"), ("lowercase", "lower"), ("capitalize", "title_case"), ("strip", "trimmed"),
    ("startsWith", "starts_with"), ("startswith", "starts_with"), ("endsWith", "ends_with"),
    ("endswith", "ends_with"), ("includes", "contains"), ("indexOf", "index_of"), ("forEach", "for_each"),
    ("length", "len"), ("size", "len"), ("slice", "sub_string"), ("substring", "sub_string"),
    ("substr", "sub_string"), ("parseFloat", "parse_number"), ("parseInt", "parse_int_or"),
    ("Number", "parse_number"), ("float", "parse_number"), ("String", "to_string"), ("str", "to_string"),
    ("toString", "to_string"), ("Boolean", "parse_bool"), ("bool", "parse_bool"), ("toFixed", "round_to"),
    ("hasOwnProperty", "has"), ("has_key", "has"), ("isEmpty", "is_blank"), ("isNaN", "is_nan"),
    ("parse_float", "parse_number"), ("to_number", "parse_number"), ("money", "parse_money"),
    ("parse_email", "normalize_email"), ("parse_phone", "normalize_phone"), ("camelcase", "camel_case"),
    ("snakecase", "snake_case"), ("default", "coalesce"), ("delete", "del"), ("isBlank", "is_blank"),
];

/// Looks at every call of a script.
pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings<'_>) {
    let scope = Scope {
        subject,
        own: functions(&subject.script.ast),
        modules: modules(&subject.script.ast, subject.scripts),
    };
    for function in &subject.functions {
        walk(function, &mut |seen| {
            if let Seen::Call(call, position, is_method, _) = seen {
                scope.check_call(call, position, is_method, findings);
                scope.check_table(call, position, is_method, findings);
            }
        });
    }
}

/// What a script can call.
struct Scope<'a> {
    subject: &'a Subject<'a>,
    own: Known,
    modules: BTreeMap<String, Known>,
}

impl Scope<'_> {
    /// L001: the function is there, and takes so many arguments.
    fn check_call(
        &self,
        call: &FnCallExpr,
        position: Position,
        is_method: bool,
        findings: &mut Findings<'_>,
    ) {
        let name = call.name.as_str();
        if call.op_token.is_some() || name.contains('$') || LANGUAGE.contains(&name) {
            return;
        }
        let arguments = call.args.len();
        if call.is_qualified() {
            if let Some(functions) = self.modules.get(call.namespace.root()) {
                self.report(name, position, arguments, functions.get(name), &[functions], findings);
            }
            return;
        }
        // A function of the script called as a method has its receiver as `this`.
        if self.own.get(name).is_some_and(|arities| arities.contains(&arguments)) {
            return;
        }
        let known = [&self.own, self.subject.natives];
        let arities: BTreeSet<usize> =
            known.iter().filter_map(|functions| functions.get(name)).flatten().copied().collect();
        let arities = (!arities.is_empty()).then_some(&arities);
        let arguments = arguments + usize::from(is_method);
        self.report(name, position, arguments, arities, &known, findings);
    }

    /// Reports a call of `name` with so many arguments, when it does not take them.
    fn report(
        &self,
        name: &str,
        position: Position,
        arguments: usize,
        arities: Option<&BTreeSet<usize>>,
        known: &[&Known],
        findings: &mut Findings<'_>,
    ) {
        let Some(arities) = arities else {
            let message = format!("there is no function {name}");
            if let Some((_, instead)) = WITHHELD.iter().find(|(withheld, _)| *withheld == name) {
                findings.add("L010", position, message, *instead);
                return;
            }
            let foreign = FOREIGN.iter().find(|(foreign, _)| *foreign == name);
            let near = match foreign {
                Some((_, ours)) => Some((*ours).to_owned()),
                None => nearest(name, known),
            };
            let Some(near) = near else {
                let hint = "docs/helpers.md lists the helpers, https://rhai.rs/book Rhai's own; \
                            those of a library are called as name::function";
                findings.add("L001", position, message, hint);
                return;
            };
            let (hint, corrected) = match helpers().find(|helper| helper.name == near) {
                _ if near == "for_each" => {
                    (closures::LOOP.to_owned(), closures::as_loop(self.subject, position))
                }
                Some(helper) => (
                    format!("did you mean {near}? {}", helper.signature),
                    self.subject.with(position, name, &near),
                ),
                None => (format!("did you mean {near}?"), self.subject.with(position, name, &near)),
            };
            findings.add_corrected("L001", position, message, hint, corrected);
            return;
        };
        if arities.contains(&arguments) {
            return;
        }
        let takes: Vec<String> = arities.iter().map(usize::to_string).collect();
        let message = format!(
            "{name} is called with {arguments} arguments, and takes {}",
            takes.join(" or ")
        );
        let hint = helpers().find(|helper| helper.name == name).map_or_else(
            || "a method counts what is in front of its point as an argument".to_owned(),
            |helper| format!("{}, for example: {}", helper.signature, helper.example),
        );
        findings.add("L001", position, message, hint);
    }

    /// L014: the table of a lookup is there.
    fn check_table(
        &self,
        call: &FnCallExpr,
        position: Position,
        is_method: bool,
        findings: &mut Findings<'_>,
    ) {
        let Some(table) = table_of(call, is_method) else { return };
        let bundle = self.subject.bundle;
        if bundle.table(table).is_some() || self.subject.defines(&call.name) {
            return;
        }
        let known: Vec<&str> = bundle.table_names().collect();
        let near = known
            .iter()
            .map(|name| (strsim::jaro_winkler(table, name), name))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let quoted = format!("{table:?}");
        let corrected =
            near.and_then(|(_, name)| self.subject.with(position, &quoted, &format!("{name:?}")));
        let hint = match known.is_empty() {
            true => "tables are the .json and .csv files in data/; there are none".to_owned(),
            false => format!("there are {}", known.join(", ")),
        };
        let message = format!("there is no table {quoted} in data/");
        findings.add_corrected("L014", position, message, hint, corrected);
    }
}

/// The helpers that read a table, and which of their arguments names it.
pub(super) const READ_TABLES: [(&str, usize); 5] =
    [("lookup", 0), ("fold_keys", 2), ("convert_keys", 2), ("fold_values", 2), ("keep_owned", 2)];

/// The table that a call names literally.
pub(super) fn table_of(call: &FnCallExpr, is_method: bool) -> Option<&str> {
    let (_, place) = READ_TABLES.iter().find(|(name, _)| call.name == *name)?;
    let argument = call.args.get(usize::checked_sub(*place, usize::from(is_method))?)?;
    literal(argument).map(|text| text.as_str())
}

/// Every function of the engine.
pub(super) fn natives(engine: &Engine) -> Known {
    let mut known = Known::new();
    let found = engine.collect_fn_metadata(
        None,
        |function| Some((function.metadata.name.to_string(), function.metadata.num_params)),
        true,
    );
    for (name, arity) in found {
        known.entry(name).or_default().insert(arity);
    }
    known
}

fn functions(ast: &AST) -> Known {
    let mut known = Known::new();
    for function in ast.iter_functions() {
        known.entry(function.name.to_owned()).or_default().insert(function.params.len());
    }
    known
}

/// What a script imported, by the name that it gave it.
fn modules(ast: &AST, scripts: &BTreeMap<String, Script>) -> BTreeMap<String, Known> {
    let mut modules = BTreeMap::new();
    for (library, alias) in imports(ast) {
        if let Some(script) = scripts.get(&format!("{library}.rhai")) {
            let mut known = functions(&script.ast);
            for function in script.ast.iter_functions() {
                if function.access == FnAccess::Private {
                    known.remove(function.name);
                }
            }
            modules.insert(alias, known);
        }
    }
    modules
}

/// The libraries that a script imports, with the names that it gives them.
pub(super) fn imports(ast: &AST) -> Vec<(String, String)> {
    let mut found = Vec::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Import(x, _))) = path.last()
            && let Some(library) = literal(&x.0)
        {
            found.push((library.to_string(), x.1.name.to_string()));
        }
        true
    });
    found
}

fn nearest(name: &str, known: &[&Known]) -> Option<String> {
    let names = known.iter().flat_map(|functions| functions.keys());
    names
        .filter(|known| known.chars().all(|c| c.is_alphanumeric() || c == '_'))
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known.clone())
}
