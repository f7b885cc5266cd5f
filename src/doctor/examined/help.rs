//! What would help to see more of a process, the least effort first. Pure.

use pollscope_attach::{Access, Obstacle, Program};
use pollscope_base::CaptureNote;
use pollscope_stacks::perf::Hindrance;

/// What something costs whoever looks, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Effort {
    /// Another line to type.
    Option,
    /// Something to do to the process, or as another user.
    Act,
    /// A setting of the machine.
    Setting,
    /// To start the process again.
    Restart,
    /// To build it again.
    Rebuild,
    /// To change its code.
    Code,
}

/// What would help, each a sentence.
pub(super) fn helps(access: &Access, listens: Option<bool>) -> Vec<String> {
    let pid = access.pid;
    let mut helps = Vec::new();
    if listens == Some(true) {
        let ask = format!("`pollscope record {pid}` and `pollscope top {pid}` ask its probe, which tells every poll");
        helps.push((Effort::Option, ask));
    }
    match &access.program {
        Err(obstacle) => {
            helps.extend(of_obstacle(obstacle).1.map(|help| (effort(obstacle), help)));
            let has_a_way =
                matches!(obstacle, Obstacle::Shut { .. } | Obstacle::Foreign { .. } | Obstacle::NoNames { .. });
            if has_a_way && listens != Some(true) {
                helps.push(probe(access.has_probe));
            }
        }
        Ok(program) => {
            of_program(program, &mut helps);
            if listens != Some(true) {
                helps.push(probe(access.has_probe));
            }
        }
    }
    if let Some(status) = access.status {
        if status.state == 'T' {
            helps.push((Effort::Act, format!("let it go on: `kill -CONT {pid}`")));
        }
        let debugger = |pid| (Effort::Act, format!("end the debugger, which is process {pid}, or let it go on"));
        helps.extend(status.tracer.map(debugger));
    }
    helps.sort_by_key(|(effort, _)| *effort);
    helps.into_iter().map(|(_, help)| help).collect()
}

/// What the probe would add; whether the program has it may not be known.
fn probe(has_probe: Option<bool>) -> (Effort, String) {
    let start = "start it with `POLLSCOPE=1 POLLSCOPE_LISTEN=1`";
    let adds = "every poll is told then, exactly, and who waited";
    match has_probe {
        Some(true) => (Effort::Restart, format!("{start}, for its probe to tell: {adds}")),
        Some(false) => (Effort::Code, format!("give it pollscope-probe (`pollscope init` shows the changes): {adds}")),
        None => (Effort::Code, format!("if it has pollscope-probe, {start}; else give it that: {adds}")),
    }
}

fn of_program(program: &Program, helps: &mut Vec<(Effort, String)>) {
    if let Some(CaptureNote::SymbolsMissing { build_id: Some(id), refused, .. }) = &program.lacks {
        let not = if refused.is_empty() { String::new() } else { format!("; {}", refused.join("; ")) };
        let give = format!(
            "give the unstripped copy of the same build (build-id {id}) with `--symbols FILE`, or a folder with it: lines have names \
             then{not}"
        );
        helps.push((Effort::Option, give));
    }
    if let Some(advice) = program.names.as_ref().filter(|_| program.lacks.is_some()).and_then(|names| names.advice()) {
        helps.push((Effort::Rebuild, advice.to_owned()));
    }
    let events = [program.events.samples, program.events.breakpoints];
    for why in events.into_iter().filter_map(Result::err) {
        let help = of_hindrance(why).1.map(|help| (effort_against(why), help));
        if !helps.iter().any(|known| Some(known) == help.as_ref()) {
            helps.extend(help);
        }
    }
}

/// Why a process cannot be looked at, and what to do about it. Its sentence has both.
pub(super) fn of_obstacle(obstacle: &Obstacle) -> (String, Option<String>) {
    let said = obstacle.to_string();
    let why = said.split_once("`: ").map_or(said.as_str(), |(_, why)| why);
    match why.split_once("; ") {
        Some((why, help)) => (why.to_owned(), Some(help.to_owned())),
        None => (why.to_owned(), None),
    }
}

fn effort(obstacle: &Obstacle) -> Effort {
    match obstacle {
        Obstacle::NoNames { build_id: Some(_), .. } => Effort::Option,
        Obstacle::NoNames { .. } => Effort::Rebuild,
        Obstacle::Shut { yama: Some(3..), .. } => Effort::Setting,
        Obstacle::Foreignly { .. } => Effort::Code,
        _ => Effort::Act,
    }
}

/// Why an event cannot be had, and what to do about it; likewise.
pub(super) fn of_hindrance(why: Hindrance) -> (String, Option<String>) {
    let said = why.to_string();
    match said.split_once(": ") {
        Some((why, help)) => (why.to_owned(), Some(help.to_owned())),
        None => (said, None),
    }
}

fn effort_against(why: Hindrance) -> Effort {
    match why {
        Hindrance::Paranoid(_) | Hindrance::NoLockedMemory => Effort::Setting,
        Hindrance::Filtered | Hindrance::NoPerf => Effort::Restart,
        _ => Effort::Act,
    }
}
