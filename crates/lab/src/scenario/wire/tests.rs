use super::*;
use crate::pipeline::sink::Mode;
use crate::scenario::builtin::BUILTIN;
use crate::scenario::{BlockKind, Flavor, SinkSettings, Workload};

/// The least that a scenario needs; more is appended.
const HEAD: &str = "question = \"Why?\"\nwhy = \"Because.\"\nexpect.gates = [\"slow_polls == 0\"]\n";

fn sets(texts: &[&str]) -> Vec<Override> {
    texts.iter().map(|text| Override::parse(text).unwrap_or_else(|error| panic!("{error}"))).collect()
}

fn with(tail: &str, overrides: &[&str]) -> Result<Scenario, ScenarioError> {
    parse("test.toml", &format!("{HEAD}{tail}"), &sets(overrides))
}

#[track_caller]
fn good(tail: &str, overrides: &[&str]) -> Scenario {
    with(tail, overrides).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn bad(tail: &str, overrides: &[&str], parts: &[&str]) {
    let shown = with(tail, overrides).expect_err("it is wrong").to_string();
    for part in parts {
        assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
    }
}

#[test]
fn everything_else_has_a_default() {
    let scenario = good("", &[]);
    assert_eq!((scenario.name.as_str(), scenario.question.as_str()), ("test", "Why?"));
    assert_eq!(scenario.settings.modes, [Mode::Naive, Mode::Offloaded]);
    let expected: [(&str, &str); 20] = [
        ("merge.batch", "1"),
        ("merge.close_after", "1s"),
        ("merge.inputs", "5"),
        ("merge.letters", "10"),
        ("merge.lines", "10"),
        ("merge.max_wait", "100ms"),
        ("merge.poll_interval", "100ms"),
        ("merge.sink.kind", "file"),
        ("merge.sink.sync_every", "0"),
        ("modes", "naive,offloaded"),
        ("rounds", "5"),
        ("runtime.flavor", "current_thread"),
        ("runtime.workers", "1"),
        ("sample_every", "100ms"),
        ("seed", "1"),
        ("slow_poll", "100ms"),
        ("warmup", "1"),
        ("witness.connections", "1"),
        ("witness.lag", "10ms"),
        ("witness.response", "10ms"),
    ];
    let map = settings_map(&scenario.settings);
    assert!(map.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected), "{map:#?}");
}

#[test]
fn what_a_scenario_is_for_must_be_said() {
    let cases = [
        ("why = 'x'\n[expect]\ngates=['slow_polls == 0']", "`question` is missing"),
        ("question = 'x'\n[expect]\ngates=['slow_polls == 0']", "`why` is missing"),
        ("question = ' '\nwhy = 'x'", "`question` is empty"),
        ("question = \"\"\"a\nb\"\"\"\nwhy = 'x'", "`question` has several lines"),
        ("question = 'x'\nwhy = 'x'", "`expect.gates` is missing"),
        ("question = 'x'\nwhy = 'x'\n[expect]", "3 | [expect]"),
        ("", "cannot read scenario `mine`: `question` is missing"),
    ];
    for (text, expected) in cases {
        let shown = parse("mine", text, &[]).expect_err(text).to_string();
        assert!(shown.contains(expected), "{shown}");
    }
}

#[test]
fn an_unknown_key_is_shown_where_it_is() {
    let shown = with("[merge]\n  inptus = 5\n", &[]).expect_err("unknown").to_string();
    let expected = "cannot read scenario `test.toml`: unknown key `merge.inptus`
 --> test.toml:5:3
  |
5 |   inptus = 5
  |   ^^^^^^
help: did you mean `inputs`?
help: `pollscope help settings` tells what each is";
    assert_eq!(shown, expected);
    bad("[merg]\ninputs = 5", &[], &["4 | [merg]\n  |  ^^^^\n", "did you mean `merge`?"]);
    bad("inputs = 5", &[], &["did you mean `merge.inputs`?"]);
    bad("\"merge.inputs\" = 5", &[], &["unknown key"]);
    bad("[merge.sink]\nsinc_every = 1\n[zzz]", &[], &["test.toml:5:1", "did you mean `sync_every`?"]);
    bad(
        "[frobnication]",
        &[],
        &["test.toml:4:2", "the keys are `question`", "`witness.lag`", "`pollscope help settings`"],
    );
}

#[test]
fn a_wrong_type_and_wrong_syntax_are_shown_where_they_are() {
    bad(
        "[merge]\nlines = 'ten'",
        &[],
        &["`merge.lines`", "expected a whole number", "5 | lines = 'ten'\n  |         ^^^^^"],
    );
    bad(
        "[merge]\nmax_wait = 100",
        &[],
        &["`merge.max_wait`", "expected a duration such as \"100ms\"", "test.toml:5:12"],
    );
    bad("slow_poll = '5 parsecs'", &[], &["`slow_poll`", "cannot read `5 parsecs` as a duration", "test.toml:4:13"]);
    bad("merge = 5", &[], &["`merge`", "expected a table", "test.toml:4:9"]);
    bad("modes = ['naive', 5]", &[], &["`modes`", "expected a string", "test.toml:4:19"]);
    bad("modes = [\n  'naive',\n", &[], &["not TOML"]);
    bad("rounds = 1\nrounds = 2", &[], &["not TOML: duplicate key", "test.toml:5:1"]);
    bad("rounds = ", &[], &["not TOML", "test.toml:4:10"]);
    bad("rounds = 99999999999999999999999999", &[], &["`rounds`", "must be from 1 to 100"]);
}

#[test]
fn bounds_are_named() {
    let cases = [
        ("merge.inputs=0", "is 0, but must be from 1 to 5,000"),
        ("merge.inputs=5001", "is 5001, but must be from 1 to 5,000"),
        ("merge.inputs=-1", "is -1, but"),
        ("merge.lines=10000001", "from 1 to 10,000,000"),
        ("merge.letters=1000001", "from 1 to 1,000,000"),
        ("merge.max_wait=0s", "is 0s, but must be from 1us to 1h"),
        ("merge.max_wait=2h", "is 7200s, but must be from 1us to 1h"),
        ("merge.poll_interval=999us", "from 1ms to 1h"),
        ("merge.close_after=61m", "from 0 to 1h"),
        ("merge.sink.sync_every=10000001", "from 0 to 10,000,000"),
        ("witness.lag=1us", "from 1ms to 1h"),
        ("witness.response=1us", "from 1ms to 1h"),
        ("witness.connections=1001", "from 1 to 1,000"),
        ("slow_poll=1ns", "from 1us to 1h"),
        ("sample_every=1us", "from 1ms to 1h"),
        ("rounds=101", "from 1 to 100"),
        ("seed=-1", "from 0 to 9,223,372,036,854,775,807"),
        ("runtime.workers=65", "from 1 to 64"),
        ("runtime.workers=2", "a `current_thread` runtime has 1 worker"),
        ("runtime.flavor=multithread", "did you mean `multi_thread`?"),
        ("modes=", "has ``, which is no mode"),
        ("modes=[]", "must name at least one mode"),
        ("modes=naive,naive", "has `naive` twice"),
        ("modes=naiv", "did you mean `naive`?"),
    ];
    for (set, expected) in cases {
        let key = set.split('=').next().expect("a key");
        bad("", &[set], &[&format!("cannot apply `--set {set}`: `{key}` "), expected]);
    }
    for set in ["block.tasks=10001", "block.duration=61s", "block.after=2h", "block.run_for=2h", "block.how=yield"] {
        bad("[block]", &[set], &[&format!("cannot apply `--set {set}`"), "must be"]);
    }
    bad("[merge]\ninputs = 0", &[], &["`merge.inputs` is 0", "test.toml:5:10", "5 | inputs = 0"]);
}

#[test]
fn what_excludes_each_other_is_refused() {
    bad("[merge]\n[block]", &[], &["`block` excludes `merge`", "test.toml:5:1"]);
    bad("[merge]", &["block.tasks=5"], &["cannot apply `--set block.tasks=5`: `block` excludes `merge`"]);
    bad("[merge.sink]\npause = '1s'", &[], &["is only for `kind = \"fifo\"`", "test.toml:5:9"]);
    bad("[merge.sink]\nkind = 'fifo'\nsync_every = 1", &[], &["is only for `kind = \"file\"`", "test.toml:6:14"]);
    bad("[merge.sink]\nkind = 'fifo'\nevery = '150ms'", &[], &["`merge.sink.pause` is 200ms, but", "test.toml:6:9"]);
    bad("[merge]\nletters = 1_000_000\ninputs = 5_000", &[], &["10 GiB", "test.toml:5:11"]);
    good("[merge]\ninputs = 5_000\nlines = 20_000", &[]);
    bad("[merge]\ninputs = 5_000\nlines = 30_000", &[], &["about 11.1 GB", "test.toml:6:9"]);
}

#[test]
fn a_bad_expectation_is_shown_where_it_is() {
    let text = "question = 'x'\nwhy = 'x'\n[expect]\ngates = [\n  'slow_polls == 0',\n  'lag < 10ms',\n]";
    let shown = parse("mine", text, &[]).expect_err("no statistic").to_string();
    assert!(shown.contains("mine:6:3") && shown.contains("\n  lag < 10ms\n  ^^^\n"), "{shown}");
    bad("", &["expect.gates=lag < 10ms"], &["cannot apply `--set expect.gates=lag < 10ms`", "is a distribution"]);
}

#[test]
fn a_mode_that_cannot_be_is_refused_and_not_among_all() {
    let all = |overrides: &[&str]| good("", &[&["modes=all"], overrides].concat()).settings.modes;
    let multi_thread = "runtime.flavor=multi_thread";
    assert!(!all(&[]).contains(&Mode::BlockInPlace) && all(&[multi_thread]).contains(&Mode::BlockInPlace));
    bad("", &["modes=block-in-place"], &["has `block-in-place`, which needs other workers", multi_thread]);
    bad("[block]", &["modes=tokio-fs"], &["has `tokio-fs`, which writes files", "choose `spawn-blocking`"]);
    bad("", &["modes=io-uring"], &["has `io-uring`, which is no mode"]);
}

#[test]
fn any_key_can_be_overridden() {
    let settings =
        good("", &["merge.inputs=7", "modes=[\"offloaded\"]", "runtime.flavor=multi_thread", "slow_poll = 1ms"]);
    let settings = settings.settings;
    assert_eq!((settings.modes, settings.runtime.flavor), (vec![Mode::Offloaded], Flavor::MultiThread));
    assert_eq!((settings.runtime.workers, settings.slow_poll), (4, Duration::from_millis(1)));
    let Workload::Merge(merge) = settings.workload else { panic!("it merges") };
    assert_eq!(merge.inputs, 7);

    assert_eq!(good("", &["witness.response=off"]).settings.witness.response, None);
    assert_eq!(good("", &["rounds=2", "rounds=3"]).settings.rounds, 3, "the last one counts");
    for (sets, warmup) in
        [(&["rounds=3"][..], 1), (&["rounds=1"], 0), (&["rounds=3", "warmup=0"], 0), (&["warmup=2"], 2)]
    {
        assert_eq!(good("", sets).settings.warmup, warmup, "{sets:?}");
    }
    let Workload::Block(block) = good("", &["block={ tasks = 3, how = \"spin\" }"]).settings.workload else {
        panic!("it blocks")
    };
    assert_eq!((block.tasks, block.how), (3, BlockKind::Spin));
    assert_eq!(good("", &["question=What = now?"]).question, "What = now?");
    assert_eq!(good("", &["expect.gates=slow_polls == 1"]).expect[0].to_string(), "slow_polls == 1");
}

#[test]
fn only_what_an_override_changes_counts_as_changed() {
    assert_eq!(good("", &["merge.inputs=5"]).changed, [""; 0], "it is the default");
    assert_eq!(good("", &["merge.inputs=3", "slow_poll=20ms"]).changed, ["merge.inputs", "slow_poll"]);
    assert_eq!(good("[runtime]\nflavor = 'multi_thread'", &["runtime.workers=2"]).changed, ["runtime.workers"]);
}

#[test]
fn a_new_choice_forgets_what_belonged_to_the_old_one() {
    let fifo = "[merge.sink]\nkind = 'fifo'\npause = '1ms'\n[runtime]\nflavor = 'multi_thread'\nworkers = 8";
    let settings = good(fifo, &["merge.sink.kind=file", "runtime.flavor=current_thread"]).settings;
    let Workload::Merge(merge) = settings.workload else { panic!("it merges") };
    assert_eq!(merge.sink, SinkSettings::File { sync_every: 0 });
    assert_eq!(settings.runtime.workers, 1);
    bad(fifo, &["merge.sink.pause=2ms", "merge.sink.kind=file"], &["`--set merge.sink.pause=2ms`", "only for"]);
}

#[test]
fn a_bad_override_is_named() {
    bad("", &["merge.inptus=5"], &["cannot apply `--set merge.inptus=5`", "did you mean `merge.inputs`?"]);
    bad("", &["inputs=5"], &["did you mean `merge.inputs`?"]);
    bad("", &["merg.inputs=5"], &["did you mean `merge.inputs`?"]);
    bad("", &["merge.inputs.x=5"], &["unknown key `merge.inputs.x`"]);
    bad("", &["merge={inptus=5}"], &["did you mean `merge.inputs`?"]);
    bad("", &["merge={\"sink.kind\"=5}"], &["unknown key"]);
    bad("", &["merge=5", "merge.inputs=5"], &["`--set merge=5`: `merge` has no usable value", "expected a table"]);
    bad("", &["merge.inputs=many"], &["`merge.inputs` has no usable value", "expected a whole number"]);
    bad("", &["merge.inputs="], &["expected a whole number"]);
    bad("", &["slow_poll=1\n[merge]"], &["`--set slow_poll=1\\n[merge]`"]);
    for text in ["merge.inputs", "=5", "", " = "] {
        assert!(Override::parse(text).expect_err(text).to_string().contains("write `--set key=value`"));
    }
}

/// Settings that between them have every key.
const WITH_EVERY_KEY: [&str; 4] = [
    "seed = 9223372036854775807\nrounds = 3\nmodes = ['offloaded']\nslow_poll = '1.5ms'\nsample_every = '1s'",
    "[runtime]\nflavor = 'multi_thread'\nworkers = 7\n[witness]\nlag = 'off'\nresponse = '1ms'\nconnections = 9",
    "[merge]\ninputs = 2\nlines = 3\nmax_wait = '1us'\nletters = 4\nclose_after = '0'\nsink.kind = 'fifo'\nsink.every = '1h'",
    "[block]\ntasks = 3\nduration = '1.000001s'\nhow = 'spin'\nafter = '0'\nrun_for = '1h'\n[witness]\nresponse = 'off'",
];

#[test]
fn settings_can_be_set_again() {
    let all = WITH_EVERY_KEY.iter().map(|tail| good(tail, &[]));
    let builtin = BUILTIN.iter().map(|(name, text)| parse(name, text, &[]).unwrap_or_else(|error| panic!("{error}")));
    for scenario in all.chain(builtin) {
        let map = settings_map(&scenario.settings);
        let overrides: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
        assert_eq!(good("", &overrides).settings, scenario.settings);
    }
}

#[test]
fn keys_documentation_and_settings_agree() {
    let mut keys: Vec<String> = ["question", "why", "expect.gates"].map(str::to_owned).into();
    for tail in ["", "[merge.sink]\nkind = 'fifo'", "[block]"] {
        keys.extend(settings_map(&good(tail, &[]).settings).into_keys());
    }
    keys.sort();
    keys.dedup();
    let mut known: Vec<&str> = KEYS.into();
    known.sort_unstable();
    assert_eq!(keys, known);
    for key in KEYS {
        assert!(SETTINGS.contains(&format!("\n| `{key}` |")), "`{key}` is not documented");
    }
}

#[test]
fn no_text_panics() {
    let mut random = fastrand::Rng::with_seed(1);
    let pieces =
        ["[", "]", "=", "\"", "'", "\n", "\r\n", ".", "-1", "1e9", "#", "{", "}", "\u{feff}", "é", "\0", "'''", "off"];
    for (name, text) in BUILTIN {
        for _ in 0..300 {
            let mut chars: Vec<char> = text.chars().collect();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..chars.len());
                match random.u8(..4) {
                    0 => chars[at] = random.char(..),
                    1 => drop(chars.splice(at..at, pieces[random.usize(..pieces.len())].chars())),
                    2 => drop(chars.drain(at..(at + random.usize(..40)).min(chars.len()))),
                    _ => chars.truncate(at.max(1)),
                }
                if chars.is_empty() {
                    chars.push('x');
                }
            }
            let text: String = chars.into_iter().collect();
            if let Err(error) = parse(name, &text, &[]) {
                assert!(error.to_string().len() < 2_000, "a message stays short");
            }
        }
    }
}

#[test]
fn no_override_panics() {
    let mut random = fastrand::Rng::with_seed(2);
    let values =
        ["", "0", "-1", "off", "1h", "[", "[]", "{}", "{a={b=1}}", "naive,", "18446744073709551616", "nan", "'x'"];
    let (name, text) = BUILTIN[1];
    for _ in 0..3_000 {
        let sets: Vec<Override> = (0..random.usize(1..4))
            .filter_map(|_| {
                let key = KEYS[random.usize(..KEYS.len())];
                let key = &key[random.usize(..2).min(key.len())..key.len() - random.usize(..3).min(key.len() - 1)];
                Override::parse(&format!("{key}={}", values[random.usize(..values.len())])).ok()
            })
            .collect();
        if let Err(error) = parse(name, text, &sets) {
            assert!(!error.to_string().is_empty());
        }
    }
}
