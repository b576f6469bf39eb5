//! The engine that scripts run in: what they may use, and where they are stopped.
//!
//! It starts from nothing and gets Rhai's packages for values, not those that sleep, read the clock,
//! end the program or parse JSON in their own way. Natives that can make a small text huge are
//! replaced by ones that look first.

use std::rc::Rc;

use rhai::debugger::DebuggerCommand;
use rhai::def_package;
use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage,
    BasicMathPackage, BasicStringPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, OptimizationLevel};

use super::frame;
use super::handle::register as handles;
use super::helpers::{self, arities, replace_within};
use super::limits::Limits;
use super::session::Session;

/// Functions that may call one another in turn. With [`EXPRESSION_DEPTH`] it bounds the stack.
const CALL_LEVELS: usize = 16;
/// How deeply expressions may be nested, in functions and outside.
const EXPRESSION_DEPTH: usize = 64;
const MOST_VARIABLES: usize = 200;
const MOST_FUNCTIONS: usize = 200;
const MOST_MODULES: usize = 32;

def_package! {
    /// What scripts get of Rhai's own. One package, because Rhai looks for a function in one after
    /// the other at every call.
    pub(crate) Natives(module) :
        ArithmeticPackage,
        LogicPackage,
        BasicStringPackage,
        MoreStringPackage,
        BasicIteratorPackage,
        BasicMathPackage,
        BasicArrayPackage,
        BasicMapPackage,
        BasicFnPackage
    {
        module.set_id("rhai");
    }
}

/// Builds the engine of one script thread.
pub(crate) fn engine(session: &Rc<Session>) -> Engine {
    let mut engine = Engine::new_raw();
    Natives::new().register_into_engine(&mut engine);
    set_limits(&mut engine, session.bundle.limits());
    watch(&mut engine, session);
    handles::register(&mut engine, session, &arities());
    helpers::register(&mut engine, session);
    guard_strings(&mut engine, session.bundle.limits().string_bytes);
    engine
}

/// Makes an engine remember where the script is at every step. It is several times slower: only for
/// finding the line of an error that Rhai reports without one.
#[allow(deprecated)] // The debugger's interface may change with any version of Rhai; this one is pinned.
pub(crate) fn follow_steps(engine: &mut Engine, session: &Rc<Session>) {
    let session = Rc::clone(session);
    engine.register_debugger(
        |_, debugger| debugger,
        move |_, _, _, source, position| {
            if !position.is_none() {
                let file = source.unwrap_or_default().to_owned();
                *session.last_step.borrow_mut() = Some((file, position));
            }
            Ok(DebuggerCommand::StepInto)
        },
    );
}

fn set_limits(engine: &mut Engine, limits: &Limits) {
    engine
        .set_max_operations(limits.operations)
        .set_max_call_levels(CALL_LEVELS + frame::CALL_LEVELS)
        .set_max_expr_depths(EXPRESSION_DEPTH, EXPRESSION_DEPTH)
        .set_max_string_size(limits.string_bytes)
        .set_max_array_size(limits.elements)
        .set_max_map_size(limits.elements)
        .set_max_variables(MOST_VARIABLES)
        .set_max_functions(MOST_FUNCTIONS)
        .set_max_modules(MOST_MODULES)
        .set_strict_variables(true)
        .set_optimization_level(OptimizationLevel::Simple)
        .disable_symbol("eval");
}

fn watch(engine: &mut Engine, session: &Rc<Session>) {
    let own = Rc::clone(session);
    engine.on_progress(move |operations| {
        own.watch.tick(operations, own.bundle.limits()).map(|_| Dynamic::UNIT)
    });
    let own = Rc::clone(session);
    engine.on_print(move |text| own.print(text, None, rhai::Position::NONE));
    let own = Rc::clone(session);
    engine.on_debug(move |text, file, position| own.print(text, file, position));
}

/// `replace` checks its result only once it is there: a text of 1 MiB can become one of a terabyte.
fn guard_strings(engine: &mut Engine, most: usize) {
    type Done = Result<(), Box<EvalAltResult>>;
    engine.register_fn(
        "replace",
        move |text: &mut ImmutableString, find: &str, with: &str| -> Done {
            *text = replace_within(text, find, with, most)?;
            Ok(())
        },
    );
    engine.register_fn(
        "replace",
        move |text: &mut ImmutableString, find: &str, with: char| -> Done {
            *text = replace_within(text, find, with.encode_utf8(&mut [0; 4]), most)?;
            Ok(())
        },
    );
    engine.register_fn(
        "replace",
        move |text: &mut ImmutableString, find: char, with: &str| -> Done {
            *text = replace_within(text, find.encode_utf8(&mut [0; 4]), with, most)?;
            Ok(())
        },
    );
    engine.register_fn(
        "replace",
        move |text: &mut ImmutableString, find: char, with: char| -> Done {
            let (mut find_bytes, mut with_bytes) = ([0; 4], [0; 4]);
            let (find, with) =
                (find.encode_utf8(&mut find_bytes), with.encode_utf8(&mut with_bytes));
            *text = replace_within(text, find, with, most)?;
            Ok(())
        },
    );
}
