//! L004, and the words for everything that the parser refuses: what was meant, and the line as it
//! would be right. Most first scripts are written by people who think in another language.

use rhai::{LexError, ParseError, ParseErrorType as E};

use crate::transform::diagnostic::Diagnostic;

/// What other languages write, and what Rhai does.
#[rustfmt::skip]
const WORDS: [(&str, &str, &str); 21] = [
    ("null", "()", "nothing is written ()"),
    ("nil", "()", "nothing is written ()"),
    ("undefined", "()", "nothing is written ()"),
    ("None", "()", "nothing is written ()"),
    ("void", "()", "nothing is written ()"),
    ("True", "true", "true is written in small letters"),
    ("False", "false", "false is written in small letters"),
    ("var", "let", "a variable is made with let"),
    ("elif", "else if", "write else if"),
    ("elsif", "else if", "write else if"),
    ("elseif", "else if", "write else if"),
    ("function", "fn", "a function begins with fn, and stands outside of other functions"),
    ("def", "fn", "a function begins with fn, and its body stands between { and }"),
    ("not", "!", "not is written !"),
    ("delete", "", "event.del(\"properties.x\") takes a field out"),
    ("console", "", "print(value) shows a value in `segue explain`"),
    ("JSON", "", "to_json(value) and from_json(text)"),
    ("Math", "", "numbers have methods: x.round(), x.floor(), x.abs(); round_to(x, 2) keeps cents"),
    ("Object", "", "map.keys() and map.values()"),
    ("Date", "", "ctx.now is the time; parse_time and unix_time read times"),
    ("new", "", "maps are written #{…}, arrays […], times are read by parse_time(value)"),
];
/// Operators of other languages.
#[rustfmt::skip]
const OPERATORS: [(&str, &str, &str); 10] = [
    ("===", "==", "equality is written =="),
    ("!==", "!=", "inequality is written !="),
    ("++", " += 1", "write += 1"),
    ("--", " -= 1", "write -= 1"),
    ("<>", "!=", "inequality is written !="),
    ("...", "", "arrays are joined with +, maps with merge(map, over)"),
    ("->", "", "a function has no types: fn name(a, b) { … }"),
    (":=", "=", "write let name = value;"),
    ("#", "//", "a comment begins with //, a map with #{"),
    ("?", "", "write if condition { a } else { b }; `??` takes a default where nothing is"),
];

/// The finding for a file that cannot be parsed.
pub(in crate::transform) fn finding(file: &str, text: &str, error: &ParseError) -> Diagnostic {
    let position = error.position();
    let (line, column) = (position.line(), position.position());
    let finding = Diagnostic::error(file, error.err_type().to_string()).at(text, line, column);
    let place = Place::of(text, line, column);
    explain(finding, text, &place, error.err_type())
}

fn explain(finding: Diagnostic, text: &str, place: &Place<'_>, kind: &E) -> Diagnostic {
    match kind {
        E::VariableUndefined(name) | E::ModuleUndefined(name) => undefined(finding, text, place, name),
        E::Reserved(word) => reserved(finding, place, word),
        E::PropertyExpected => {
            let word = place.word();
            let corrected = place.replaced(&format!(".{word}"), &format!("[\"{word}\"]"));
            finding
                .by("L004")
                .with_hint(format!("{word:?} is a word of Rhai's own; as a property write [\"{word}\"]"))
                .with_corrected(corrected)
        }
        E::UnknownOperator(operator) => operator_finding(finding, place, operator),
        E::BadInput(LexError::ImproperSymbol(symbol, _)) if symbol == "=" => finding
            .with_hint("= assigns; to compare write ==")
            .with_corrected(place.replaced("=", "==")),
        E::BadInput(LexError::ImproperSymbol(symbol, _)) => operator_finding(finding, place, symbol),
        E::BadInput(LexError::MalformedChar(inside)) => {
            let corrected = place.line.replace(&format!("'{inside}'"), &format!("\"{inside}\""));
            let corrected = (corrected != place.line).then_some(corrected);
            Diagnostic { message: format!("'{inside}' is no text"), ..finding }
                .with_hint("a text stands between double quotes")
                .with_corrected(corrected)
        }
        E::BadInput(LexError::UnterminatedString) => {
            finding.with_hint("the text has no closing quote on its line; backticks may hold several lines")
        }
        E::BadInput(LexError::UnexpectedInput(what)) if what == "=" && place.line.contains("??=") => {
            let target = place.line.trim().split("??=").next().unwrap_or_default().trim().to_owned();
            finding
                .with_hint("there is no ??=")
                .with_corrected(place.replaced("??=", &format!("= {target} ??")))
        }
        E::BadInput(LexError::UnexpectedInput(what)) if what == "try" => finding.with_hint(
            "try is a statement and gives no value: assign within it, let x = (); try { x = …; } catch { }",
        ),
        E::MissingToken(token, _) if token == ";" => semicolon(finding, text, place),
        E::MissingToken(token, _) if token == "{" => {
            finding.with_hint("what if, for and fn do stands between { and }, be it one statement")
        }
        E::MissingToken(token, _) if token == "in" => finding
            .with_hint("write for item in array { … }")
            .with_corrected(place.replaced(" of ", " in ")),
        E::VariableExpected if place.line.trim_start().starts_with("for") => finding
            .with_hint("write for i in 0..3 { … }, or for item in array { … }, without brackets"),
        E::VariableExpected => {
            finding.with_hint("a name belongs here; words of Rhai's own, such as default, cannot be one")
        }
        E::ExprExpected(what) if what == "literal" => finding.with_hint(
            "a switch is written switch x { \"a\" => …, \"b\" | \"c\" => …, _ => … }",
        ),
        E::MissingToken(token, _) if token == "}" && is_keyword(place.word()) => {
            let word = place.word();
            finding
                .by("L004")
                .with_hint(format!("{word:?} is a word of Rhai's own; as a key write \"{word}\": …"))
                .with_corrected(place.replaced(&format!("{word}:"), &format!("\"{word}\":")))
        }
        _ => finding,
    }
}

fn undefined(finding: Diagnostic, text: &str, place: &Place<'_>, name: &str) -> Diagnostic {
    if text.contains(&format!("const {name}")) {
        return finding
            .with_hint(format!("in a function a constant is read as global::{name}"))
            .with_corrected(place.replaced(name, &format!("global::{name}")));
    }
    if let Some((_, right, hint)) = WORDS.iter().find(|(word, ..)| *word == name) {
        let corrected = match *right {
            "" => None,
            "!" => place.replaced("not ", "!"),
            right => place.replaced(name, right),
        };
        return finding.with_hint(*hint).with_corrected(corrected);
    }
    if matches!(finding.message.as_str(), message if message.contains("module")) {
        let hint = format!("put import \"lib/{name}\" as {name}; at the top of the file");
        return finding.with_hint(hint);
    }
    if place.line.contains("=>") {
        return finding
            .with_hint("a function without a name is written |x| x + 1; => is for switch");
    }
    if place.line.contains('{') && place.line.contains(&format!("{{{name}:")) {
        return finding
            .with_hint("a map is written #{…}")
            .with_corrected(place.replaced(&format!("{{{name}:"), &format!("#{{{name}:")));
    }
    let on_event =
        ["properties", "traits", "context", "userId", "anonymousId", "messageId", "type"];
    if on_event.contains(&name) {
        return finding
            .with_hint(format!("fields belong to the event: event.{name}"))
            .with_corrected(place.replaced(name, &format!("event.{name}")));
    }
    finding.with_hint(format!(
        "make it with let {name} = …; a function sees its parameters only, a text stands between double quotes"
    ))
}

fn reserved(finding: Diagnostic, place: &Place<'_>, word: &str) -> Diagnostic {
    let before = place.before();
    let is_property = before.ends_with('.');
    if is_property {
        let dot = if before.ends_with("?.") { "?." } else { "." };
        let corrected = place.replaced(&format!("{dot}{word}"), &format!("[\"{word}\"]"));
        return finding
            .by("L004")
            .with_hint(format!("the word {word:?} is Rhai's own; as a property write [\"{word}\"]"))
            .with_corrected(corrected);
    }
    if place.after().trim_start().starts_with(':') {
        return finding
            .by("L004")
            .with_hint(format!("the word {word:?} is Rhai's own; as a key write \"{word}\": …"))
            .with_corrected(place.replaced(word, &format!("\"{word}\"")));
    }
    if let Some((_, right, hint)) = WORDS.iter().find(|(known, ..)| *known == word) {
        let corrected = if right.is_empty() { None } else { place.replaced(word, right) };
        return finding.by("L004").with_hint(*hint).with_corrected(corrected);
    }
    if OPERATORS.iter().any(|(known, ..)| *known == word) {
        return operator_finding(finding, place, word);
    }
    finding.by("L004").with_hint(format!(
        "the word {word:?} is Rhai's own; as a property write [\"{word}\"], as a name take another"
    ))
}

fn operator_finding(finding: Diagnostic, place: &Place<'_>, operator: &str) -> Diagnostic {
    let Some((_, right, hint)) = OPERATORS.iter().find(|(known, ..)| *known == operator) else {
        return finding;
    };
    let corrected = match *right {
        "" => ternary(place.line).filter(|_| operator == "?"),
        right => place.replaced(operator, right),
    };
    Diagnostic { message: format!("{operator} means nothing here"), ..finding }
        .with_hint(*hint)
        .with_corrected(corrected)
}

/// `let x = a ? b : c;` as Rhai has it.
fn ternary(line: &str) -> Option<String> {
    let (head, rest) = line.split_once(" = ")?;
    let (condition, rest) = rest.split_once(" ? ")?;
    let (yes, no) = rest.split_once(" : ")?;
    let no = no.trim_end().trim_end_matches(';');
    Some(format!("{head} = if {condition} {{ {yes} }} else {{ {no} }};"))
}

/// A missing `;` is noticed at the word behind it, which is on the next line more often than not.
fn semicolon(finding: Diagnostic, text: &str, place: &Place<'_>) -> Diagnostic {
    match place.word() {
        "and" => {
            return finding
                .with_hint("and is written &&")
                .with_corrected(place.replaced("and", "&&"));
        }
        "or" => {
            return finding
                .with_hint("or is written ||")
                .with_corrected(place.replaced("or", "||"));
        }
        "if" => return finding.with_hint("write let x = if condition { a } else { b };"),
        _ => {}
    }
    if !place.before().trim().is_empty() {
        return finding.with_hint("a statement ends with ; and a number has no comma");
    }
    let before = text.lines().take(finding.line.unwrap_or(1).saturating_sub(1)).enumerate();
    let written = before.filter(|(_, line)| {
        let line = line.trim();
        !(line.is_empty() || line.starts_with("//"))
    });
    let Some((at, line)) = written.last() else { return finding };
    let code = line.split(" //").next().unwrap_or(line).trim_end();
    let column = code.chars().count() + 1;
    let file = finding.file.clone();
    Diagnostic::error(file, "a ; is missing at the end of this line")
        .at(text, Some(at + 1), Some(column))
        .with_hint("every statement but the last of a block ends with ;")
        .with_corrected(Some(format!("{code};")))
}

fn is_keyword(word: &str) -> bool {
    [
        "as", "break", "catch", "const", "continue", "do", "else", "export", "false", "fn", "for",
        "if", "import", "in", "let", "loop", "private", "return", "switch", "throw", "true", "try",
        "until", "while",
    ]
    .contains(&word)
}

/// A place in a line.
struct Place<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Place<'a> {
    fn of(text: &'a str, line: Option<usize>, column: Option<usize>) -> Self {
        let line = line.and_then(|line| text.lines().nth(line.checked_sub(1)?)).unwrap_or_default();
        let column = column.unwrap_or(1).saturating_sub(1);
        let at = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
        Self { line, at }
    }

    fn before(&self) -> &'a str {
        self.line.get(..self.at).unwrap_or_default()
    }

    /// The word here.
    fn word(&self) -> &'a str {
        let rest = self.line.get(self.at..).unwrap_or_default();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    }

    /// What stands behind the word here.
    fn after(&self) -> &'a str {
        self.line.get(self.at + self.word().len()..).unwrap_or_default()
    }

    /// The line with `old`, where it is nearest to this place, exchanged for `new`.
    fn replaced(&self, old: &str, new: &str) -> Option<String> {
        let places = self.line.match_indices(old).map(|(at, _)| at);
        let at = places.min_by_key(|at| at.abs_diff(self.at))?;
        Some(format!("{}{new}{}", &self.line[..at], &self.line[at + old.len()..]))
    }
}
