//! Writes the recordings of a made-up fleet, as their services would have: for who tries out queries over many recordings, and for
//! the test of those in `contrib/fleet`. The same each time.
//!
//! Arguments: a folder that is not there yet, and how many recordings. Each is in a folder of its host and its service. Half of them
//! are of the build before a deploy; some are of two files, some break off in the middle of a line.

use std::fs;
use std::io;
use std::path::Path;

use pollscope_record::feed::Update;
use pollscope_record::fixture::{self, MS};
use pollscope_record::growing::{Head, LineWriter};
use pollscope_record::recording::{
    Blame, Cause, Charge, Completeness, Coverage, Detail, Ended, Frame, Interval, Kind, Ledger, Run, RuntimeInfo,
    SlowPoll, Subject, Syscall, Target, Waiter,
};

const SERVICES: [&str; 3] = ["api", "billing", "search"];
/// Line, function, call and its text, cause: where slow polls are.
const PLACES: [(&str, &str, Option<(&str, &str)>, &str); 6] = [
    ("src/audit.rs:31", "audit::append", Some(("fsync", "fsync(fd 9 \"/var/log/audit.log\")")), "blocking-call"),
    ("src/stock.rs:118", "stock::reserve", Some(("futex", "futex")), "lock"),
    ("src/price.rs:77", "price::all", None, "cpu"),
    (
        "src/session.rs:12",
        "session::load",
        Some(("read", "read(fd 12 \"/var/lib/sessions\", 4096 bytes)")),
        "blocking-call",
    ),
    ("src/mail.rs:204", "mail::render", None, "cpu"),
    ("src/dns.rs:9", "dns::resolve", Some(("poll", "poll(fd 7, 5000 ms)")), "blocking-call"),
];
const SITES: [&str; 4] = ["src/main.rs:40", "src/orders.rs:57", "src/health.rs:11", "src/jobs.rs:23"];
const SECONDS: u64 = 60;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(count)) = (arguments.next(), arguments.next().and_then(|count| count.parse().ok())) else {
        eprintln!("give a folder and a number of recordings");
        std::process::exit(2);
    };
    (0..count).try_for_each(|number| recording(Path::new(&folder), number))
}

fn recording(folder: &Path, number: u64) -> io::Result<()> {
    let mut random = fastrand::Rng::with_seed(number);
    let service = SERVICES[number as usize % SERVICES.len()];
    let folder = folder.join(format!("host-{:04}", number / 3)).join(service);
    fs::create_dir_all(&folder)?;
    let is_after = number % 2 == 1;
    let head = head(service, number, is_after);
    let mut writer = LineWriter::default();
    let mut text = writer.head(&head)?;
    let mut known = Run { slow_polls_are: Completeness::All, ..head.run() };
    known.ledger = Some(Ledger { charges: Vec::new(), unattributed_ns: number });
    let file = |segment: u64| folder.join(format!("{service}-2026-03-01T03-00-00-{number}-{segment:06}.pollscope"));
    // Of every tenth, the service was killed at once, before it was written what is known of it as a whole.
    let breaks_off = number % 10 == 9;
    for second in 0..SECONDS {
        let slow = u64::from(random.u8(..8) < if is_after { 1 } else { 3 });
        for _ in 0..slow {
            let poll = poll(known.slow_polls_total + 1, second * 1_000 * MS, &mut random);
            text += &writer.lines(&Update::SlowPoll(Box::new(poll.clone())), 0)?;
            charge(&mut known, &poll);
            known.slow_polls_total += 1;
        }
        let polls = fixture::dist(3, &[(500 + random.u64(..500), 2_000, 900_000)]);
        let interval = Interval {
            start_ns: second * 1_000 * MS,
            busy_ns: Some(polls.sum_ns),
            polls: Some(polls),
            lag: None,
            longest_stretch_ns: None,
            queued: None,
            pool: None,
            slow: Some(slow),
        };
        text += &writer.lines(&Update::Interval(Box::new(interval)), (second + 1) * 1_000 * MS)?;
        if second == SECONDS / 2 && number % 7 == 3 {
            fs::write(file(1), &text)?;
            text = writer.head(&Head { segment: 2, ..head.clone() })?;
        }
    }
    if breaks_off {
        text += "{\"slow_poll\":{\"id\":99,\"task_";
    } else {
        known.elapsed_ns = SECONDS * 1_000 * MS;
        text += &writer.lines(&Update::Known(Box::new(known)), 0)?;
        text += &writer.lines(&Update::End(Ended::Done, None), 0)?;
    }
    fs::write(file(if number % 7 == 3 { 2 } else { 1 }), text)
}

fn head(service: &str, number: u64, is_after: bool) -> Head {
    let target = Target {
        name: service.to_owned(),
        pid: Some(1_000 + number),
        build_id: Some(if is_after { "b2" } else { "a1" }.to_owned()),
        runtimes: vec![RuntimeInfo { flavor: "multi_thread".to_owned(), workers: 2 }],
        ..Target::default()
    };
    Head {
        environment: fixture::recording().environment,
        group: service.to_owned(),
        subject: Subject::Service(target),
        // Those of the new build began an hour later.
        started_at: format!("2026-03-01T0{}:00:{:02}Z", if is_after { 4 } else { 3 }, number % 60),
        coverage: Coverage { source: "hooks".to_owned(), ..Coverage::default() },
        slow_poll_threshold_ns: 100 * MS,
        slow_polls_are: Completeness::All,
        segment: 1,
    }
}

fn poll(id: u64, second_ns: u64, random: &mut fastrand::Rng) -> SlowPoll {
    let (line, function, call, cause) = PLACES[random.usize(..PLACES.len()).min(random.usize(..PLACES.len()))];
    let (file, number) = line.rsplit_once(':').expect("a line");
    let frame = Frame { function: Some(function.into()), file: Some(file.into()), line: number.parse().ok() };
    let start_ns = second_ns + random.u64(..500) * MS;
    let duration_ns = 100 * MS + random.u64(..400_000_000);
    let tasks = random.u64(..20);
    let waiter = Waiter {
        span: None,
        task_id: random.u64(1..1_000),
        spawned_at: SITES[random.usize(..SITES.len())].to_owned(),
        ready_ns: start_ns + MS,
        polled_ns: start_ns + duration_ns + MS,
    };
    let kind = Kind {
        spawned_at: Some(SITES[random.usize(..2)].into()),
        worker: Some(random.u64(..2)),
        cause: Some(Cause::from(cause)),
        syscall: call.map(|(name, text)| {
            Syscall { name: name.into(), fd: None, path: None, peer: None, bytes: None, text: text.into() }.into()
        }),
        blocking_line: Some(line.into()),
        function: Some(function.into()),
        stack: [frame].into_iter().collect(),
        nobody_waited: true,
        ..Kind::default()
    };
    let detail = Detail {
        blame: (tasks > 0).then(|| Blame {
            tasks,
            wait_ns: tasks * duration_ns / 2,
            wait_most_ns: tasks * duration_ns,
            ..Blame::default()
        }),
        worst_waiter: (tasks > 0).then(|| Box::new(waiter)),
        ..Detail::default()
    };
    SlowPoll {
        id,
        task_id: random.u64(1..1_000).into(),
        start_ns,
        duration_ns,
        detail: detail.boxed(),
        ..SlowPoll::of(kind)
    }
}

/// Adds to the ledger what the poll made others wait.
fn charge(known: &mut Run, poll: &SlowPoll) {
    let (Some(culprit), Some(blame), Some(waiter)) = (&poll.spawned_at, poll.blame(), poll.worst_waiter()) else {
        return;
    };
    let charges = &mut known.ledger.as_mut().expect("it has one").charges;
    let is_same = |charge: &&mut Charge| charge.culprit == *culprit && *charge.waiter == *waiter.spawned_at;
    if let Some(charge) = charges.iter_mut().find(is_same) {
        charge.tasks += blame.tasks;
        charge.wait_ns += blame.wait_ns;
        charge.wait_most_ns += blame.wait_most_ns;
        return;
    }
    charges.push(Charge {
        culprit: culprit.clone(),
        waiter: waiter.spawned_at.as_str().into(),
        tasks: blame.tasks,
        wait_ns: blame.wait_ns,
        late_tasks: 0,
        wait_most_ns: blame.wait_most_ns,
    });
}
