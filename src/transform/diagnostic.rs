//! What is wrong with a file of the transforms folder, shown so that it can be repaired at once.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// The bundle cannot be used.
    Error,
    /// It can, but somebody will be surprised.
    Warning,
}

/// One finding about one place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The lint that found it, such as `L001`; empty for errors of the compiler and the loader.
    pub code: &'static str,
    /// The file, relative to the transforms folder.
    pub file: String,
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// The column, counted from 1 in characters.
    pub column: Option<usize>,
    /// The text of that line.
    pub source_line: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The line as it would be right, where that can be said.
    pub corrected: Option<String>,
}

impl Diagnostic {
    /// An error about a whole file.
    pub fn error(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code: "",
            file: file.into(),
            line: None,
            column: None,
            source_line: None,
            message: message.into(),
            hint: None,
            corrected: None,
        }
    }

    /// The same finding, as a warning.
    #[must_use]
    pub fn as_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// The same finding, made by a lint.
    #[must_use]
    pub fn by(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    /// The same finding, with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same finding, with the line as it would be right.
    #[must_use]
    pub fn with_corrected(mut self, line: Option<String>) -> Self {
        self.corrected = line;
        self
    }

    /// The same finding at a line and column of `source`, both counted from 1.
    #[must_use]
    pub fn at(mut self, source: &str, line: Option<usize>, column: Option<usize>) -> Self {
        self.line = line;
        self.column = column.filter(|column| *column > 0);
        self.source_line = line
            .and_then(|line| source.lines().nth(line.saturating_sub(1)))
            .map(|text| text.trim_end().to_owned());
        self
    }
}

/// Several lines for a terminal: what, where, the source line with a caret, the hint, and the line as
/// it would be right.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let code = if self.code.is_empty() { String::new() } else { format!("[{}]", self.code) };
        write!(f, "{severity}{code}: {}", self.message)?;
        if !self.file.is_empty() {
            write!(f, "\n  --> {}", self.file)?;
        }
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.column {
                write!(f, ":{column}")?;
            }
            if let Some(source) = &self.source_line {
                let number = line.to_string();
                let margin = " ".repeat(number.len());
                write!(f, "\n {margin} |\n {number} | {source}")?;
                if let Some(column) = self.column {
                    // Tabs stay tabs, so that the caret stands under its character.
                    let lead: String = source
                        .chars()
                        .take(column - 1)
                        .map(|c| if c == '\t' { '\t' } else { ' ' })
                        .collect();
                    write!(f, "\n {margin} | {lead}^")?;
                }
            }
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        if let Some(corrected) = &self.corrected {
            write!(f, "\n  write: {}", corrected.trim())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_its_line_with_a_caret_under_the_place() {
        let source = "fn on_track(event, ctx) {\n    snake_cas(event.event)\n}";
        let finding = Diagnostic::error("00_names.rhai", "there is no function snake_cas")
            .by("L001")
            .at(source, Some(2), Some(5))
            .with_hint("did you mean snake_case?")
            .with_corrected(Some("    snake_case(event.event)".into()));
        let expected = "error[L001]: there is no function snake_cas\n  \
                        --> 00_names.rhai:2:5\n   \
                        |\n 2 |     snake_cas(event.event)\n   \
                        |     ^\n  hint: did you mean snake_case?\n  \
                        write: snake_case(event.event)";
        assert_eq!(finding.to_string(), expected);
    }
}
