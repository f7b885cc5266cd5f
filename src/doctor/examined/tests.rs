use pollscope_attach::Obstacle;
use pollscope_base::CaptureNote;

use super::*;

const PLAIN: Style = Style { width: 100, color: false, unicode: true };

/// One that has all that there can be.
fn whole() -> Access {
    let program = Program {
        tokio: Some("1.54.1".to_owned()),
        names: Some(DebugInfo::LineTables),
        lacks: None,
        build_id: Some("4f".to_owned()),
        notes: Vec::new(),
        events: Events { threads: 8, samples: Ok(()), breakpoints: Ok(()) },
    };
    Access {
        pid: 4711,
        name: Some("api".to_owned()),
        status: Some(Status { state: 'S', user: 1000, threads: 12, tracer: None, has_memory: true }),
        by: Some(Asker { user: 1000, may_trace: false }),
        yama: Some(0),
        is_dumpable: Some(true),
        paranoid: Some(2),
        has_probe: Some(false),
        program: Ok(program),
    }
}

fn with(change: impl FnOnce(&mut Program)) -> Access {
    let mut access = whole();
    change(access.program.as_mut().expect("it can be looked at"));
    access
}

/// The numbered lines of a page, put together.
fn advice(access: &Access, listens: Option<bool>) -> Vec<String> {
    let page = render(access, listens, &Style { width: 2_000, ..PLAIN });
    let numbered = page.lines().filter_map(|line| line.split_once(". "));
    numbered.filter(|(number, _)| number.parse::<u32>().is_ok()).map(|(_, help)| help.to_owned()).collect()
}

#[test]
fn one_that_has_all_is_told_what_only_the_probe_would_add() {
    let page = render(&whole(), Some(false), &PLAIN);
    let expected = "\
pollscope doctor · process 4711 (api) can be looked at

✓ process     of the user 1000, 12 threads; its first one sleeps
✓ access      it is yours, and open to you
· Yama        `kernel.yama.ptrace_scope` is 0: a user's processes are open to that user
· probe       none that listens
✓ Tokio       1.54.1
✓ names       functions, the futures' types, files and lines
✓ samples     polls that compute can be sampled (tried on 8 threads of 12;
              `kernel.perf_event_paranoid` is 2)
✓ breakpoints the ends of polls can be exact (tried on 8 threads of 12; `kernel.perf_event_paranoid`
              is 2)

Never seen from outside: how many polls there are and how long each took, how long ready tasks
  waited and for whom, and what is queued: only the probe tells that

What would help, the least effort first
1. give it pollscope-probe (`pollscope init` shows the changes): every poll is told then, exactly,
   and who waited
";
    assert_eq!(page, expected, "{page}");
    assert!(render(&whole(), None, &PLAIN).contains("whether one listens is told to its own user"));
}

#[test]
fn what_would_help_is_in_the_order_of_effort() {
    let mut access = with(|program| {
        let (build_id, refused) = (Some("4f".to_owned()), vec!["`a.debug` is of another build".to_owned()]);
        program.names = Some(DebugInfo::Symbols);
        program.lacks = Some(CaptureNote::SymbolsMissing { has_names: true, build_id, refused });
        program.events =
            Events { threads: 3, samples: Err(Hindrance::Paranoid(3)), breakpoints: Err(Hindrance::BreakpointsTaken) };
        program.notes = vec!["it has Tokio 1.60.0".to_owned()];
    });
    access.has_probe = Some(true);
    let page = render(&access, Some(false), &PLAIN);
    assert!(
        page.starts_with("pollscope doctor · process 4711 (api) can be looked at, and more could be seen\n"),
        "{page}"
    );
    for row in [
        "~ names       functions and the futures' types, no files and lines\n",
        "~ samples     polls that compute cannot be sampled: the kernel closes perf events to users (tried on",
        "~ breakpoints the ends of polls are those of looks (`~`): its hardware breakpoints are all in use",
        "~ note        it has Tokio 1.60.0\n",
        "· probe       it is in the program, and does not listen\n",
    ] {
        assert!(page.contains(row), "no `{row}` in\n{page}");
    }
    let advice = advice(&access, Some(false));
    let begins = [
        "give the unstripped copy of the same build (build-id 4f) with `--symbols FILE`",
        "end the debugger that has them",
        "set `kernel.perf_event_paranoid`, which is 3, to 2",
        "start it with `POLLSCOPE=1 POLLSCOPE_LISTEN=1`",
        "for files and lines, set `debug = \"line-tables-only\"`",
    ];
    assert_eq!(advice.len(), begins.len(), "{advice:#?}");
    for (advice, begins) in advice.iter().zip(begins) {
        assert!(advice.starts_with(begins), "{advice} is not {begins}");
    }
    assert!(advice[0].ends_with("; `a.debug` is of another build"), "{}", advice[0]);
}

#[test]
fn one_hindrance_of_both_events_is_told_once() {
    let filtered = Err(Hindrance::Filtered);
    let access = with(|program| program.events = Events { threads: 1, samples: filtered, breakpoints: filtered });
    let advice = advice(&access, Some(false));
    assert_eq!(advice.iter().filter(|help| help.contains("look from the host")).count(), 1, "{advice:#?}");
    let none = with(|program| program.events = Events { threads: 0, samples: Ok(()), breakpoints: Ok(()) });
    assert!(render(&none, None, &PLAIN).contains("· perf events not tried: "));
}

#[test]
fn each_obstacle_has_its_reason_and_its_help() {
    let by = Some(Asker { user: 1000, may_trace: false });
    let shut = |yama, is_dumpable| Obstacle::Shut { pid: 4711, by, yama, is_dumpable };
    for (obstacle, why, help) in [
        (
            shut(Some(1), Some(true)),
            "`kernel.yama.ptrace_scope` is 1, which lets only a parent",
            "do it as root, start it",
        ),
        (shut(Some(0), Some(false)), "it is yours, but closed: it called", "do it as root"),
        (Obstacle::Foreign { pid: 4711, owner: 33, by }, "it is of the user 33", "do it as that user, or as root"),
        (
            Obstacle::NoTokio { pid: 4711, name: "api".to_owned() },
            "there is no Tokio in `api`",
            "look at the process that",
        ),
        (Obstacle::NoProcess { pid: 4711 }, "there is none", "`pgrep"),
        (Obstacle::Ended { pid: 4711 }, "it has ended", "look at another one"),
    ] {
        let access = Access { program: Err(obstacle.clone()), ..whole() };
        let page = render(&access, Some(false), &PLAIN);
        assert!(page.starts_with("pollscope doctor · process 4711 (api) cannot be looked at\n"), "{page}");
        assert!(page.contains(&format!("✗ access      {why}")), "{page}");
        assert!(advice(&access, Some(false)).iter().any(|advice| advice.starts_with(help)), "{page}");
        assert!(!page.contains("Never seen"), "{page}");
        let unknown = Access { has_probe: None, ..access.clone() };
        let is_told =
            advice(&unknown, Some(false)).iter().any(|advice| advice.starts_with("if it has pollscope-probe"));
        assert_eq!(is_told, matches!(obstacle, Obstacle::Shut { .. } | Obstacle::Foreign { .. }), "{page}");
        let tells = render(&access, Some(true), &PLAIN);
        assert!(tells.contains("tells of itself, and is shut otherwise"), "{tells}");
        assert!(advice(&access, Some(true))[0].starts_with("`pollscope record 4711`"), "{tells}");
    }
}

#[test]
fn one_that_is_stopped_or_traced_is_told_to_go_on() {
    let mut access = whole();
    access.status = Some(Status { state: 'T', user: 0, threads: 1, tracer: Some(77), has_memory: true });
    let page = render(&access, Some(false), &PLAIN);
    assert!(
        page.contains("~ process     of the user 0, 1 thread; its first one is stopped: nothing is seen before"),
        "{page}"
    );
    let advice = advice(&access, Some(false));
    assert!(advice.iter().any(|help| help.contains("`kill -CONT 4711`")), "{advice:#?}");
    assert!(advice.iter().any(|help| help.contains("which is process 77")), "{advice:#?}");
}

#[test]
fn every_width_has_a_page() {
    let mut access = whole();
    access.name = Some("\u{1b}[2J\u{202e}日本語".to_owned());
    for width in [20, 60, 80, 100] {
        for unicode in [true, false] {
            let page = render(&access, Some(false), &Style { width, color: false, unicode });
            assert!(page.lines().all(|line| crate::width::width(line) <= width), "{width}: {page}");
            assert!(!page.contains('\u{1b}') && (unicode || page.is_ascii()), "{page}");
        }
    }
}
