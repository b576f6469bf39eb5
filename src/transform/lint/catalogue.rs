//! What every lint is about: `segue check --explain L007` shows it. Both examples run as a test.

/// One lint.
#[derive(Debug)]
pub struct Lint {
    /// Its code, such as `L007`.
    pub code: &'static str,
    /// What it finds, in a line.
    pub title: &'static str,
    /// Whether it makes the bundle unusable; else it warns.
    pub is_error: bool,
    /// Why that is a mistake, and what to do.
    pub why: &'static str,
    /// A script with the mistake.
    pub wrong: &'static str,
    /// The same without it.
    pub right: &'static str,
}

/// All lints, by code.
pub fn lints() -> &'static [Lint] {
    LINTS
}

const fn error(
    code: &'static str,
    title: &'static str,
    why: &'static str,
    wrong: &'static str,
    right: &'static str,
) -> Lint {
    Lint { code, title, is_error: true, why, wrong, right }
}

const fn warning(
    code: &'static str,
    title: &'static str,
    why: &'static str,
    wrong: &'static str,
    right: &'static str,
) -> Lint {
    Lint { code, title, is_error: false, why, wrong, right }
}

const LINTS: &[Lint] = &[
    error(
        "L001",
        "a function that is not there, or takes another number of arguments",
        "Rhai looks for a function when it is called, so a typo in a branch that is seldom taken waits \
         there for its event. Even inside of try it would only be hidden.",
        "fn on_track(event, ctx) {\n    event.event = titlecase(event.event);\n    event\n}",
        "fn on_track(event, ctx) {\n    event.event = title_case(event.event);\n    event\n}",
    ),
    error(
        "L002",
        "the result of a function that has none is used",
        "Some functions of Rhai change a text or an array in place and give () back. The helpers with \
         a participle for a name (trimmed, replaced, truncated) give a new text.",
        "fn on_track(event, ctx) {\n    event.properties.sku = event.properties.sku.trim();\n    event\n}",
        "fn on_track(event, ctx) {\n    event.properties.sku = trimmed(event.properties.sku);\n    event\n}",
    ),
    warning(
        "L003",
        "a path through a handler ends without an event",
        "A handler must say what becomes of its event: the event, an array of events, or drop(reason). \
         Giving nothing back never drops an event silently; it is a dead letter (T110). if without \
         else, for, try and assignments give nothing back. Where no path gives anything back, this is \
         an error.",
        "fn on_track(event, ctx) {\n    if event.event == \"Ping\" { return drop(\"ping\"); }\n    if event.userId != () { event }\n}",
        "fn on_track(event, ctx) {\n    if event.event == \"Ping\" { return drop(\"ping\"); }\n    event\n}",
    ),
    error(
        "L004",
        "a word of Rhai's own as a property, a key or a name",
        "Words such as default, new, match, null or var are kept for the language. As a property they \
         are written in brackets.",
        "fn on_track(event, ctx) {\n    event.properties.plan = event.properties.default;\n    event\n}",
        "fn on_track(event, ctx) {\n    event.properties.plan = event.properties[\"default\"];\n    event\n}",
    ),
    error(
        "L005",
        "an import of no library",
        "Imports are resolved when the bundle is loaded, so they name a file of lib/ literally.",
        "import \"commerce\" as commerce;\nfn on_track(event, ctx) { event }",
        "fn on_track(event, ctx) { event }",
    ),
    warning(
        "L007",
        "a copy is changed and used nowhere",
        "let p = event.properties is the event's own part: changing p changes the event. A copy (copy(), \
         pick, omit, merge, #{…}) is not: it must be put into the event or returned.",
        "fn on_track(event, ctx) {\n    let p = event.properties.copy();\n    p.total = 49;\n    event\n}",
        "fn on_track(event, ctx) {\n    let p = event.properties;\n    p.total = 49;\n    event\n}",
    ),
    warning(
        "L008",
        "a variable is given a value that nobody reads",
        "A variable that holds a text or a number holds a copy of it. Giving the variable another value \
         leaves the event as it is.",
        "fn on_track(event, ctx) {\n    let total = event.properties.total;\n    total = parse_money(total);\n    event\n}",
        "fn on_track(event, ctx) {\n    let total = event.properties.total;\n    event.properties.total = parse_money(total);\n    event\n}",
    ),
    warning(
        "L009",
        "a name that no event has",
        "canonical(name) gives the folded key, order_completed, so it never equals \"Order Completed\". \
         And a name that is nearly one of the known names is probably misspelt.",
        "fn on_track(event, ctx) {\n    if canonical(event.event) == \"Order Completed\" { event.label(\"order\"); }\n    event\n}",
        "fn on_track(event, ctx) {\n    if canonical(event.event) == \"order_completed\" { event.label(\"order\"); }\n    event\n}",
    ),
    error(
        "L010",
        "a function of Rhai that scripts do not get",
        "Scripts are pure: the same event gives the same result, today and in a fixture. So there is no \
         clock but ctx.now, no sleep, no eval and no exit.",
        "fn on_track(event, ctx) {\n    event.properties.seen_at = timestamp();\n    event\n}",
        "fn on_track(event, ctx) {\n    event.properties.seen_at = ctx.now;\n    event\n}",
    ),
    warning(
        "L011",
        "something is read below what may be missing",
        "properties, traits and context are always there, what is in them is not. Reading below \
         something that is missing fails (T202), and so does a loop over it. No finding where the \
         script asks for the key somewhere, with has, is_blank, in, == () or ?.",
        "fn on_track(event, ctx) {\n    event.properties.city = event.context.location.city;\n    event\n}",
        "fn on_track(event, ctx) {\n    event.properties.city = event.context.location?.city;\n    event\n}",
    ),
    warning(
        "L012",
        "a function, an import or a table that nobody uses",
        "What nobody uses is what somebody forgot to call, or to take out.",
        "fn on_track(event, ctx) { event }\nfn money(value) { parse_money(value, ()) }",
        "fn on_track(event, ctx) {\n    event.properties.total = money(event.properties.total);\n    event\n}\nfn money(value) { parse_money(value, ()) }",
    ),
    warning(
        "L013",
        "an amount is divided as a whole number",
        "7 / 2 is 3: where both sides are whole numbers, so is the result. Amounts that are sent as 4999 \
         are whole.",
        "fn on_track(event, ctx) {\n    event.properties.total = event.properties.total_cents / 100;\n    event\n}",
        "fn on_track(event, ctx) {\n    event.properties.total = from_cents(event.properties.total_cents);\n    event\n}",
    ),
    error(
        "L014",
        "a table that is not there",
        "lookup, fold_keys, fold_values and keep_owned read tables in data/: NAME.json with one object, or NAME.csv whose first \
         column is the key.",
        "fn on_track(event, ctx) {\n    event.event = lookup(\"event_names\", event.event, event.event);\n    event\n}",
        "fn on_track(event, ctx) {\n    event.event = lookup(\"spellings\", event.event, event.event);\n    event\n}",
    ),
    warning(
        "L015",
        "the same event twice in a result",
        "let e = event is the same event by another name. An array of results needs events of their own; \
         the same one twice is refused (T111).",
        "fn on_track(event, ctx) {\n    let child = event;\n    child.event = \"Copy\";\n    [event, child]\n}",
        "fn on_track(event, ctx) {\n    let child = event.copy();\n    child.event = \"Copy\";\n    [event, child]\n}",
    ),
    warning(
        "L016",
        "the result of a function is thrown away",
        "Most helpers change nothing: they give a result. event.set, event.rename, event.convert and \
         the like do change the event.",
        "fn on_track(event, ctx) {\n    parse_money(event.properties.total);\n    event\n}",
        "fn on_track(event, ctx) {\n    event.properties.total = parse_money(event.properties.total);\n    event\n}",
    ),
    warning(
        "L017",
        "a comparison that is never true",
        "Values of different types are never equal, smaller or larger, and Rhai says nothing. Ids are \
         always texts, whatever was sent.",
        "fn on_track(event, ctx) {\n    if event.userId == 1001 { return drop(\"internal\"); }\n    event\n}",
        "fn on_track(event, ctx) {\n    if event.userId == \"1001\" { return drop(\"internal\"); }\n    event\n}",
    ),
    warning(
        "L018",
        "a condition that may not be true or false",
        "if, while, !, && and || need true or false; a missing value or a text there is an error of the \
         script (T220). Rhai has no truthy values.",
        "fn on_track(event, ctx) {\n    if event.properties.preview { return drop(\"preview\"); }\n    event\n}",
        "fn on_track(event, ctx) {\n    if event.properties.preview == true { return drop(\"preview\"); }\n    event\n}",
    ),
    warning(
        "L019",
        "a text that is not filled in",
        "Only a text between backticks replaces ${…} by its value.",
        "fn on_track(event, ctx) {\n    event.properties.key = \"order-${event.properties.order_id}\";\n    event\n}",
        "fn on_track(event, ctx) {\n    event.properties.key = `order-${event.properties.order_id}`;\n    event\n}",
    ),
    warning(
        "L020",
        "a property of another language",
        "An array has no property length; reading one that is not there gives (). The number of elements \
         is len().",
        "fn on_track(event, ctx) {\n    event.properties.item_count = event.properties.products.length;\n    event\n}",
        "fn on_track(event, ctx) {\n    event.properties.item_count = as_array(event.properties.products).len();\n    event\n}",
    ),
    error(
        "L021",
        "a function uses the variable on whose part it is called",
        "Rhai holds on to the event while a method of one of its parts runs, so a function that is given \
         to that method cannot use the event again. What was taken out of it first, or what as_array \
         gives, is free.",
        "fn on_track(event, ctx) {\n    event.properties.prices = event.properties.products?.map(|p| p.price * event.properties.rate);\n    event\n}",
        "fn on_track(event, ctx) {\n    let products = as_array(event.properties.products);\n    event.properties.prices = products.map(|p| p.price * event.properties.rate);\n    event\n}",
    ),
    warning(
        "L022",
        "the parameter of for_each is taken for the element",
        "for_each gives the element as this, and its number as the parameter. A loop with for does what \
         is meant.",
        "fn on_track(event, ctx) {\n    let products = as_array(event.properties.products);\n    products.for_each(|product| product.seen = true);\n    event\n}",
        "fn on_track(event, ctx) {\n    for product in as_array(event.properties.products) { product.seen = true; }\n    event\n}",
    ),
    warning(
        "L023",
        "an amount is cut to whole cents, not rounded",
        "19.99 cannot be held exactly: times 100 it is a little less than 1999, and to_int takes what is in \
         front of the mark.",
        "fn on_track(event, ctx) {\n    event.properties.cents = (event.properties.total * 100.0).to_int();\n    event\n}",
        "fn on_track(event, ctx) {\n    event.properties.cents = to_cents(event.properties.total);\n    event\n}",
    ),
];
