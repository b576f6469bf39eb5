//! Requests in the shapes of real clients, one file each under `fixtures/requests`.
//!
//! A file is a request as it goes over the wire, without its length, after lines that begin with `#`:
//! what it shows, `# expect: <answer>, <events that are stored>`, and `# gzip` where the body is to be
//! compressed on its way.

use std::path::{Path, PathBuf};

use super::support::*;

struct Recorded {
    expected: String,
    zipped: bool,
    method: String,
    target: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

fn read(path: &Path) -> Recorded {
    let text = std::fs::read_to_string(path).unwrap();
    let (notes, request): (Vec<&str>, Vec<&str>) =
        text.split('\n').partition(|line| line.starts_with('#'));
    let note = |name: &str| notes.iter().find_map(|line| line.strip_prefix(name));
    let end = request.iter().position(|line| line.is_empty()).unwrap();
    let mut first = request[0].split(' ');
    let (method, target) = (first.next().unwrap(), first.next().unwrap());
    Recorded {
        expected: note("# expect: ").unwrap().trim().into(),
        zipped: note("# gzip").is_some(),
        method: method.into(),
        target: target.into(),
        headers: request[1..end].iter().map(|line| (*line).into()).collect(),
        body: request[end + 1..].join("\n").trim_end().into(),
    }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/requests");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "http"))
        .collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_real_clients_get_the_answer_that_they_need() {
    let files = files();
    assert!(files.len() >= 12, "the fixtures are there");
    for path in files {
        let recorded = read(&path);
        let app = App::start();
        let body = if recorded.zipped { gzip(&recorded.body) } else { recorded.body };
        let headers: Vec<&str> = recorded.headers.iter().map(String::as_str).collect();

        let answer = app.send(&recorded.method, &recorded.target, &headers, &body).await;

        let stored = app.journal.take().len();
        assert_eq!(format!("{}, {stored}", answer.told()), recorded.expected, "{}", path.display());
    }
}
