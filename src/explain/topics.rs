//! What goes for several commands, as Markdown: `pollscope help TOPIC`.

use super::glossary::GLOSSARY;
use crate::scenario::wire::SETTINGS;

/// What several commands share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// The grammar of `--fail-on`.
    Gates,
    /// What reports can be.
    Formats,
    /// The keys of scenarios and `--set`.
    Settings,
    /// The keys of `pollscope.toml`.
    Config,
    /// The words of reports.
    Glossary,
}

impl Topic {
    /// All of them.
    pub const ALL: [Topic; 5] = [Topic::Gates, Topic::Formats, Topic::Settings, Topic::Config, Topic::Glossary];

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Topic::Gates => "gates",
            Topic::Formats => "formats",
            Topic::Settings => "settings",
            Topic::Config => "config",
            Topic::Glossary => "glossary",
        }
    }

    /// The topic of that name.
    pub fn from_name(name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.as_str() == name)
    }

    /// A heading, and what there is to say.
    pub fn text(self) -> String {
        match self {
            Topic::Gates => format!("# gates: what `--fail-on` and `[expect]` take\n\n```\n{GATES}\n```\n\n{JUDGED}"),
            Topic::Formats => FORMATS.to_owned(),
            Topic::Config => CONFIG.to_owned(),
            Topic::Settings => format!("# settings: the keys of a scenario and of `--set`\n\n{SET}\n{SETTINGS}"),
            Topic::Glossary => {
                let rows = GLOSSARY.iter().map(|term| format!("| {} | {} |\n", term.name, term.text));
                format!("# glossary: the words of reports\n\n{HEADER}{}", rows.collect::<String>())
            }
        }
    }
}

const HEADER: &str = "| word | meaning |\n|---|---|\n";

const FORMATS: &str = include_str!("formats.md");

const CONFIG: &str = include_str!("config.md");

const SET: &str = "`--set KEY=VALUE` gives a key another value for one run, such as `--set merge.inputs=20` or \
    `--set merge.sink.kind=fifo`; it may be repeated. `--mode`, `--rounds`, `--warmup` and `--slow` set `modes`, `rounds`, `warmup` and \
    `slow_poll`.\n";

const JUDGED: &str = "A gate that does not hold ends the command with 99. One that cannot be judged, as the run is too short, is \
    inconclusive: it is shown, and ends the command with 97 only with `--strict`. Quote gates, as `<` and `>` mean something to a shell.\n";

/// The grammar of [`Gate`](crate::gate::Gate), in lines that a narrow terminal does not wrap.
const GATES: &str = "\
GATE    [MODE.]METRIC OP VALUE
MODE    a mode's name; without it, the gate must hold in
        every mode
OP      <  <=  >  >=  ==  !=
METRIC, and what its VALUE may be:
  DIST.STAT                 10ms
  DIST.count, merge.COUNT   3
  slow_polls                3
  slow_polls_dropped        3
  merge.bytes               64KiB or 65536
  merge.verdict             ok, failed or unverifiable,
                            only with == and !=
  busy                      50% or 0.5
  throughput                1MB/s, 1MB or 1000000
VALUE   or [FACTOR *] [MODE.]METRIC
DIST    polls, schedule_latency, lag, lag_raw,
        response_time, write_latency, busy_stretches
STAT    min, p50, p90, p99, p999, max, mean
COUNT   inputs, lines, lost, duplicated, reordered, torn,
        foreign

--fail-on 'lag.p99 < 10ms'
--fail-on 'naive.slow_polls >= 3'
--fail-on 'offloaded.lag.p99 < 0.1 * naive.lag.p99'";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Gate;
    use crate::report::Format;

    /// What an error offers between backticks.
    fn offered(gate: &str) -> Vec<String> {
        let error = Gate::parse(gate).expect_err("no gate");
        error.reason().split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_help_has_all_of_the_grammar() {
        let said: Vec<&str> = GATES.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let names = [offered("frobnicate == 3"), offered("lag < 10ms")].concat();
        assert!(names.len() > 20, "{names:?}");
        for part in names.iter().flat_map(|name| name.split('.')).filter(|part| *part != "frobnicate") {
            assert!(said.contains(&part), "`{part}` is missing");
        }
        for op in ["<", "<=", ">", ">=", "==", "!="] {
            assert!(GATES.contains(&format!(" {op} ")) || GATES.contains(&format!(" {op}\n")), "`{op}` is missing");
        }
    }

    #[test]
    fn the_helps_examples_are_gates() {
        let examples: Vec<&str> =
            GATES.split("--fail-on '").skip(1).map(|rest| rest.trim_end().trim_end_matches('\'')).collect();
        assert_eq!(examples.len(), 3);
        for example in examples {
            assert_eq!(Gate::parse(example).map(|gate| gate.to_string()), Ok(example.to_owned()));
        }
        for value in [
            "merge.bytes == 64KiB",
            "merge.bytes == 65536",
            "busy < 50%",
            "busy < 0.5",
            "throughput > 1MB/s",
            "throughput > 1MB",
            "throughput > 1000000",
            "lag.count >= 3",
            "merge.lost == 3",
        ] {
            assert!(Gate::parse(value).is_ok(), "{value}");
        }
    }

    #[test]
    fn every_format_is_told() {
        for format in Format::ALL {
            assert!(FORMATS.contains(&format!("\n| `{}` |", format.as_str())), "{}", format.as_str());
        }
    }

    #[test]
    fn no_word_has_two_meanings() {
        let names: Vec<&str> = GLOSSARY.iter().flat_map(|term| term.names()).collect();
        for name in &names {
            assert_eq!(GLOSSARY.iter().filter(|term| term.is_called(name)).count(), 1, "{name}");
        }
        assert!(names.len() > 50, "{names:?}");
    }
}
