//! What every helper makes of values as they really come in: sloppy forms, many countries, three
//! generations of tracking plans.

use serde_json::Value;

use crate::transform::helpers::helpers;
use crate::transform::shipped;
use crate::transform::tests::{context, properties, runner, track};

/// An expression, and what it gives as JSON; or, behind `!`, what its error says.
type Row = (&'static str, &'static str);

#[rustfmt::skip]
const PRESENCE: &[Row] = &[
    ("is_blank(())", "true"), (r#"is_blank("\t \n")"#, "true"), ("is_blank([])", "true"), ("is_blank(#{})", "true"), ("is_blank(0)", "false"), ("is_blank(false)", "false"), (r#"is_blank("0")"#, "false"), (r#"is_blank("null")"#, "false"),
    (r#"has(#{a: #{b: ()}}, "a.b")"#, "true"), (r#"has(#{a: 1}, "a.b")"#, "false"), (r#"has(#{"a.b": 1}, "a\\.b")"#, "true"), (r#"has(#{p: [#{x: 1}]}, "p[0].x")"#, "true"), (r#"has(#{p: []}, "p[0]")"#, "false"), (r#"has((), "a")"#, "false"), (r#"has(#{}, "a[")"#, "!cannot be read"),
    (r#"get(#{a: #{b: 2}}, "a.b")"#, "2"), (r#"get(#{a: ()}, "a", "x")"#, "\"x\""), (r#"get(#{a: ""}, "a", "x")"#, "\"\""), (r#"get(#{}, "a.b.c")"#, "null"), (r#"get(#{p: [#{x: 1}, #{}]}, "p[].x")"#, "[1, null]"), (r#"get(#{p: [1, 2]}, "p[-1]")"#, "2"),
    (r#"first_of(#{order_id: " ", orderId: (), id: 7}, ["order_id", "orderId", "id"])"#, "7"), (r#"first_of(#{}, ["a"])"#, "null"), (r#"first_of(#{a: 0}, ["a", "b"])"#, "0"), (r#"first_of(#{a: #{b: "x"}}, "a.b")"#, "\"x\""), (r#"first_of(#{}, [1])"#, "!array of strings"),
    (r#"coalesce((), "", [], "USD", "EUR")"#, "\"USD\""), ("coalesce((), ())", "null"), ("coalesce((), 0)", "0"), ("coalesce(false, true)", "false"),
];

#[rustfmt::skip]
const EDIT: &[Row] = &[
    (r#"let m = #{p: [#{price: "$5", sku: 7}]}; m.convert_keys("p[]", "item_kinds"); m"#, r#"{"p": [{"price": 5.0, "sku": "7"}]}"#), (r#"let m = #{p: [#{price: "free"}]}; m.convert_keys("p[]", "item_kinds")"#, "!cannot read money from"), (r#"let m = #{p: [#{price: "free"}]}; m.convert_keys("p[]", "item_kinds", "keep"); m"#, r#"{"p": [{"price": "free"}]}"#),
    (r#"let m = #{a: "L", b: ["S", "M"]}; m.fold_values(["a", "b[]"], "folds"); m"#, r#"{"a": "large", "b": ["small", "M"]}"#), (r#"let m = #{a: 5, c: ()}; m.fold_values("a", "folds")"#, "0"), (r#"let m = #{p: [#{c: "Skin Care"}]}; m.fold_values("p[].c", "taxonomy"); m"#, r#"{"p": [{"c": "skincare"}]}"#),
    (r#"let m = #{t: #{plan: "pro", age: 5}}; m.keep_owned("t", "own", "web"); m"#, r#"{"t": {"age": 5}}"#), (r#"let m = #{t: #{plan: "pro"}}; m.keep_owned("t", "own", "crm")"#, "0"), (r#"let m = #{}; m.keep_owned("t", "own", "web")"#, "0"),
    (r#"let m = #{}; m.set("a.b.c", 1); m"#, r#"{"a": {"b": {"c": 1}}}"#), (r#"let m = #{a: 5}; m.set("a.b", 1); m"#, "!is no map"), (r#"let m = #{p: [#{}, #{}]}; m.set("p[].x", 0); m"#, r#"{"p": [{"x": 0}, {"x": 0}]}"#), (r#"let m = #{p: [1, 2]}; m.set("p[1]", 9); m"#, r#"{"p": [1, 9]}"#), (r#"let m = #{}; m.set("a", ()); m"#, r#"{"a": null}"#), (r#"let m = #{}; m.set("x.y", 0.0 / 0.0)"#, "!NaN"), (r#"set(5, "a", 1)"#, "!a map"),
    (r#"let m = #{a: 1}; m.del("a"); m"#, "{}"), (r#"let m = #{a: 1}; m.del("b.c")"#, "false"), (r#"let m = #{p: [#{x: 1, y: 2}, 5, #{x: 3}]}; m.del("p[].x"); m"#, r#"{"p": [{"y": 2}, 5, {}]}"#), (r#"let m = #{p: [1]}; m.del("p[0]")"#, "!not elements"),
    (r#"let m = #{orderID: 7}; m.rename("orderID", "order_id"); m"#, r#"{"order_id": 7}"#), (r#"let m = #{a: 1, b: 2}; m.rename("a", "b")"#, "false"), (r#"let m = #{a: 1, b: ""}; m.rename("a", "b"); m"#, r#"{"b": 1}"#), (r#"let m = #{b: "", c: 3}; m.rename(["a", "b", "c"], "d"); m"#, r#"{"b": "", "d": 3}"#), (r#"let m = #{p: [#{qty: 1}, #{}]}; m.rename("p[].qty", "p[].quantity"); m"#, r#"{"p": [{"quantity": 1}, {}]}"#), (r#"let m = #{p: [#{q: 1}]}; m.rename("p[].q", "q")"#, "!the same up to there"), (r#"let m = #{a: #{b: 1}}; m.rename("a.b", "c.d"); m"#, r#"{"a": {}, "c": {"d": 1}}"#),
    (r#"let m = #{a: 1, b: 2}; m.move("a", "b"); m"#, r#"{"b": 1}"#), (r#"let m = #{a: ""}; m.move("a", "x.y"); m"#, r#"{"x": {"y": ""}}"#), (r#"let m = #{}; m.move("a", "b")"#, "false"), (r#"let m = #{a: 1}; m.move("a", "a"); m"#, r#"{"a": 1}"#), (r#"let m = #{p: [#{a: 1, b: 2}]}; m.move("p[].a", "p[].b"); m"#, r#"{"p": [{"b": 1}]}"#),
    (r#"let m = #{t: "1.234,50 €", n: (), b: " "}; m.convert(["t", "n", "b", "x"], "money"); m"#, r#"{"t": 1234.5, "n": null, "b": " "}"#), (r#"let m = #{p: [#{q: "2"}, #{q: 3}]}; m.convert("p[].q", "int")"#, "1"), (r#"let m = #{a: "free"}; m.convert("a", "money")"#, "!a: cannot read money from \"free\""), (r#"let m = #{a: "free"}; m.convert("a", "money", "keep"); m"#, r#"{"a": "free"}"#), (r#"let m = #{a: "Yes"}; m.convert("a", "bool"); m"#, r#"{"a": true}"#), (r#"let m = #{a: 1001.0}; m.convert("a", "id"); m"#, r#"{"a": "1001"}"#), (r#"let m = #{a: 1}; m.convert("a", "colour")"#, "!one of money"), (r#"let m = #{a: "x"}; m.convert("a", "money", "drop")"#, "!\"keep\""), (r#"let m = #{a: "15.05.2024"}; m.convert("a", "time")"#, "!cannot read time"), (r#"let m = #{a: 42}; m.convert("a", "string"); m"#, r#"{"a": "42"}"#), (r#"let m = #{a: " usd "}; m.convert("a", "upper"); m"#, r#"{"a": "USD"}"#), (r#"let m = #{a: "2026-01-02"}; m.convert("a", "unix"); m"#, r#"{"a": 1767312000}"#), (r#"let m = #{a: " Ann@X.com"}; m.convert("a", "email"); m"#, r#"{"a": "ann@x.com"}"#), (r#"let m = #{a: "1e3"}; m.convert("a", "number"); m"#, r#"{"a": 1000.0}"#), (r#"let m = #{a: "+44 20 7946 0958"}; m.convert("a", "phone"); m"#, r#"{"a": "+442079460958"}"#),
    (r#"let m = #{p: [#{qty: 2, item_name: "x"}, #{quantity: 1, qty: 3}]}; m.fold_keys("p[]", "item_keys"); m"#, r#"{"p": [{"quantity": 2, "name": "x"}, {"quantity": 1, "qty": 3}]}"#), (r#"let m = #{a: 5}; m.fold_keys("a", "item_keys")"#, "0"), (r#"let m = #{}; m.fold_keys("a", get(#{t: "nope"}, "t"))"#, "!no table"),
    (r#"let m = #{orderID: 1, HTMLPage: 2, "Item Name": 3, already_so: 4}; m.rename_keys("snake"); m"#, r#"{"order_id": 1, "html_page": 2, "item_name": 3, "already_so": 4}"#), (r#"let m = #{a: #{line_items: [#{unit_price: 1}]}}; m.rename_keys("camel", "a"); m"#, r#"{"a": {"lineItems": [{"unitPrice": 1}]}}"#), (r#"let m = #{orderId: 1, order_id: 2}; m.rename_keys("snake"); m"#, r#"{"orderId": 1, "order_id": 2}"#), (r#"let m = #{}; m.rename_keys("kebab")"#, "!\"snake\" or \"camel\""),
];

#[rustfmt::skip]
const COLLECTIONS: &[Row] = &[
    (r#"pick(#{a: 1, b: #{c: 2, d: 3}}, ["b.c", "x"])"#, r#"{"b": {"c": 2}}"#), (r#"pick(#{a: ()}, ["a"])"#, r#"{"a": null}"#), (r#"pick(5, ["a"])"#, "{}"), (r#"pick(#{a: [1]}, ["a[0]"])"#, "!maps to a key"),
    (r#"omit(#{a: 1, b: #{c: 2, d: 3}}, ["b.c", "a"])"#, r#"{"b": {"d": 3}}"#), (r#"omit(#{p: [#{x: 1, y: 2}]}, ["p[].x"])"#, r#"{"p": [{"y": 2}]}"#), (r#"omit(#{a: 1}, "a")"#, "{}"), (r#"omit("x", ["a"])"#, "!a map"),
    (r#"merge(#{a: #{x: 1, y: [1]}}, #{a: #{y: [2]}, b: ()})"#, r#"{"a": {"x": 1, "y": [2]}, "b": null}"#), (r#"merge(#{}, 5)"#, "!a map"), (r#"merge(#{a: 1}, #{})"#, r#"{"a": 1}"#),
    (r#"defaults(#{a: (), b: #{c: 1}}, #{a: 5, b: #{c: 2, d: 3}})"#, r#"{"a": null, "b": {"c": 1, "d": 3}}"#), (r#"defaults(#{}, #{a: 1})"#, r#"{"a": 1}"#), (r#"defaults((), #{})"#, "!a map"),
    (r#"compact(#{a: "", b: " ", c: [], d: #{}, e: 0, f: false, g: ()})"#, r#"{"e": 0, "f": false}"#), (r#"compact(#{a: #{b: "", c: #{d: ()}}}, true)"#, "{}"), (r#"compact(#{a: #{b: ""}})"#, r#"{"a": {"b": ""}}"#),
    (r#"flatten(#{a: #{b: #{c: 1}}, d: [1], e: #{}})"#, r#"{"a.b.c": 1, "d": [1], "e": {}}"#), (r#"flatten(#{a: #{b: 1}}, "_")"#, r#"{"a_b": 1}"#), (r#"flatten([1])"#, "!a map"),
    (r#"unflatten(#{"a.b": 1, "a.c": 2, d: 3})"#, r#"{"a": {"b": 1, "c": 2}, "d": 3}"#), (r#"unflatten(#{a_b: 1}, "_")"#, r#"{"a": {"b": 1}}"#), (r#"unflatten(#{a: 1}, "")"#, "!must not be empty"),
    (r#"map_keys(#{orderId: 1, "Item Name": 2}, |key| snake_case(key))"#, r#"{"order_id": 1, "item_name": 2}"#), (r#"map_keys(#{a: 1}, |key| 5)"#, "!must give a string"), (r#"map_keys(#{a: 1}, "x")"#, "!a function"),
    ("as_array(())", "[]"), (r#"as_array("a,b")"#, r#"["a,b"]"#), ("as_array([[1]])", "[[1]]"), ("as_array(#{})", "[{}]"),
    (r#"unique(["a", "A", "a", 1, 1.0, "1"])"#, r#"["a", "A", 1, "1"]"#), (r#"unique([#{s: 1}, #{s: 2}, #{s: 1}], "s")"#, r#"[{"s": 1}, {"s": 2}]"#), ("unique(())", "[]"), (r#"unique("abc")"#, "!an array"),
    (r#"pluck([#{a: #{b: 1}}, #{a: ()}, 5, #{a: #{b: ""}}], "a.b")"#, "[1]"), (r#"pluck((), "a")"#, "[]"), (r#"pluck(#{}, "a")"#, "!an array"),
    (r#"sum_by([#{p: 1}, #{p: 2.5}, #{p: "3"}, #{}], "p")"#, "3.5"), (r#"sum_by([], "p")"#, "0.0"), (r#"sum_by(5, "p")"#, "!an array"),
    (r#"index_by([#{id: 7, n: 1}, #{n: 2}, #{id: 7, n: 3}], "id")"#, r#"{"7": {"id": 7, "n": 3}}"#), (r#"index_by([], "id")"#, "{}"), (r#"index_by(1, "id")"#, "!an array"),
    (r#"group_by([#{c: "a"}, #{c: "b", x: 1}, #{c: "a", x: 2}, #{}], "c")"#, r#"{"a": [{"c": "a"}, {"c": "a", "x": 2}], "b": [{"c": "b", "x": 1}]}"#), (r#"group_by([#{c: true}], "c")"#, r#"{"true": [{"c": true}]}"#), (r#"group_by("x", "c")"#, "!an array"),
    (r#"unnest(#{id: 1, p: #{lines: [#{s: "a"}, #{s: "b"}]}}, "p.lines")"#, r#"[{"id": 1, "p": {"lines": {"s": "a"}}}, {"id": 1, "p": {"lines": {"s": "b"}}}]"#), (r#"unnest(#{id: 1}, "lines")"#, r#"[{"id": 1}]"#), (r#"unnest(#{l: []}, "l")"#, "[]"),
];

#[rustfmt::skip]
const TEXT: &[Row] = &[
    (r#"snake_case("orderTotal")"#, "\"order_total\""), (r#"snake_case("  Order  Completed! ")"#, "\"order_completed\""), (r#"snake_case("HTMLPageURL2Go")"#, "\"html_page_url2_go\""), (r#"snake_case("ORDER_COMPLETED")"#, "\"order_completed\""), (r#"snake_case("Größe ändern")"#, "\"größe_ändern\""), (r#"snake_case(())"#, "null"), (r#"snake_case([])"#, "!a string"),
    (r#"kebab_case("Skin & Care")"#, "\"skin-care\""), (r#"kebab_case("addedToCart")"#, "\"added-to-cart\""), (r#"kebab_case("--a--b--")"#, "\"a-b\""),
    (r#"camel_case("Order Total")"#, "\"orderTotal\""), (r#"camel_case("order_id")"#, "\"orderId\""), (r#"camel_case("ID")"#, "\"id\""),
    (r#"pascal_case("order completed")"#, "\"OrderCompleted\""), (r#"pascal_case("écouter_musique")"#, "\"ÉcouterMusique\""), (r#"pascal_case("")"#, "\"\""),
    (r#"title_case("order_completed")"#, "\"Order Completed\""), (r#"title_case("ADDED_TO_CART")"#, "\"Added To Cart\""), (r#"title_case("productViewed")"#, "\"Product Viewed\""),
    (r#"sentence_case("ORDER-COMPLETED")"#, "\"Order completed\""), (r#"sentence_case("cartViewed")"#, "\"Cart viewed\""), (r#"sentence_case(())"#, "null"),
    (r#"slug("Crème Brûlée & Co. 2")"#, "\"crème-brûlée-co-2\""), (r#"slug("  ")"#, "\"\""), (r#"slug("SkinCare")"#, "\"skin-care\""),
    (r#"upper("straße")"#, "\"STRASSE\""), (r#"upper(())"#, "null"), (r#"upper(5)"#, "\"5\""),
    (r#"lower("ÄÖÜ İ")"#, "\"äöü i̇\""), (r#"lower("USD")"#, "\"usd\""), (r#"lower(#{})"#, "!a string"),
    (r#"trimmed("\u00a0 a b\t\n")"#, "\"a b\""), (r#"trimmed(())"#, "null"), (r#"trimmed(" ")"#, "\"\""),
    (r#"squeeze(" a \t\n b\u00a0 c ")"#, "\"a b c\""), (r#"squeeze("")"#, "\"\""), (r#"squeeze(())"#, "null"),
    (r#"replaced("a.b.c", ".", "_")"#, "\"a_b_c\""), (r#"replaced("aaa", "aa", "b")"#, "\"ba\""), (r#"replaced((), "a", "b")"#, "!a string"),
    (r#"truncated("👍🏽 ok", 1)"#, "\"👍\""), (r#"truncated("abc", 10)"#, "\"abc\""), (r#"truncated("abc", -1)"#, "\"\""), (r#"truncated((), 3)"#, "null"),
    (r#"matches("SKU-17", `^SKU-\d+$`)"#, "true"), (r#"matches((), `x`)"#, "false"), (r#"matches(17, `^\d+$`)"#, "true"), (r#"matches("a", `(`)"#, "!cannot use the pattern"),
    (r#"captures("SKU-17-b", `^(\w+)-(\d+)(-c)?`)"#, r#"["SKU-17", "SKU", "17", null]"#), (r#"captures("x", `\d`)"#, "null"), (r#"captures("x", `[`)"#, "!cannot use the pattern"),
];

#[rustfmt::skip]
const NAMES: &[Row] = &[
    (r#"event_name("purchase", #{names: "title", synonyms: true})"#, "\"Order Completed\""), (r#"event_name("orderCompleted", #{names: "snake", spellings: true})"#, "\"order_completed\""), (r#"event_name("Quiz Done", #{names: "title", spellings: true, synonyms: true})"#, "null"), (r#"event_name("orderCompleted", #{names: "as_sent", spellings: true})"#, "null"),
    (r#"canonical("Purchase")"#, "\"order_completed\""), (r#"canonical("ORDER COMPLETED")"#, "\"order_completed\""), (r#"canonical("ecommerce.order-completed")"#, "\"order_completed\""), (r#"canonical("Quiz Done")"#, "\"quiz_done\""), ("canonical(())", "\"\""), ("canonical(5)", "\"\""),
    (r#"name_key("OrderCompleted")"#, "\"order_completed\""), (r#"name_key("Purchase")"#, "\"purchase\""), (r#"name_key("")"#, "\"\""),
    (r#"lookup("spellings", "order_completed")"#, "\"Order Completed\""), (r#"lookup("spellings", "nothing", "x")"#, "\"x\""), (r#"lookup("spellings", ())"#, "null"), (r#"lookup("sizes", 7)"#, r#"{"name": "Large", "price": "49"}"#), (r#"lookup("sizes", "S").name"#, "\"Small\""), (r#"lookup(get(#{t: "nope"}, "t"), 1)"#, "!there are"),
];

#[rustfmt::skip]
const NUMBERS: &[Row] = &[
    (r#"parse_number("1,234,567.5")"#, "1234567.5"), (r#"parse_number("1.234.567,5")"#, "1234567.5"), (r#"parse_number(" 12 ")"#, "12"), (r#"parse_number("１２")"#, "!cannot read number"), (r#"parse_number("-1e-3")"#, "-0.001"), (r#"parse_number("NaN", ())"#, "null"), (r#"parse_number("1,234", 0, "en")"#, "1234"), (r#"parse_number("1,234", 0, "de")"#, "1.234"), (r#"parse_number("1,234")"#, "!two meanings"), (r#"parse_number(true)"#, "!cannot read number from true"), (r#"parse_number("$5")"#, "!cannot read number"),
    (r#"parse_int_or("2 pcs", 1)"#, "1"), (r#"parse_int_or("2.0", 1)"#, "2"), (r#"parse_int_or((), 1)"#, "1"), (r#"parse_int_or("1,000,000", 0)"#, "1000000"), (r#"parse_int_or(2.5, 9)"#, "9"),
    (r#"parse_money("$1,249.00")"#, "1249.0"), (r#"parse_money("1.234,50 €")"#, "1234.5"), (r#"parse_money("CHF 1'234.50")"#, "1234.5"), (r#"parse_money("₹1,00,000.50")"#, "100000.5"), (r#"parse_money("R$ 49,90")"#, "49.9"), (r#"parse_money("49 990 Kč")"#, "49990.0"), (r#"parse_money("1 234,50 zł")"#, "1234.5"), (r#"parse_money("kr. 1.299,-")"#, "!two meanings"), (r#"parse_money("kr. 1.299,-", (), "da")"#, "1299.0"), (r#"parse_money("¥5000")"#, "5000.0"), (r#"parse_money("(12.00)")"#, "-12.0"), (r#"parse_money("−5,00 €")"#, "-5.0"), (r#"parse_money("S/ 49.90")"#, "49.9"), (r#"parse_money("Rp 1.250.000")"#, "1250000.0"), (r#"parse_money("1,299 USD", 0.0, "en-US")"#, "1299.0"), (r#"parse_money("1,299 USD", 0.0)"#, "0.0"), (r#"parse_money("free")"#, "!wanted"), (r#"parse_money("TOP 10")"#, "!cannot read money"), (r#"parse_money("10 % off", ())"#, "null"), (r#"parse_money("49", (), "klingon")"#, "!a language"), (r#"parse_money(())"#, "!cannot read money from ()"), (r#"parse_money([49])"#, "!an array"), (r#"parse_money("NPR 500")"#, "500.0"), (r#"parse_money("د.إ 49")"#, "!cannot read money"),
    (r#"currency_of("US$ 49")"#, "\"USD\""), (r#"currency_of("49 €")"#, "\"EUR\""), (r#"currency_of("$49")"#, "null"), (r#"currency_of("49.00 isk")"#, "\"ISK\""), (r#"currency_of("NPR 500")"#, "\"NPR\""), (r#"currency_of("49 kr")"#, "null"), ("currency_of(49)", "null"), (r#"currency_of("TOP 10")"#, "null"),
    ("round_to(2.675, 2)", "2.68"), ("round_to(-0.5, 0)", "-1.0"), ("round_to(5, 2)", "5.0"), ("round_to(1.005, 2)", "1.01"), (r#"round_to("5", 2)"#, "!a number"), ("round_to(1e300, 12)", "1e300"),
    ("to_cents(19.99)", "1999"), ("to_cents(0.29)", "29"), ("to_cents(-1.005)", "-101"), (r#"to_cents("1")"#, "!a number"),
    ("from_cents(1999)", "19.99"), ("from_cents(-5)", "-0.05"), ("from_cents(0)", "0.0"),
];

#[rustfmt::skip]
const IDS: &[Row] = &[
    ("as_id(1001)", "\"1001\""), ("as_id(1001.0)", "\"1001\""), (r#"as_id(" A-1 ")"#, "\"A-1\""), (r#"as_id("undefined")"#, "null"), (r#"as_id("[object Object]")"#, "null"), (r#"as_id("007")"#, "\"007\""), (r#"as_id("12345678901234567890")"#, "\"12345678901234567890\""), ("as_id(0)", "null"), ("as_id(#{})", "null"), ("as_id(true)", "null"),
    (r#"uuid5("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "www.example.com")"#, "\"2ed6657d-e927-568b-95e1-2665a8aea6a2\""), (r#"uuid5("orders", "1001") == uuid5("orders", "1001")"#, "true"), (r#"uuid5("orders", "1") == uuid5("carts", "1")"#, "false"), (r#"uuid5("a", ())"#, "!a string"),
    (r#"parse_bool("Opted Out")"#, "false"), (r#"parse_bool("SUBSCRIBED")"#, "true"), (r#"parse_bool(" y ")"#, "true"), (r#"parse_bool("granted")"#, "true"), (r#"parse_bool("denied")"#, "false"), (r#"parse_bool(1)"#, "true"), (r#"parse_bool(0.0)"#, "false"), (r#"parse_bool("Sí")"#, "true"), (r#"parse_bool("Nein")"#, "false"), (r#"parse_bool("oui")"#, "true"), (r#"parse_bool("opted-in")"#, "true"), (r#"parse_bool("pending", ())"#, "null"), (r#"parse_bool("double opt-in sent")"#, "!cannot read yes or no"), ("parse_bool(())", "!cannot read yes or no from ()"), ("parse_bool(2, false)", "false"), (r#"parse_bool("unsubscribed")"#, "false"), (r#"parse_bool("revoked")"#, "false"),
];

#[rustfmt::skip]
const PEOPLE: &[Row] = &[
    (r#"normalize_email(" Ann.Doe+Sale@Example.COM ")"#, "\"ann.doe+sale@example.com\""), (r#"normalize_email("Ann <ann@x.co.uk>")"#, "\"ann@x.co.uk\""), (r#"normalize_email("mailto:a@b.io")"#, "\"a@b.io\""), (r#"normalize_email("o'neil@bücher.example")"#, "\"o'neil@bücher.example\""), (r#"normalize_email("ann(at)x.com", ())"#, "null"), (r#"normalize_email("ann@x")"#, "!cannot read email"), (r#"normalize_email("a@x.com, b@x.com", ())"#, "null"), (r#"normalize_email(5, "none")"#, "\"none\""),
    (r#"email_domain("Ann@Mail.Example.com")"#, "\"mail.example.com\""), (r#"email_domain("nobody")"#, "null"), ("email_domain(())", "null"),
    (r#"normalize_phone("(415) 555-2671", "US")"#, "\"+14155552671\""), (r#"normalize_phone("+44 (0)20 7946 0958", ())"#, "\"+442079460958\""), (r#"normalize_phone("030/901820", "DE")"#, "\"+4930901820\""), (r#"normalize_phone("06 12 34 56 78", "France")"#, "\"+33612345678\""), (r#"normalize_phone("098765 43210", "IN")"#, "\"+919876543210\""), (r#"normalize_phone("0412 345 678", "AUS")"#, "\"+61412345678\""), (r#"normalize_phone("(11) 96123-4567", "Brasil")"#, "\"+5511961234567\""), (r#"normalize_phone("090-1234-5678", "JP")"#, "\"+819012345678\""), (r#"normalize_phone("612 34 56 78", "ES")"#, "\"+34612345678\""), (r#"normalize_phone("06 698 12345", "IT")"#, "\"+390669812345\""), (r#"normalize_phone("0031 20 624 1111", ())"#, "\"+31206241111\""), (r#"normalize_phone("070-123 45 67", "SE")"#, "\"+46701234567\""), (r#"normalize_phone(4155552671, "US")"#, "\"+14155552671\""), (r#"normalize_phone("555-2671", "US", ())"#, "null"), (r#"normalize_phone("n/a", "US")"#, "!cannot read phone"), (r#"normalize_phone("415 555 2671", ())"#, "!cannot read phone"),
    (r#"country_code("germany")"#, "\"DE\""), (r#"country_code("Deutschland")"#, "\"DE\""), (r#"country_code("USA")"#, "\"US\""), (r#"country_code("U.S.A.")"#, "\"US\""), (r#"country_code("uk")"#, "\"GB\""), (r#"country_code("Nepal")"#, "\"NP\""), (r#"country_code("NP")"#, "\"NP\""), (r#"country_code("South Korea")"#, "\"KR\""), (r#"country_code("Viet Nam")"#, "\"VN\""), (r#"country_code("CIV")"#, "\"CI\""), (r#"country_code("Narnia", ())"#, "null"), (r#"country_code("")"#, "!cannot read country"), (r#"country_code(276, ())"#, "null"),
];

#[rustfmt::skip]
const TIME: &[Row] = &[
    (r#"parse_time("2026-01-02T03:04:05+02:00")"#, "\"2026-01-02T01:04:05.000Z\""), (r#"parse_time("2026-01-02 03:04:05")"#, "\"2026-01-02T03:04:05.000Z\""), (r#"parse_time("Fri, 02 Jan 2026 03:04:05 GMT")"#, "\"2026-01-02T03:04:05.000Z\""), ("parse_time(1767323045)", "\"2026-01-02T03:04:05.000Z\""), ("parse_time(1767323045678)", "\"2026-01-02T03:04:05.678Z\""), ("parse_time(1767323045678000)", "\"2026-01-02T03:04:05.678Z\""), (r#"parse_time("1767323045")"#, "\"2026-01-02T03:04:05.000Z\""), (r#"parse_time("01/02/2026")"#, "\"2026-01-02T00:00:00.000Z\""), (r#"parse_time("Jan 2, 2026")"#, "\"2026-01-02T00:00:00.000Z\""), (r#"parse_time("2 January 2026")"#, "\"2026-01-02T00:00:00.000Z\""), (r#"parse_time("20260102", ())"#, "null"), (r#"parse_time("2026-13-01")"#, "!cannot read time"), (r#"parse_time("yesterday", "x")"#, "\"x\""), ("parse_time(())", "!cannot read time from ()"),
    (r#"unix_time("2026-01-02T03:04:05.999Z")"#, "1767323045"), ("unix_time(1767323045000)", "1767323045"), (r#"unix_time("", 0)"#, "0"), (r#"unix_time("1969-12-31T23:59:59Z")"#, "-1"),
    (r#"seconds_between("2026-01-01", "2026-01-02")"#, "86400"), (r#"seconds_between("2026-01-02", 1767225600)"#, "-86400"), (r#"seconds_between("x", "2026-01-02")"#, "!cannot read time"),
    (r#"add_seconds("2026-01-01T00:00:00Z", -1)"#, "\"2025-12-31T23:59:59.000Z\""), ("add_seconds(1767225600, 60)", "\"2026-01-01T00:01:00.000Z\""), (r#"add_seconds("2026-01-01", "1")"#, "!a whole number"),
    (r#"is_before("2026-01-01T00:00:00+01:00", "2026-01-01T00:00:00Z")"#, "true"), (r#"is_before("2026-01-02", "2026-01-02")"#, "false"), (r#"is_before((), "2026-01-02")"#, "!cannot read time"),
];

#[rustfmt::skip]
const CODEC: &[Row] = &[
    (r#"sha256("abc")"#, "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\""), (r#"sha256(5) == sha256("5")"#, "true"), ("sha256(())", "!a string"),
    (r#"hmac_sha256("key", "abc")"#, "\"9c196e32dc0175f86f4b1cb89289d6619de6bee699e4c378e68309ed97a1a6ab\""), (r#"hmac_sha256("", "abc").len()"#, "64"), (r#"hmac_sha256("key", [])"#, "!a string"),
    (r#"hash_pii(" Ann@Example.com ") == sha256("ann@example.com")"#, "true"), (r#"hash_pii("+1 (415) 555-2671") == sha256("+14155552671")"#, "true"), (r#"hash_pii(" Ann ") == sha256("ann")"#, "true"), (r#"hash_pii("Ann@x.com", "key") == hmac_sha256("key", "ann@x.com")"#, "true"), ("hash_pii(())", "null"), (r#"hash_pii(" ")"#, "null"), ("hash_pii([])", "!a string"),
    (r#"base64_encode("Grüße")"#, "\"R3LDvMOfZQ==\""), (r#"base64_encode("")"#, "\"\""), ("base64_encode(#{})", "!a string"),
    (r#"base64_decode(" aGVsbG8= ")"#, "\"hello\""), (r#"base64_decode("%%%", ())"#, "null"), (r#"base64_decode("/w==")"#, "!cannot read base64"),
    (r#"url_decode("a%20b+c%C3%BC")"#, "\"a b cü\""), (r#"url_decode("100%")"#, "\"100%\""), ("url_decode(())", "!a string"),
    (r#"query_params("https://x.test/?utm_source=mail&b=1%202&b=3&flag#top")"#, r#"{"utm_source": "mail", "b": "1 2", "flag": ""}"#), (r#"query_params("no query")"#, "{}"), ("query_params(())", "{}"),
    (r#"to_json(#{a: [1, 2.5, ()]})"#, r#""{\"a\":[1,2.5,null]}""#), (r#"to_json("x")"#, r#""\"x\"""#), ("to_json(|x| x)", "!function"),
    (r#"from_json("{\"a\": 12345678901234567890}").a"#, "\"12345678901234567890\""), (r#"from_json("{", ())"#, "null"), (r#"from_json("nope")"#, "!cannot read json"),
    (r#"mask("4111 1111 1111 1111", 4)"#, "\"***************1111\""), (r#"mask("ann")"#, "\"***\""), ("mask(())", "\"\""), (r#"mask("ab", 5)"#, "\"ab\""),
    (r#"redact(#{note: "ask ann@x.com", n: ["call +49 30 901820-12"]})"#, r#"{"note": "ask ***@***", "n": ["call ***12"]}"#), (r#"redact("card 4111 1111 1111 1111", ["card"])"#, "\"card ***11\""), (r#"redact("order 4111 1111 1111 1112", ["card"])"#, "\"order 4111 1111 1111 1112\""), (r#"redact("from 192.168.1.17 and 2001:db8::1", ["ip"])"#, "\"from ***.***.***.*** and ***.***.***.***\""), (r#"redact("version 1.2.3 at 12:30", ["ip"])"#, "\"version 1.2.3 at 12:30\""), (r#"redact("a@x.com +14155552671", ["email"])"#, "\"***@*** +14155552671\""), (r#"redact("a@x.com +14155552671", "phone")"#, "\"a@x.com ***71\""), (r#"redact("x", ["name"])"#, "!one of email, phone, card, ip"),
];

#[rustfmt::skip]
const REPORT: &[Row] = &[
    (r#"is_drop("drop")"#, "false"), ("is_drop(())", "false"), ("is_drop(#{})", "false"), ("drop(5)", "!a string"),
    ("drop([])", "!a string"), ("drop(())", "!a string"),
    (r#"fail("no order id")"#, "!no order id"), ("fail(5)", "!5"), (r#"fail(())"#, "!"),
    (r#"expect(true, "x")"#, "null"), (r#"expect(false, "broken")"#, "!broken"), (r#"expect((), "x")"#, "!true or false"),
    (r#"warn("names.unplanned", "x")"#, "null"), (r#"warn("code")"#, "null"), ("warn(5)", "!a string"),
    (r#"violation("kind", "properties.x")"#, "null"), (r#"violation(#{}, "kind", "a")"#, "null"), (r#"violation(5, "kind", "a")"#, "!an event"),
    (r#"note("a", 1)"#, "null"), (r#"note(#{}, "a", [1])"#, "null"), (r#"note("a", |x| x)"#, "!function"),
    (r#"label("x")"#, "null"), (r#"label(#{}, "x")"#, "null"), ("label([])", "!a string"),
    (r#"replay("export")"#, "null"), (r#"replay(#{}, "export")"#, "null"), (r#"replay(1, "x")"#, "!an event"),
    (r#"dedupe_by(#{}, "order", 1001)"#, "null"), (r#"dedupe_by(#{}, "order", "undefined")"#, "null"), (r#"dedupe_by(5, "order", 1)"#, "!an event"),
    (r#"identify_as(#{}, #{email: "ann@x.com"})"#, "null"), (r#"identify_as(#{}, #{id: 7})"#, "null"), (r#"identify_as(#{}, #{mail: "x"})"#, "!knows id and email"), (r#"identify_as(#{}, "x")"#, "!a map"),
];

const TABLES: [(&str, &[Row]); 11] = [
    ("presence", PRESENCE),
    ("edit", EDIT),
    ("collections", COLLECTIONS),
    ("text", TEXT),
    ("names", NAMES),
    ("numbers", NUMBERS),
    ("ids", IDS),
    ("people", PEOPLE),
    ("time", TIME),
    ("codec", CODEC),
    ("report", REPORT),
];

/// Each row as a function of its own: `[value]`, or the error.
fn script(rows: &[Row]) -> String {
    let mut script = String::new();
    for (at, (expression, _)) in rows.iter().enumerate() {
        let body = match expression.rsplit_once("; ") {
            Some((before, last)) => format!("{before}; return [{last}];"),
            None => format!("return [{expression}];"),
        };
        script +=
            &format!("fn row{at}() {{ try {{ {body} }} catch (e) {{ return e.message; }} }}\n");
    }
    let calls: Vec<String> = (0..rows.len()).map(|at| format!("row{at}()")).collect();
    script
        + &format!(
            "fn on_track(event, ctx) {{ event.properties = #{{ rows: [{}] }}; event }}\n",
            calls.join(", ")
        )
}

fn sorted(value: &Value) -> String {
    let mut value = value.clone();
    value.sort_all_objects();
    value.to_string()
}

#[test]
fn every_helper_copes_with_what_really_comes_in() {
    let mut files: Vec<(&str, &str)> =
        shipped::FILES.iter().filter(|(path, _)| path.starts_with("data/")).copied().collect();
    files.push(("data/folds.csv", "sent,means\nS,small\nL,large\n"));
    files.push(("data/own.csv", "trait,sources\nplan,billing crm\n"));
    files.push(("data/sizes.csv", "size,name,price\nS,Small,19\n7,Large,49\n"));
    files.push((
        "transforms.toml",
        "[limits]\noperations = 500000\ndeadline_ms = 5000\nwall_ms = 60000\n",
    ));
    let mut wrong = Vec::new();
    for (what, rows) in TABLES {
        let script = script(rows);
        let mut files = files.clone();
        files.push(("10_rows.rhai", &script));
        let results = properties(runner(&files).run(track("Test", Value::Null), &context()));
        for (at, (expression, expected)) in rows.iter().enumerate() {
            let result = &results["rows"][at];
            let is_right = match (expected.strip_prefix('!'), result) {
                (Some(says), Value::String(error)) => error.contains(says),
                (None, Value::Array(value)) => {
                    let wanted: Value = serde_json::from_str(expected).unwrap();
                    sorted(&value[0]) == sorted(&wanted)
                }
                _ => false,
            };
            if !is_right {
                wrong.push(format!("{what}: {expression} gives {result}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_helper_is_in_a_table() {
    for helper in helpers() {
        let uses = TABLES.iter().flat_map(|(_, rows)| rows.iter());
        let count = uses
            .filter(|(expression, _)| {
                let call = format!("{}(", helper.name);
                expression.match_indices(&call).any(|(at, _)| {
                    !expression[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                })
            })
            .count();
        assert!(count >= 3, "{} is tried {count} times only", helper.name);
    }
}
