//! The functions that scripts get beside Rhai's own, in one table.
//!
//! The table is the only place that names a helper: from it come the registration with the engine,
//! what `check` knows, the reference page and the editor definitions. Each row has an example, and
//! every example runs as a test.
//!
//! One rule holds for all: what reads a value (`parse_…`, `to_…`, `normalize_…`) fails with the value
//! and what was wanted; with a default as the last argument it never fails.
//!
//! Not here: what handles themselves can do (`event.total`, `products.map(…)`), see
//! [`super::handle`].

mod arrays;
mod codec;
mod convert;
mod edit;
mod ids;
mod maps;
mod money;
mod names;
mod people;
mod phone;
mod presence;
mod reading;
mod report;
mod tables;
mod text;
mod time;

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map, NativeCallContext};

use super::diagnostic::Diagnostic;
use super::error::{code, quoted, throw_about};
use super::handle::{MapHandle, as_text};
use super::session::Session;

pub(crate) use money::Decimal;
pub(crate) use phone::warm_up;
pub(crate) use report::Drop;
pub(crate) use text::replace_within;

/// What a helper answers.
pub(crate) type Answer = Result<Dynamic, Box<EvalAltResult>>;

/// The chapters of the reference page.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Group {
    /// Is it there?
    Presence,
    /// Changing an event by paths.
    Edit,
    /// Maps as a whole.
    Maps,
    /// Arrays as a whole.
    Arrays,
    /// Casing and text.
    Text,
    /// Event names and lookup tables.
    Names,
    /// Numbers and money.
    Numbers,
    /// Identifiers.
    Ids,
    /// Yes, no and consent.
    Consent,
    /// E-mail addresses and phones.
    People,
    /// Times.
    Time,
    /// Hashes, encodings and masks.
    Codec,
    /// What a script says about an event.
    Report,
}

/// One helper.
pub struct Helper {
    /// Its chapter.
    pub group: Group,
    /// Its name in scripts.
    pub name: &'static str,
    /// How it is called; what is in brackets can be left out.
    pub signature: &'static str,
    /// What it does, in one or two sentences.
    pub doc: &'static str,
    /// An expression that uses it.
    pub example: &'static str,
    /// What the example gives, as JSON; empty when the example only has an effect.
    pub gives: &'static str,
    /// The fewest and the most arguments, the receiver of a method call included.
    pub arity: (usize, usize),
    run: fn(&mut Call<'_, '_>) -> Answer,
}

/// All helpers, by group.
pub fn helpers() -> impl Iterator<Item = &'static Helper> {
    let groups: [&'static [Helper]; 15] = [
        presence::HELPERS,
        edit::HELPERS,
        convert::HELPERS,
        tables::HELPERS,
        maps::HELPERS,
        arrays::HELPERS,
        text::HELPERS,
        names::HELPERS,
        money::HELPERS,
        ids::HELPERS,
        ids::CONSENT,
        people::HELPERS,
        time::HELPERS,
        codec::HELPERS,
        report::HELPERS,
    ];
    groups.into_iter().flatten()
}

/// The decimal mark that `vars.locale` names.
pub(crate) fn decimal_of(
    locale: Option<&str>,
    texts: &BTreeMap<String, String>,
    findings: &mut Vec<Diagnostic>,
) -> Option<Decimal> {
    let locale = locale.filter(|locale| !locale.trim().is_empty())?;
    let decimal = Decimal::of_locale(locale);
    if decimal.is_none() {
        findings.push(var_finding(
            texts,
            "locale",
            locale,
            "a language such as \"en\" or \"de-DE\"",
        ));
    }
    decimal
}

/// The country that `vars.default_region` names.
pub(crate) fn region_of(
    region: Option<&str>,
    texts: &BTreeMap<String, String>,
    findings: &mut Vec<Diagnostic>,
) -> Option<String> {
    let region = region.filter(|region| !region.trim().is_empty())?;
    let code = people::country(&Dynamic::from(region.to_owned()));
    if code.is_none() {
        findings.push(var_finding(texts, "default_region", region, "a country such as \"US\""));
    }
    code
}

fn var_finding(
    texts: &BTreeMap<String, String>,
    name: &str,
    value: &str,
    want: &str,
) -> Diagnostic {
    let source = texts.get(super::manifest::FILE).map_or("", String::as_str);
    let line = source.lines().position(|line| line.trim_start().starts_with(name));
    Diagnostic::error(super::manifest::FILE, format!("vars.{name} must be {want}, not {value:?}"))
        .at(source, line.map(|line| line + 1), None)
}

/// Every helper by name and number of arguments.
pub(crate) fn arities() -> BTreeSet<(String, usize)> {
    helpers()
        .flat_map(|helper| {
            (helper.arity.0..=helper.arity.1).map(move |arity| (helper.name.to_owned(), arity))
        })
        .collect()
}

/// Makes the helpers known to `engine`.
pub(crate) fn register(engine: &mut Engine, session: &Rc<Session>) {
    engine.register_type_with_name::<Drop>("drop");
    for helper in helpers() {
        for arity in helper.arity.0..=helper.arity.1 {
            for types in signatures(arity) {
                register_one(engine, session, helper, types);
            }
        }
    }
    // Rhai's own functions of these names are narrower, and would win.
    for (name, arity) in [("get", 2), ("set", 3), ("to_json", 1)] {
        let mut types = vec![TypeId::of::<Dynamic>(); arity];
        types[0] = TypeId::of::<Map>();
        if arity > 1 {
            types[1] = TypeId::of::<ImmutableString>();
        }
        if let Some(helper) = helpers().find(|helper| helper.name == name) {
            register_one(engine, session, helper, types);
        }
    }
}

/// The types under which a helper is registered: any, and the usual ones beside it. Rhai tries the
/// types of a call's arguments first and then puts "any" in the place of each and of all, which costs
/// more than most helpers do.
fn signatures(arity: usize) -> Vec<Vec<TypeId>> {
    let any = TypeId::of::<Dynamic>();
    let (map, text) = (TypeId::of::<MapHandle>(), TypeId::of::<ImmutableString>());
    let mut signatures = vec![vec![any; arity], vec![text; arity]];
    if arity > 1 {
        let mut on_map = vec![text; arity];
        on_map[0] = map;
        let mut with_array = on_map.clone();
        with_array[1] = TypeId::of::<Array>();
        let mut with_any = on_map.clone();
        with_any[arity - 1] = any;
        signatures.extend([on_map, with_array, with_any]);
    }
    signatures
}

fn register_one(
    engine: &mut Engine,
    session: &Rc<Session>,
    helper: &'static Helper,
    types: Vec<TypeId>,
) {
    let session = Rc::clone(session);
    engine.register_raw_fn(helper.name, types, move |context: NativeCallContext, args| {
        (helper.run)(&mut Call { name: helper.name, context: &context, session: &session, args })
    });
}

/// One call of a helper.
pub(crate) struct Call<'c, 'a> {
    pub(crate) name: &'static str,
    pub(crate) context: &'c NativeCallContext<'c>,
    pub(crate) session: &'c Rc<Session>,
    pub(crate) args: &'c mut [&'a mut Dynamic],
}

impl Call<'_, '_> {
    /// The number of arguments.
    pub(crate) fn count(&self) -> usize {
        self.args.len()
    }

    /// An argument.
    pub(crate) fn arg(&self, at: usize) -> &Dynamic {
        &*self.args[at]
    }

    /// An argument that must be a text.
    pub(crate) fn text(&self, at: usize) -> Result<ImmutableString, Box<EvalAltResult>> {
        as_text(self.arg(at)).ok_or_else(|| self.wrong(at, "a string"))
    }

    /// An argument that must be a whole number.
    pub(crate) fn int(&self, at: usize) -> Result<i64, Box<EvalAltResult>> {
        self.arg(at).as_int().map_err(|_| self.wrong(at, "a whole number"))
    }

    /// An argument that must be an array of texts, or one text.
    pub(crate) fn texts(&self, at: usize) -> Result<Vec<ImmutableString>, Box<EvalAltResult>> {
        if let Some(text) = as_text(self.arg(at)) {
            return Ok(vec![text]);
        }
        let all = |items: &[Dynamic]| items.iter().map(as_text).collect::<Option<Vec<_>>>();
        let texts = match self.arg(at).read_lock::<Array>() {
            Some(items) => all(&items),
            None => super::handle::items_of(self.arg(at)).and_then(|items| all(&items)),
        };
        texts.ok_or_else(|| self.wrong(at, "an array of strings"))
    }

    /// The error for an argument of the wrong kind.
    pub(crate) fn wrong(&self, at: usize, want: &str) -> Box<EvalAltResult> {
        let got = quoted(self.arg(at));
        let message = format!("{}: argument {} must be {want}, not {got}", self.name, at + 1);
        let about = [
            ("argument", i64::try_from(at).unwrap_or(0).into()),
            ("want", Dynamic::from(want.to_owned())),
        ];
        throw_about(code::SCRIPT, message, &about)
    }
}

#[cfg(test)]
mod tests;
