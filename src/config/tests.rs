//! What the file may say, and how mistakes are told.

use super::*;

fn read(text: &str) -> Result<Config, ConfigError> {
    parse(text, "segue.toml", &|name| match name {
        "TOKEN" => Some("s3cret${TOKEN}".into()),
        "EMPTY" => Some(String::new()),
        "VALUE" => Some("s3cret".into()),
        "LINE" => Some("s3cret\n".into()),
        "BLANK" => Some(" \n".into()),
        "EU" => Some("eu".into()),
        "SPAN" => Some("2h".into()),
        "EMAIL" => Some("email".into()),
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

/// What is wrong, the text behind [`MINIMAL`], the line, words of the message.
type Mistake = (&'static str, &'static str, Option<usize>, &'static [&'static str]);

fn assert_told(table: &[Mistake], whole: impl Fn(&str) -> String) {
    for (what, text, line, words) in table {
        let error = read(&whole(text)).expect_err(what);
        assert_eq!(error.line, *line, "{what}: {error}");
        for words in *words {
            assert!(error.message.contains(words), "{what}: {error}");
        }
        assert!(!error.message.contains("s3cret"), "{what}: {error}");
    }
}

#[test]
fn every_mistake_is_named_with_its_line() {
    #[rustfmt::skip]
    let table: [Mistake; 24] = [
        ("a misspelt key", "[customerio]\nsite = \"x\"", Some(5), &["unknown field `site`"]),
        ("no TOML", "[customerio]\nrate = ", Some(5), &[]),
        ("a wrong span", "[guard]\nlate_after = \"soon\"", Some(5), &["\"soon\" is no span of time"]),
        ("an empty secret", "token = \"\"", Some(4), &["empty secret", "remove token"]),
        ("a blank secret", "webhook_secret = \"${BLANK}\"", Some(4), &["empty secret"]),
        ("two of a name", "[[source]]\nkind = \"segment\"\nname = \"web\"", Some(6), &["two sources are named \"web\""]),
        ("one key of two sources", "write_keys = [\"k\"]\n[[source]]\nname = 'b'\nwrite_keys = [\"k\"]", Some(7), &["\"web\" and \"b\" have the same write key"]),
        ("no name", "[[source]]\nkind = \"segment\"", Some(4), &["a source has no name"]),
        ("a bad name", "[[source]]\nname = 'the shop'", Some(5), &["source name \"the shop\": use letters"]),
        ("a bad cutover", "cutover = \"now\"", Some(4), &["must be a time"]),
        ("an open operator's listener", "[admin]\nlisten = \"0.0.0.0:8081\"", Some(5), &["give [admin] a token"]),
        ("a blank operator's token", "[admin]\nlisten = \"0.0.0.0:8081\"\ntoken = \" \"", Some(6), &["token is empty"]),
        ("one port for both", "[admin]\nlisten = \"127.0.0.1:8080\"", Some(5), &["another one"]),
        ("no URL", "[customerio]\nurl = \"foo\"", Some(5), &["customerio.url is not usable", "https://host"]),
        ("a wrong level", "[log]\nfilter = \"segue=louder\"", Some(5), &["\"segue=louder\" cannot be read", "info,segue=debug"]),
        ("a rule of no source", "[[guard.rule]]\nsource = [\"nope\"]\naction = \"drop\"", Some(5), &["number 1", "a source that is not there"]),
        ("a rule of no class", "[[guard.rule]]\nclass = \"old\"\naction = \"drop\"", Some(5), &["unknown variant `old`", "`live`"]),
        ("a rule of no call", "[[guard.rule]]\ntype = [\"track\", \"trak\"]\naction = \"drop\"", Some(5), &["unknown variant `trak`", "`track`"]),
        ("a rule that says nothing", "[[guard.rule]]\nclass = \"live\"", Some(4), &["neither action nor max_age"]),
        ("a rename without a mark", "[[guard.rule]]\naction = \"drop\"\nrename = \"x\"", Some(6), &["action = \"mark\""]),
        ("ages out of order", "[guard]\nlate_after = \"9d\"", Some(5), &["longer than historical_after"]),
        ("no name of a header", "[ingest]\nheaders = [\"x-a\", \"bad header\"]", Some(5), &["\"bad header\" is no name of a header"]),
        ("a secret header", "[ingest]\nheaders = [\"Authorization\"]", Some(5), &["holds secrets"]),
        ("no region", "[customerio]\nregion = \"asia\"", Some(5), &["unknown variant `asia`", "`us` or `eu`"]),
    ];
    assert_told(&table, |text| format!("{MINIMAL}{text}\n"));
    #[rustfmt::skip]
    let whole: [Mistake; 8] = [
        ("no source", "destination = \"emulator\"", None, &["no [[source]]"]),
        ("no credentials at all", "[[source]]\nname = \"web\"", None, &["needs site_id"]),
        ("a blank site id", "[[source]]\nname = \"web\"\n[customerio]\nsite_id = \" \"", Some(4), &["needs site_id"]),
        ("no key", "[[source]]\nname = \"web\"\n[customerio]\nsite_id = \"x\"", Some(3), &["needs api_key"]),
        ("a bad address", "# listen = \"here\"\nlisten = 'here'\n[[source]]\nname = \"web\"", Some(2), &["\"here\" is no address"]),
        ("an open source", "listen = \"0.0.0.0:80\"\n[[source]]\nname = 'web'\n", Some(3), &["\"0.0.0.0:80\" is reachable from outside"]),
        ("an emulator in the open", "listen = \"0.0.0.0:80\"\ndestination = \"emulator\"\n[[source]]\nname = 'web'\ntoken = 't'", Some(2), &["--demo"]),
        ("one source in single brackets", "destination = \"emulator\"\n[source]\nname = \"web\"", Some(2), &["write [[source]] in two brackets"]),
    ];
    assert_told(&whole, str::to_owned);
}

#[test]
fn whoever_writes_a_value_of_another_type_is_told_how_to_write_it() {
    #[rustfmt::skip]
    let table: [Mistake; 9] = [
        ("a number below nothing", "[customerio]\nrate = -1", Some(5), &["customerio.rate cannot be -1", ": rate = 300"]),
        ("a key without brackets", "write_keys = \"s3cret\"", Some(4), &["source.write_keys is a list: write_keys = [\"…\"]"]),
        ("a number as a secret", "token = 5", Some(4), &["source.token is a text: put it in quotes"]),
        ("a time without quotes", "cutover = 2026-12-01T00:00:00Z", Some(4), &["put the time in quotes: cutover = \"2026-12-01T00:00:00Z\""]),
        ("a number in quotes", "[customerio]\nrate = \"300\"", Some(5), &["customerio.rate is a whole number, without quotes or unit: rate = 300"]),
        ("a size with a unit", "[ingest]\nmax_body_bytes = \"4MB\"", Some(5), &["in bytes: max_body_bytes = 4194304"]),
        ("a word as a switch", "replay = \"yes\"", Some(4), &["source.replay is true or false"]),
        ("a text as a section", "[[guard.rule]]\naction = \"drop\"\nevent = 7", Some(6), &["a text, or a list of texts"]),
        ("a rule in single brackets", "[guard.rule]\naction = \"drop\"", Some(4), &["write [[guard.rule]] in two brackets"]),
    ];
    assert_told(&table, |text| format!("{MINIMAL}{text}\n"));
}

#[test]
fn values_with_which_nothing_would_work_are_refused() {
    #[rustfmt::skip]
    let table: [Mistake; 9] = [
        ("no rate", "[customerio]\n# rate\nrate = 0", Some(6), &["customerio.rate must be at least 1"]),
        ("no request", "[customerio]\nconcurrency = 0", Some(5), &["customerio.concurrency must be"]),
        ("no body", "[ingest]\nmax_body_bytes = 0", Some(5), &["every request would be refused"]),
        ("no webhook body", "[ingest]\nmax_webhook_body_bytes = 0", Some(5), &["every request would be refused"]),
        ("nothing may wait", "[journal]\nmax_pending = 0", Some(5), &["no event would be taken"]),
        ("no journal", "[journal]\nmax_bytes = 0", Some(5), &["no event would be taken"]),
        ("an hour of linger", "[customerio]\nlinger = \"1h\"", Some(5), &["at most 1m"]),
        ("no time to send a body", "[ingest]\nbody_deadline = \"0s\"", Some(5), &["at least 1s"]),
        ("no dead letters", "[journal]\nkeep_dead_letters = \"0s\"", Some(5), &["at least 1h"]),
    ];
    assert_told(&table, |text| format!("{MINIMAL}{text}\n"));
}

#[test]
fn what_a_variable_holds_is_in_no_message() {
    #[rustfmt::skip]
    let table: [Mistake; 13] = [
        ("an unset variable", "# ${NOPE}\ntoken = \"${NOPE}\"", Some(5), &["NOPE is not set"]),
        ("an empty variable", "token = \"${EMPTY}\"", Some(4), &["EMPTY is not set"]),
        ("all that are not set", "token = \"${NOPE}\"\nwrite_keys = [\"${NONE}\"]\n[admin]\ntoken = \"${NOPE}-${NIL}\"", Some(4),
            &["variables NOPE, NONE (line 5), NIL (line 7) are not set"]),
        ("a brace too few", "token = \"${VALUE\"", Some(4), &["names no variable", "${NAME}"]),
        ("no braces", "token = \"$VALUE\"", Some(4), &["write \"${VALUE}\""]),
        ("no region", "[customerio]\nregion = \"${VALUE}\"", Some(5), &["unknown variant `${VALUE}`", "`us` or `eu`"]),
        ("no span", "late_after = \"${VALUE}\"", Some(4), &["\"${VALUE}\" is no span of time"]),
        ("no primary", "identity = { primary = \"${VALUE}\" }", Some(4), &["primary is \"${VALUE}\""]),
        ("no number", "[customerio]\nrate = \"${VALUE}\"", Some(5), &["rate is a whole number"]),
        ("a bad cutover", "cutover = \"${VALUE}\"", Some(4), &["cutover must be a time"]),
        ("no address", "[admin]\nlisten = \"${VALUE}\"", Some(5), &["\"${VALUE}\" is no address"]),
        ("a bad name", "[[source]]\nname = \"${TOKEN}\"", Some(5), &["source name \"${TOKEN}\""]),
        ("no URL", "[customerio]\nurl = \"${VALUE}\"", Some(5), &["customerio.url is not usable"]),
    ];
    assert_told(&table, |text| format!("{MINIMAL}{text}\n"));
}

#[test]
fn a_variable_may_hold_any_text_a_choice_or_a_span() {
    let config = read(
        "destination = \"emulator\"\n[[source]]\nname = \"${EU}-shop\"\nlate_after = \"${SPAN}\"\n\
         identity.primary = \"${EMAIL}\"\n[customerio]\nregion = \"${EU}\"\n",
    )
    .unwrap();
    assert_eq!(config.source[0].name, "eu-shop");
    assert_eq!(config.source[0].late_after, Some(Span::from_hours(2)));
    assert_eq!(config.source[0].identity.primary, PrimaryId::Email);
    assert_eq!(config.customerio.region.as_str(), "eu");
}

#[test]
fn white_space_around_a_secret_does_not_count() {
    let text = "token = \"${LINE}\"\nwebhook_secret = \" s3cret\"\nwrite_keys = [\"s3cret \"]\n\
                [customerio]\nsite_id = \"${LINE}\"\n";
    let config = read(&format!("{MINIMAL}{text}")).unwrap();
    let source = &config.source[0];
    let secrets =
        [source.token.as_ref(), source.webhook_secret.as_ref(), source.write_keys.first()];
    for secret in secrets.into_iter().chain([Some(&config.customerio.site_id)]) {
        assert_eq!(secret.unwrap().expose(), "s3cret");
    }
}

#[test]
fn commands_that_need_no_secret_do_without_variables_that_are_not_set() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("segue.toml");
    let others = "write_keys = [\"${A}\"]\n[[source]]\nname = \"b\"\nwrite_keys = [\"${B}\"]\n";
    let text = format!(
        "transforms = \"shipped\"\ndata_dir = \"${{DIR}}\"\n{MINIMAL}token = \"${{T}}\"\nlate_after = \"${{S}}\"\n{others}"
    );
    std::fs::write(&file, text).unwrap();
    let nothing = |_: &str| None;
    let environment = Environment { variable: &nothing, is_partial: true };
    let loaded = load_with(Some(&file), &Overrides::default(), &environment).unwrap();
    let unset: Vec<_> = loaded.unset.iter().map(|unset| unset.path.as_str()).collect();
    let expected = ["data_dir", "source.0.token", "source.0.late_after"];
    assert_eq!(unset[..3], expected);
    assert_eq!(unset[3..], ["source.0.write_keys.0", "source.1.write_keys.0"]);
    assert!(!loaded.config.source[0].token.as_ref().unwrap().is_empty());
    assert_eq!(loaded.config.source[0].late_after, None, "the default stands there");
}

#[test]
fn what_the_command_line_says_is_judged_as_the_file_is() {
    let judge = |listen, demo| {
        let overrides = Overrides { listen: Some(listen), demo };
        let document = document::Document::parse("", "built-in defaults").unwrap();
        check::check(&Config { listen: listen.into(), ..Config::demo() }, &document, &overrides)
    };
    assert_eq!(judge("127.0.0.1:9000", false), Ok(()));
    assert_eq!(judge("0.0.0.0:9000", true), Ok(()));
    let exposed = judge("0.0.0.0:9000", false).unwrap_err().to_string();
    assert!(
        exposed.contains("\"0.0.0.0:9000\" is reachable") && exposed.contains("--demo"),
        "{exposed}"
    );
    let nowhere = judge("here", false).unwrap_err().to_string();
    assert!(nowhere.starts_with("--listen: \"here\" is no address"), "{nowhere}");
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
    let nothing = |_: &str| None;
    let environment = Environment { variable: &nothing, is_partial: false };
    let error = load_with(Some(&file), &Overrides::default(), &environment).unwrap_err();
    assert!(error.message.contains("is not there"), "{error}");

    std::fs::write(&file, format!("transforms = \"shipped\"\n{MINIMAL}")).unwrap();
    assert!(
        load_with(Some(&file), &Overrides::default(), &environment).unwrap().config.ships_scripts()
    );

    std::fs::write(&file, MINIMAL).unwrap();
    std::fs::create_dir(folder.path().join("transforms")).unwrap();
    let config = load_with(Some(&file), &Overrides::default(), &environment).unwrap().config;
    assert_eq!(config.transforms, folder.path().join("transforms"));
}
