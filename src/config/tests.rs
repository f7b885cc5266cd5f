use super::*;

fn said(text: &str) -> String {
    parse(Path::new("p/pollscope.toml"), text).expect_err(text).to_string()
}

#[test]
fn what_a_project_says_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("service/src/deep")).expect("a folder");
    let path = folder.path().join("service").join(NAME);
    let text = "slow = \"50ms\"\nfail_on = [\"lag.p99 < 10ms\", \"slow_polls == 0\"]\nsource_roots = [\"src\"]\nlabel = \"api v1.2\"\n";
    std::fs::write(&path, text).expect("written");
    let config = load(&folder.path().join("service/src/deep")).expect("it is right");
    assert_eq!(config.path, Some(path));
    assert_eq!(config.slow, Some(Duration::from_millis(50)));
    assert_eq!(
        config.fail_on.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["lag.p99 < 10ms", "slow_polls == 0"]
    );
    assert_eq!(config.source_roots, [folder.path().join("service/src")]);
    assert_eq!(config.label.as_deref(), Some("api v1.2"));
}

#[test]
fn where_there_is_none_nothing_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = load(folder.path()).expect("none");
    assert!(config.path.is_none() && config.slow.is_none() && config.fail_on.is_empty(), "{config:?}");
}

#[test]
fn what_is_wrong_is_shown_with_its_line() {
    for (text, why, carets) in [
        ("slow = \"50ms\"\nslwo = 1\n", "unknown field `slwo`", "2 | slwo = 1\n  | ^^^^"),
        ("slow = 50\n", "invalid type: integer", "1 | slow = 50\n  |        ^^"),
        ("slow = \"0s\"\n", "longer than 0", "1 | slow = \"0s\"\n  |        ^^^^"),
        ("label = \"a*b\"\n", "1 to 64 letters", "1 | label = \"a*b\"\n  |         ^^^^^"),
        ("slow = \"soon\"\n", "duration", "^^^^^^"),
        ("fail_on = [\"lag.p99 < 1s\",\n\"lag < 10ms\"]", "`lag`", "2 | \"lag < 10ms\"]\n  | ^^^^^^^^^^^^"),
        ("source_roots = [\"nowhere\"]", "there is no such folder", "^^^^^^^^^"),
        ("slow = ", "", "1 | slow ="),
        ("a\u{1b}[31m", "", "^"),
    ] {
        let said = said(text);
        assert!(said.starts_with("cannot use `p/pollscope.toml`: "), "{said}");
        assert!(said.contains(why) && said.contains(carets) && said.contains("help config"), "{text}: {said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(NAME);
    std::fs::create_dir(&path).expect("a folder");
    let error = load(folder.path()).expect_err("a folder").to_string();
    assert!(error.contains("not a regular file") && error.contains("--no-config"), "{error}");
    std::fs::remove_dir(&path).expect("removed");
    std::fs::write(&path, [0xff, 0xfe]).expect("written");
    assert!(load(folder.path()).expect_err("no text").to_string().contains("not UTF-8"));
    #[cfg(unix)]
    {
        std::fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("nowhere", &path).expect("a link");
        let error = load(folder.path()).expect_err("a link that leads nowhere").to_string();
        assert!(error.contains("No such file"), "{error}");
    }
}

#[test]
fn a_file_is_no_source_root() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("main.rs"), "").expect("written");
    std::fs::write(folder.path().join(NAME), "source_roots = [\"main.rs\"]").expect("written");
    assert!(load(folder.path()).expect_err("no folder").to_string().contains("it is no folder"));
}
