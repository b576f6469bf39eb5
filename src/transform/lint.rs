//! Finds what the compiler lets pass and a run would trip over: functions that are not there, calls
//! with the wrong number of arguments, tables that are not there.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Engine, Expr, FnAccess, FnCallExpr, Position, Stmt};

use super::bundle::Bundle;
use super::compile::Script;
use super::diagnostic::Diagnostic;

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

type Known = BTreeMap<String, BTreeSet<usize>>;

/// Looks at every script of a bundle.
pub(crate) fn lint(
    engine: &Engine,
    bundle: &Bundle,
    scripts: &BTreeMap<String, Script>,
) -> Vec<Diagnostic> {
    let natives = natives(engine);
    let mut findings = Vec::new();
    for script in scripts.values() {
        let text = bundle.source(&script.file).unwrap_or_default();
        let scope = Scope {
            natives: &natives,
            own: functions(&script.ast),
            modules: modules(&script.ast, scripts),
            bundle,
        };
        script.ast.walk(&mut |path| {
            let call = match path.last() {
                Some(ASTNode::Expr(Expr::FnCall(call, position))) => Some((call, position, false)),
                Some(ASTNode::Stmt(Stmt::FnCall(call, position))) => Some((call, position, false)),
                Some(ASTNode::Expr(Expr::MethodCall(call, position))) => {
                    Some((call, position, true))
                }
                _ => None,
            };
            if let Some((call, position, is_method)) = call {
                let found = scope.check_call(call, is_method).or_else(|| scope.check_table(call));
                if let Some(mut finding) = found {
                    finding.file.clone_from(&script.file);
                    findings.push(place(finding, text, *position));
                }
            }
            true
        });
    }
    findings
}

fn place(finding: Diagnostic, text: &str, position: Position) -> Diagnostic {
    finding.at(text, position.line(), position.position())
}

/// What a script can call.
struct Scope<'a> {
    natives: &'a Known,
    own: Known,
    modules: BTreeMap<String, Known>,
    bundle: &'a Bundle,
}

impl Scope<'_> {
    /// L001: the function is there, and takes so many arguments.
    fn check_call(&self, call: &FnCallExpr, is_method: bool) -> Option<Diagnostic> {
        let name = call.name.as_str();
        if call.op_token.is_some() || name.contains('$') || LANGUAGE.contains(&name) {
            return None;
        }
        let arguments = call.args.len();
        if call.is_qualified() {
            let functions = self.modules.get(call.namespace.root())?;
            return missing(name, arguments, functions.get(name), &[functions]);
        }
        // A function of the script called as a method has its receiver as `this`.
        if self.own.get(name).is_some_and(|arities| arities.contains(&arguments)) {
            return None;
        }
        let known = [&self.own, self.natives];
        let arities: BTreeSet<usize> =
            known.iter().filter_map(|functions| functions.get(name)).flatten().copied().collect();
        let arities = (!arities.is_empty()).then_some(&arities);
        missing(name, arguments + usize::from(is_method), arities, &known)
    }

    /// L014: the table of a lookup is there.
    fn check_table(&self, call: &FnCallExpr) -> Option<Diagnostic> {
        if call.name != "lookup" {
            return None;
        }
        let Some(Expr::StringConstant(table, _)) = call.args.first() else { return None };
        if self.bundle.table(table).is_some() {
            return None;
        }
        let known: Vec<&str> = self.bundle.table_names().collect();
        let finding = Diagnostic::error("", format!("there is no table {table:?} in data/"));
        Some(finding.by("L014").with_hint(format!("there are {}", known.join(", "))))
    }
}

/// The finding for a call of `name` with so many arguments, when it does not take them.
fn missing(
    name: &str,
    arguments: usize,
    arities: Option<&BTreeSet<usize>>,
    known: &[&Known],
) -> Option<Diagnostic> {
    let Some(arities) = arities else {
        let finding = Diagnostic::error("", format!("there is no function {name}")).by("L001");
        if let Some((_, instead)) = WITHHELD.iter().find(|(withheld, _)| *withheld == name) {
            return Some(finding.with_hint(*instead));
        }
        return Some(match nearest(name, known) {
            Some(near) => finding.with_hint(format!("did you mean {near}?")),
            None => finding,
        });
    };
    if arities.contains(&arguments) {
        return None;
    }
    let takes: Vec<String> = arities.iter().map(usize::to_string).collect();
    let message =
        format!("{name} is called with {arguments} arguments, and takes {}", takes.join(" or "));
    let helper = super::helpers::helpers().find(|helper| helper.name == name);
    let finding = Diagnostic::error("", message).by("L001");
    Some(match helper {
        Some(helper) => finding.with_hint(helper.signature),
        None => finding,
    })
}

fn natives(engine: &Engine) -> Known {
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
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Import(x, _))) = path.last()
            && let Expr::StringConstant(library, _) = &x.0
            && let Some(script) = scripts.get(&format!("{library}.rhai"))
        {
            let mut known = functions(&script.ast);
            for function in script.ast.iter_functions() {
                if function.access == FnAccess::Private {
                    known.remove(function.name);
                }
            }
            modules.insert(x.1.name.to_string(), known);
        }
        true
    });
    modules
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
