//! Annotations of GitHub Actions: workflow commands, which its runner reads off a step's output and shows at the line.
//!
//! A gate that fails, an error of a run and a finding that makes the output doubtful are errors; lines that block, and other
//! findings, warnings; a gate that is inconclusive, which decides nothing but with `--strict`, is a notice.

use crate::blockers::{Blocker, blockers};
use crate::by_group::{ByGroup, by_group};
use crate::escape::escape;
use crate::findings::{Severity, diagnosis, severity};
use crate::recording::{Finding, Gate, GateVerdict, Recording};
use crate::units::{format_ns, plural};

use super::gates;
use crate::width::cut;

/// GitHub shows ten annotations a step and drops the others: nine, and one that says how many there are more.
const MOST: usize = 9;
/// Columns of a message: what is beside a line should not bury it.
const MESSAGE: usize = 1_000;

/// One line an annotation, errors first: at most nine, then a notice that counts the others.
pub(super) fn render(recording: &Recording) -> String {
    let mut all: Vec<Annotation> = recording.gates.iter().filter_map(of_gate).collect();
    all.extend(recording.runs.iter().flat_map(|run| run.errors.iter().map(|error| of_error(&run.group, error))));
    all.extend(recording.findings.iter().filter_map(of_finding));
    for mode in &by_group(&recording.runs) {
        let is_said = |at: Option<&str>| {
            recording.findings.iter().any(|finding| finding.group == mode.name && finding.at.as_deref() == at)
        };
        let polls = blockers(mode.slow_polls().map(|(_, poll)| poll));
        all.extend(polls.iter().filter_map(|blocker| of_blocker(mode, blocker).filter(|said| !is_said(said.at))));
    }
    all.sort_by_key(|annotation| annotation.severity);
    let mut out: String = all.iter().take(MOST).map(Annotation::line).collect();
    if all.len() > MOST {
        let more = plural((all.len() - MOST) as u64, "more annotation");
        let text = format!("{more}: GitHub shows ten a step; the report has all");
        out += &Annotation { severity: Severity::Note, at: None, title: "pollscope".to_owned(), text }.line();
    }
    out
}

struct Annotation<'a> {
    severity: Severity,
    /// `file:line`.
    at: Option<&'a str>,
    title: String,
    text: String,
}

/// Nothing for one that holds.
fn of_gate(gate: &Gate) -> Option<Annotation<'static>> {
    let (severity, what, how) = match gate.verdict {
        GateVerdict::Pass => return None,
        GateVerdict::Fail => (Severity::Error, "a gate failed", "does not hold: it is "),
        GateVerdict::Inconclusive => (Severity::Note, "a gate is inconclusive", "cannot be judged: "),
    };
    let value = gates::value(gate);
    // A word, such as a merge's verdict, has no value to name.
    let text =
        if value.is_empty() { format!("{} does not hold", gate.expr) } else { format!("{} {how}{value}", gate.expr) };
    Some(Annotation { severity, at: None, title: format!("pollscope: {what}"), text })
}

fn of_error(mode: &str, error: &str) -> Annotation<'static> {
    let title = "pollscope: the run had an error".to_owned();
    Annotation { severity: Severity::Error, at: None, title, text: format!("{mode}: {error}") }
}

/// Nothing for what is only to be known.
fn of_finding(finding: &Finding) -> Option<Annotation<'_>> {
    let known = diagnosis(&finding.code);
    let severity = severity(finding);
    let title = known.map_or(String::new(), |diagnosis| format!(": {}", diagnosis.title));
    let title = format!("pollscope {}{title}", finding.code);
    let text = format!("{}; {}", finding.sentence, finding.advice);
    (severity != Severity::Note).then_some(Annotation { severity, at: finding.at.as_deref(), title, text })
}

/// A line that no finding speaks of: findings name the worst of a mode.
fn of_blocker<'a>(mode: &ByGroup, blocker: &Blocker<'a>) -> Option<Annotation<'a>> {
    let line = blocker.line?;
    let call = blocker.call.map_or(String::new(), |call| format!(" in `{call}`"));
    let cause = blocker.cause.map_or(String::new(), |cause| format!(", cause {cause}"));
    let (polls, worst) = (plural(blocker.polls, "slow poll"), format_ns(blocker.worst_ns));
    let text = format!("{}: {polls}{call} at {line}{cause}, the worst {worst}", mode.name);
    Some(Annotation {
        severity: Severity::Warning,
        at: Some(line),
        title: "pollscope: blocks the loop".to_owned(),
        text,
    })
}

impl Annotation<'_> {
    fn line(&self) -> String {
        let command = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let place = self.at.and_then(place).map_or(String::new(), |(file, line)| {
            format!("file={},line={line},", property(file.strip_prefix("./").unwrap_or(file)))
        });
        format!("::{command} {place}title={}::{}\n", property(&self.title), data(&cut(&escape(&self.text), MESSAGE)))
    }
}

/// File and line of `file:line`.
fn place(at: &str) -> Option<(&str, u32)> {
    let (file, line) = at.rsplit_once(':')?;
    Some((file, line.parse().ok()?))
}

/// A message, in which a line's end would begin another command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A value among properties.
fn property(text: &str) -> String {
    data(&escape(text)).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::recording::Kind;
    use crate::recording::SlowPoll;

    fn at(line: &str, ns: u64) -> SlowPoll {
        let kind = Kind { blocking_line: Some(line.into()), ..Kind::default() };
        SlowPoll { duration_ns: ns, ..SlowPoll::of(kind) }
    }

    /// The fixture with slow polls at these lines and no gates.
    fn blocked_at(lines: &[String]) -> Recording {
        let mut recording = fixture::recording();
        recording.gates.clear();
        recording.runs.truncate(1);
        recording.runs[0].slow_polls = lines.iter().map(|line| at(line, 1_000_000_000)).collect();
        recording.findings = crate::findings::findings(&recording.runs);
        recording
    }

    #[test]
    fn errors_come_first_and_a_line_that_blocks_is_named_as_file_and_line() {
        let mut recording = blocked_at(&["src/a,b.rs:41".to_owned()]);
        recording.gates = fixture::recording().gates;
        let text = render(&recording);
        let first = "::error title=pollscope%3A a gate failed::offloaded.lag.p99 < 1ms does not hold: it is 1.56 ms";
        assert_eq!(text.lines().next(), Some(first));
        let warning = text.lines().nth(1).unwrap();
        assert!(
            warning.starts_with("::warning file=src/a%2Cb.rs,line=41,title=pollscope PS001%3A slow polls::naive: "),
            "{warning}"
        );
        assert_eq!(text.matches("line=41").count(), 1, "a line is said once: {text}");
    }

    #[test]
    fn nine_are_shown_and_the_others_counted() {
        let lines: Vec<String> = (1..=20).map(|line| format!("src/a.rs:{line}")).collect();
        let text = render(&blocked_at(&lines));
        assert_eq!(text.lines().count(), MOST + 1);
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("::notice title=pollscope::11 more annotations"), "{last}");
        let nine = render(&blocked_at(&lines[..MOST]));
        assert_eq!((nine.lines().count(), nine.contains("::notice")), (MOST, false));
    }

    #[test]
    fn no_name_begins_a_command() {
        let mut recording = blocked_at(&["x\n::error::y%0A,:\r.rs:7".to_owned()]);
        recording.gates = vec![Gate { expr: "a\n::b%".to_owned(), verdict: GateVerdict::Fail, value: None, why: None }];
        let text = render(&recording);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.lines().all(|line| line.starts_with("::")), "{text}");
        assert!(text.contains("a\\n::b%25 does not hold\n"), "{text}");
        assert!(text.contains("file=x\\n%3A%3Aerror%3A%3Ay%250A%2C%3A\\r.rs,line=7,"), "{text}");
    }

    #[test]
    fn nothing_wrong_says_nothing() {
        let mut calm = fixture::recording_of(vec![fixture::run("naive")]);
        calm.gates.truncate(2);
        assert_eq!(render(&calm), "");
    }

    #[test]
    fn errors_of_a_run_and_gates_without_an_answer_are_shown() {
        let mut recording = fixture::recording_of(vec![fixture::run("naive")]);
        recording.gates.remove(2);
        recording.runs[0].errors = vec!["cannot read `a`".into()];
        assert_eq!(
            render(&recording).lines().collect::<Vec<_>>(),
            [
                "::error title=pollscope%3A the run had an error::naive: cannot read `a`",
                "::notice title=pollscope%3A a gate is inconclusive::offloaded.response_time.p999 < 10ms cannot be judged: — \
                 not measured",
            ]
        );
    }
}
