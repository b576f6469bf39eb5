//! docs/migrate.md, followed to the letter: its commands in its order, its files where it puts them, and
//! the servers that it starts. Every step must leave a Segue that takes the next change of its scripts.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::markdown::{Page, codes_in, root};
use super::served::Served;

/// Where the guide lets vendors send to.
const ONLINE: &str = "https://segue.example.com";
/// What the guide does not say, since it holds where nothing else listens.
const FREE_PORTS: (&str, &str) =
    ("listen = \"127.0.0.1:0\"\n", "\n[admin]\nlisten = \"127.0.0.1:0\"\n");

/// Somebody who does what the guide says.
struct Reader {
    folder: tempfile::TempDir,
    served: Option<Served>,
    /// Variables that the guide exports.
    exports: String,
}

/// The commands, configurations and texts of one step.
fn step(number: u8) -> Page {
    let guide = Page::read("docs/migrate.md");
    let start = format!("{number}. ");
    let section = guide.text.split("\n## ").find(|section| section.starts_with(&start));
    Page { name: guide.name, text: section.unwrap().to_owned() }
}

impl Reader {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), served: None, exports: String::new() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes events as a recording.
    fn record(&self, name: &str, events: &[Value]) {
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        self.write("recording", &lines);
        self.run(&format!("gzip -c recording > {name}"));
    }

    /// Runs the lines of a block; all of them must succeed. Answers what they print.
    fn follow(&mut self, block: &str) -> String {
        let said = self.try_to_follow(block);
        let failed: Vec<_> = said.iter().filter(|(_, code, _)| *code != 0).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        said.into_iter().map(|(_, _, text)| text).collect()
    }

    /// Runs the lines of a block; answers of each the exit code and what it prints.
    fn try_to_follow(&mut self, block: &str) -> Vec<(String, i32, String)> {
        let mut said = Vec::new();
        for line in block.lines() {
            if line.starts_with("export ") {
                self.exports += &format!("{line}; ");
            } else if line.starts_with("segue serve") {
                self.served =
                    Some(Served::start(&mut self.shell(&format!("exec {line}")), "operator"));
            } else {
                let (code, text) = self.run(line);
                said.push((line.to_owned(), code, text));
            }
        }
        said
    }

    fn run(&self, line: &str) -> (i32, String) {
        let output = self.shell(line).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    /// A shell in which `segue` is this one, and online is here.
    fn shell(&self, line: &str) -> Command {
        let here = self.served.as_ref().map(|served| served.address("takes events"));
        let line = line.replace(ONLINE, here.as_deref().unwrap_or(ONLINE));
        let program = Path::new(env!("CARGO_BIN_EXE_segue")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{}{line}", self.exports)]).current_dir(self.folder.path());
        command.stdin(Stdio::null()).env("PATH", path).env_remove("CI");
        for variable in ["WEB_TOKEN", "SHOP_TOKEN", "CIO_SITE_ID", "CIO_API_KEY"] {
            command.env(variable, "secret");
        }
        command
    }

    fn stop(&mut self) {
        self.served = None;
    }

    /// Sets the mode of the stages that `chosen` picks, as with an editor.
    fn switch(&self, chosen: impl Fn(&str) -> bool, mode: &str) {
        let manifest = self.read("my-segue/transforms/transforms.toml");
        let mut parts = manifest.split("[[stage]]\n");
        let mut edited = parts.next().unwrap().to_owned();
        for stage in parts {
            let name = stage.split('"').nth(1).unwrap();
            let lines = stage.lines().filter(|line| !(chosen(name) && line.starts_with("mode = ")));
            let lines: String = lines.map(|line| format!("{line}\n")).collect();
            edited += "[[stage]]\n";
            match chosen(name) && mode == "off" {
                true => edited += &lines.replacen('\n', "\nmode = \"off\"\n", 1),
                false => edited += &lines,
            }
        }
        self.write("my-segue/transforms/transforms.toml", &edited);
    }
}

/// A day as RudderStack recorded it.
fn day() -> Vec<Value> {
    let read = |name: &str| std::fs::read_to_string(root().join("fixtures/payloads").join(name));
    let week = read("last_week.ndjson").unwrap();
    let mut day: Vec<Value> =
        week.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    day.push(serde_json::from_str(&read("rudderstack_checkout.json").unwrap()).unwrap());
    day.push(json!({
        "type": "track", "event": "Order Completed", "userId": "u-1", "messageId": "o1",
        "timestamp": "2026-01-15T12:00:00Z", "receivedAt": "2026-01-15T12:00:01Z",
        "properties": {"orderId": 1001, "order_total": "$49.00", "currency": "usd"}
    }));
    day
}

#[test]
fn who_follows_the_guide_to_moving_over_ends_with_a_segue_that_takes_every_next_change() {
    let mut reader = Reader::new();
    reader.record("day.ndjson.gz", &day());
    reader.record("gap.ndjson.gz", &day());
    reader.write("event.json", &day().pop().unwrap().to_string());

    let page = step(1);
    let [init, later] = &page.blocks_of("sh")[..] else { panic!("step 1 has two blocks") };
    reader.follow(init);
    let config = page.blocks_of("toml").remove(0);
    reader.write("my-segue/segue.toml", &[FREE_PORTS.0, &config, FREE_PORTS.1].concat());
    reader.switch(|_| true, "off");
    let shown = page.blocks_of("toml").remove(1);
    let shown = shown.split_once('\n').unwrap().1;
    let lines =
        |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let written = lines(&reader.read("my-segue/transforms/transforms.toml"));
    assert!(lines(shown).is_subset(&written), "{shown}");
    reader.follow(later);

    let said = reader.follow(&step(2).blocks_of("sh")[0]);
    assert!(said.contains("planned with my-segue/segue.toml, as of source shop"), "{said}");

    let [serve, look] = &step(3).blocks_of("sh")[..] else { panic!("step 3 has two blocks") };
    reader.follow(serve);
    reader.follow(look);

    let page = step(4);
    let [see, keep, bring] = &page.blocks_of("sh")[..] else { panic!("step 4 has three blocks") };
    let said = reader.follow(see);
    for kind in ["added", "removed", "type-change"] {
        assert!(said.contains(kind) && page.text.contains(&format!("`{kind}`")), "{kind}: {said}");
    }
    let codes = codes_in(&page.text);
    let back = codes.iter().find(|code| code.starts_with("mv ")).unwrap();
    for stage in ["10_orders", "00_names", "20_items", "30_people"] {
        reader.follow(keep);
        reader.switch(|name| name == stage, "live");
        if stage == "10_orders" {
            reader.follow(back);
        }
        let mut said = reader.try_to_follow(bring);
        let (_, code, differences) = said.remove(0);
        if stage == "10_orders" {
            assert_eq!(code, 1, "{differences}");
            assert!(differences.contains("failed on removed"), "{differences}");
        }
        assert!(said.iter().all(|(_, code, _)| *code == 0), "{stage}: {said:#?}");
        assert!(said.pop().unwrap().2.contains("is in force"), "{stage}");
    }

    let page = step(5);
    let [away, start] = &page.blocks_of("sh")[..] else { panic!("step 5 has two blocks") };
    reader.stop();
    reader.follow(away);
    reader.write("my-segue/transforms/00_change.rhai", &page.blocks_of("rhai")[0]);
    let first = page.blocks_of("toml").remove(0);
    let manifest = reader.read("my-segue/transforms/transforms.toml");
    let (before, stages) = manifest.split_once("[[stage]]").unwrap();
    let manifest = [before, &first, "\n[[stage]]", stages].concat();
    reader.write("my-segue/transforms/transforms.toml", &manifest);
    let workspace = Served::start(
        Command::new(env!("CARGO_BIN_EXE_segue")).args(["emulate", "--listen", "127.0.0.1:0"]),
        "Stop with",
    );
    let config = page.blocks_of("toml").remove(1);
    let url = format!("url = \"{}\"\n", workspace.address("emulated"));
    reader.write("my-segue/segue.toml", &[FREE_PORTS.0, &config, &url, FREE_PORTS.1].concat());
    reader.follow(start);
    reader.run("echo '// repaired' >> my-segue/transforms/10_orders.rhai");
    let said = reader.follow("segue reload --config my-segue/segue.toml");
    assert!(said.contains("is in force"), "{said}");

    let said = reader.follow(&step(6).blocks_of("sh")[0]);
    assert!(said.contains("planned with my-segue/segue.toml, as of source shop"), "{said}");
    assert!(said.contains(&format!("{} events sent to http", day().len())), "{said}");
}
