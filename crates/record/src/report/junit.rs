//! JUnit's XML, in the dialect that Jenkins reads, and with it GitLab and most others.
//!
//! A test suite a mode, and one, `all modes`, for gates that name none or one that did not run. It fails where the exit code
//! would, so that the two never contradict each other:
//!
//! | what | passes | fails | is skipped |
//! |---|---|---|---|
//! | a gate | it holds | it does not | it is inconclusive |
//! | a merge that is not confirmed, and other findings that are errors; errors of a run | – | always | – |
//! | a run that ended early | – | – | always |
//! | a finding that is a warning | – | – | always: it is shown, with its advice, and decides nothing |
//!
//! To have a warning fail, demand what it warns of: `--fail-on 'slow_polls == 0'`.

use crate::by_group::{ByGroup, by_group};
use crate::escape::escape;
use crate::findings::{Severity, diagnosis, severity, verdict};
use crate::gate;
use crate::recording::{Finding, Gate, GateVerdict, Recording, Run};

use super::gates;
use crate::width::cut;

/// Columns of an attribute.
const TEXT: usize = 2_000;

/// The document, with a newline at its end.
pub(super) fn render(recording: &Recording) -> String {
    let modes = by_group(&recording.runs);
    let mut suites: Vec<Suite> = modes.iter().map(|mode| Suite::of(recording, mode)).collect();
    let mut rest = Suite { name: "all modes".to_owned(), ..Suite::default() };
    for gate in &recording.gates {
        let mode = mode_of(gate);
        let of_mode = modes.iter().position(|known| Some(known.name) == mode.as_deref());
        let suite = of_mode.map_or(&mut rest, |index| &mut suites[index]);
        suite.cases.push(Case::of_gate(gate));
    }
    if !rest.cases.is_empty() {
        suites.insert(0, rest);
    }
    let class = format!("pollscope.{}", recording.name().replace('.', "-"));
    let count = |of: fn(&Outcome) -> bool| suites.iter().map(|suite| suite.count(of)).sum::<usize>();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out += &format!(
        "<testsuites name=\"pollscope\" tests=\"{}\" failures=\"{}\" errors=\"0\">\n",
        count(|_| true),
        count(Outcome::is_failure)
    );
    // It is of all of them, and said once.
    let mut said = Some(verdict(recording));
    for suite in &suites {
        out += &suite.xml(&class, said.take().as_deref());
    }
    out + "</testsuites>\n"
}

/// The mode that a gate's left side names.
fn mode_of(gate: &Gate) -> Option<String> {
    let parsed = gate::Gate::parse(&gate.expr).ok()?;
    parsed.groups().next().map(str::to_owned)
}

#[derive(Default)]
struct Suite {
    name: String,
    /// How long all rounds took; `None` where nothing ran.
    elapsed_ns: Option<u64>,
    started_at: Option<String>,
    cases: Vec<Case>,
}

struct Case {
    name: String,
    outcome: Outcome,
}

enum Outcome {
    Pass,
    /// Of a type, with what is to be said.
    Failure(&'static str, String),
    Skipped(String),
}

impl Outcome {
    fn is_failure(&self) -> bool {
        matches!(self, Outcome::Failure(..))
    }

    fn is_skipped(&self) -> bool {
        matches!(self, Outcome::Skipped(_))
    }
}

impl Suite {
    /// Its findings, or that there are none: a suite without a case is an error to some readers.
    fn of(recording: &Recording, mode: &ByGroup) -> Suite {
        let findings = recording.findings.iter().filter(|finding| finding.group == mode.name);
        let mut cases: Vec<Case> = mode.rounds.iter().flat_map(|run| Case::of_run(run)).collect();
        cases.extend(findings.filter_map(Case::of_finding));
        if cases.is_empty() {
            cases.push(Case { name: "no findings".to_owned(), outcome: Outcome::Pass });
        }
        Suite {
            name: mode.name.to_owned(),
            elapsed_ns: Some(mode.rounds.iter().map(|run| run.elapsed_ns).sum()),
            started_at: Some(mode.rounds[0].started_at.clone()),
            cases,
        }
    }

    fn count(&self, of: impl Fn(&Outcome) -> bool) -> usize {
        self.cases.iter().filter(|case| of(&case.outcome)).count()
    }

    fn xml(&self, class: &str, verdict: Option<&str>) -> String {
        let time = self.elapsed_ns.map_or(String::new(), |ns| format!(" time=\"{:.3}\"", ns as f64 / 1e9));
        // Local time without a zone is what the dialect has; ours is UTC.
        let started = self.started_at.as_ref().map(|at| xml(at.trim_end_matches('Z')));
        let started = started.map_or(String::new(), |at| format!(" timestamp=\"{at}\""));
        let mut out = format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\"{time}{started}>\n",
            xml(&self.name),
            self.cases.len(),
            self.count(Outcome::is_failure),
            self.count(Outcome::is_skipped)
        );
        let class = format!("{class}.{}", self.name.replace('.', "-"));
        for case in &self.cases {
            out += &format!("    <testcase classname=\"{}\" name=\"{}\"", xml(&class), xml(&case.name));
            out += &match &case.outcome {
                Outcome::Pass => "/>\n".to_owned(),
                Outcome::Skipped(why) => format!(">\n      <skipped message=\"{}\"/>\n    </testcase>\n", xml(why)),
                Outcome::Failure(kind, why) => {
                    format!(">\n      <failure type=\"{kind}\" message=\"{}\"/>\n    </testcase>\n", xml(why))
                }
            };
        }
        let said = verdict.map_or(String::new(), |verdict| format!("    <system-out>{}</system-out>\n", xml(verdict)));
        out + &said + "  </testsuite>\n"
    }
}

impl Case {
    fn of_run(run: &Run) -> impl Iterator<Item = Case> + '_ {
        let round = run.subject.round().map_or(String::new(), |round| format!("round {round} "));
        let case = move |what: &str, outcome| Case { name: format!("{round}{what}"), outcome };
        let early = run.early_end().map(|why| case("ended early", Outcome::Skipped(why.to_owned())));
        let errors =
            run.errors.iter().map(move |error| case("had an error", Outcome::Failure("run", error.to_string())));
        errors.chain(early)
    }

    fn of_gate(gate: &Gate) -> Case {
        let value = gates::value(gate);
        let is = if value.is_empty() { String::new() } else { format!(": it is {value}") };
        let outcome = match gate.verdict {
            GateVerdict::Pass => Outcome::Pass,
            GateVerdict::Fail => Outcome::Failure("gate", format!("{} does not hold{is}", gate.expr)),
            GateVerdict::Inconclusive => Outcome::Skipped(format!("inconclusive: {value}")),
        };
        Case { name: gate.expr.clone(), outcome }
    }

    /// Nothing for what is only to be known.
    fn of_finding(finding: &Finding) -> Option<Case> {
        let known = diagnosis(&finding.code);
        let title = known.map_or(String::new(), |diagnosis| format!(" {}", diagnosis.title));
        let at = finding.at.as_ref().map_or(String::new(), |at| format!(" at {at}"));
        let text = format!("{}; {}", finding.sentence, finding.advice);
        let outcome = match severity(finding) {
            Severity::Error => Outcome::Failure("finding", text),
            Severity::Warning => Outcome::Skipped(format!("warning: {text}")),
            Severity::Note => return None,
        };
        Some(Case { name: format!("{}{title}{at}", finding.code), outcome })
    }
}

/// Text made safe for an attribute or an element. Escaping spells out all that XML 1.0 forbids but U+FFFE and U+FFFF.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in cut(&escape(text), TEXT).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::*;
    use crate::fixture;

    fn elements<'a>(document: &'a Document, name: &'static str) -> Vec<Node<'a, 'a>> {
        document.descendants().filter(|node| node.has_tag_name(name)).collect()
    }

    #[test]
    fn gates_and_findings_are_cases_of_their_mode() {
        let text = render(&fixture::recording());
        let document = Document::parse(&text).unwrap();
        let cases = |mode: &str| -> Vec<(String, String)> {
            let suite =
                elements(&document, "testsuite").into_iter().find(|suite| suite.attribute("name") == Some(mode));
            let cases = suite.unwrap().children().filter(|node| node.has_tag_name("testcase"));
            let how = |case: Node| {
                let outcome = case.children().find(Node::is_element);
                outcome.map_or("passed".to_owned(), |outcome| outcome.tag_name().name().to_owned())
            };
            cases.map(|case| (case.attribute("name").unwrap().to_owned(), how(case))).collect()
        };
        let case = |name: &str, how: &str| (name.to_owned(), how.to_owned());
        let naive = cases("naive");
        assert_eq!(naive[0], case("PS001 slow polls at src/pipeline/merge.rs:88", "skipped"));
        assert_eq!(*naive.last().unwrap(), case("naive.slow_polls >= 3", "passed"));
        assert_eq!(
            cases("offloaded"),
            [
                case("no findings", "passed"),
                case("offloaded.slow_polls == 0", "passed"),
                case("offloaded.lag.p99 < 1ms", "failure"),
                case("offloaded.response_time.p999 < 10ms", "skipped"),
            ]
        );
    }

    #[test]
    fn the_counts_are_those_of_the_cases() {
        let mut recording = fixture::recording();
        recording.gates[0].expr = "slow_polls < 3".to_owned();
        let text = render(&recording);
        let document = Document::parse(&text).unwrap();
        let suites = elements(&document, "testsuite");
        assert_eq!(suites[0].attribute("name"), Some("all modes"), "a gate without a mode");
        let number = |node: &Node, key| node.attribute(key).unwrap().parse::<usize>().unwrap();
        for (key, name) in [("tests", "testcase"), ("failures", "failure"), ("skipped", "skipped")] {
            let all = suites.iter().map(|suite| number(suite, key)).sum::<usize>();
            assert_eq!(all, elements(&document, name).len(), "{key}");
            if key != "skipped" {
                assert_eq!(number(&document.root_element(), key), all, "{key}");
            }
        }
        assert_eq!(suites[1].attribute("timestamp"), Some("2026-05-04T10:11:12"));
        assert_eq!(suites[1].attribute("time"), Some("3.020"));
    }

    #[test]
    fn what_exits_with_a_failure_fails() {
        let mut run = fixture::run("naive");
        let merge = run.merge.as_mut().unwrap();
        (merge.verdict, merge.lost) = (crate::recording::Verdict::Failed, 1);
        run.errors.push("cannot read `a`".into());
        fixture::interrupt(&mut run, "SIGINT");
        let text = render(&fixture::recording_of(vec![run]));
        assert!(text.contains("<failure type=\"finding\" message=\"naive: "), "{text}");
        assert!(
            text.contains("name=\"round 1 had an error\">\n      <failure type=\"run\" message=\"cannot read `a`\"/>"),
            "{text}"
        );
        assert!(text.contains("name=\"round 1 ended early\">\n      <skipped message=\"SIGINT\"/>"), "{text}");
    }

    #[test]
    fn any_name_is_valid_xml() {
        let odd: String = (0..=0x2ff)
            .chain([0x2028, 0xd7ff, 0xe000, 0xfffd, 0xfffe, 0xffff, 0x1_0000, 0x10_ffff])
            .filter_map(char::from_u32)
            .collect();
        let mut recording = fixture::recording();
        fixture::scenario(&mut recording).name = odd.clone();
        recording.gates[0].expr = format!("]]>{odd}");
        for run in &mut recording.runs {
            (run.group, run.started_at) = (odd.clone(), odd.clone());
        }
        recording.findings = crate::findings::findings(&recording.runs);
        let text = render(&recording);
        let document = Document::parse(&text).unwrap();
        let shown = escape(&odd).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
        let found =
            elements(&document, "testcase").iter().any(|case| case.attribute("name") == Some(&format!("]]>{shown}")));
        assert!(found, "what is legal is kept: {text}");
    }
}
