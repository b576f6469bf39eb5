//! One thing that is wrong with an event, in words that hold nothing of what was sent.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// Longer samples are cut.
const LONGEST_SAMPLE: usize = 40;

/// What kind of thing is wrong. The names are those of RudderStack's tracking plans, so that a team
/// finds in Segue what it knows.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// A required property is absent or `null`.
    RequiredMissing,
    /// A property has another type.
    DatatypeMismatch,
    /// A property that the contract does not name, where it names all.
    AdditionalProperties,
    /// Something that a script reported in words of its own, or more than can be told.
    Unknown,
    /// An event without a contract, where all must have one.
    UnplannedEvent,
    /// A value of the right type that is not allowed: an enum, a pattern, a bound.
    AdvanceRules,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::RequiredMissing,
        Self::DatatypeMismatch,
        Self::AdditionalProperties,
        Self::Unknown,
        Self::UnplannedEvent,
        Self::AdvanceRules,
    ];

    /// The name, a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequiredMissing => "Required-Missing",
            Self::DatatypeMismatch => "Datatype-Mismatch",
            Self::AdditionalProperties => "Additional-Properties",
            Self::Unknown => "Unknown-Violation",
            Self::UnplannedEvent => "Unplanned-Event",
            Self::AdvanceRules => "Advance-Rules-Violation",
        }
    }
}

/// A step on the way to a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Into a property.
    Name(Arc<str>),
    /// Into an element of a list.
    Index(usize),
}

/// One thing that is wrong with an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// What kind of thing.
    pub kind: Kind,
    /// What the contract wants there: `a number`.
    pub wanted: Arc<str>,
    /// What is there, with every letter and digit hidden: `text "$00.00"`.
    pub found: String,
    /// The word of the script that reported it.
    said: Option<String>,
    /// `properties` or `traits`.
    field: &'static str,
    /// From there to the value.
    pub(super) steps: Vec<Step>,
    /// The path that a script gave.
    given: Option<String>,
}

impl Violation {
    pub(super) fn new(
        kind: Kind,
        (field, steps): (&'static str, Vec<Step>),
        wanted: Arc<str>,
        found: String,
    ) -> Self {
        Self { kind, wanted, found, said: None, field, steps, given: None }
    }

    /// What a script reported by `violation(kind, path)`.
    pub fn of_script(word: &str, path: &str) -> Self {
        Self {
            kind: Kind::Unknown,
            wanted: "".into(),
            found: String::new(),
            said: Some(word.to_owned()),
            field: "",
            steps: Vec::new(),
            given: Some(path.to_owned()),
        }
    }

    pub(super) fn unplanned() -> Self {
        let wanted = "a schema for this event".into();
        Self::new(Kind::UnplannedEvent, ("event", Vec::new()), wanted, String::new())
    }

    pub(super) fn and_more(field: &'static str) -> Self {
        Self::new(Kind::Unknown, (field, Vec::new()), "fewer violations".into(), String::new())
    }

    /// The word of the script that reported it, else the kind.
    pub fn name(&self) -> &str {
        self.said.as_deref().unwrap_or_else(|| self.kind.as_str())
    }

    /// Whether a script reported it, not the contract.
    pub fn is_of_script(&self) -> bool {
        self.said.is_some()
    }

    /// Where: `properties.products[1].price`.
    pub fn path(&self) -> String {
        if let Some(given) = &self.given {
            return given.clone();
        }
        let mut path = self.field.to_owned();
        for step in &self.steps {
            match step {
                Step::Name(name) => {
                    path.push('.');
                    path.push_str(name);
                }
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }

    /// The property, the same for all elements of a list, for counting: `products[].price`. Names
    /// that the contract does not know are counted together.
    pub fn property(&self) -> String {
        if self.kind == Kind::AdditionalProperties {
            return "(additional)".into();
        }
        let whole = self.path();
        let inner = match whole.split_once('.') {
            Some(("properties" | "traits", inner)) => inner,
            _ if self.given.is_some() => whole.as_str(),
            _ => "",
        };
        let mut property = String::with_capacity(inner.len());
        let mut in_brackets = false;
        for c in inner.chars().take(200) {
            match c {
                '[' => in_brackets = true,
                ']' => in_brackets = false,
                _ if in_brackets => continue,
                _ => {}
            }
            property.push(c);
        }
        property
    }
}

/// One phrase: `Datatype-Mismatch at properties.total (wanted a number, found text "$00.00")`.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name(), self.path())?;
        match (self.wanted.is_empty(), self.found.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => write!(f, " (wanted {})", self.wanted),
            (false, false) => write!(f, " (wanted {}, found {})", self.wanted, self.found),
        }
    }
}

/// What a value looks like, with every letter and digit hidden: enough to see what is wrong with
/// it, too little to know whose it is.
pub(super) fn sample(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "true or false".into(),
        Value::Number(number) => format!("the number {}", hidden(&number.to_string())),
        Value::String(text) => format!("the text \"{}\"", hidden(text)),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(fields) => format!("an object of {}", fields.len()),
    }
}

fn hidden(text: &str) -> String {
    let hide = |c: char| match c {
        c if c.is_numeric() => '0',
        c if c.is_uppercase() => 'X',
        c if c.is_alphabetic() => 'x',
        c if c.is_control() => '_',
        c => c,
    };
    let mut hidden: String = text.chars().take(LONGEST_SAMPLE).map(hide).collect();
    if text.chars().nth(LONGEST_SAMPLE).is_some() {
        hidden.push('…');
    }
    hidden
}
