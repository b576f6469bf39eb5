//! The text of a file as a table that knows where each value stands, and what `${NAME}` in it reads.
//!
//! Messages quote a value as it is written, so that none shows what a variable holds.
//!
//! Not here: what the values must be (`super::check`), what serde says of them (`super::mistake`).

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// What stands before the name of a variable that is not set, in place of a secret.
const NOT_SET: &str = "not-set-";
/// What must say something, so that [`NOT_SET`] stands for it. Anything else has a default.
const NEEDED: [&str; 6] = ["api_key", "name", "site_id", "token", "webhook_secret", "write_keys"];

/// What `${NAME}` stands for.
pub struct Environment<'a> {
    /// Answers what a variable holds.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Whether variables may be absent: for commands that need no secret.
    pub is_partial: bool,
}

/// A variable that is not set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unset {
    /// Its name.
    pub variable: String,
    /// The keys that lead to the value that reads it, such as `source.0.token`.
    pub path: String,
    at: usize,
}

/// A table whose variables are replaced, and those that are not set.
pub(super) type Expanded<'t> = (Spanned<DeTable<'t>>, Vec<Unset>);

/// A file as it is written.
pub(super) struct Document<'t> {
    file: &'t str,
    text: &'t str,
    table: Spanned<DeTable<'t>>,
}

impl<'t> Document<'t> {
    /// Reads the text of `file`.
    ///
    /// # Errors
    /// It is no TOML.
    pub(super) fn parse(text: &'t str, file: &'t str) -> Result<Self, ConfigError> {
        match DeTable::parse(text) {
            Ok(table) => Ok(Self { file, text, table }),
            Err(error) => {
                let nothing = Self { file, text, table: Spanned::new(0..0, DeTable::new()) };
                Err(nothing.error(error.span(), error.message()))
            }
        }
    }

    /// The table with the variables replaced by what they hold; all but the text at `except`.
    ///
    /// # Errors
    /// The first `${…}` that cannot be read; all variables that are not set, where they must be.
    pub(super) fn expanded(
        &self,
        environment: &Environment<'_>,
        except: Option<&Range<usize>>,
    ) -> Result<Expanded<'t>, ConfigError> {
        let mut table = self.table.clone();
        let mut expansion = Expansion { document: self, environment, except, unset: Vec::new() };
        expansion.table(table.get_mut(), "")?;
        let mut unset = expansion.unset;
        unset.sort_by_key(|unset| unset.at);
        match self.complaint(&unset).filter(|_| !environment.is_partial) {
            Some(error) => Err(error),
            None => Ok((table, unset)),
        }
    }

    /// What to do about variables that are not set.
    fn complaint(&self, unset: &[Unset]) -> Option<ConfigError> {
        let mut others: Vec<&Unset> = Vec::new();
        let first = unset.first()?;
        for one in unset {
            let is_same = |known: &&Unset| known.variable == one.variable;
            if !is_same(&first) && !others.iter().any(is_same) {
                others.push(one);
            }
        }
        let named = |one: &&Unset| format!(", {} (line {})", one.variable, self.line(one.at));
        let (name, more) = (&first.variable, others.iter().map(named).collect::<String>());
        let message = match others.is_empty() {
            true => format!(
                "the environment variable {name} is not set or empty; set it, or remove the line"
            ),
            false => format!(
                "the environment variables {name}{more} are not set or empty; set them, or remove the lines"
            ),
        };
        Some(self.error(Some(first.at..first.at), &message))
    }

    /// The value at a path such as `source.0.name`.
    fn find(&self, path: &str) -> Option<&Spanned<DeValue<'t>>> {
        let mut steps = path.split('.');
        let mut value = self.table.get_ref().get(steps.next()?)?;
        for step in steps {
            value = match step.parse::<usize>() {
                Ok(at) => value.get_ref().get(at)?,
                Err(_) => value.get_ref().get(step)?,
            };
        }
        Some(value)
    }

    /// A text as it is written, in quotes; `None`: it is not there.
    pub(super) fn written(&self, path: &str) -> Option<String> {
        self.find(path)?.get_ref().as_str().map(|text| format!("{text:?}"))
    }

    /// An error about the value at a path, or about the nearest table around it that is written.
    pub(super) fn about(&self, path: &str, message: &str) -> ConfigError {
        let mut path = path;
        loop {
            if let Some(value) = self.find(path) {
                return self.error(Some(value.span()), message);
            }
            match path.rsplit_once('.') {
                Some((around, _)) => path = around,
                None => return self.error(None, message),
            }
        }
    }

    /// The path of the value that stands exactly here, and the value.
    pub(super) fn at(&self, span: &Range<usize>) -> Option<(String, &DeValue<'t>)> {
        let mut left: Vec<(String, &Spanned<DeValue<'t>>)> = Vec::new();
        let root = self.table.get_ref().iter();
        left.extend(root.map(|(key, value)| (key.get_ref().to_string(), value)));
        while let Some((path, value)) = left.pop() {
            if value.span() == *span {
                return Some((path, value.get_ref()));
            }
            match value.get_ref() {
                DeValue::Table(table) => left.extend(
                    table.iter().map(|(key, value)| (format!("{path}.{}", key.get_ref()), value)),
                ),
                DeValue::Array(items) => {
                    let items = items.iter().enumerate();
                    left.extend(items.map(|(at, value)| (format!("{path}.{at}"), value)));
                }
                _ => {}
            }
        }
        None
    }

    /// An error at a place of the text.
    pub(super) fn error(&self, at: Option<Range<usize>>, message: &str) -> ConfigError {
        let line = at.map(|at| self.line(at.start));
        ConfigError { file: self.file.into(), line, message: message.trim().into() }
    }

    /// The line of a place, counted from 1.
    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().iter().take(at);
        1 + before.filter(|byte| **byte == b'\n').count()
    }
}

/// Replaces variables in a table.
struct Expansion<'e, 't> {
    document: &'e Document<'t>,
    environment: &'e Environment<'e>,
    except: Option<&'e Range<usize>>,
    unset: Vec<Unset>,
}

impl<'t> Expansion<'_, 't> {
    fn table(&mut self, table: &mut DeTable<'t>, path: &str) -> Result<(), ConfigError> {
        let mut left_out = Vec::new();
        for (key, value) in table.iter_mut() {
            let key = key.get_ref();
            let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
            let unset = self.unset.len();
            self.value(value, &path)?;
            let is_text = value.get_ref().is_str();
            if is_text && self.unset.len() > unset && !NEEDED.contains(&key.as_ref()) {
                left_out.push(key.to_string());
            }
        }
        for key in left_out {
            table.remove(key.as_str());
        }
        Ok(())
    }

    fn value(&mut self, value: &mut Spanned<DeValue<'t>>, path: &str) -> Result<(), ConfigError> {
        let span = value.span();
        match value.get_mut() {
            DeValue::String(text) if self.except != Some(&span) => {
                let unset = &mut self.unset;
                let expanded = expand(text, self.environment.variable, &mut |variable| {
                    let (variable, path) = (variable.to_owned(), path.to_owned());
                    unset.push(Unset { variable, path, at: span.start });
                });
                let wrong = |message: String| self.document.error(Some(span.clone()), &message);
                if let Some(expanded) = expanded.map_err(wrong)? {
                    *text = Cow::Owned(expanded);
                }
                Ok(())
            }
            DeValue::Array(items) => {
                let mut items = items.iter_mut().enumerate();
                items.try_for_each(|(at, item)| self.value(item, &format!("{path}.{at}")))
            }
            DeValue::Table(table) => self.table(table, path),
            _ => Ok(()),
        }
    }
}

/// A text with its variables replaced; `None`: it has none. `missing` hears of those that are not
/// set. What a variable holds is never expanded again.
fn expand(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    missing: &mut dyn FnMut(&str),
) -> Result<Option<String>, String> {
    if let Some(name) = text.strip_prefix('$').filter(|name| is_shouted(name)) {
        return Err(format!(
            "\"${name}\" would be taken as it stands; write \"${{{name}}}\" to read the environment variable"
        ));
    }
    if !text.contains("${") {
        return Ok(None);
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let inside = after.split_once('}').filter(|(name, _)| is_name(name));
        let (name, behind) = inside.ok_or(
            "a ${ in this text names no variable; write \"${NAME}\", with letters, digits and _",
        )?;
        expanded.push_str(before);
        match variable(name).filter(|said| !said.is_empty()) {
            Some(said) => expanded.push_str(&said),
            None => {
                missing(name);
                // Another one for each variable: two sources must not have the same key.
                expanded.push_str(NOT_SET);
                expanded.push_str(name);
            }
        }
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(Some(expanded))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// As names of variables are written, and hardly anything else.
fn is_shouted(name: &str) -> bool {
    is_name(name)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.contains(|c: char| c.is_ascii_lowercase())
}
