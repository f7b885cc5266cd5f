//! What can be seen of a process, found out before it is looked at.

use std::process::Command;

use pollscope_attach::{Access, Obstacle};
use pollscope_stacks::perf::Hindrance;

use crate::service::{Service, program};

#[test]
fn what_can_be_seen_is_found_out_and_the_process_does_not_notice() {
    let service = Service::start("counts multi");
    for _ in 0..3 {
        let access = Access::of(service.pid(), &[]);
        let program = access.program.expect("it may be looked at");
        assert!(program.tokio.is_some_and(|version| version.starts_with("1.")));
        assert!(program.names.is_some_and(|names| names.advice().is_none_or(|advice| advice.starts_with("for full"))));
        assert_eq!((program.lacks, program.notes, access.has_probe), (None, Vec::new(), Some(false)));
        let status = access.status.expect("everybody is told");
        assert!(status.has_memory && status.tracer.is_none() && status.threads >= 3, "{status:?}");
        assert!((1..=8).contains(&program.events.threads), "{:?}", program.events);
        for tried in [program.events.samples, program.events.breakpoints] {
            match tried {
                Ok(()) => {}
                Err(Hindrance::NotCode | Hindrance::BreakpointsTaken | Hindrance::Unsupported) => panic!("{tried:?}"),
                Err(why) => eprintln!("SKIP: {why}"),
            }
        }
    }
    assert_eq!(service.ends(), "interrupted 0", "no call of it was interrupted");
}

#[test]
fn one_that_is_refused_is_told_with_what_is_known_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let stripped = folder.path().join("stripped");
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(program()).status();
    if !strip.is_ok_and(|status| status.success()) {
        return eprintln!("SKIP: `strip` is not here");
    }
    let service = Service::start_program(&stripped, "sleeps multi");
    let access = Access::of(service.pid(), &[]);
    assert!(matches!(access.program, Err(Obstacle::NoNames { .. })), "{access:?}");
    assert_eq!((access.name.as_deref(), access.has_probe), (Some("stripped"), Some(false)));
    assert!(access.status.is_some_and(|status| status.threads >= 1));
    let named = Access::of(service.pid(), &[program()]);
    assert!(named.program.is_ok_and(|program| program.lacks.is_none() && program.build_id.is_some()), "it has a copy");
}
