//! From text to a [`Gate`].

use std::ops::Range;

use super::metric::{DISTS, Group, Metric, OPS, Op, Quantity, Right, SINGLES, STATS, Unit, VERDICTS};
use super::{Gate, GateError};
use crate::snippet::{nearest, printable};
use crate::units;

/// What is wrong, and where in the text.
type Fault = (Range<usize>, String);

const EXAMPLE: &str = "such as `naive.slow_polls >= 3`";

impl Gate {
    /// Reads an expectation.
    ///
    /// # Errors
    /// When the text is not in the grammar, names an unknown metric or statistic, or compares two things that are not
    /// counted in the same unit.
    pub fn parse(text: &str) -> Result<Gate, GateError> {
        let error = |(span, reason)| GateError { text: text.to_owned(), span, reason };
        let mut tokens = Tokens { text, tokens: lex(text).map_err(error)?, next: 0 };
        let (left, op, right) = gate(&mut tokens).map_err(error)?;
        Ok(Gate { text: text.to_owned(), left, op, right })
    }

    /// That every group that it names is one of those.
    ///
    /// # Errors
    /// When one is not, with the nearest that is.
    ///
    /// ```
    /// use pollscope_record::gate::Gate;
    /// let gate = Gate::parse("naiv.slow_polls == 0")?;
    /// assert!(gate.check_groups(&["naive"]).unwrap_err().reason().contains("did you mean `naive`?"));
    /// # Ok::<(), pollscope_record::gate::GateError>(())
    /// ```
    pub fn check_groups(&self, known: &[&str]) -> Result<(), GateError> {
        let Some(unknown) = self.named_groups().find(|group| !known.contains(&group.name.as_str())) else {
            return Ok(());
        };
        let name = printable(&unknown.name);
        let reason = match nearest(&unknown.name, known.iter().copied()) {
            Some(near) => format!("there is no group `{name}`; did you mean `{near}`?"),
            None => format!("there is no group `{name}`; write one of {}", list(known.iter().copied())),
        };
        Err(GateError { text: self.text.clone(), span: unknown.span.clone(), reason })
    }

    /// That all that it speaks of can be known, whatever comes out: `why_not` tells, of a metric's name without its statistic, why
    /// it cannot.
    ///
    /// # Errors
    /// When something cannot, with the reason.
    ///
    /// ```
    /// use pollscope_record::gate::Gate;
    /// let gate = Gate::parse("naive.lag.p99 < 10ms")?;
    /// assert!(gate.check_known(|_| None).is_ok());
    /// let error = gate.check_known(|name| (name == "lag").then_some("it has no timer")).unwrap_err();
    /// assert_eq!(error.reason(), "`lag.p99` cannot be known here: it has no timer");
    /// # Ok::<(), pollscope_record::gate::GateError>(())
    /// ```
    pub fn check_known<'w>(&self, why_not: impl Fn(&str) -> Option<&'w str>) -> Result<(), GateError> {
        let right = if let Right::Times(_, metric) = &self.right { Some(metric) } else { None };
        for metric in std::iter::once(&self.left).chain(right) {
            let named = &self.text[metric.span.clone()];
            let name = match metric.quantity {
                Quantity::Dist(..) => named.split('.').next().unwrap_or(named),
                _ => named,
            };
            if let Some(why) = why_not(name) {
                let reason = format!("`{named}` cannot be known here: {why}");
                return Err(GateError { text: self.text.clone(), span: metric.span.clone(), reason });
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Letters, digits, `_`, `-` and dots, behind a text in quotes or without one: a metric, a group, a verdict.
    Path,
    /// A number and what follows it without a space: a unit, `%`.
    Literal,
    Op(Op),
    Times,
}

#[derive(Debug, Clone)]
struct Token {
    kind: Kind,
    span: Range<usize>,
}

fn lex(text: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let length = |more: fn(char) -> bool| rest.find(|c| !more(c)).unwrap_or(rest.len());
        let (kind, length) = if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if let Some((sign, op)) = OPS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            (Kind::Op(*op), sign.len())
        } else if first == '*' {
            (Kind::Times, 1)
        } else if first.is_ascii_alphabetic() || first == '_' {
            (Kind::Path, length(is_of_path))
        } else if first == '"' {
            let Some(end) = rest[1..].find('"') else {
                return Err((at..text.len(), "the group's name has no closing `\"`".to_owned()));
            };
            let quoted = end + 2;
            (Kind::Path, quoted + rest[quoted..].find(|c| !is_of_path(c)).unwrap_or(rest.len() - quoted))
        } else if first.is_ascii_digit() || matches!(first, '.' | '-' | '+') {
            (Kind::Literal, length(|c| c.is_alphanumeric() || matches!(c, '.' | '%' | '/' | '-' | '+')))
        } else if first == '=' {
            return Err((at..at + 1, "write `==` for equality".to_owned()));
        } else {
            let found = printable(&first.to_string());
            return Err((at..at + first.len_utf8(), format!("`{found}` has no meaning here; write a gate {EXAMPLE}")));
        };
        tokens.push(Token { kind, span: at..at + length });
        at += length;
    }
    Ok(tokens)
}

fn is_of_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

struct Tokens<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    next: usize,
}

impl<'a> Tokens<'a> {
    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    fn peek(&self) -> Option<Kind> {
        self.tokens.get(self.next).map(|token| token.kind)
    }

    fn str(&self, token: &Token) -> &'a str {
        &self.text[token.span.clone()]
    }

    /// That something else was expected than `found`, or than the end.
    fn expected(&self, found: Option<Token>, what: &str) -> Fault {
        match found {
            Some(token) => (token.span.clone(), format!("`{}` is not {what}", printable(self.str(&token)))),
            None => (self.text.len()..self.text.len(), format!("it ends too early: add {what}")),
        }
    }
}

fn gate(tokens: &mut Tokens<'_>) -> Result<(Metric, Op, Right), Fault> {
    let left = match tokens.take() {
        Some(token) if token.kind == Kind::Path => metric(tokens.str(&token), token.span.start)?,
        found => return Err(tokens.expected(found, &format!("a metric: write a gate {EXAMPLE}"))),
    };
    let (op, op_span) = match tokens.take() {
        Some(Token { kind: Kind::Op(op), span }) => (op, span),
        found => return Err(tokens.expected(found, "a comparison: one of `<`, `<=`, `>`, `>=`, `==`, `!=`")),
    };
    let unit = left.quantity.unit();
    if unit == Unit::Verdict && !matches!(op, Op::Equal | Op::NotEqual) {
        return Err((op_span, "a verdict has no order: write `==` or `!=`".to_owned()));
    }
    let right = right(tokens, unit)?;
    match tokens.take() {
        None => Ok((left, op, right)),
        Some(token) => Err((
            token.span.clone(),
            format!("the gate should end before `{}`; write one gate each", printable(tokens.str(&token))),
        )),
    }
}

fn right(tokens: &mut Tokens<'_>, unit: Unit) -> Result<Right, Fault> {
    let wanted = unit.describe();
    let token = match tokens.take() {
        Some(token) if matches!(token.kind, Kind::Path | Kind::Literal) => token,
        found => return Err(tokens.expected(found, wanted)),
    };
    let text = tokens.str(&token);
    if unit == Unit::Verdict {
        let found = VERDICTS.iter().find(|(word, _)| *word == text);
        return found.map(|(_, verdict)| Right::Verdict(*verdict)).ok_or_else(|| tokens.expected(Some(token), wanted));
    }
    if token.kind == Kind::Path {
        return times(1.0, text, token.span, unit);
    }
    if tokens.peek() != Some(Kind::Times) {
        return value(text, unit).map(Right::Number).ok_or_else(|| tokens.expected(Some(token), wanted));
    }
    let factor = number(text).ok_or_else(|| tokens.expected(Some(token), "a factor: a number of at least 0"))?;
    tokens.take();
    match tokens.take() {
        Some(token) if token.kind == Kind::Path => times(factor, tokens.str(&token), token.span, unit),
        found => Err(tokens.expected(found, "a metric, such as `naive.lag.p99`")),
    }
}

fn times(factor: f64, text: &str, span: Range<usize>, unit: Unit) -> Result<Right, Fault> {
    let metric = metric(text, span.start)?;
    if metric.quantity.unit() == unit {
        return Ok(Right::Times(factor, metric));
    }
    let (found, wanted) = (metric.quantity.unit().describe(), unit.describe());
    Err((span, format!("`{text}` is {found}; the left side is {wanted}")))
}

/// A literal in the unit of the left side.
fn value(text: &str, unit: Unit) -> Option<f64> {
    match unit {
        Unit::Duration => units::parse_duration(text).ok().map(|duration| duration.as_nanos() as f64),
        Unit::Count => number(text),
        Unit::Bytes => number(text).or_else(|| size(text)),
        Unit::BytesPerSecond => number(text).or_else(|| size(text.strip_suffix("/s").unwrap_or(text))),
        Unit::Fraction => match text.strip_suffix('%') {
            Some(percent) => number(percent).map(|percent| percent / 100.0),
            None => number(text),
        },
        Unit::Verdict => None,
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
}

fn size(text: &str) -> Option<f64> {
    units::parse_size(text).ok().map(|bytes| bytes as f64)
}

/// Reads `[group.]name[.stat]`, which starts at byte `start` of the gate.
fn metric(text: &str, start: usize) -> Result<Metric, Fault> {
    let end = start + text.len();
    let (group, name) = split_group(text);
    let name_start = end - name.len();
    let group_span = start..name_start.saturating_sub(1).max(start);
    let group = group.map(|name| Group { name: name.to_owned(), span: group_span });
    if let Some((_, quantity)) = SINGLES.iter().find(|(single, _)| *single == name) {
        return Ok(Metric { group, quantity: *quantity, span: name_start..end });
    }
    let (dist, stat) = name.split_once('.').unwrap_or((name, ""));
    let Some((_, dist_name)) = DISTS.iter().find(|(known, _)| *known == dist) else {
        return Err((name_start..end, unknown_metric(name)));
    };
    if let Some((_, stat)) = STATS.iter().find(|(known, _)| *known == stat) {
        return Ok(Metric { group, quantity: Quantity::Dist(*dist_name, *stat), span: name_start..end });
    }
    let stats = list(STATS.iter().map(|(stat, _)| *stat));
    if stat.is_empty() {
        return Err((name_start..end, format!("`{dist}` is a distribution: say which of {stats}, as in `{dist}.p99`")));
    }
    Err((end - stat.len()..end, format!("`{stat}` is no statistic of `{dist}`; write one of {stats}")))
}

/// The group, and what follows its dot. A group may have dots in its name: it ends before the first metric. What has no
/// metric in it has one that is misspelt, behind the first dot unless it begins like a metric.
fn split_group(text: &str) -> (Option<&str>, &str) {
    if let Some((group, name)) = text.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        return (Some(group), name.strip_prefix('.').unwrap_or(name));
    }
    let behind_dots = text.match_indices('.').map(|(dot, _)| dot + 1);
    let found = std::iter::once(0).chain(behind_dots.clone()).find(|at| begins_with_metric(&text[*at..]));
    match (found, behind_dots.clone().next()) {
        (Some(0), _) | (None, None) => (None, text),
        (None, Some(_)) if begins_like_metric(text) => (None, text),
        (Some(at), _) | (None, Some(at)) => (Some(&text[..at - 1]), &text[at..]),
    }
}

fn begins_with_metric(text: &str) -> bool {
    let begins = |name: &str| text.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    names().any(begins)
}

fn begins_like_metric(text: &str) -> bool {
    let first = text.split('.').next().unwrap_or_default();
    names().any(|name| name.split('.').next() == Some(first)) || nearest(first, names()).is_some()
}

/// Of everything that a gate can speak of.
fn names() -> impl Iterator<Item = &'static str> {
    SINGLES.iter().map(|(name, _)| *name).chain(DISTS.iter().map(|(name, _)| *name))
}

fn unknown_metric(name: &str) -> String {
    for (single, _) in SINGLES {
        if name.strip_prefix(single).is_some_and(|stat| stat.starts_with('.')) {
            return format!("`{single}` is one number, without statistics: write `{single}`");
        }
    }
    let first = name.split('.').next().unwrap_or_default();
    match nearest(name, names()).or_else(|| nearest(first, names())) {
        Some(near) => format!("unknown metric `{name}`; did you mean `{near}`?"),
        None => format!("unknown metric `{name}`; write one of {}", list(names())),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{}`", printable(name))).collect::<Vec<_>>().join(", ")
}
