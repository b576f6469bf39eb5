//! What Rhai's errors mean, in the words of people who write scripts, and what a run tripped over.
//!
//! Not here: how the line would be right ([`super::repair`]).

use rhai::{Dynamic, EvalAltResult, Map, Position};

use super::error::code;
use super::mask;

/// Where and what, before it is known which stage it was.
pub(crate) struct Located {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) mishap: Option<Mishap>,
    pub(crate) file: Option<String>,
    pub(crate) function: Option<String>,
    pub(crate) position: Position,
}

/// What a line tripped over, where the line can be changed so that it does not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Mishap {
    /// A helper could not read its value.
    Unreadable,
    /// An argument of a helper, counted from 0, had to be a number.
    NoNumber(usize),
    /// A property of a value that is missing was read or written.
    NoHolder,
    /// An element that is not there was read.
    NoElement,
    /// A loop ran over something that has no elements.
    NoLoop,
    /// A condition was neither true nor false.
    NoBool,
    /// A function or an operator is not there for these types.
    NoFunction {
        /// The function, or the operator.
        name: String,
        /// The types of its arguments, as Rhai names them.
        types: Vec<String>,
    },
}

/// Reads Rhai's nested errors: the innermost says what, the frames around it say where.
pub(crate) fn locate(error: EvalAltResult) -> Located {
    let mut error = error;
    let mut file = None;
    let mut function = None;
    let mut around = Position::NONE;
    loop {
        match error {
            EvalAltResult::ErrorInFunctionCall(name, source, inner, position) => {
                if !name.starts_with("anon$") {
                    function = Some(name);
                }
                if !source.is_empty() {
                    file = Some(source);
                }
                if !position.is_none() {
                    around = position;
                }
                error = *inner;
            }
            EvalAltResult::ErrorInModule(name, inner, position) => {
                file = Some(name);
                if !position.is_none() {
                    around = position;
                }
                error = *inner;
            }
            _ => break,
        }
    }
    let own = error.position();
    let position = if own.is_none() { around } else { own };
    error.set_position(Position::NONE);
    let (code, message, mishap) = describe(error);
    let function = function.map(|name| name.split(" @").next().unwrap_or_default().to_owned());
    Located { code, message: mask::text(&message), mishap, file, function, position }
}

type Description = (&'static str, String, Option<Mishap>);

fn describe(error: EvalAltResult) -> Description {
    use EvalAltResult as E;
    let (code, message) = match error {
        E::ErrorRuntime(thrown, _) => return describe_thrown(&thrown),
        E::ErrorFunctionNotFound(signature, _) => return no_function(&signature),
        E::ErrorDotExpr(message, _) if message.contains("'()'") => {
            let message = "a property is read from or written to a value that is missing: use `?.`, \
                           get(map, \"path\", default) or set(map, \"path\", value)";
            return (code::MISSING, message.into(), Some(Mishap::NoHolder));
        }
        E::ErrorDotExpr(message, _) => (code::SCRIPT, no_property(&message).unwrap_or(message)),
        E::ErrorIndexingType(message, _) if message.starts_with("()") => {
            let message =
                "a value that is missing is indexed: use `?[`, or get(map, \"path\", default)";
            return (code::MISSING, message.into(), Some(Mishap::NoElement));
        }
        E::ErrorArrayBounds(count, index, _) => {
            let message = format!(
                "there is no element {index}, the array has {count}: get(map, \"path[{index}]\", default) \
                 gives a default"
            );
            return (code::MISSING, message, Some(Mishap::NoElement));
        }
        E::ErrorFor(_) => {
            let message = "a loop runs over what has elements, and this has none: as_array(value) makes \
                           an array of anything";
            return (code::MISSING, message.into(), Some(Mishap::NoLoop));
        }
        E::ErrorMismatchDataType(wanted, found, _) if wanted == "bool" => {
            let message = format!(
                "a condition must be true or false, and this is {}: write value == true, or \
                 !is_blank(value) to ask whether something is there",
                type_word(&found)
            );
            return (code::SCRIPT, message, Some(Mishap::NoBool));
        }
        E::ErrorDataRace(..) => (
            code::SCRIPT,
            "a function uses the very variable on whose part it is called: take that part out first, as \
             in let items = event.properties.items; items.map(|item| …)"
                .into(),
        ),
        E::ErrorTooManyOperations(_) => (
            code::OPERATIONS,
            "too many operations: does a loop never end? ([limits] operations)".into(),
        ),
        E::ErrorTerminated(..) => (
            code::DEADLINE,
            "the script took too long and was stopped ([limits] deadline_ms)".into(),
        ),
        E::ErrorDataTooLarge(what, _) => {
            (code::DATA, format!("{what}: more data than [limits] string_bytes and elements allow"))
        }
        E::ErrorTooManyVariables(_) => (code::DATA, "too many variables".into()),
        E::ErrorTooManyModules(_) => (code::DATA, "too many imports".into()),
        E::ErrorStackOverflow(_) => {
            (code::STACK, "function calls are nested too deeply: does one call itself?".into())
        }
        other => (code::SCRIPT, other.to_string()),
    };
    (code, message, None)
}

fn describe_thrown(thrown: &Dynamic) -> Description {
    const KNOWN: [&str; 9] = [
        code::FAILED,
        code::NO_RESULT,
        code::UNREADABLE,
        code::MISSING,
        code::UNKNOWN_TABLE,
        code::UNKNOWN_FUNCTION,
        code::SCRIPT,
        code::DATA,
        code::NOT_JSON,
    ];
    if let Some(map) = thrown.read_lock::<Map>() {
        let text = |name: &str| map.get(name).and_then(|text| text.clone().into_string().ok());
        if let Some(message) = text("message") {
            let said = text("code").unwrap_or_default();
            let code = KNOWN.into_iter().find(|known| **known == *said).unwrap_or(code::SCRIPT);
            let argument = map.get("argument").and_then(|at| at.as_int().ok());
            let mishap = match argument.map(usize::try_from) {
                Some(Ok(at)) if text("want").as_deref() == Some("a number") => {
                    Some(Mishap::NoNumber(at))
                }
                _ => (code == code::UNREADABLE).then_some(Mishap::Unreadable),
            };
            return (code, message.to_string(), mishap);
        }
    }
    if thrown.is_unit() {
        return (code::SCRIPT, "the script threw an error without a message".into(), None);
    }
    (code::SCRIPT, thrown.to_string(), None)
}

/// Rhai says `Unknown property 'x' - a getter is not registered for type 'i64'`.
fn no_property(message: &str) -> Option<String> {
    let mut quoted = message.split('\'').skip(1).step_by(2);
    let (name, holder) = (quoted.next()?, quoted.next()?);
    message.contains("is not registered for type").then(|| {
        format!("there is no property {name} here: this is {}, not a map", type_word(holder))
    })
}

/// Rhai says `snake_cas (&str | ImmutableString | String)`.
fn no_function(signature: &str) -> Description {
    let (name, types) = signature.split_once(" (").unwrap_or((signature, ""));
    let types = types.strip_suffix(')').unwrap_or(types);
    let types = types.replace("&str | ImmutableString | String", "string");
    let types: Vec<String> =
        types.split(", ").filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let words: Vec<&str> = types.iter().map(|word| type_word(word)).collect();
    let is_operator = !name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let message = match (is_operator, &words[..]) {
        (true, ["a missing value", _] | [_, "a missing value"]) => format!(
            "`{name}` cannot be used with a missing value: value ?? 0 takes another one for it"
        ),
        (true, ["a text", _] | [_, "a text"]) => format!(
            "`{name}` cannot be used between {}: parse_number(text) and parse_money(text) read numbers",
            words.join(" and ")
        ),
        (true, _) => format!("`{name}` cannot be used between {}", words.join(" and ")),
        (false, ["a missing value", ..]) => format!(
            "{name} is called on a value that is missing: `?.` gives () there, value ?? other takes \
             another one for it"
        ),
        (false, _) => format!("there is no function {name}({})", types_of(&types)),
    };
    let mishap = Mishap::NoFunction { name: name.to_owned(), types };
    (code::UNKNOWN_FUNCTION, message, Some(mishap))
}

fn types_of(types: &[String]) -> String {
    types.join(", ").replace("i64", "int").replace("f64", "float")
}

/// What a type of Rhai's is called in a sentence.
fn type_word(word: &str) -> &str {
    match word {
        "()" => "a missing value",
        "string" => "a text",
        "i64" | "int" => "a whole number",
        "f64" | "float" => "a number",
        "bool" => "true or false",
        "char" => "a character",
        "array" => "an array",
        "map" => "a map",
        other => other,
    }
}
