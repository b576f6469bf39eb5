//! The documents are true: commands parse, blocks are read by the code that they are written for,
//! examples run, tables say what the code says.

mod commands;
mod examples;
pub mod markdown;
mod migration;
mod served;
mod shell;
mod tables;

use markdown::{Page, root};

/// Every document that users and engineers read.
pub const PAGES: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "docs/mapping.md",
    "docs/migrate.md",
    "docs/helpers.md",
    "docs/lints.md",
    "fixtures/README.md",
];

#[test]
fn every_link_leads_somewhere() {
    for name in PAGES {
        let page = Page::read(name);
        for link in page.links() {
            let (path, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let folder = root().join(name).parent().unwrap().to_path_buf();
            let target = if path.is_empty() { root().join(name) } else { folder.join(path) };
            assert!(target.exists(), "{name} links to {link}, which is not there");
            if anchor.is_empty() {
                continue;
            }
            let text = std::fs::read_to_string(&target).unwrap();
            let anchors = Page { name, text }.anchors();
            assert!(anchors.contains(anchor), "{name} links to {link}; there are {anchors:?}");
        }
    }
}

#[test]
fn every_file_that_the_architecture_names_is_there() {
    let page = Page::read("ARCHITECTURE.md");
    let named = markdown::codes_in(&page.text);
    let paths = named.iter().filter(|code| {
        ["src/", "tests/", "fixtures/", "transforms/", "docs/", "benches/", ".ci/"]
            .iter()
            .any(|start| code.starts_with(start))
    });
    let mut count = 0;
    for path in paths {
        assert!(root().join(path).exists(), "ARCHITECTURE.md names {path}, which is not there");
        count += 1;
    }
    assert!(count > 20, "only {count} paths were found: is the text still read?");
}
