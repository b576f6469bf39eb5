//! As much Markdown as the documents use: code blocks, tables with a name, headings, links.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A document of the repository.
pub struct Page {
    pub name: &'static str,
    pub text: String,
}

/// A code block: its language, and what is in it.
pub struct Block {
    pub language: String,
    pub text: String,
}

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Page {
    pub fn read(name: &'static str) -> Self {
        let text = std::fs::read_to_string(root().join(name));
        Self { name, text: text.unwrap_or_else(|error| panic!("{name}: {error}")) }
    }

    /// The code blocks, in order.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut open = false;
        let mut indent = 0;
        for line in self.text.lines() {
            let fence = line.trim_start().strip_prefix("```");
            match (fence, open) {
                (Some(language), false) => {
                    blocks
                        .push(Block { language: language.trim().to_owned(), text: String::new() });
                    indent = line.len() - line.trim_start().len();
                    open = true;
                }
                (Some(_), true) => open = false,
                (None, true) => {
                    let block = blocks.last_mut().unwrap();
                    block.text.push_str(line.get(indent..).unwrap_or_default());
                    block.text.push('\n');
                }
                (None, false) => {}
            }
        }
        assert!(!open, "{}: a code block has no end", self.name);
        blocks
    }

    /// The texts of the blocks of one language.
    pub fn blocks_of(&self, language: &str) -> Vec<String> {
        let blocks = self.blocks().into_iter().filter(|block| block.language == language);
        blocks.map(|block| block.text).collect()
    }

    /// The rows of the table behind `<!-- table: NAME -->`, without its headings.
    pub fn table(&self, name: &str) -> Vec<Vec<String>> {
        let mark = format!("<!-- table: {name} -->");
        let rest =
            self.text.split_once(&mark).unwrap_or_else(|| panic!("{}: no {mark}", self.name)).1;
        let rows = rest.lines().skip(1).take_while(|line| line.starts_with('|')).skip(2);
        let cells = |row: &str| {
            let row = row.trim().trim_start_matches('|').trim_end_matches('|');
            row.split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let rows: Vec<Vec<String>> = rows.map(cells).collect();
        assert!(!rows.is_empty(), "{}: the table {name} is empty", self.name);
        rows
    }

    /// The first code in the first cell of every row of a table.
    pub fn codes(&self, table: &str) -> BTreeSet<String> {
        self.table(table).iter().map(|row| code(&row[0])).collect()
    }

    /// Targets of links that are no addresses of other sites.
    pub fn links(&self) -> Vec<String> {
        let starts = self.text.match_indices("](").map(|(at, _)| at + 2);
        let targets =
            starts.filter_map(|start| self.text[start..].split_once(')').map(|(target, _)| target));
        targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
    }

    /// What links to headings are called.
    pub fn anchors(&self) -> BTreeSet<String> {
        let headings = self.text.lines().filter(|line| line.starts_with('#'));
        headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
    }
}

/// The first code in a text.
pub fn code(text: &str) -> String {
    text.split('`').nth(1).unwrap_or_else(|| panic!("no code in {text:?}")).to_owned()
}

/// All code in a text.
pub fn codes_in(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn anchor(heading: &str) -> String {
    let kept =
        heading.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_');
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The source files under a folder, or the file itself, by their paths from the repository.
pub fn sources(folder: &str) -> Vec<PathBuf> {
    let path = root().join(folder);
    if path.is_file() {
        return vec![PathBuf::from(folder)];
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{folder}: {error}")) {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let below = format!("{folder}/{name}");
        if root().join(&below).is_dir() {
            found.extend(sources(&below));
        } else if name.ends_with(".rs") {
            found.push(PathBuf::from(below));
        }
    }
    found.sort();
    found
}

/// The code of a source file: without comments, and without its tests.
pub fn code_of(file: &Path) -> String {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a source file only holds tests.
pub fn is_test(file: &Path) -> bool {
    let has = |part: &str| file.components().any(|component| component.as_os_str() == part);
    has("tests") || has("tests.rs") || has("testing.rs") || has("contract") || has("contract.rs")
}
