//! The binary as an operator runs it: how it starts, and what commands need beside it.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{Process, free_port};

fn segue(args: &[&str], config: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_segue"))
        .args(args)
        .arg("--config")
        .arg(config)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_banner_nobody_can_read_runs_and_is_asked_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("segue.toml");
    let address = format!("127.0.0.1:{}", free_port());
    let text = format!(
        "listen = \"{address}\"\ntransforms = \"shipped\"\ndestination = \"emulator\"\n\
         [admin]\nlisten = \"\"\n[[source]]\nname = \"web\"\ntoken = \"${{SEGUE_TEST_TOKEN}}\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let refused = segue(&["serve"], &config);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("segue.toml:8: the environment variable SEGUE_TEST_TOKEN"));

    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_segue"));
    serve.args(["serve", "--config"]).arg(&config).env("SEGUE_TEST_TOKEN", "t");
    serve.stdout(full).stderr(Stdio::null());
    let mut server = Process::of(&mut serve, &address).await;

    let status = segue(&["status"], &config);
    assert!(status.status.success(), "{}", said(&status));
    assert!(said(&status).contains("ready"), "{}", said(&status));
    assert!(server.terminate());

    let nobody = said(&segue(&["status"], &config));
    assert!(nobody.contains("no Segue is running") && nobody.contains("--data-dir"), "{nobody}");
}

#[test]
fn what_serve_refuses_is_no_usable_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("segue.toml");
    for (wrong, line) in [
        ("destination = \"emulator\"\nlisten = \"0.0.0.0:0\"", 2),
        ("destination = \"emulator\"\ncustomerio = { url = \"foo\" }", 3),
        ("destination = \"emulator\"\nlog = { filter = \"info,,nonsense=what\" }", 3),
        (
            "destination = \"emulator\"\nlisten = \"127.0.0.1:1\"\nadmin = { listen = \"127.0.0.1:1\" }",
            4,
        ),
    ] {
        let source = "[[source]]\nname = \"web\"\ntoken = \"t\"\n";
        std::fs::write(&config, format!("transforms = \"shipped\"\n{wrong}\n{source}")).unwrap();
        for (command, code) in [("check", 1), ("config", 2), ("serve", 2)] {
            let refused = segue(&[command], &config);
            let said = said(&refused);
            assert_eq!(refused.status.code(), Some(code), "{command} of {wrong}: {said}");
            assert!(said.contains(&format!("segue.toml:{line}: ")), "{command} of {wrong}: {said}");
        }
    }
}
