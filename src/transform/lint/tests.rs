//! Every lint finds what it is for, and nothing in scripts as people rightly write them.

use super::*;
use crate::transform::Severity;
use crate::transform::shipped;
use crate::transform::tests::bundle_of;

const SPELLINGS: (&str, &str) = (
    "data/spellings.json",
    "{\"order_completed\": \"Order Completed\", \"product_viewed\": \"Product Viewed\"}",
);

/// What is found in one stage, errors and warnings.
fn found(script: &str) -> Vec<Diagnostic> {
    found_in(&[("10_mine.rhai", script), SPELLINGS])
}

fn found_in(files: &[(&str, &str)]) -> Vec<Diagnostic> {
    match bundle_of(files) {
        Ok(bundle) => bundle.warnings().to_vec(),
        Err(findings) => findings,
    }
}

fn handler(body: &str) -> String {
    format!("fn on_track(event, ctx) {{\n{body}\nevent\n}}")
}

fn shown(findings: &[Diagnostic]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

#[test]
fn the_page_of_every_lint_shows_what_fires_it_and_what_does_not() {
    let mut before = "";
    for lint in lints() {
        assert!(lint.code > before, "{} is out of order", lint.code);
        before = lint.code;
        let wrong = found(lint.wrong);
        assert!(!wrong.is_empty(), "{} does not fire:\n{}", lint.code, lint.wrong);
        for finding in &wrong {
            assert_eq!(finding.code, lint.code, "{}", shown(&wrong));
            assert_eq!(finding.severity == Severity::Error, lint.is_error, "{finding}");
            assert!(finding.line.is_some() && finding.column.is_some(), "{finding}");
            assert!(finding.source_line.is_some() && finding.hint.is_some(), "{finding}");
        }
        let right = found(lint.right);
        assert!(right.is_empty(), "{}: {}", lint.code, shown(&right));
    }
}

#[test]
fn what_is_suggested_is_right_itself() {
    for lint in lints() {
        let wrong = found(lint.wrong);
        let Some(corrected) = &wrong[0].corrected else { continue };
        let line = wrong[0].line.unwrap();
        let lines = lint.wrong.lines().enumerate();
        let repaired: Vec<&str> = lines
            .map(|(at, text)| if at + 1 == line { corrected.as_str() } else { text })
            .collect();
        let left = found(&repaired.join("\n"));
        assert!(left.is_empty(), "{}: {}", lint.code, shown(&left));
    }
    let silent: Vec<&str> = lints()
        .iter()
        .filter(|lint| found(lint.wrong)[0].corrected.is_none())
        .map(|lint| lint.code)
        .collect();
    assert_eq!(
        silent,
        ["L003", "L005", "L007", "L010", "L012", "L014", "L015"],
        "these have no one answer"
    );
}

#[test]
fn each_lint_finds_its_mistake_in_many_forms() {
    #[rustfmt::skip]
    let table: [(&str, &str, &str, usize, &str); 49] = [
        ("a method of JavaScript", "L001", "let x = event.event.toUpperCase(); event.properties.x = x;", 2, "upper(text)"),
        ("a helper of another name", "L001", "event.properties.x = snakecase(event.event);", 2, "snake_case"),
        ("too few arguments", "L001", "event.rename(\"properties.a\");", 2, "rename(from, to [, type])"),
        ("inside of try", "L001", "try { event.properties.x = titel_case(\"a\"); } catch { }", 2, "title_case"),
        ("inside of a closure", "L001", "event.properties.x = [1].map(|i| twice(i));", 2, "docs/helpers.md"),
        ("replace", "L002", "let s = event.properties.a; event.properties.b = s.replace(\"a\", \"b\");", 2, "replaced"),
        ("sort", "L002", "event.properties.a = as_array(event.properties.a).sort();", 2, "statement of its own"),
        ("as an argument", "L002", "event.label(event.event.make_upper());", 2, "upper(text)"),
        ("pick", "L007", "let p = pick(event.properties, [\"a\"]);\np.b = 1;", 3, "put it into the event"),
        ("a map of its own", "L007", "let p = #{};\np.total = 1;", 3, "event.properties = p"),
        ("an edit by path", "L007", "let e = event.copy();\ne.set(\"properties.a\", 1);", 3, "return it"),
        ("a loop's variable", "L008", "for tag in as_array(event.properties.tags) {\ntag = upper(tag);\n}", 3, "assign"),
        ("plus and assign", "L008", "let n = event.properties.count;\nn += 1;", 3, "event.properties.count = "),
        ("a misspelt name", "L009", "if event.event == \"Order Complete\" { event.label(\"x\"); }", 2, "Order Completed"),
        ("by a variable", "L009", "let name = event.event;\nif name == \"Prodct Viewed\" { event.label(name); }", 3, "Product Viewed"),
        ("a title for a key", "L009", "let key = canonical(event.event);\nif key != \"OrderCompleted\" { return event; }", 3, "order_completed"),
        ("sleep", "L010", "sleep(1);", 2, "cannot wait"),
        ("exit", "L010", "exit(event);", 2, "return"),
        ("an element", "L011", "event.properties.sku = event.properties.products[0].sku;", 2, "get("),
        ("by a variable", "L011", "let c = event.context;\nevent.properties.url = c.page.url;", 3, "?."),
        ("a write", "L011", "event.properties.customer.vip = true;", 2, "event.set(\"properties.customer.vip\""),
        ("a loop", "L011", "for p in event.properties.products { p.x = 1; }", 2, "as_array"),
        ("traits", "L011", "event.properties.zip = event.traits.address.zip;", 2, "?."),
        ("by a variable of the amount", "L013", "let price = event.properties.price; event.properties.half = price / 2;", 2, "2.0"),
        ("fold_keys", "L014", "event.fold_keys(\"properties\", \"keys\");", 2, "there are spellings"),
        ("fold_values", "L014", "event.fold_values(\"properties.category\", \"speling\");", 2, "there are spellings"),
        ("a table that is nearly there", "L014", "event.event = lookup(\"speling\", event.event);", 2, "spellings"),
        ("twice", "L015", "return [event, event];", 2, "copy()"),
        ("in a loop", "L015", "let out = [];\nfor p in as_array(event.properties.products) { event.properties.line = p; out.push(event); }\nreturn out;", 3, "copy()"),
        ("one copy for all", "L015", "let e = event.copy(); let out = [];\nfor p in as_array(event.properties.products) { e.properties = p; out.push(e); }\nreturn out;", 3, "copy()"),
        ("a method", "L016", "event.event.to_upper();", 2, "assign it"),
        ("a helper as a method", "L016", "event.properties.name.trimmed();", 2, "assign it"),
        ("a map", "L016", "compact(event.properties);", 2, "event.properties"),
        ("another id", "L017", "if 5 == event.anonymousId { return drop(\"x\"); }", 2, "\"5\""),
        ("a number in quotes", "L017", "if event.properties.total > \"100\" { event.label(\"big\"); }", 2, "write the number"),
        ("not", "L018", "if !event.properties.preview { event.label(\"live\"); }", 2, "== true"),
        ("and", "L018", "if event.event == \"X\" && event.properties.gift { event.label(\"gift\"); }", 2, "== true"),
        ("an element's", "L018", "for p in as_array(event.properties.products) { if p.gift { p.price = 0; } }", 2, "p.gift == true"),
        ("a variable of the manifest that is not there", "L018", "if ctx.vars.strict { event.label(\"strict\"); }", 2, "== true"),
        ("in an argument", "L019", "event.label(\"run ${ctx.source}\");", 2, "backticks"),
        ("by a variable", "L020", "let items = as_array(event.properties.items); event.properties.n = items.length;", 2, "len()"),
        ("forEach", "L001", "as_array(event.properties.a).forEach(|x| x.b = 1);", 2, "write: for x in as_array(event.properties.a) { x.b = 1; }"),
        ("a method", "L011", "event.properties.code = event.properties.coupon.to_upper();", 2, "write: event.properties.code = event.properties.coupon?.to_upper();"),
        ("a method of a list", "L011", "event.properties.tags.push(\"new\");", 2, "tags?.push"),
        ("a variable for a part", "L021", "let p = event.properties; p.sum = p.products?.map(|x| x.price * p.rate);", 2, "as_array(p.products)"),
        ("a table of the script's own", "L021", "let t = #{a: 1}; event.properties.x = t.keys().map(|k| t[k]);", 2, "out first"),
        ("with what it counts", "L022", "let n = 0; let items = as_array(event.properties.items);\nitems.for_each(|x| n += x.price);\nevent.properties.n = n;", 3, "for x in as_array(items) { n += x.price; }"),
        ("the hundred first", "L023", "event.properties.c = (100 * event.properties.total).to_int();", 2, "to_cents(event.properties.total)"),
        ("a sum", "L023", "event.properties.c = ((event.properties.a + event.properties.b) * 100.0).floor();", 2, "to_cents(amount)"),
    ];
    for (what, code, body, line, says) in table {
        let findings = found(&handler(body));
        assert_eq!(findings.len(), 1, "{what}: {}", shown(&findings));
        let finding = &findings[0];
        assert_eq!((finding.code, finding.line), (code, Some(line)), "{what}: {finding}");
        assert!(finding.to_string().contains(says), "{what}: {finding}");
    }
}

#[test]
fn a_handler_must_say_what_becomes_of_its_event() {
    #[rustfmt::skip]
    let table = [
        ("an assignment last", "event.properties.x = 1;", Some(Severity::Error)),
        ("a report last", "event.label(\"x\")", Some(Severity::Error)),
        ("an edit last", "event.rename(\"properties.a\", \"properties.b\");", Some(Severity::Error)),
        ("a bare return", "return;", Some(Severity::Error)),
        ("a loop last", "for x in [1] { event.properties.x = x; }", Some(Severity::Error)),
        ("try last", "try { event } catch { event }", Some(Severity::Error)),
        ("if without else", "if event.event == \"a\" { event }", Some(Severity::Warning)),
        ("one arm of two", "if event.event == \"a\" { event } else { event.label(\"x\"); }", Some(Severity::Warning)),
        ("a switch without _", "switch event.event { \"a\" => event, \"b\" => drop(\"b\") }", Some(Severity::Warning)),
        ("a bare return on the way", "if event.event == \"a\" { return; } event", Some(Severity::Warning)),
        ("the event", "event", None),
        ("the event with a semicolon", "event;", None),
        ("a drop", "return drop(\"all\");", None),
        ("a drop at the end", "drop(\"all\")", None),
        ("a failure", "fail(\"never\")", None),
        ("a throw", "throw \"never\";", None),
        ("both arms", "if event.event == \"a\" { event } else { drop(\"x\") }", None),
        ("all arms return", "if event.event == \"a\" { return event; } else { return drop(\"x\"); }", None),
        ("a switch with _", "switch event.event { \"a\" => event, _ => drop(\"b\") }", None),
        ("try that returns", "try { return event; } catch { return drop(\"x\"); }", None),
        ("an endless loop", "loop { return event; }", None),
        ("an array", "[event, event.copy()]", None),
        ("a function of its own", "mine(event)", None),
    ];
    for (what, body, expected) in table {
        let helper = if body.contains("mine") { "\nfn mine(e) { e }" } else { "" };
        let findings = found(&format!("fn on_track(event, ctx) {{\n{body}\n}}{helper}"));
        let lints: Vec<_> =
            findings.iter().map(|finding| (finding.code, finding.severity)).collect();
        let expected: Vec<_> = expected.into_iter().map(|severity| ("L003", severity)).collect();
        assert_eq!(lints, expected, "{what}: {}", shown(&findings));
    }
}

/// Scripts as people write them who know what they do.
#[rustfmt::skip]
const NATURAL: &[&str] = &[
    "let p = event.properties; p.total = parse_money(p.total, ()); p.remove(\"order_total\");",
    "for item in as_array(event.properties.products) { item.price = parse_money(item.price, item.price); }",
    "let out = [event]; for line in as_array(event.properties.products) { let e = event.copy(); e.event = \"Line\"; e.properties = line; out.push(e); } return out;",
    "if \"customer\" in event.properties { event.properties.email = event.properties.customer.email; }",
    "if event.properties.customer != () { event.properties.email = event.properties.customer.email; }",
    "if has(event, \"properties.customer.email\") { event.properties.email = event.properties.customer.email; }",
    "if !is_blank(event.context.page) { event.properties.url = event.context.page.url; }",
    "let customer = event.properties.customer ?? #{}; event.properties.email = customer.email;",
    "event.properties.customer = #{}; event.properties.customer.vip = true;",
    "event.properties.url = get(event, \"context.page.url\", \"\");",
    "event.properties.url = event.context.page?.url;",
    "let key = canonical(event.event); if key == \"order_completed\" || key.starts_with(\"checkout_\") { event.label(key); }",
    "if event.event == \"Quiz Completed\" { event.label(\"quiz\"); }",
    "switch event.event { \"A\" => event.label(\"a\"), \"B\" => { event.label(\"b\"); }, _ => () }",
    "let total = event.properties.total; if type_of(total) == \"string\" { total = parse_money(total, 0.0); } event.properties.total = total;",
    "let sum = 0.0; for p in as_array(event.properties.products) { sum += parse_number(p.price, 0.0); } event.properties.total = sum;",
    "let total = parse_money(event.properties.total, 0.0); event.properties.half = round_to(total / 2, 2);",
    "event.properties.tags = as_array(event.properties.tags).map(|tag| lower(tag)).filter(|tag| tag != ());",
    "let seen = []; for p in as_array(event.properties.products) { if p.sku in seen { continue; } seen.push(p.sku); } event.properties.skus = seen;",
    "let name = trimmed(event.properties.name); event.properties.name = name ?? \"unknown\";",
    "let parts = (event.properties.name ?? \"\").split(\" \"); event.properties.first = parts[0];",
    "try { event.properties.total = parse_money(event.properties.total); } catch (e) { event.note(\"unread\", e.message); }",
    "if ctx.replay { event.label(\"replay\"); }",
    "if ctx.vars.names == \"title\" { event.event = title_case(event.event); }",
    "let is_vip = event.properties.plan == \"gold\"; if is_vip && event.userId != () { event.label(\"vip\"); }",
    "while event.properties.depth < 3 { event.properties.depth += 1; }",
    "let p = event.properties; for key in p.keys() { if is_blank(p[key]) { p.remove(key); } }",
    "let merged = merge(event.properties, #{ source: ctx.source }); event.properties = merged;",
    "event.properties.length = 5; event.properties.area = event.properties.length * 2;",
    "if event.userId == \"1001\" { return drop(\"internal\"); }",
    "if event.properties.count > 100 { event.label(\"big\"); }",
    "let i = 0; loop { i += 1; if i > 3 { break; } }",
    "let e = event.copy(); e.event = \"Copy\"; return [event, e];",
    "if event.properties.kind == \"a\" { let e = event.copy(); e.event = \"A\"; return [event, e]; }",
    "event.identify_as(#{ email: event.properties.email }); event.dedupe_by(\"quiz\", event.properties.quiz_id);",
    "event.properties.products = as_array(event.properties.products); event.properties.products.sort(|a, b| if a.price < b.price { -1 } else { 1 });",
    "let address = first_of(event, [\"properties.shipping\", \"properties.billing\"]); if address != () { event.properties.city = address.city; }",
    "event.properties.pages = event.properties.minutes / 2;",
    "let rate = event.properties.rate; event.properties.sums = as_array(event.properties.products).map(|p| p.price * rate);",
    "event.properties.sums = as_array(event.properties.products).map(|p| p.price * event.properties.rate);",
    "let items = as_array(event.properties.items); items.for_each(|i| this.position = i); items.for_each(|| this.seen = true);",
    "event.properties.cents = (event.properties.total * 100.0).round().to_int();",
    "event.properties.code = event.properties.coupon?.to_upper(); event.properties.type = event.properties.kind.type_of();",
    "event.properties.sku = event.properties.variant.upper();",
    "let found = captures(event.properties.sku, `^(\\w+)-(\\d+)$`); if found != () { event.properties.family = found[1]; }",
];

#[test]
fn scripts_that_are_right_are_left_in_peace() {
    for body in NATURAL {
        let findings = found(&handler(body));
        assert!(findings.is_empty(), "{body}\n{}", shown(&findings));
    }
    let files: Vec<(&str, &str)> = shipped::FILES.to_vec();
    let findings = found_in(&files);
    assert!(findings.is_empty(), "{}", shown(&findings));
}

#[test]
fn what_nobody_uses_is_pointed_out_where_it_is() {
    let files = [
        ("lib/shop.rhai", "fn used(x) { inner(x) }\nfn inner(x) { x }\nfn forgotten(x) { x }"),
        ("lib/other.rhai", "fn by_pointer(x) { x }"),
        (
            "10_a.rhai",
            "import \"lib/shop\" as shop;\nimport \"lib/other\" as other;\n\
             fn on_track(event, ctx) { event.properties.x = shop::used([1].map(Fn(\"mine\"))); event }\n\
             fn mine(x) { x }\nprivate fn nobody() { 1 }",
        ),
        ("data/unused.csv", "a,b\n1,2\n"),
        ("data/synonyms.json", "{}"),
    ];
    let findings = found_in(&files);
    let places: Vec<(&str, &str, Option<usize>)> = findings
        .iter()
        .map(|finding| (finding.code, finding.file.as_str(), finding.line))
        .collect();
    assert_eq!(
        places,
        [
            ("L012", "10_a.rhai", Some(2)),
            ("L012", "10_a.rhai", Some(5)),
            ("L012", "lib/other.rhai", Some(1)),
            ("L012", "lib/shop.rhai", Some(3)),
            ("L012", "data/unused.csv", None),
        ],
        "{}",
        shown(&findings)
    );
}

#[test]
fn a_finding_stands_under_the_very_word() {
    let findings = found(
        "fn on_track(event, ctx) {\n    let name = event.event.trim();\n    event.event = name;\n    event\n}",
    );
    assert_eq!(
        findings[0].to_string(),
        "error[L002]: trim changes its value in place and gives () back\n  \
         --> 10_mine.rhai:2:28\n   \
         |\n 2 |     let name = event.event.trim();\n   \
         |                            ^\n  \
         hint: trimmed(text) gives the result\n  \
         write: let name = event.event.trimmed();"
    );
}
