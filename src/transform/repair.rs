//! The line that a run tripped over, as it would be right.
//!
//! Works on the text of the line: only what is wrong is changed, and what it would take more than that
//! line to mend is not guessed at.
//!
//! Not here: what a script trips over ([`super::mishap`]), lines that are wrong before a run
//! ([`super::lint`]).

use std::ops::Range;

use super::helpers::{Helper, helpers};
use super::mishap::Mishap;

/// The line without the mishap at `column`, counted from 1 in characters; `None` where that cannot be
/// said.
pub(crate) fn corrected(mishap: &Mishap, line: &str, column: usize) -> Option<String> {
    let at = line.char_indices().nth(column.checked_sub(1)?)?.0;
    let place = Place { line, at };
    match mishap {
        Mishap::Unreadable => place.with_default(),
        Mishap::NoNumber(argument) => place.with_number(*argument),
        Mishap::NoHolder => place.with_holder(),
        Mishap::NoElement => place.with_get(),
        Mishap::NoLoop => place.wrapped("as_array(", ")"),
        Mishap::NoBool => place.wrapped("", " == true"),
        Mishap::NoFunction { name, types } => place.with_operands(name, types),
    }
}

/// The line with a loop in place of a method such as `for_each` at `column`, counted from 1, that is
/// given what to do with each element; `None` where the method is not all of its statement.
pub(super) fn as_loop(line: &str, column: usize) -> Option<String> {
    let at = line.char_indices().nth(column.checked_sub(1)?)?.0;
    let call = Call::at(line, at)?;
    let (receiver, [given]) = (call.receiver?, &call.arguments[..]) else { return None };
    let (before, behind) = (&line[..receiver.start], &line[call.end + 1..]);
    let behind = behind.strip_prefix(';').unwrap_or(behind);
    let is_statement = before.trim().is_empty() || before.trim_end().ends_with([';', '{', '}']);
    let (parameter, body) = line[given.clone()].strip_prefix('|')?.split_once('|')?;
    let (parameter, body) = (parameter.trim(), body.trim());
    let block = if body.starts_with('{') { body.to_owned() } else { format!("{{ {body}; }}") };
    let array = match &line[receiver] {
        array if array.starts_with("as_array(") => array.to_owned(),
        value => format!("as_array({value})"),
    };
    (is_statement && !parameter.is_empty())
        .then(|| format!("{before}for {parameter} in {array} {block}{behind}"))
}

/// Where on a line.
struct Place<'l> {
    line: &'l str,
    at: usize,
}

impl Place<'_> {
    fn replaced(&self, range: Range<usize>, with: &str) -> String {
        format!("{}{with}{}", &self.line[..range.start], &self.line[range.end..])
    }

    /// `parse_money(p.total)` becomes `parse_money(p.total, p.total)`: what cannot be read stays.
    fn with_default(&self) -> Option<String> {
        let call = Call::at(self.line, self.at)?;
        let helper = helpers().find(|helper| helper.name == call.name)?;
        let (place, default) = default_of(helper)?;
        let receiver = call.receiver.clone().filter(|_| !helper.signature.starts_with("event."));
        let given = call.arguments.len() + usize::from(receiver.is_some());
        if given != place {
            return None;
        }
        let value = receiver.or_else(|| call.arguments.first().cloned())?;
        let value = &self.line[value];
        let default = match default {
            "default" if is_plain(value) => value,
            "default" => "()",
            literal => literal,
        };
        let comma = if call.arguments.is_empty() { "" } else { ", " };
        Some(self.replaced(call.end..call.end, &format!("{comma}{default}")))
    }

    /// `round_to(p.total, 2)` becomes `round_to(parse_number(p.total), 2)`.
    fn with_number(&self, argument: usize) -> Option<String> {
        let call = Call::at(self.line, self.at)?;
        let values: Vec<&Range<usize>> = call.receiver.iter().chain(&call.arguments).collect();
        let value = (*values.get(argument)?).clone();
        let reader = if call.name.contains("cents") { "parse_money" } else { "parse_number" };
        let number = format!("{reader}({})", &self.line[value.clone()]);
        Some(self.replaced(value, &number))
    }

    /// `event.context.page.url` becomes `event.context.page?.url`; written to, it becomes
    /// `event.set("context.page.url", …)`.
    fn with_holder(&self) -> Option<String> {
        // Rhai is at the property where it reads, at the point where it writes.
        let dot = match self.line[self.at..].starts_with('.') {
            true => self.at,
            false => self.line[..self.at].strip_suffix('.')?.len(),
        };
        let (start, end) = (start_of_value(self.line, dot)?, end_of_value(self.line, dot));
        let rest = self.line[end..].trim_start();
        if let Some(value) = rest.strip_prefix('=').filter(|value| !value.starts_with('=')) {
            let (root, path) = self.line[start..end].split_once('.')?;
            let value = value.trim_start();
            let (value, tail) = value.split_at(value.find(';')?);
            let set = format!("{root}.set({path:?}, {})", value.trim_end());
            return is_plain(path).then(|| format!("{}{set}{tail}", &self.line[..start]));
        }
        let below = &self.line[dot..end];
        let optional = below.replace("?.", ".").replace('.', "?.");
        Some(self.replaced(dot..end, &optional))
    }

    /// `event.properties.products[3].sku` becomes `get(event, "properties.products[3].sku")`.
    fn with_get(&self) -> Option<String> {
        let open = match self.line[self.at..].starts_with('[') {
            true => self.at,
            false => self.line[..self.at].rfind('[')?,
        };
        let (start, end) = (start_of_value(self.line, open)?, end_of_value(self.line, open));
        let (root, path) = self.line[start..end].split_once('.')?;
        let is_path = path.chars().all(|c| is_of_name(c) || matches!(c, '.' | '[' | ']'));
        is_path.then(|| self.replaced(start..end, &format!("get({root}, {path:?})")))
    }

    /// The value at the place between two texts.
    fn wrapped(&self, before: &str, behind: &str) -> Option<String> {
        let range = self.at..end_of_value(self.line, self.at);
        let value = &self.line[range.clone()];
        let follows = self.line[range.end..].trim_start();
        let is_whole = follows.is_empty() || follows.starts_with(['{', ')', ';', '&', '|']);
        (is_whole && !value.is_empty())
            .then(|| self.replaced(range, &format!("{before}{value}{behind}")))
    }

    /// `p.price * 2` becomes `parse_number(p.price) * 2`, or `(p.price ?? 0) * 2` where the price is
    /// missing; `p.note.len()` becomes `p.note?.len()`.
    fn with_operands(&self, name: &str, types: &[String]) -> Option<String> {
        let types: Vec<&str> = types.iter().map(String::as_str).collect();
        if name == "!" && self.line[self.at..].starts_with('!') {
            let range = self.at + 1..end_of_value(self.line, self.at + 1);
            let value = self.line[range.clone()].to_owned();
            return is_plain(&value)
                .then(|| self.replaced(self.at..range.end, &format!("{value} != true")));
        }
        if name.starts_with(|c: char| c.is_alphabetic()) {
            return self.with_receiver(name, &types);
        }
        let operator = self.line[self.at..].strip_prefix(name)?;
        let left_end = self.line[..self.at].trim_end().len();
        let left = start_of_value(self.line, left_end)?..left_end;
        let [first, second] = types[..] else { return None };
        let other = if first == "string" || second == "string" { "\"\"" } else { "0" };
        let mended = |value: &str, word: &str| match word {
            "()" => Some(format!("({value} ?? {other})")),
            "string" => Some(format!("parse_number({value})")),
            _ => None,
        };
        if let Some(mended) = mended(&self.line[left.clone()], first) {
            return Some(match operator.strip_prefix('=') {
                Some(rest) => {
                    let target = &self.line[left.clone()];
                    format!("{}{target} = {mended} {name}{rest}", &self.line[..left.start])
                }
                None => self.replaced(left, &mended),
            });
        }
        let behind = self.line.len() - operator.trim_start_matches('=').trim_start().len();
        let right = behind..end_of_value(self.line, behind);
        let mended = mended(&self.line[right.clone()], second)?;
        Some(self.replaced(right, &mended))
    }

    fn with_receiver(&self, name: &str, types: &[&str]) -> Option<String> {
        let call = Call::at(self.line, self.at).filter(|call| call.name == name)?;
        let receiver = call.receiver?;
        match (types, name) {
            (["()", ..], _) => Some(self.replaced(receiver.end..receiver.end, "?")),
            (["string"], "to_int" | "to_float") => {
                let value = &self.line[receiver.clone()];
                Some(self.replaced(receiver.start..call.end + 1, &format!("parse_number({value})")))
            }
            _ => None,
        }
    }
}

/// A call on a line.
struct Call<'l> {
    name: &'l str,
    /// The value in front of the point.
    receiver: Option<Range<usize>>,
    arguments: Vec<Range<usize>>,
    /// Where its closing bracket is.
    end: usize,
}

impl<'l> Call<'l> {
    /// The call whose name begins at `at`.
    fn at(line: &'l str, at: usize) -> Option<Self> {
        let rest = line.get(at..)?;
        let name = &rest[..rest.find(|c| !is_of_name(c))?];
        let open = at + name.len();
        if name.is_empty() || !line[open..].starts_with('(') {
            return None;
        }
        let (commas, end) = inside(line, open)?;
        let mut starts = vec![open + 1];
        starts.extend(commas.iter().map(|comma| comma + 1));
        let ends = commas.into_iter().chain([end]);
        let arguments: Vec<Range<usize>> =
            starts.into_iter().zip(ends).map(|(from, to)| trimmed(line, from..to)).collect();
        let arguments = arguments.into_iter().filter(|argument| !argument.is_empty()).collect();
        let receiver = match line[..at].strip_suffix('.') {
            Some(before) => {
                let end = before.trim_end_matches('?').len();
                Some(start_of_value(line, end)?..end)
            }
            None => None,
        };
        Some(Self { name, receiver, arguments, end })
    }
}

/// At which place a helper takes a default, and what is written there: `default`, or `"keep"`.
fn default_of(helper: &Helper) -> Option<(usize, &'static str)> {
    let (_, inside) = helper.signature.split_once('(')?;
    let words = inside.split([',', '[', ']', ')']).map(str::trim).filter(|word| !word.is_empty());
    words.enumerate().find(|(_, word)| matches!(*word, "default" | "\"keep\""))
}

/// The commas directly within the bracket that opens at `open`, and where it closes.
fn inside(line: &str, open: usize) -> Option<(Vec<usize>, usize)> {
    let (mut depth, mut commas) = (0usize, Vec::new());
    let mut text: Option<char> = None;
    let mut escaped = false;
    for (at, c) in line[open..].char_indices() {
        match (text, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some('"'), '\\') => escaped = true,
            (Some(quote), c) => text = (quote != c).then_some(quote),
            (None, '"' | '`') => text = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => {
                depth -= 1;
                if depth == 0 {
                    return Some((commas, open + at));
                }
            }
            (None, ',') if depth == 1 => commas.push(open + at),
            _ => {}
        }
    }
    None
}

/// Where the value begins that ends at `end`: names with points, indexes and calls.
fn start_of_value(line: &str, end: usize) -> Option<usize> {
    let mut at = end;
    while let Some(c) = line[..at].chars().next_back() {
        match c {
            ')' | ']' => at = opening(line, at)?,
            c if is_of_name(c) || c == '.' || c == '?' => at -= c.len_utf8(),
            _ => break,
        }
    }
    (at < end).then_some(at)
}

/// Where the bracket opens that closes just before `end`.
fn opening(line: &str, end: usize) -> Option<usize> {
    let opens = line[..end].char_indices().filter(|(_, c)| matches!(c, '(' | '['));
    let mut opens: Vec<usize> = opens.map(|(at, _)| at).collect();
    opens.reverse();
    opens.into_iter().find(|open| inside(line, *open).is_some_and(|(_, close)| close + 1 == end))
}

/// Where the value ends that begins at `start`, or goes on there.
fn end_of_value(line: &str, start: usize) -> usize {
    let mut at = start;
    while let Some(c) = line[at..].chars().next() {
        match c {
            '(' | '[' => match inside(line, at) {
                Some((_, close)) => at = close + 1,
                None => break,
            },
            '?' if line[at..].starts_with("?.") || line[at..].starts_with("?[") => at += 1,
            c if is_of_name(c) || c == '.' => at += c.len_utf8(),
            _ => break,
        }
    }
    at
}

fn trimmed(line: &str, range: Range<usize>) -> Range<usize> {
    let text = &line[range.clone()];
    let start = range.start + (text.len() - text.trim_start().len());
    start..start + text.trim().len()
}

/// Whether a value is only names with points, so that it may be written twice.
fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| is_of_name(c) || c == '.' || c == '?')
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_function(name: &str, types: &[&str]) -> Mishap {
        let types = types.iter().map(|word| (*word).to_owned()).collect();
        Mishap::NoFunction { name: name.to_owned(), types }
    }

    #[test]
    #[rustfmt::skip]
    fn a_line_is_changed_only_where_it_is_wrong() {
        use Mishap::{NoBool, NoElement, NoHolder, NoLoop, NoNumber, Unreadable};
        // The place is marked with ^ in front of it.
        let table = [
            (Unreadable, "p.total = ^parse_money(p.total);", Some("p.total = parse_money(p.total, p.total);")),
            (Unreadable, "let t = ^parse_time(p[\"a, b\"]); // now", Some("let t = parse_time(p[\"a, b\"], ()); // now")),
            (Unreadable, "let x = ^normalize_phone(p.phone, \"US\");", Some("let x = normalize_phone(p.phone, \"US\", p.phone);")),
            (Unreadable, "let x = p.total.^parse_money();", Some("let x = p.total.parse_money(p.total);")),
            (Unreadable, "event.^convert([\"a\", \"b\"], \"money\");", Some("event.convert([\"a\", \"b\"], \"money\", \"keep\");")),
            (Unreadable, "seconds_between(^unix_time(p.a), 5)", Some("seconds_between(unix_time(p.a, p.a), 5)")),
            (Unreadable, "^seconds_between(p.a, p.b)", None),
            (Unreadable, "x = ^parse_money(", None),
            (NoNumber(0), "p.total = ^round_to(p.total, 2);", Some("p.total = round_to(parse_number(p.total), 2);")),
            (NoNumber(0), "let c = p.total.^to_cents();", Some("let c = parse_money(p.total).to_cents();")),
            (NoHolder, "let u = event.context.page.^url.path;", Some("let u = event.context.page?.url?.path;")),
            (NoHolder, "if p.customer.^email == () {", Some("if p.customer?.email == () {")),
            (NoHolder, "event.properties.customer.^email = \"x\"; // set", Some("event.set(\"properties.customer.email\", \"x\"); // set")),
            (NoHolder, "event.properties.customer^.email = 5;", Some("event.set(\"properties.customer.email\", 5);")),
            (NoHolder, "p.lines[0].customer.^email = 5;", None),
            (NoElement, "let s = p.products^[3].sku;", Some("let s = get(p, \"products[3].sku\");")),
            (NoElement, "let s = p.products[^i + 1].sku;", None),
            (NoLoop, "for line in ^p.products { x(line) }", Some("for line in as_array(p.products) { x(line) }")),
            (NoLoop, "for line in ^p.a + p.b {", None),
            (NoBool, "if ^p.gift && p.total > 5 {", Some("if p.gift == true && p.total > 5 {")),
            (no_function("!", &["()"]), "if ^!p.gift {", Some("if p.gift != true {")),
            (no_function("*", &["string", "i64"]), "let x = p.price ^* 2;", Some("let x = parse_number(p.price) * 2;")),
            (no_function("*", &["i64", "string"]), "let x = 2 ^* p.lines[0].price;", Some("let x = 2 * parse_number(p.lines[0].price);")),
            (no_function("+", &["()", "i64"]), "p.count ^+= 1;", Some("p.count = (p.count ?? 0) + 1;")),
            (no_function("-", &["f64", "()"]), "let x = p.a ^- p.b;", Some("let x = p.a - (p.b ?? 0);")),
            (no_function("len", &["()"]), "let n = p.note.^len();", Some("let n = p.note?.len();")),
            (no_function("to_int", &["string"]), "let n = p.note.^to_int() + 1;", Some("let n = parse_number(p.note) + 1;")),
            (no_function("starts_with", &["string", "i64"]), "p.a.^starts_with(5)", None),
        ];
        for (mishap, marked, expected) in table {
            let column = marked.chars().position(|c| c == '^').unwrap() + 1;
            let line = marked.replacen('^', "", 1);
            assert_eq!(corrected(&mishap, &line, column).as_deref(), expected, "{marked}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn a_loop_takes_the_place_of_a_method_that_is_a_statement() {
        let table = [
            ("    p.lines.^for_each(|line| line.price = 0); // free", Some("    for line in as_array(p.lines) { line.price = 0; } // free")),
            ("if a { p.lines.^forEach(|line| { f(line, 1); }) }", Some("if a { for line in as_array(p.lines) { f(line, 1); } }")),
            ("as_array(p.lines).^for_each(|line| line.price = 0)", Some("for line in as_array(p.lines) { line.price = 0; }")),
            ("let x = p.lines.^for_each(|line| line.price);", None),
            ("p.lines.^for_each(|| this.price = 0);", None),
            ("p.lines.^for_each(free);", None),
        ];
        for (marked, expected) in table {
            let column = marked.chars().position(|c| c == '^').unwrap() + 1;
            let line = marked.replacen('^', "", 1);
            assert_eq!(as_loop(&line, column).as_deref(), expected, "{marked}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_too_odd(line in "[a-z.?\\[\\]()\"`=+; üß\\\\]{0,40}", column in 0usize..45, which in 0usize..9) {
            let mishap = match which {
                0 => Mishap::Unreadable,
                1 => Mishap::NoNumber(0),
                2 => Mishap::NoHolder,
                3 => Mishap::NoElement,
                4 => Mishap::NoLoop,
                5 => Mishap::NoBool,
                6 => no_function("!", &["()"]),
                7 => no_function("+", &["()", "string"]),
                _ => no_function("len", &["()"]),
            };
            let _ = (corrected(&mishap, &line, column), as_loop(&line, column));
        }
    }
}
