//! The real `tokio-console`, on a terminal of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::screen::Screen;
use super::{MODES, PATIENCE, RUNS, Running, TASKS, has_console, observed};

const ROWS: u16 = 60;
const COLUMNS: u16 = 160;
/// What is drawn is whole when so many nanoseconds pass without more of it.
const PAUSE_NS: i64 = 50_000_000;

/// The client: what `POLLSCOPE_TOKIO_CONSOLE` names, or else the one that is installed.
fn client() -> Option<PathBuf> {
    let named = std::env::var_os("POLLSCOPE_TOKIO_CONSOLE").map(PathBuf::from);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    named.or_else(|| {
        std::env::split_paths(&folders).map(|folder| folder.join("tokio-console")).find(|path| path.exists())
    })
}

#[test]
fn tokio_console_lists_the_tasks_of_every_mode() {
    if !has_console() {
        return;
    }
    let Some(client) = client() else {
        return println!("SKIP: there is no tokio-console: `cargo install tokio-console`");
    };
    let (mut program, address) = observed(&MODES);
    wait_until_it_listens(&address);
    let (terminal, path) = terminal();
    let open = || Stdio::from(File::options().read(true).write(true).open(&path).expect("it opens"));
    let mut command = Command::new(client);
    command.arg(format!("http://{address}")).env("TERM", "xterm-256color").env("LANG", "en_US.UTF-8");
    let _client = Running(command.stdin(open()).stdout(open()).stderr(Stdio::null()).spawn().expect("it starts"));

    let mut terminal = File::from(terminal);
    let (mut screen, mut bytes) = (Screen::new(ROWS.into(), COLUMNS.into()), [0; 65_536]);
    let mut lives: BTreeMap<u64, BTreeSet<BTreeSet<&str>>> = BTreeMap::new();
    let start = Instant::now();
    while program.0.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "{:#?}", screen.lines().collect::<Vec<_>>());
        if is_readable(&terminal) {
            let length = terminal.read(&mut bytes).expect("the client still runs");
            screen.feed(&bytes[..length]);
            continue;
        }
        let alive: Vec<(u64, &str)> = screen.lines().filter_map(|line| live_task(&line)).collect();
        let names: BTreeSet<&str> = alive.iter().map(|(_, name)| *name).collect();
        for (main, _) in alive.iter().filter(|(_, name)| *name == "main") {
            lives.entry(*main).or_default().insert(names.clone());
        }
    }
    assert_eq!(lives.len(), RUNS, "{lives:?}");
    let all = BTreeSet::from(TASKS);
    assert!(lives.values().all(|seen| seen.contains(&all)), "{lives:?}");
}

/// A client that finds nobody tries again later and later, up to 5 s: longer than a run takes.
fn wait_until_it_listens(address: &str) {
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(start.elapsed() < PATIENCE, "nothing listens at {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn terminal() -> (OwnedFd, String) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it can be used");
    let path = ptsname(&terminal, Vec::new()).expect("its name").into_string().expect("UTF-8");
    let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).expect("it has a size");
    (terminal, path)
}

/// Whether more comes before the pause is over.
fn is_readable(terminal: &File) -> bool {
    let pause = Timespec { tv_sec: 0, tv_nsec: PAUSE_NS };
    poll(&mut [PollFd::new(terminal, PollFlags::IN)], Some(&pause)).expect("it can be waited for") > 0
}

/// The number and the name in a row of a task that has not ended, one of those that are looked for.
fn live_task(line: &str) -> Option<(u64, &'static str)> {
    let row = line.trim_matches(['│', ' ']);
    // Behind a sign, the number of warnings.
    let row =
        row.strip_prefix('⚠').map_or(row, |rest| rest.trim_start().split_once(' ').map_or(rest, |(_, rest)| rest));
    let (number, row) = row.trim_start().split_once(' ')?;
    let (state, row) = row.trim_start().split_once(' ')?;
    let name = TASKS
        .into_iter()
        .find(|name| row.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with("  ")))?;
    (state != "⏹").then_some((number.parse().ok()?, name))
}
