//! Finds the line of a value in the text of a JSON file, by the way to it.

/// The line and column (both from 1) at which the value at the end of `way` begins, or its key
/// where it has one. `text` must be JSON; what is not there is looked for as far as it goes.
pub(super) fn of(text: &str, way: &[String]) -> (usize, usize) {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0 };
    let mut place = 0;
    scan.space();
    for name in way {
        match scan.enter(name) {
            Some(found) => place = found,
            None => break,
        }
    }
    let before = text.get(..place).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    /// Goes into the property or element `name` of the value that begins here; gives where its key,
    /// or itself, begins.
    fn enter(&mut self, name: &str) -> Option<usize> {
        let opens = self.peek()?;
        if opens != b'{' && opens != b'[' {
            return None;
        }
        self.at += 1;
        let mut index = 0_usize;
        loop {
            self.space();
            if matches!(self.peek()?, b'}' | b']') {
                return None;
            }
            let start = self.at;
            let is_it = if opens == b'{' {
                let key = self.text()?;
                self.space();
                self.at += 1;
                self.space();
                key == name
            } else {
                name.parse() == Ok(index)
            };
            if is_it {
                return Some(start);
            }
            self.value();
            self.space();
            if self.peek()? == b',' {
                self.at += 1;
            }
            index += 1;
        }
    }

    /// Steps over the value that begins here.
    fn value(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.text();
                    if depth == 0 {
                        return;
                    }
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth == 0 => return,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return;
                    }
                }
                b',' if depth == 0 => return,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Reads the text in quotes that begins here.
    fn text(&mut self) -> Option<String> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'"' => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        serde_json::from_slice(self.bytes.get(start..self.at)?).ok()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_leads_to_the_line_of_its_key() {
        let text = "{\n  \"a\": {\"x\": [1, {\"y\\\"\": 2}]},\n  \"b\": \"}{\",\n  \"c\": [\n    true,\n    {\"d\": null}\n  ]\n}";
        let table: [(&str, &[&str], (usize, usize)); 7] = [
            ("the whole", &[], (1, 1)),
            ("a key", &["a"], (2, 3)),
            ("inside of it", &["a", "x"], (2, 9)),
            ("an element and an escaped key", &["a", "x", "1", "y\""], (2, 19)),
            ("behind a text with braces", &["c", "1", "d"], (6, 6)),
            ("an element", &["c", "0"], (5, 5)),
            ("as far as it goes", &["b", "nothing"], (3, 3)),
        ];
        for (what, way, expected) in table {
            let way: Vec<String> = way.iter().map(|step| (*step).to_owned()).collect();
            assert_eq!(of(text, &way), expected, "{what}");
        }
    }
}
