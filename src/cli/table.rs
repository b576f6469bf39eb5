//! Answers as a table for people.
//!
//! Not here: answers for machines (`--json`).

use std::fmt;

/// A table: every column as wide as its widest cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(super) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// A table whose headings were shown before.
    pub(super) fn without_headings() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub(super) fn add(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| printable(cell)).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// Names come from outside: what would steer the terminal is replaced.
pub(super) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_cell_steers_the_terminal() {
        let mut table = Table::new(&["SEQ", "EVENT"]);
        table.add(vec!["7".into(), "Überweisung".into()]);
        table.add(vec!["1234".into(), "\u{1b}[2J\nx".into()]);

        assert_eq!(
            table.to_string(),
            "SEQ   EVENT\n7     Überweisung\n1234  \u{fffd}[2J\u{fffd}x\n"
        );
    }
}
