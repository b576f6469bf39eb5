//! A script as the lints see it: functions, chains such as `event.properties.a[0].b`, and what
//! becomes of the value of every expression.
//!
//! Not here: what is wrong with any of it.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTFlags, ASTNode, Expr, FnCallExpr, ImmutableString, Position, Stmt};

/// One function of a script, closures included.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) params: Vec<String>,
    pub(super) body: Vec<Stmt>,
    /// Where the body ends.
    pub(super) end: Position,
}

/// What becomes of the value of an expression.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// Somebody uses it.
    Read,
    /// It decides where the script goes on, so it must be true or false.
    Condition,
    /// A loop runs over it.
    Looped,
    /// It is written to.
    Written,
    /// It is read, changed and written: `+=`.
    Updated,
    /// Something below it is read, written or called.
    Holder,
    /// Nobody looks at it.
    Discarded,
}

/// What a walk meets.
#[derive(Clone, Copy)]
pub(super) enum Seen<'a> {
    /// An expression.
    Expr(&'a Expr, Role),
    /// A call, with whether it is written as a method.
    Call(&'a FnCallExpr, Position, bool, Role),
    /// A statement, before what is in it, with the loops around it.
    Stmt(&'a Stmt, usize),
}

/// All functions of a script. Rhai shows the statements of a script only while it walks over them,
/// all functions after one another, so each is looked at alone and its statements are copied.
pub(super) fn functions(ast: &AST) -> Vec<Function> {
    let found = ast.iter_functions().map(|found| {
        let (name, arity) = (found.name, found.params.len());
        let mut alone = ast.clone_functions_only();
        alone.retain_functions(|_, _, other, params| other == name && params == arity);
        let mut body = Vec::new();
        alone.walk(&mut |path| {
            if let [ASTNode::Stmt(stmt)] = path {
                body.push((*stmt).clone());
            }
            true
        });
        let definition = ast.shared_lib().get_script_fn(name, arity);
        Function {
            name: name.to_owned(),
            params: found.params.into_iter().map(str::to_owned).collect(),
            body,
            end: definition.map_or(Position::NONE, |definition| definition.body.end_position()),
        }
    });
    found.collect()
}

/// Walks the body of a function. What the last statement gives is the function's value.
pub(super) fn walk<'a>(function: &'a Function, see: &mut dyn FnMut(Seen<'a>)) {
    walk_block(&function.body, Role::Read, 0, see);
}

/// As [`walk`], for statements somewhere in a function.
pub(super) fn walk_block<'a>(
    block: &'a [Stmt],
    value: Role,
    loops: usize,
    see: &mut dyn FnMut(Seen<'a>),
) {
    for (at, stmt) in block.iter().enumerate() {
        let role = if at + 1 == block.len() { value } else { Role::Discarded };
        walk_stmt(stmt, role, loops, see);
    }
}

fn walk_stmt<'a>(stmt: &'a Stmt, value: Role, loops: usize, see: &mut dyn FnMut(Seen<'a>)) {
    see(Seen::Stmt(stmt, loops));
    match stmt {
        Stmt::Expr(expr) => walk_expr(expr, value, loops, see),
        Stmt::FnCall(call, position) => walk_call(call, *position, false, value, loops, see),
        Stmt::Var(x, ..) => walk_expr(&x.1, Role::Read, loops, see),
        Stmt::Assignment(x) => {
            let role = if x.0.is_op_assignment() { Role::Updated } else { Role::Written };
            walk_expr(&x.1.lhs, role, loops, see);
            walk_expr(&x.1.rhs, Role::Read, loops, see);
        }
        Stmt::If(x, _) => {
            walk_expr(&x.expr, Role::Condition, loops, see);
            walk_block(x.body.statements(), value, loops, see);
            walk_block(x.branch.statements(), value, loops, see);
        }
        Stmt::Switch(x, _) => {
            walk_expr(&x.0, Role::Read, loops, see);
            for case in &x.1.expressions {
                walk_expr(&case.lhs, Role::Condition, loops, see);
                walk_expr(&case.rhs, value, loops, see);
            }
        }
        Stmt::While(x, _) | Stmt::Do(x, ..) => {
            walk_expr(&x.expr, Role::Condition, loops, see);
            walk_block(x.body.statements(), Role::Discarded, loops + 1, see);
        }
        Stmt::For(x, _) => {
            walk_expr(&x.2.expr, Role::Looped, loops, see);
            walk_block(x.2.body.statements(), Role::Discarded, loops + 1, see);
        }
        Stmt::TryCatch(x, _) => {
            walk_block(x.body.statements(), Role::Discarded, loops, see);
            walk_block(x.branch.statements(), Role::Discarded, loops, see);
        }
        Stmt::Block(block) => walk_block(block.statements(), value, loops, see),
        Stmt::BreakLoop(Some(expr), ..) | Stmt::Return(Some(expr), ..) => {
            walk_expr(expr, Role::Read, loops, see);
        }
        _ => {}
    }
}

fn walk_call<'a>(
    call: &'a FnCallExpr,
    position: Position,
    is_method: bool,
    role: Role,
    loops: usize,
    see: &mut dyn FnMut(Seen<'a>),
) {
    see(Seen::Call(call, position, is_method, role));
    let arguments =
        if call.op_token.is_some() && call.name == "!" { Role::Condition } else { Role::Read };
    call.args.iter().for_each(|argument| walk_expr(argument, arguments, loops, see));
}

fn walk_expr<'a>(expr: &'a Expr, role: Role, loops: usize, see: &mut dyn FnMut(Seen<'a>)) {
    see(Seen::Expr(expr, role));
    match expr {
        Expr::InterpolatedString(parts, _) | Expr::Array(parts, _) => {
            parts.iter().for_each(|part| walk_expr(part, Role::Read, loops, see));
        }
        Expr::Map(x, _) => {
            x.0.iter().for_each(|(_, value)| walk_expr(value, Role::Read, loops, see));
        }
        Expr::FnCall(call, position) => walk_call(call, *position, false, role, loops, see),
        Expr::And(parts, _) | Expr::Or(parts, _) => {
            parts.iter().for_each(|part| walk_expr(part, Role::Condition, loops, see));
        }
        Expr::Coalesce(parts, _) => {
            parts.iter().for_each(|part| walk_expr(part, Role::Read, loops, see));
        }
        Expr::Stmt(block) => walk_block(block.statements(), role, loops, see),
        Expr::Dot(..) | Expr::Index(..) => {
            let chain = Chain::of(expr);
            walk_expr(chain.root, Role::Holder, loops, see);
            let last = chain.steps.len().saturating_sub(1);
            for (at, step) in chain.steps.iter().enumerate() {
                match step.what {
                    What::Method(call) => {
                        let role = if at == last { role } else { Role::Holder };
                        walk_call(call, step.position, true, role, loops, see);
                    }
                    What::Index(index) => walk_expr(index, Role::Read, loops, see),
                    What::Property(_) => {}
                }
            }
        }
        _ => {}
    }
}

/// `root.step[step].step(…)`, read from left to right. Anything else is a root without steps.
pub(super) struct Chain<'a> {
    pub(super) root: &'a Expr,
    pub(super) steps: Vec<Link<'a>>,
}

/// One step of a chain.
#[derive(Clone, Copy)]
pub(super) struct Link<'a> {
    pub(super) what: What<'a>,
    /// Whether it is written `?.` or `?[`.
    pub(super) optional: bool,
    pub(super) position: Position,
}

/// What a step is.
#[derive(Clone, Copy)]
pub(super) enum What<'a> {
    Property(&'a str),
    Method(&'a FnCallExpr),
    Index(&'a Expr),
}

impl<'a> Chain<'a> {
    pub(super) fn of(expr: &'a Expr) -> Self {
        let (Expr::Dot(x, flags, _) | Expr::Index(x, flags, _)) = expr else {
            return Self { root: expr, steps: Vec::new() };
        };
        let mut steps = Vec::new();
        let (mut rest, mut flags) = (&x.rhs, *flags);
        let mut is_index = matches!(expr, Expr::Index(..));
        loop {
            let optional = flags.intersects(ASTFlags::NEGATED);
            let ends = flags.intersects(ASTFlags::BREAK);
            match rest {
                Expr::Dot(next, next_flags, _) | Expr::Index(next, next_flags, _) if !ends => {
                    steps.push(Link::of(&next.lhs, is_index, optional));
                    is_index = matches!(rest, Expr::Index(..));
                    (rest, flags) = (&next.rhs, *next_flags);
                }
                last => {
                    steps.push(Link::of(last, is_index, optional));
                    return Self { root: &x.lhs, steps };
                }
            }
        }
    }

    /// The variable at its root.
    pub(super) fn variable(&self) -> Option<&'a str> {
        variable(self.root)
    }

    /// The properties, where it has only such: `["properties", "total"]`.
    pub(super) fn properties(&self) -> Option<Vec<&'a str>> {
        self.steps
            .iter()
            .map(|step| match step.what {
                What::Property(name) => Some(name),
                What::Index(Expr::StringConstant(name, _)) => Some(name.as_str()),
                _ => None,
            })
            .collect()
    }

    /// As it is written, where it is only properties: `event.properties.total`.
    pub(super) fn text(&self) -> Option<String> {
        let mut text = self.variable()?.to_owned();
        for step in &self.steps {
            let What::Property(name) = step.what else { return None };
            text.push('.');
            text.push_str(name);
        }
        Some(text)
    }
}

impl<'a> Link<'a> {
    fn of(expr: &'a Expr, is_index: bool, optional: bool) -> Self {
        let what = match expr {
            _ if is_index => What::Index(expr),
            Expr::Property(x, _) => What::Property(x.2.as_str()),
            Expr::MethodCall(call, _) | Expr::FnCall(call, _) => What::Method(call),
            other => What::Index(other),
        };
        Self { what, optional, position: expr.position() }
    }
}

/// The name of a plain variable.
pub(super) fn variable(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Variable(x, ..) if x.2.is_empty() => Some(x.1.as_str()),
        _ => None,
    }
}

/// A literal text.
pub(super) fn literal(expr: &Expr) -> Option<&ImmutableString> {
    match expr {
        Expr::StringConstant(text, _) => Some(text),
        _ => None,
    }
}

/// The variables that a function makes with `let`, with what they start with.
pub(super) fn variables(function: &Function) -> BTreeMap<&str, Vec<&Expr>> {
    let mut found: BTreeMap<&str, Vec<&Expr>> = BTreeMap::new();
    walk(function, &mut |seen| {
        if let Seen::Stmt(Stmt::Var(x, ..), _) = seen {
            found.entry(x.0.name.as_str()).or_default().push(&x.1);
        }
    });
    found
}

/// What each variable that is made only once stands for: the parameter and the properties below it
/// (`let p = event.properties` is `event`, `["properties"]`).
pub(super) fn aliases(function: &Function) -> BTreeMap<&str, (&str, Vec<&str>)> {
    let mut known: BTreeMap<&str, (&str, Vec<&str>)> = function
        .params
        .iter()
        .map(|param| (param.as_str(), (param.as_str(), Vec::new())))
        .collect();
    let made = variables(function);
    // Each pass resolves what stands for something that the passes before resolved.
    for _ in 0..made.len().min(8) {
        for (name, starts) in &made {
            let [start] = starts[..] else { continue };
            let chain = Chain::of(start);
            let (Some(root), Some(properties)) = (chain.variable(), chain.properties()) else {
                continue;
            };
            if let Some((of, way)) = known.get(root).cloned()
                && !known.contains_key(name)
            {
                let way = way.into_iter().chain(properties).collect();
                known.insert(name, (of, way));
            }
        }
    }
    known
}

/// The variables that loops make.
pub(super) fn loop_variables(function: &Function) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    walk(function, &mut |seen| {
        if let Seen::Stmt(Stmt::For(x, _), _) = seen {
            found.insert(x.0.name.as_str());
        }
    });
    found
}
