//! The answer: what held the loop, where, who waited for it and what to do about it; or that nothing did. Pure.
//!
//! Reports that have room for little more show this first. It says nothing that the findings and the comparison of the same recording
//! do not say.

mod better;
mod words;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::advice::{Advice, advice_for};
use crate::blockers::{Blocker, blockers};
use crate::by_group::{ByGroup, by_group};
use crate::findings::{is_late_without_slow_polls, is_unmeasured};
use crate::merge_words;
use crate::recording::{Cause, Finding, Gate, GateVerdict, Recording, SlowPoll, Verdict};

/// What a recording comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What costs most; or that nothing is wrong, or nothing known.
    pub lead: Item,
    /// What was seen at its place; `None` where no line is known.
    pub seen: Option<Seen>,
    /// Who waited meanwhile; `None` where that is not known.
    pub meanwhile: Option<String>,
    /// What to do about it; `None` where there is nothing to do, or nothing known.
    pub fix: Option<String>,
    /// Where the time of the loops went, by looks; `None` where nobody looked from outside.
    pub loops_time: Option<String>,
    /// What else there is, the dearest first.
    pub others: Vec<Item>,
    /// How many more there are.
    pub left_out: usize,
    /// What else there is to know, such as that a run ended early.
    pub facts: Vec<Item>,
    /// Gates that do not hold, or of which that is not known.
    pub gates: Vec<Gate>,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Whether it is good or bad.
    pub mark: GateVerdict,
    /// `file:line` of the user's code, or where its tasks are spawned; `None` where it is of no place.
    pub place: Option<String>,
    /// A sentence without a full stop.
    pub words: String,
    /// The finding's code.
    pub code: Option<String>,
}

/// What looks at one place showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How many looks saw it there, of how many; `None` where they were not counted.
    pub looks: Option<(u64, u64)>,
    /// `file:line` of what calls it, if that is another line.
    pub caller: Option<String>,
}

impl Item {
    fn new(mark: GateVerdict, words: impl Into<String>) -> Item {
        Item { mark, place: None, words: words.into(), code: None }
    }

    fn of_finding(finding: &Finding) -> Item {
        Item {
            place: finding.at.clone(),
            code: Some(finding.code.clone()),
            ..Item::new(GateVerdict::Fail, finding.sentence.clone())
        }
    }
}

/// So many reasons are told why a line is not known.
const MISSING: usize = 2;

/// A line that can be mended comes before what is of no line, or the machine's doing, unless that took so many times as long.
const MENDED_FIRST: u64 = 10;

/// So many things are told beside the lead; the others are counted.
const OTHERS: usize = 64;

/// Something that may be the lead. What belongs to it is found out of the one that is.
struct Candidate<'a> {
    /// What comes first: a merge that is not confirmed, then by time.
    rank: (u8, u64),
    group: &'a ByGroup<'a>,
    what: What<'a>,
}

enum What<'a> {
    /// Whether it had not ended.
    Held(Held<'a>, bool),
    Finding(&'a Finding),
}

/// What a recording comes to.
pub fn answer(recording: &Recording) -> Answer {
    let groups = by_group(&recording.runs);
    let mut candidates: Vec<Candidate> = groups.iter().flat_map(of_group).collect();
    candidates.extend(recording.findings.iter().filter_map(|finding| of_finding(finding, &groups)));
    candidates.sort_by_key(|candidate| Reverse(candidate.rank));
    let mut facts = facts(recording, &groups);
    let gates: Vec<Gate> = recording.gates.iter().filter(|gate| gate.verdict != GateVerdict::Pass).cloned().collect();
    let Some((first, rest)) = candidates.split_first() else {
        let others = recording.findings.iter().filter(|finding| finding.code == "PS008").map(harmless).collect();
        let lead = calm(&groups);
        let loops_time = words::loops_time(&groups);
        return Answer { lead, seen: None, meanwhile: None, fix: None, loops_time, others, left_out: 0, facts, gates };
    };
    let (mut lead, seen) = (first.item(&groups), first.seen());
    lead.words.push_str(&first.whose());
    if lead.code.as_deref() == Some("PS001") && seen.is_none() {
        let missing = recording.missing().into_iter().take(MISSING);
        facts.extend(missing.map(|why| Item::new(GateVerdict::Inconclusive, why)));
    }
    let others = rest.iter().take(OTHERS).map(|candidate| candidate.item(&groups)).collect();
    let left_out = rest.len().saturating_sub(OTHERS);
    let (meanwhile, fix, loops_time) = (first.meanwhile(), first.fix(&groups), words::loops_time(&groups));
    Answer { lead, seen, meanwhile, fix, loops_time, others, left_out, facts, gates }
}

/// What held the loop of a group, by line of code.
fn of_group<'a>(group: &'a ByGroup<'a>) -> Vec<Candidate<'a>> {
    let open = group.rounds.iter().flat_map(|run| &run.stalls_open);
    let still = by_place(blockers(open)).into_iter().map(|held| (held, true));
    let over = by_place(blockers(group.slow_polls().map(|(_, poll)| poll))).into_iter().map(|held| (held, false));
    let candidate = |(held, is_open): (Held<'a>, bool)| Candidate {
        rank: (2, held.total_ns.saturating_mul(if held.can_be_mended() { MENDED_FIRST } else { 1 })),
        group,
        what: What::Held(held, is_open),
    };
    still.chain(over).map(candidate).collect()
}

impl Candidate<'_> {
    fn item(&self, all: &[ByGroup]) -> Item {
        match &self.what {
            What::Held(held, is_open) => Item {
                place: place(held),
                code: Some("PS001".to_owned()),
                ..Item::new(GateVerdict::Fail, words::held(held, self.group, all, *is_open))
            },
            What::Finding(finding) => item_of(finding, self.group),
        }
    }

    /// The slow polls that it is about.
    fn polls<'b>(&'b self, held: &'b Held, is_open: bool) -> Vec<&'b SlowPoll> {
        let open = self.group.rounds.iter().flat_map(|run| &run.stalls_open).filter(|_| is_open);
        let over = self.group.slow_polls().map(|(_, poll)| poll).filter(|_| !is_open);
        open.chain(over).filter(|poll| held.is_of(poll)).collect()
    }

    fn seen(&self) -> Option<Seen> {
        let What::Held(held, is_open) = &self.what else { return None };
        held.dearest().line.is_some().then(|| seen(held, &self.polls(held, *is_open)))
    }

    /// In which span the longest of them was; nothing where that is not known.
    fn whose(&self) -> String {
        match &self.what {
            What::Held(held, is_open) => words::whose(&self.polls(held, *is_open)),
            What::Finding(_) => String::new(),
        }
    }

    fn meanwhile(&self) -> Option<String> {
        match &self.what {
            What::Held(held, is_open) => words::meanwhile(&self.polls(held, *is_open), self.group),
            What::Finding(_) => words::witnesses(self.group),
        }
    }

    fn fix(&self, all: &[ByGroup]) -> Option<String> {
        match &self.what {
            What::Held(held, _) => held.advice().map(|advice| better::fix(advice, self.group, all)),
            What::Finding(finding) if finding.code == "PS002" => {
                better::with_worth(&finding.advice, self.group, all).or_else(|| Some(finding.advice.clone()))
            }
            What::Finding(finding) => Some(finding.advice.clone()),
        }
    }
}

/// What blocked at one place in one call, for whatever cause: of some polls of a line the cause may not be known.
struct Held<'a> {
    /// Most time first; never empty.
    blockers: Vec<Blocker<'a>>,
    polls: u64,
    total_ns: u64,
    worst_ns: u64,
}

impl<'a> Held<'a> {
    fn dearest(&self) -> &Blocker<'a> {
        &self.blockers[0]
    }

    /// The cause of all of them.
    fn cause(&self) -> Option<&'a Cause> {
        let cause = self.dearest().cause?;
        self.blockers.iter().all(|blocker| blocker.cause == Some(cause)).then_some(cause)
    }

    /// Whether somebody can go to a line and change it.
    fn can_be_mended(&self) -> bool {
        self.dearest().line.is_some() && !self.dearest().cause.is_some_and(Cause::is_the_machines)
    }

    fn is_of(&self, poll: &SlowPoll) -> bool {
        self.blockers.iter().any(|blocker| blocker.is_of(poll))
    }

    /// What to do about the dearest of which that is known.
    fn advice(&self) -> Option<&'static Advice> {
        self.blockers.iter().find_map(|blocker| advice_for(blocker.first))
    }
}

/// Blockers of one place and call put together, most time first. There may be a million places.
fn by_place(blockers: Vec<Blocker>) -> Vec<Held> {
    let mut all: Vec<Held> = Vec::new();
    let mut places = HashMap::new();
    for blocker in blockers {
        let elsewhere = blocker.line.is_none().then_some((blocker.function, blocker.spawned_at));
        let place = places.entry((blocker.line, blocker.caller, blocker.call, elsewhere)).or_insert(all.len());
        let (polls, total_ns, worst_ns) = (blocker.polls, blocker.total_ns, blocker.worst_ns);
        match all.get_mut(*place) {
            Some(held) => {
                (held.polls, held.total_ns) = (held.polls + polls, held.total_ns + total_ns);
                held.worst_ns = held.worst_ns.max(worst_ns);
                held.blockers.push(blocker);
            }
            None => all.push(Held { blockers: vec![blocker], polls, total_ns, worst_ns }),
        }
    }
    all.sort_by_key(|held| Reverse(held.total_ns));
    all
}

/// The line, or where its tasks are spawned; nothing where the machine is at fault.
fn place(held: &Held) -> Option<String> {
    let is_the_machines = held.cause().is_some_and(Cause::is_the_machines);
    (!is_the_machines).then(|| held.dearest().place()).filter(|place| place != "not known")
}

/// How often looks saw these polls at their line.
fn seen(held: &Held, polls: &[&SlowPoll]) -> Seen {
    let counted = polls.iter().filter_map(|poll| {
        let elsewhere: u64 = poll.more_places().iter().filter_map(|place| place.looks).map(u64::from).sum();
        poll.looks.map(u64::from).map(|here| (here, here + elsewhere))
    });
    let looks = counted.reduce(|a, b| (a.0 + b.0, a.1 + b.1));
    Seen { looks, caller: held.dearest().caller.map(str::to_owned) }
}

/// A finding that no line of code stands for.
fn of_finding<'a>(finding: &'a Finding, all: &'a [ByGroup<'a>]) -> Option<Candidate<'a>> {
    let group = all.iter().find(|group| group.name == finding.group)?;
    let has_lines = group.slow_polls().next().is_some() || group.rounds.iter().any(|run| !run.stalls_open.is_empty());
    let rank = match finding.code.as_str() {
        "PS004" => (3, 0),
        // What slow polls did, and those that are known by line; what the instrument lacks; what is good.
        "PS001" | "PS003" | "PS007" if has_lines => return None,
        "PS003" | "PS007" if is_late_without_slow_polls(group) => return None,
        "PS005" | "PS006" | "PS008" => return None,
        _ => (1, 0),
    };
    Some(Candidate { rank, group, what: What::Finding(finding) })
}

fn item_of(finding: &Finding, group: &ByGroup) -> Item {
    match finding.code.as_str() {
        "PS002" => Item {
            place: words::busiest_site(group),
            code: Some(finding.code.clone()),
            ..Item::new(GateVerdict::Fail, words::many_short_polls(finding, group))
        },
        "PS004" => merge_not_confirmed(finding, group),
        _ => Item::of_finding(finding),
    }
}

/// What became of the merge of a group that stands alone, with its counts.
fn merge_not_confirmed(finding: &Finding, group: &ByGroup) -> Item {
    let first = group.unconfirmed().find_map(|run| Some((run, run.merge.as_ref()?)));
    match first.filter(|_| group.rounds.len() == 1) {
        Some((run, merge)) => {
            let mode = if run.subject.name().is_some() { format!("{}: ", group.name) } else { String::new() };
            let words = mode + &merge_words::not_confirmed(group, run, merge);
            let mark = if merge.verdict == Verdict::Failed { GateVerdict::Fail } else { GateVerdict::Inconclusive };
            Item { code: Some(finding.code.clone()), ..Item::new(mark, words) }
        }
        None => Item::of_finding(finding),
    }
}

fn harmless(finding: &Finding) -> Item {
    Item { mark: GateVerdict::Pass, ..Item::of_finding(finding) }
}

/// That nothing held the loop, with what was watched; or that nobody could tell.
fn calm(groups: &[ByGroup]) -> Item {
    let measured: Vec<&ByGroup> = groups.iter().filter(|group| !is_unmeasured(group)).collect();
    let may_miss = measured.iter().any(|group| group.may_miss_slow_polls());
    match measured.is_empty() || may_miss {
        true => Item::new(GateVerdict::Inconclusive, words::not_seen(&measured)),
        false => Item::new(GateVerdict::Pass, words::calm(&measured)),
    }
}

/// What ended early, and, of a group that stands alone, what became of its merge.
fn facts(recording: &Recording, groups: &[ByGroup]) -> Vec<Item> {
    let mut facts = Vec::new();
    let early = recording.early_ends().into_iter().map(|(who, why)| format!("{who}, ended early: {why}"));
    facts.extend(early.map(|words| Item::new(GateVerdict::Inconclusive, words)));
    if let [only] = groups {
        let ok = merge_words::confirmed(only).map(|words| Item::new(GateVerdict::Pass, words));
        facts.extend(ok);
        let has_lost = only.rounds.iter().any(|run| run.input_events.possible_losses > 0);
        let happened = merge_words::what_happened(only).into_iter().take(if has_lost { 2 } else { 0 });
        facts.extend(happened.map(|words| Item::new(GateVerdict::Inconclusive, words)));
        // Of the first that is not confirmed the lead tells.
        let verdicts = only.unconfirmed().filter_map(|run| Some((run, run.merge.as_ref()?))).skip(1);
        facts.extend(verdicts.map(|(run, merge)| {
            let mark = if merge.verdict == Verdict::Failed { GateVerdict::Fail } else { GateVerdict::Inconclusive };
            Item::new(mark, merge_words::not_confirmed(only, run, merge))
        }));
    }
    facts
}

impl Answer {
    /// The place of which a report may show the code.
    pub fn shown_place(&self) -> Option<&str> {
        self.lead.place.as_deref()
    }
}
