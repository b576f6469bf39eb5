//! Calls the handlers of one stage, and keeps between two calls what Rhai would make anew for each.
//!
//! That is the stage's constants and imports, and which function every call in its code means. A
//! stage's code never changes, so both are the same for all events; nothing of an event is kept.
//!
//! Not here: when a handler is called, and what becomes of its result ([`super::stages`]).

use std::cell::RefCell;

use rhai::{
    AST, Caches, Dynamic, Engine, EvalAltResult, EvalContext, Expr, GlobalRuntimeState, Locked,
    Scope, Shared, Stmt,
};

type Answer<T> = Result<T, Box<EvalAltResult>>;

/// How much deeper a handler stands here than Rhai counts for a script's own functions.
pub(crate) const CALL_LEVELS: usize = 2;

/// What the calls of one stage share.
#[derive(Default)]
pub(crate) struct Frame {
    kept: RefCell<Option<Box<Kept>>>,
}

struct Kept {
    global: GlobalRuntimeState,
    caches: Caches,
}

impl Frame {
    /// Calls a handler.
    ///
    /// # Errors
    /// What the script does wrong, without the handler's own frame around it.
    pub(crate) fn call(
        &self,
        engine: &Engine,
        ast: &AST,
        handler: &str,
        (mut event, mut ctx): (Dynamic, Dynamic),
    ) -> Answer<Dynamic> {
        let kept = self.kept.borrow_mut().take();
        let mut kept = kept.map_or_else(|| Kept::new(engine, ast), Ok)?;
        kept.global.num_operations = Default::default();
        let mut scope = Scope::new();
        let Kept { global, caches } = &mut *kept;
        let result = EvalContext::new(engine, global, caches, &mut scope, None).call_fn_raw(
            handler,
            false,
            false,
            &mut [&mut event, &mut ctx],
        );
        // An error or a panic may leave half of something behind: then the next call starts anew.
        if result.is_ok() {
            *self.kept.borrow_mut() = Some(kept);
        }
        result.map_err(|error| match *error {
            EvalAltResult::ErrorInFunctionCall(name, _, inner, _) if name == handler => inner,
            _ => error,
        })
    }
}

impl Kept {
    /// Evaluates the top level of a file: nothing but literal constants and imports of libraries
    /// stands there.
    fn new(engine: &Engine, ast: &AST) -> Answer<Box<Self>> {
        let mut global = engine.new_global_runtime_state();
        global.source = ast.source().map(Into::into);
        global.lib.push(ast.shared_lib().clone());
        for statement in ast.statements() {
            if let Stmt::Import(import, position) = statement
                && let (Expr::StringConstant(name, _), alias) = &**import
            {
                let module = engine.module_resolver().resolve(engine, None, name, *position)?;
                global.push_import(alias.name.clone(), module);
            }
        }
        let constants = ast.iter_literal_variables(true, false);
        let constants = constants.map(|(name, _, value)| (name.into(), value));
        global.constants = Some(Shared::new(Locked::new(constants.collect())));
        Ok(Box::new(Self { global, caches: Caches::new() }))
    }
}
