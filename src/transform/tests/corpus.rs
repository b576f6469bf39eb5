//! The gate of the event handle: what scripts do with maps and arrays does the same on handles.

use serde_json::{Value, json};

use super::*;

/// The data of the probes as a map of Rhai.
const AS_MAP: &str = r#"#{n: 1, f: 1.5, s: "text", t: true, z: (), e: #{}, l: [],
    a: [3, 1, 2], o: #{x: 1, y: #{z: 2}}, p: [#{k: "b", v: 2}, #{k: "a", v: 1}]}"#;
/// The same as a handle.
const AS_HANDLE: &str = r#"from_json("{\"n\":1,\"f\":1.5,\"s\":\"text\",\"t\":true,\"z\":null,\"e\":{},\"l\":[],\"a\":[3,1,2],\"o\":{\"x\":1,\"y\":{\"z\":2}},\"p\":[{\"k\":\"b\",\"v\":2},{\"k\":\"a\",\"v\":1}]}")"#;

/// Each runs with `m`; its last expression and `m` afterwards must be the same.
#[rustfmt::skip]
const SNIPPETS: &[&str] = &[
    // Reading.
    "m.n", "m.f", "m.s", "m.t", "m.z", "m.nothing", "m[\"n\"]", "m[\"no such\"]", "m.o.x", "m.o.y.z",
    "m.o?.y?.z", "m.nothing?.deeper", "m.nothing ?? 7", "m.z ?? 7", "m.a[0]", "m.a[-1]", "m.a[9]", "m.a[-9]",
    "m.p[0].k", "m.p[-1].v", "m.nothing.deeper", "m.n.deeper", "m.s.len()", "m.s.len", "m.s[0]",
    // Writing.
    "m.n = 2; m.n", "m.fresh = \"x\"; m.fresh", "m.n += 5; m.n", "m.s += \"!\"; m.s", "m.o.x = 9; m.o", "m.o.y.z = 9; m.o.y",
    "m.o.y.fresh = [1, #{a: 2}]; m.o", "m.a[1] = 9; m.a", "m.a[-1] = 9; m.a", "m.a[9] = 9", "m.p[0].v = 9; m.p", "m.p[1] = #{}; m.p",
    "m[\"with space\"] = 1; m", "m.n = (); m.n", "m.nothing.deeper = 1", "m.f -= 0.5; m.f", "m.a[0] += 10; m.a", "m.o.y.z *= 21; m.o.y.z",
    // Asking.
    "\"n\" in m", "\"z\" in m", "\"no\" in m", "\"no\" !in m", "3 in m.a", "9 in m.a", "#{k: \"a\", v: 1} in m.p",
    "m.len()", "m.len", "m.a.len()", "m.a.len", "m.is_empty()", "m.e.is_empty()", "m.e.is_empty", "m.l.is_empty", "m.contains(\"n\")", "m.a.contains(1)",
    "type_of(m)", "type_of(m.a)", "type_of(m.o)", "type_of(m.n)", "type_of(m.s)", "type_of(m.z)", "type_of(m.f)",
    // Comparing.
    "m.e == #{}", "#{} == m.e", "m.l == []", "[] == m.l", "m.e != #{}", "m.a == [3, 1, 2]", "[3, 1, 2] == m.a", "m.a != [3, 1]", "m.o == #{x: 1, y: #{z: 2}}",
    "#{x: 1, y: #{z: 3}} == m.o", "m.o == m.o", "m.a == m.p", "m.o == ()", "m.a == 5", "m.o == m.a", "m.o.y == #{z: 2.0}", "m.p == [#{k: \"b\", v: 2}, #{k: \"a\", v: 1}]",
    // Looping.
    "let s = 0; for x in m.a { s += x; } s", "let s = \"\"; for (x, i) in m.a { s += `${i}${x}`; } s", "let s = \"\"; for k in m.o.keys() { s += k; } s", "let n = 0; for v in m.o.values() { n += 1; } n",
    "let s = \"\"; for c in m.s { s = c + s; } s",
    // Functions of arrays.
    "m.a.map(|x| x * 2)", "m.a.filter(|x| x > 1)", "m.a.reduce(|sum, x| sum + x, 0)", "m.a.some(|x| x == 2)", "m.a.all(|x| x > 2)", "m.a.find(|x| x < 3)", "m.a.for_each(|| this *= 2); m.a",
    "m.p.map(|x| x.v)", "m.p.filter(|x| x.v > 1)", "m.a.sort(); m.a", "m.a.sort(|x, y| y - x); m.a", "m.p.sort(|x, y| x.v - y.v); m.p", "m.a.push(7); m.a", "m.a.pop()", "m.a.shift()", "m.a.insert(1, 8); m.a", "m.a.remove(0)",
    "m.a.reverse(); m.a", "m.a.truncate(1); m.a", "m.a.clear(); m.a", "m.a.extract(1)", "m.a.extract(0..2)", "m.a.index_of(2)", "m.a + [4]", "m.a += [4, 5]; m.a", "m.a += 6; m.a", "m.a.drain(|x| x > 1)",
];

/// More of the same, of functions that are used less.
#[rustfmt::skip]
const MORE: &[&str] = &[
    "m.a.retain(|x| x > 1); m.a", "m.a.splice(0, 1, [9, 9]); m.a", "m.a.dedup(); m.a", "m.a.zip([1, 2, 3], |x, y| x * y)", "m.a.split(1)", "m.a.pad(5, 0); m.a", "m.a.chop(2); m.a", "m.a.append([1]); m.a",
    "m.o.remove(\"x\")", "m.remove(\"no such\")", "m.o.clear(); m.o", "m.o.mixin(#{b: 2}); m.o", "m.o += #{b: 3}; m.o", "m.o + #{c: 4}", "m.o.fill_with(#{x: 5, q: 6}); m.o", "m.o.keys()", "m.o.values()",
    "`${m.a}`", "`${m.o}`", "m.a.to_string()", "m.s + m.a", "switch m.n { 1 => \"one\", _ => \"other\" }", "if m.t { m.s } else { m.n }", "let c = m.copy(); c.n = 5; m.n",
];

/// What differs, with what a map and what a handle gives, and why that is right.
#[rustfmt::skip]
const DIFFERENT: [(&str, &str, &str, &str); 6] = [
    ("let o = m.o; o.x = 5; m.o.x", "1", "5", "a part of the event is that part, not a copy"),
    ("for i in m.p { i.v = 9; } m.p[0].v", "2", "9", "as above, in a loop"),
    ("let f = m.p.find(|i| i.k == \"a\"); f.v = 9; m.p[1].v", "1", "9", "as above, when it is searched"),
    ("m.p.map(|i| { i.v = 0; i }); m.p[0].v", "2", "0", "as above, in a closure"),
    ("fn_of(m.o); m.o.x", "1", "7", "as above, as an argument"),
    ("m.nothing = (); \"nothing\" in m", "true", "false", "Rhai writes back what it read, also where nothing was"),
];

#[test]
fn where_handles_differ_it_is_on_purpose() {
    for (snippet, map, handle, why) in DIFFERENT {
        assert_eq!(probe(snippet, AS_MAP)[0].to_string(), map, "{snippet}: {why}");
        assert_eq!(probe(snippet, AS_HANDLE)[0].to_string(), handle, "{snippet}: {why}");
    }
}

#[test]
fn a_map_put_into_itself_is_a_copy_and_no_cycle() {
    let out = probe("m.o.me = m.o; m.o.me.me = 1; m.o", AS_HANDLE);
    assert_eq!(out[0], json!({"me": {"me": 1, "x": 1, "y": {"z": 2}}, "x": 1, "y": {"z": 2}}));
}

fn probe(snippet: &str, data: &str) -> Value {
    // `copy` is ours: on a map of Rhai every assignment is a copy.
    let snippet = if data == AS_MAP { snippet.replace(".copy()", "") } else { snippet.to_owned() };
    let script = format!(
        "fn fn_of(x) {{ x.x = 7; }}\n\
         fn probe(m) {{ let result = {{ {snippet} }}; [result, m] }}\n\
         fn on_track(event, ctx) {{ event.properties.out = probe({data}); event }}"
    );
    let mut out = match run(&script, track("Test", json!({}))) {
        Made::Failed(error) => json!({"failed": error.code}),
        made => properties(made)["out"].take(),
    };
    out.sort_all_objects();
    out
}

#[test]
fn handles_do_what_maps_and_arrays_of_rhai_do() {
    for snippet in SNIPPETS.iter().chain(MORE) {
        assert_eq!(probe(snippet, AS_HANDLE), probe(snippet, AS_MAP), "{snippet}");
    }
}
