//! What the file may say, and how mistakes are told.

use super::*;

fn read(text: &str) -> Result<Config, ConfigError> {
    parse(text, "segue.toml", &|name| match name {
        "TOKEN" => Some("s3cret${TOKEN}".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    })
}

const MINIMAL: &str = "destination = \"emulator\"\n[[source]]\nname = \"web\"\n";

#[test]
fn a_minimal_file_is_the_default_with_a_source() {
    let config = read(MINIMAL).unwrap();
    let expected = Config {
        destination: DestinationKind::Emulator,
        source: vec![SourceConfig { name: "web".into(), ..SourceConfig::default() }],
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn every_mistake_is_named_with_its_line() {
    let table = [
        (
            "a misspelt key",
            format!("{MINIMAL}\n[customerio]\nsite = \"x\"\n"),
            Some(6),
            "unknown field `site`",
        ),
        (
            "a wrong span",
            format!("{MINIMAL}[guard]\nlate_after = \"soon\"\n"),
            Some(5),
            "no span of time",
        ),
        (
            "an unset variable",
            format!("{MINIMAL}token = \"${{NOPE}}\"\n"),
            Some(4),
            "NOPE is not set",
        ),
        (
            "an empty variable",
            format!("{MINIMAL}token = \"${{EMPTY}}\"\n"),
            Some(4),
            "EMPTY is not set",
        ),
        ("an empty secret", format!("{MINIMAL}token = \"\"\n"), Some(3), "empty secret"),
        ("no source", "destination = \"emulator\"\n".into(), None, "no [[source]]"),
        ("no credentials", "[[source]]\nname = \"web\"\n".into(), None, "needs site_id"),
        ("a bad address", format!("listen = \"here\"\n{MINIMAL}"), Some(1), "is no address"),
        (
            "an open source",
            format!("listen = \"0.0.0.0:80\"\n{MINIMAL}"),
            Some(4),
            "reachable from outside",
        ),
        ("two of a name", format!("{MINIMAL}[[source]]\nname = \"web\"\n"), Some(3), "two sources"),
        (
            "one key of two sources",
            format!(
                "{MINIMAL}write_keys = [\"k\"]\n[[source]]\nname = \"b\"\nwrite_keys = [\"k\"]\n"
            ),
            Some(6),
            "same write key",
        ),
        ("a bad cutover", format!("{MINIMAL}cutover = \"now\"\n"), Some(4), "must be a time"),
    ];
    for (what, text, line, words) in table {
        let error = read(&text).unwrap_err();
        assert_eq!(error.line, line, "{what}: {error}");
        assert!(error.message.contains(words), "{what}: {error}");
    }
}

#[test]
fn a_variable_is_read_once_and_never_printed() {
    let config = read(&format!("{MINIMAL}token = \"a-${{TOKEN}}-b\"\n")).unwrap();
    let token = config.source[0].token.as_ref().unwrap();
    assert_eq!(token.expose(), "a-s3cret${TOKEN}-b");
    assert!(!format!("{config:?}").contains("s3cret"));
    assert!(!toml::to_string(&config).unwrap().contains("s3cret"));
}

#[test]
fn what_is_printed_can_be_read_again() {
    let printed = toml::to_string(&Config::demo()).unwrap();
    let config = toml::from_str::<Config>(&printed).unwrap();
    assert_eq!(config.guard, Config::demo().guard);
}

#[test]
fn spans_are_read_as_people_write_them() {
    for (text, millis) in
        [("20ms", 20), ("90s", 90_000), ("1h 30m", 5_400_000), ("7d", 604_800_000)]
    {
        assert_eq!(Span::parse(text), Some(Span::from_millis(millis)), "{text}");
    }
    for text in ["", "soon", "5", "-1h", "1w"] {
        assert_eq!(Span::parse(text), None, "{text}");
    }
}

#[test]
fn a_file_whose_scripts_are_not_there_is_refused_unless_it_wants_the_shipped_ones() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("segue.toml");
    std::fs::write(&file, MINIMAL).unwrap();
    let error = load_with(Some(&file), &|_| None).unwrap_err();
    assert!(error.message.contains("is not there"), "{error}");

    std::fs::write(&file, format!("transforms = \"shipped\"\n{MINIMAL}")).unwrap();
    assert!(load_with(Some(&file), &|_| None).unwrap().config.ships_scripts());

    std::fs::write(&file, MINIMAL).unwrap();
    std::fs::create_dir(folder.path().join("transforms")).unwrap();
    let config = load_with(Some(&file), &|_| None).unwrap().config;
    assert_eq!(config.transforms, folder.path().join("transforms"));
}
