//! What the natives of one engine share while a handler runs: the budget, the clock, the tables, and
//! what the script says about its events.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use foldhash::HashMap;
use regex::{Regex, RegexBuilder};
use rhai::{Dynamic, EvalAltResult, ImmutableString, Position};
use serde_json::Value;

use super::bundle::Bundle;
use super::error::{code, refused, throw};
use super::handle::path::Path;
use super::handle::{MapHandle, to_dynamic, to_value};
use super::limits::{Budget, Watch};
use super::made::{Hints, Printed};
use crate::spec::names;

/// The most prints that one handler call keeps.
const MOST_PRINTS: usize = 200;
/// Entries after which a cache is emptied.
const CACHE: usize = 2048;
const REGEX_CACHE: usize = 64;
const LONGEST_PATTERN: usize = 1000;
/// Longer texts are not searched: a mistake, or an attack.
const LONGEST_INPUT: usize = 1 << 20;

/// The keys of names.
type Keys = HashMap<ImmutableString, ImmutableString>;

/// Shared by all natives of one engine.
pub(crate) struct Session {
    /// The bundle whose scripts the engine runs.
    pub(crate) bundle: Arc<Bundle>,
    /// What the handler may still write.
    pub(crate) budget: Budget,
    /// The handler's time.
    pub(crate) watch: Watch,
    /// Whether prints are kept.
    pub(crate) tracing: Cell<bool>,
    /// Where the script is, while somebody follows it step by step.
    pub(crate) last_step: RefCell<Option<(String, Position)>>,
    /// Where `drop` was called last, if it was.
    pub(crate) dropped: Cell<Option<Position>>,
    printed: RefCell<Vec<Printed>>,
    /// What was said about which event.
    hints: RefCell<Vec<(MapHandle, Hints)>>,
    /// What was said without naming an event.
    loose: RefCell<Option<Hints>>,
    paths: RefCell<HashMap<ImmutableString, Rc<Path>>>,
    regexes: RefCell<HashMap<ImmutableString, Regex>>,
    canonical: RefCell<Keys>,
    name_keys: RefCell<Keys>,
}

impl Session {
    pub(crate) fn new(bundle: Arc<Bundle>) -> Rc<Self> {
        Rc::new(Self {
            bundle,
            budget: Budget::default(),
            watch: Watch::new(),
            tracing: Cell::new(false),
            last_step: RefCell::default(),
            dropped: Cell::new(None),
            printed: RefCell::default(),
            hints: RefCell::default(),
            loose: RefCell::default(),
            paths: RefCell::default(),
            regexes: RefCell::default(),
            canonical: RefCell::default(),
            name_keys: RefCell::default(),
        })
    }

    /// Starts a handler call.
    pub(crate) fn start_call(&self) {
        self.budget.refill(self.bundle.limits());
        self.watch.start_call();
        self.dropped.set(None);
        *self.last_step.borrow_mut() = None;
        self.hints.borrow_mut().clear();
        *self.loose.borrow_mut() = None;
        self.printed.borrow_mut().clear();
    }

    /// What the script said about `event` in this call.
    pub(crate) fn take_hints(&self, event: &MapHandle) -> Option<Hints> {
        let mut hints = self.hints.borrow_mut();
        let at = hints.iter().position(|(of, _)| of.is(event))?;
        Some(hints.swap_remove(at).1)
    }

    /// What the script said in this call without naming an event.
    pub(crate) fn take_loose(&self) -> Option<Hints> {
        self.loose.borrow_mut().take()
    }

    /// Notes something about `event`, or about the event of this call.
    pub(crate) fn hint(&self, event: Option<&MapHandle>, note: impl FnOnce(&mut Hints)) {
        let Some(event) = event else {
            return note(self.loose.borrow_mut().get_or_insert_default());
        };
        let mut hints = self.hints.borrow_mut();
        if let Some((_, of_event)) = hints.iter_mut().find(|(of, _)| of.is(event)) {
            return note(of_event);
        }
        let mut of_event = Hints::default();
        note(&mut of_event);
        hints.push((event.clone(), of_event));
    }

    /// Keeps what a script prints, while tracing.
    pub(crate) fn print(&self, text: &str, file: Option<&str>, position: Position) {
        let mut printed = self.printed.borrow_mut();
        if self.tracing.get() && printed.len() < MOST_PRINTS {
            printed.push(Printed {
                text: super::mask::shortened(text, 2000),
                file: file.map(str::to_owned),
                line: position.line(),
            });
        }
    }

    /// What the script printed in this call.
    pub(crate) fn take_printed(&self) -> Vec<Printed> {
        std::mem::take(&mut *self.printed.borrow_mut())
    }

    /// A copy of a value, outside of any event.
    pub(crate) fn copied(&self, value: &Dynamic) -> Result<Dynamic, Box<EvalAltResult>> {
        Ok(to_dynamic(self.to_value(value)?))
    }

    /// A value as JSON, paid from the budget.
    pub(crate) fn to_value(&self, value: &Dynamic) -> Result<Value, Box<EvalAltResult>> {
        to_value(value, 0, &self.budget).map_err(refused)
    }

    /// A path, parsed once.
    pub(crate) fn path(&self, text: &ImmutableString) -> Result<Rc<Path>, Box<EvalAltResult>> {
        if let Some(path) = self.paths.borrow().get(text) {
            return Ok(Rc::clone(path));
        }
        let path = Path::parse(text).map_err(|problem| throw(code::SCRIPT, problem))?;
        let path = Rc::new(path);
        remember(&mut self.paths.borrow_mut(), CACHE, text, &path);
        Ok(path)
    }

    /// The canonical key of an event name, found once.
    pub(crate) fn canonical(&self, name: &str) -> ImmutableString {
        once(&self.canonical, name, || self.bundle.canonical(name))
    }

    /// The key of an event name without synonyms, found once.
    pub(crate) fn name_key(&self, name: &str) -> ImmutableString {
        once(&self.name_keys, name, || names::key(name))
    }

    /// Lets `search` use a pattern, which is compiled once.
    pub(crate) fn with_regex<R>(
        &self,
        pattern: &ImmutableString,
        text: &str,
        search: impl FnOnce(&Regex) -> R,
    ) -> Result<R, Box<EvalAltResult>> {
        if text.len() > LONGEST_INPUT {
            return Err(throw(code::DATA, "the text is too long to be searched"));
        }
        if let Some(regex) = self.regexes.borrow().get(pattern) {
            return Ok(search(regex));
        }
        let regex = compile(pattern)?;
        remember(&mut self.regexes.borrow_mut(), REGEX_CACHE, pattern, &regex);
        Ok(search(&regex))
    }
}

fn compile(pattern: &str) -> Result<Regex, Box<EvalAltResult>> {
    let refused = |problem: String| {
        let pattern = super::mask::shortened(pattern, 60);
        throw(code::SCRIPT, format!("cannot use the pattern {pattern:?}: {problem}"))
    };
    if pattern.len() > LONGEST_PATTERN {
        return Err(refused("it is too long".into()));
    }
    let built = RegexBuilder::new(pattern).size_limit(1 << 20).dfa_size_limit(1 << 20).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => refused("it needs too much memory".into()),
        error => refused(error.to_string().lines().last().unwrap_or_default().to_owned()),
    })
}

/// What is known of a name, or else what `find` finds.
fn once(known: &RefCell<Keys>, name: &str, find: impl FnOnce() -> String) -> ImmutableString {
    if let Some(key) = known.borrow().get(name) {
        return key.clone();
    }
    let key: ImmutableString = find().into();
    remember(&mut known.borrow_mut(), CACHE, &name.into(), &key);
    key
}

fn remember<V: Clone>(
    cache: &mut HashMap<ImmutableString, V>,
    most: usize,
    key: &ImmutableString,
    value: &V,
) {
    if cache.len() >= most {
        cache.clear();
    }
    cache.insert(key.clone(), value.clone());
}
