//! Which lines of the scripts ran, for fixtures that are asked how much they reach.
//!
//! An engine that covers calls back at every step, which makes it several times slower; the engines of
//! production know nothing of it. What counts is a statement, or the arm of a `switch`: its line is
//! reached when one of those that begin on it ran, and partly reached while another did not. Constants
//! and imports at the top of a file, and stages that are off, do not count.
//!
//! Not here: which events run ([`crate::fixture`]), how it is shown ([`crate::cli`]).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use rhai::debugger::DebuggerCommand;
use rhai::{AST, ASTNode, Engine, Expr, Position, Stmt};

use super::bundle::Bundle;
use super::compile;
use super::manifest::{Mode, is_stage_file};
use super::sandbox;
use super::session::Session;

/// A line and a column.
type Place = (usize, usize);

/// What ran of one bundle. Filled from any number of threads.
#[derive(Debug)]
pub struct Coverage {
    bundle: Arc<Bundle>,
    reached: Mutex<HashMap<String, HashSet<Place>>>,
}

/// What ran of one file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileCoverage {
    /// The file, as in the folder of the bundle.
    pub file: String,
    /// How many lines could run.
    pub lines: usize,
    /// The lines that did not.
    pub missed: Vec<usize>,
    /// Lines that ran, but not all that stands on them.
    pub partly: Vec<usize>,
}

impl FileCoverage {
    /// How many lines ran.
    pub fn reached(&self) -> usize {
        self.lines - self.missed.len()
    }
}

/// The share of lines that ran, in percent; of no lines, all.
pub fn percent(files: &[FileCoverage]) -> f64 {
    let lines: usize = files.iter().map(|file| file.lines).sum();
    let reached: usize = files.iter().map(FileCoverage::reached).sum();
    match u32::try_from(lines) {
        Ok(0) | Err(_) => 100.0,
        Ok(lines) => f64::from(u32::try_from(reached).unwrap_or(lines)) * 100.0 / f64::from(lines),
    }
}

impl Coverage {
    /// Nothing of `bundle` ran yet.
    pub fn of(bundle: &Arc<Bundle>) -> Arc<Self> {
        Arc::new(Self { bundle: Arc::clone(bundle), reached: Mutex::default() })
    }

    /// What ran so far, by file.
    pub fn files(&self) -> Vec<FileCoverage> {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = HashSet::new();
        let files = statements(&self.bundle).into_iter();
        files
            .map(|(file, places)| {
                let ran = reached.get(&file).unwrap_or(&nothing);
                let mut of_line: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
                for place in &places {
                    let (all, seen) = of_line.entry(place.0).or_default();
                    *all += 1;
                    *seen += usize::from(ran.contains(place));
                }
                let lines_where = |wanted: fn(usize, usize) -> bool| -> Vec<usize> {
                    let found = of_line.iter().filter(|(_, (all, seen))| wanted(*all, *seen));
                    found.map(|(line, _)| *line).collect()
                };
                FileCoverage {
                    lines: of_line.len(),
                    missed: lines_where(|_, seen| seen == 0),
                    partly: lines_where(|all, seen| seen > 0 && seen < all),
                    file,
                }
            })
            .collect()
    }

    /// Makes an engine tell where it is at every step. `bundle` is what it runs, which may differ from
    /// the covered one in some files: these do not count.
    #[allow(deprecated)] // The debugger's interface may change with any version of Rhai; this one is pinned.
    pub(crate) fn watch(self: &Arc<Self>, engine: &mut Engine, session: &Rc<Session>) {
        let (coverage, session) = (Arc::clone(self), Rc::clone(session));
        let same = |file: &str| self.bundle.source(file) == session.bundle.source(file);
        let files = self.bundle.files().map(|(file, _)| file).filter(|file| same(file));
        let files: HashSet<String> = files.map(str::to_owned).collect();
        engine.register_debugger(
            |_, debugger| debugger,
            move |_, _, _, source, position| {
                if !position.is_none() {
                    let file = source.unwrap_or_default();
                    *session.last_step.borrow_mut() = Some((file.to_owned(), position));
                    if files.contains(file) {
                        coverage.reach(file, position);
                    }
                }
                Ok(DebuggerCommand::StepInto)
            },
        );
    }

    fn reach(&self, file: &str, position: Position) {
        let Some(place) = place_of(position) else { return };
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        match reached.get_mut(file) {
            Some(places) => drop(places.insert(place)),
            None => drop(reached.insert(file.to_owned(), HashSet::from([place]))),
        }
    }
}

fn place_of(position: Position) -> Option<Place> {
    Some((position.line()?, position.position().unwrap_or(0)))
}

/// Every statement of the scripts that may run, by file.
fn statements(bundle: &Arc<Bundle>) -> BTreeMap<String, BTreeSet<Place>> {
    let session = Session::new(Arc::clone(bundle));
    let engine = sandbox::engine(&session);
    let (scripts, _) = compile::parse_all(&engine, bundle);
    let live = |file: &str| {
        let stage = bundle.stages().iter().find(|stage| stage.file == file);
        match is_stage_file(file) {
            true => stage.is_some_and(|stage| stage.mode == Mode::Live),
            false => true,
        }
    };
    let scripts = scripts.into_values().filter(|script| live(&script.file));
    scripts.map(|script| (script.file, places(&script.ast))).collect()
}

fn places(ast: &AST) -> BTreeSet<Place> {
    let top: HashSet<Place> =
        ast.statements().iter().filter_map(|statement| place_of(statement.position())).collect();
    let mut found = BTreeSet::new();
    ast.walk(&mut |path| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Noop(_) | Stmt::Block(_))) => {}
            Some(ASTNode::Stmt(statement)) => {
                found.extend(place_of(statement.position()));
                if let Stmt::Switch(switch, _) = statement {
                    let arms = switch.1.expressions.iter().map(|arm| &arm.rhs);
                    let alone = arms.filter(|arm| !matches!(arm, Expr::Stmt(_)));
                    found.extend(alone.filter_map(|arm| place_of(arm.position())));
                }
            }
            _ => {}
        }
        true
    });
    found.retain(|place| !top.contains(place));
    found
}

#[cfg(test)]
mod tests;
