//! Scripts to code: libraries become modules, stages become syntax trees that can be called, and what
//! does not fit the contract is refused with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use rhai::module_resolvers::StaticModuleResolver;
use rhai::{
    AST, ASTFlags, ASTNode, Engine, Expr, FnAccess, ImmutableString, Module, Position, Scope, Stmt,
};

use super::bundle::Bundle;
use super::diagnostic::Diagnostic;
use super::frame::Frame;
use super::handle::register::register_property;
use super::lint;
use super::manifest::{Mode, is_stage_file};
use super::mishap::locate;
use super::sandbox;
use super::session::Session;
use crate::spec::Call;

/// The handler for everything that has no handler of its own.
const FALLBACK: &str = "transform";

/// The code of one stage.
pub(crate) struct StageCode {
    /// The stage's place in the manifest.
    pub(crate) index: usize,
    pub(crate) name: ImmutableString,
    /// The hash of the bundle that it belongs to.
    pub(crate) bundle: ImmutableString,
    pub(crate) ast: AST,
    /// What the calls of its handlers share.
    pub(crate) frame: Frame,
    handlers: BTreeSet<&'static str>,
}

impl StageCode {
    /// The handler for a call.
    pub(crate) fn handler(&self, call: Call) -> Option<&'static str> {
        let own = handler_of(call);
        [own, Some(FALLBACK)].into_iter().flatten().find(|name| self.handlers.contains(name))
    }
}

fn handler_of(call: Call) -> Option<&'static str> {
    Some(match call {
        Call::Track => "on_track",
        Call::Identify => "on_identify",
        Call::Page => "on_page",
        Call::Screen => "on_screen",
        Call::Group => "on_group",
        Call::Alias => "on_alias",
        Call::Delete => return None,
    })
}

/// The functions that Segue calls.
pub(crate) const HANDLERS: [&str; 7] =
    ["on_track", "on_identify", "on_page", "on_screen", "on_group", "on_alias", FALLBACK];

/// An engine with the code of a whole bundle.
pub(crate) struct Program {
    pub(crate) engine: Engine,
    pub(crate) session: Rc<Session>,
    /// The stages that run, in order.
    pub(crate) stages: Vec<StageCode>,
    /// Whether it remembers where it is; such a program is slow.
    pub(crate) follows_steps: bool,
}

/// Compiles and lints a bundle.
pub(crate) fn check(shared: Arc<Bundle>, findings: &mut Vec<Diagnostic>) {
    findings.extend(program(&shared).err().unwrap_or_default());
    let session = Session::new(Arc::clone(&shared));
    let engine = sandbox::engine(&session);
    let (scripts, _) = parse_all(&engine, &shared);
    findings.extend(lint::lint(&engine, &shared, &scripts));
}

/// Compiles a bundle for one thread.
///
/// # Errors
/// Every finding of the compiler.
pub(crate) fn program(bundle: &Arc<Bundle>) -> Result<Program, Vec<Diagnostic>> {
    let session = Session::new(Arc::clone(bundle));
    let mut engine = sandbox::engine(&session);
    let (scripts, mut findings) = parse_all(&engine, bundle);
    findings.extend(scripts.values().flat_map(|script| check_shape(bundle, script)));
    if !findings.is_empty() {
        return Err(findings);
    }
    link(&mut engine, bundle, &scripts)?;
    for property in scripts.values().flat_map(properties).collect::<BTreeSet<_>>() {
        register_property(&mut engine, &session, &property);
    }
    let live = bundle.stages().iter().enumerate().filter(|(_, stage)| stage.mode == Mode::Live);
    let stages = live.filter_map(|(index, stage)| {
        let script = scripts.get(&stage.file)?;
        Some(StageCode {
            index,
            name: stage.name.as_str().into(),
            bundle: bundle.hash().into(),
            ast: script.ast.clone(),
            frame: Frame::default(),
            handlers: handlers(&script.ast),
        })
    });
    let stages = stages.collect();
    Ok(Program { engine, session, stages, follows_steps: false })
}

/// As [`program`], to find the line of an error.
pub(crate) fn following_program(bundle: &Arc<Bundle>) -> Option<Program> {
    let mut program = program(bundle).ok()?;
    sandbox::follow_steps(&mut program.engine, &program.session);
    program.follows_steps = true;
    Some(program)
}

/// One parsed file.
pub(crate) struct Script {
    pub(crate) file: String,
    pub(crate) ast: AST,
}

pub(crate) fn parse_all(
    engine: &Engine,
    bundle: &Bundle,
) -> (BTreeMap<String, Script>, Vec<Diagnostic>) {
    let mut scripts = BTreeMap::new();
    let mut findings = Vec::new();
    for (file, text) in bundle.files() {
        if !file.ends_with(".rhai") || !(is_stage_file(file) || file.starts_with("lib/")) {
            continue;
        }
        match engine.compile(text) {
            Ok(mut ast) => {
                ast.set_source(file);
                scripts.insert(file.to_owned(), Script { file: file.to_owned(), ast });
            }
            Err(error) => findings.push(lint::syntax::finding(file, text, &error)),
        }
    }
    (scripts, findings)
}

/// What the contract demands of a file: only constants, imports and functions at the top, literal
/// imports of libraries that are there, and handlers with two parameters.
fn check_shape(bundle: &Bundle, script: &Script) -> Vec<Diagnostic> {
    let text = bundle.source(&script.file).unwrap_or_default();
    let mut findings = Vec::new();
    let mut report = |position: Position, code: &'static str, message: String, hint: &str| {
        findings.push(
            Diagnostic::error(&script.file, message)
                .by(code)
                .at(text, position.line(), position.position())
                .with_hint(hint),
        );
    };
    for statement in script.ast.statements() {
        let fits = match statement {
            Stmt::Noop(_) | Stmt::Import(..) => true,
            Stmt::Var(x, flags, _) => flags.intersects(ASTFlags::CONSTANT) && x.1.is_constant(),
            _ => false,
        };
        if !fits {
            report(
                statement.position(),
                "",
                "only constants, imports and functions may stand outside of a function".into(),
                "write `const NAME = 1;` with a literal value, or move this into a handler",
            );
        }
    }
    script.ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Import(x, position))) = path.last() {
            match &x.0 {
                Expr::StringConstant(name, _)
                    if bundle.source(&format!("{name}.rhai")).is_some()
                        && name.starts_with("lib/") => {}
                Expr::StringConstant(name, _) => report(
                    *position,
                    "L005",
                    format!("there is no library {name:?}"),
                    "libraries are the files in lib/: import \"lib/NAME\" as NAME;",
                ),
                _ => report(
                    *position,
                    "L005",
                    "an import must name its library literally".into(),
                    "import \"lib/NAME\" as NAME;",
                ),
            }
        }
        true
    });
    if is_stage_file(&script.file) {
        check_handlers(script, text, &mut findings);
    }
    findings
}

fn check_handlers(script: &Script, text: &str, findings: &mut Vec<Diagnostic>) {
    let at = |name: &str| {
        let line = text.lines().position(|line| {
            line.trim_start()
                .strip_prefix("fn ")
                .is_some_and(|rest| rest.trim_start().starts_with(name))
        });
        line.map(|line| line + 1)
    };
    for function in script.ast.iter_functions() {
        let (name, parameters) = (function.name, function.params.len());
        let known = HANDLERS.contains(&name);
        if known && parameters != 2 {
            findings.push(
                Diagnostic::error(
                    &script.file,
                    format!("{name} takes (event, ctx), not {parameters} parameters"),
                )
                .at(text, at(name), None),
            );
        } else if !known && name.starts_with("on_") && function.access == FnAccess::Public {
            findings.push(
                Diagnostic::error(&script.file, format!("{name} is no handler"))
                    .at(text, at(name), None)
                    .with_hint(format!(
                        "handlers are {}; call other functions differently",
                        HANDLERS.join(", ")
                    )),
            );
        }
    }
    if handlers(&script.ast).is_empty() && findings.is_empty() {
        findings.push(
            Diagnostic::error(&script.file, "this stage has no handler")
                .with_hint(format!("write one of {}", HANDLERS.join(", "))),
        );
    }
}

fn handlers(ast: &AST) -> BTreeSet<&'static str> {
    let defined: BTreeSet<&str> = ast.iter_functions().map(|function| function.name).collect();
    HANDLERS.into_iter().filter(|name| defined.contains(name)).collect()
}

/// Makes modules of the libraries, each after those that it imports itself.
fn link(
    engine: &mut Engine,
    bundle: &Bundle,
    scripts: &BTreeMap<String, Script>,
) -> Result<(), Vec<Diagnostic>> {
    let mut waiting: Vec<&Script> =
        scripts.values().filter(|script| !is_stage_file(&script.file)).collect();
    let mut resolver = StaticModuleResolver::new();
    let mut done: BTreeSet<String> = BTreeSet::new();
    while !waiting.is_empty() {
        let (ready, blocked): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|script| imports(&script.ast).is_subset(&done));
        if ready.is_empty() {
            let cycle = blocked.iter().map(|script| {
                Diagnostic::error(&script.file, "this library imports itself, by way of others")
            });
            return Err(cycle.collect());
        }
        engine.set_module_resolver(resolver.clone());
        for script in ready {
            let module = Module::eval_ast_as_new(Scope::new(), &script.ast, engine)
                .map_err(|error| vec![evaluation_finding(bundle, script, *error)])?;
            let name = script.file.trim_end_matches(".rhai");
            resolver.insert(name, module);
            done.insert(name.to_owned());
        }
        waiting = blocked;
    }
    engine.set_module_resolver(resolver);
    Ok(())
}

fn evaluation_finding(bundle: &Bundle, script: &Script, error: rhai::EvalAltResult) -> Diagnostic {
    let located = locate(error);
    let text = bundle.source(&script.file).unwrap_or_default();
    let (line, column) = (located.position.line(), located.position.position());
    Diagnostic::error(&script.file, located.message).at(text, line, column)
}

/// The libraries that a file imports, as `lib/name`.
pub(crate) fn imports(ast: &AST) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Import(x, _))) = path.last()
            && let Expr::StringConstant(name, _) = &x.0
        {
            found.insert(name.to_string());
        }
        true
    });
    found
}

/// The names of all properties that a script reads or writes with a dot.
fn properties(script: &Script) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    script.ast.walk(&mut |path| {
        if let Some(ASTNode::Expr(Expr::Property(x, _))) = path.last() {
            found.insert(x.2.to_string());
        }
        true
    });
    found
}
