//! As much of a shell as the documents use: words, quotes, pipes, redirections.

/// The commands of a block, each as its words.
pub fn commands(block: &str) -> Vec<Vec<String>> {
    let joined = block.replace("\\\n", " ");
    joined.lines().flat_map(commands_of_line).filter(|words| !words.is_empty()).collect()
}

/// The arguments of a `segue` command, with the program's name in front; `None` for another program.
pub fn segue(words: &[String]) -> Option<Vec<String>> {
    let is = |at: usize, word: &str| words.get(at).is_some_and(|one| one == word);
    if is(0, "segue") {
        return Some(words.to_vec());
    }
    let separator = words.iter().position(|word| word == "--")?;
    let runs = is(0, "cargo") && is(1, "run");
    runs.then(|| {
        std::iter::once("segue".to_owned()).chain(words[separator + 1..].iter().cloned()).collect()
    })
}

fn commands_of_line(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut is_target = false;
    for c in line.chars().chain([' ']) {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '<' | '>') | (None, ' ') => {
                if let Some(done) = word.take()
                    && !std::mem::take(&mut is_target)
                {
                    commands.last_mut().unwrap().push(done);
                }
                match c {
                    '|' => commands.push(Vec::new()),
                    '<' | '>' => is_target = true,
                    _ => {}
                }
            }
            (None, _) => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "a quote has no end: {line}");
    commands
}

#[test]
fn words_quotes_pipes_and_redirections_are_told_apart() {
    let block = "echo '{\"a\": \"b c\"}' | segue map --mapping segment < in.ndjson > out\ncargo run -- serve # a word\n";

    let commands = commands(block);

    assert_eq!(commands[0], ["echo", "{\"a\": \"b c\"}"]);
    assert_eq!(segue(&commands[1]).unwrap(), ["segue", "map", "--mapping", "segment"]);
    assert_eq!(segue(&commands[2]).unwrap(), ["segue", "serve"]);
    assert_eq!(segue(&commands[0]), None);
}
