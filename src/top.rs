//! A service as it runs, on one screen; or a process that is looked at from `outside`.
//!
//! Its feed becomes a `State`, that and the keys a `View`, and a view and a size become a `frame`: all of that is pure. A `source` is read
//! by a thread of its own, and `screen` shows frames on a terminal; where there is none, they are printed.

mod cells;
mod frame;
mod outside;
mod panels;
mod places;
mod screen;
mod source;
mod state;
mod view;

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_record::growing::Fed;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

pub(crate) use self::outside::Outside;
use self::screen::{Screen, read_keys};
pub(crate) use self::source::{Listener, Source};
use self::state::Status;
use self::view::{Key, View};
use crate::exit::Exit;
use crate::signal_mask::without_signals;

/// How often it is looked whether the service is gone, and a screen without news is drawn.
const TICK: Duration = Duration::from_millis(500);

/// So often it is tried to get a feed, four times a second, before printing is given up.
const MOST_TROUBLES: u32 = 8;

/// What happens while a service is looked at.
#[derive(Debug)]
enum Event {
    Fed(Box<Fed>),
    /// There is no feed now, and why.
    Trouble(String),
    Key(Key),
    Resized,
    Signal(i32),
}

/// How a service is shown.
#[derive(Debug)]
pub(crate) struct How {
    /// Whether there is a screen; otherwise frames are printed.
    pub(crate) on_screen: bool,
    /// Whether the first frame is the last.
    pub(crate) once: bool,
    pub(crate) color: bool,
    /// The columns and rows of printed frames.
    pub(crate) size: (usize, usize),
    /// Where the output of a program goes that was started for it.
    pub(crate) output: Option<String>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) exit: Exit,
    /// Whether anything was seen of the service.
    pub(crate) has_begun: bool,
    /// What stood in the way last.
    pub(crate) trouble: Option<String>,
}

/// Shows a service until it is enough; of printed frames, until the service is gone. `gone` tells that, and how it ended where that is
/// known.
///
/// # Errors
/// When nothing can be shown.
pub(crate) fn run(source: Source, how: How, gone: impl FnMut() -> Option<Option<String>>) -> io::Result<Done> {
    let mut signals = without_signals(|| Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]))?;
    let (tell, events) = mpsc::channel();
    start("signals", &tell, move |tell| {
        for signal in signals.forever() {
            if tell.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    start("feed", &tell, move |tell| source.read(tell))?;
    let mut view = View::default();
    view.output.clone_from(&how.output);
    let mut looking = Looking { view, events, gone, has_begun: false };
    let exit = if how.on_screen {
        let mut screen = Screen::open(how.color)?;
        start("keys", &tell, read_keys)?;
        looking.on(&mut screen)
    } else {
        looking.print(&how)
    };
    Ok(Done { exit: exit?, has_begun: looking.has_begun, trouble: looking.view.trouble.take() })
}

/// Starts a thread that ends with the program, and takes no signals.
fn start(name: &str, tell: &Sender<Event>, act: impl FnOnce(&Sender<Event>) + Send + 'static) -> io::Result<()> {
    let tell = tell.clone();
    without_signals(|| thread::Builder::new().name(name.to_owned()).spawn(move || act(&tell))).map(drop)
}

struct Looking<G> {
    view: View,
    events: Receiver<Event>,
    gone: G,
    has_begun: bool,
}

impl<G: FnMut() -> Option<Option<String>>> Looking<G> {
    /// Shows it on a screen: whenever its feed told of a moment, a key was pressed, or the size changed.
    fn on(&mut self, screen: &mut Screen) -> io::Result<Exit> {
        screen.draw(&self.view)?;
        let mut drawn = Instant::now();
        loop {
            let is_due = match self.events.recv_timeout(TICK) {
                Ok(Event::Fed(fed)) => {
                    let is_moment = matches!(*fed, Fed::Live(_));
                    self.take(*fed);
                    is_moment
                }
                Ok(Event::Trouble(why)) => {
                    self.view.trouble = Some(why);
                    false
                }
                Ok(Event::Key(key)) => {
                    if self.view.press(key) {
                        return Ok(Exit::Pass);
                    }
                    true
                }
                Ok(Event::Resized) => true,
                Ok(Event::Signal(signal)) => return Ok(ended_by(signal)),
                Err(_) => false,
            };
            let was_gone = self.is_over();
            self.look();
            if is_due || was_gone != self.is_over() || drawn.elapsed() >= 2 * TICK {
                screen.draw(&self.view)?;
                drawn = Instant::now();
            }
        }
    }

    /// Prints a frame of each moment.
    fn print(&mut self, how: &How) -> io::Result<Exit> {
        let mut troubles = 0;
        loop {
            let is_due = match self.events.recv_timeout(TICK) {
                Ok(Event::Fed(fed)) => {
                    let is_moment = matches!(*fed, Fed::Live(_));
                    self.take(*fed);
                    is_moment && self.view.now().is_enough()
                }
                Ok(Event::Trouble(why)) => {
                    self.view.trouble = Some(why);
                    troubles += 1;
                    if troubles == MOST_TROUBLES && !self.has_begun {
                        return Ok(Exit::Error);
                    }
                    false
                }
                Ok(Event::Signal(signal)) => return Ok(ended_by(signal)),
                Ok(Event::Key(_) | Event::Resized) | Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return Ok(Exit::Error),
            };
            if is_due {
                print(&self.view, how)?;
                if how.once {
                    return Ok(Exit::Pass);
                }
            } else {
                self.look();
                if self.is_over() {
                    if self.has_begun {
                        print(&self.view, how)?;
                    }
                    return Ok(Exit::Pass);
                }
            }
        }
    }

    fn take(&mut self, fed: Fed) {
        self.has_begun |= matches!(fed, Fed::Head(_));
        self.view.take(fed);
    }

    fn is_over(&self) -> bool {
        matches!(self.view.now().status, Status::Gone(_))
    }

    /// Looks whether the service is gone.
    fn look(&mut self) {
        if !self.is_over()
            && let Some(how) = (self.gone)()
        {
            // What it told last may still be on its way.
            while let Ok(Event::Fed(fed)) = self.events.recv_timeout(TICK / 5) {
                self.take(*fed);
            }
            self.view.set_status(Status::Gone(how));
        }
    }
}

fn ended_by(signal: i32) -> Exit {
    match signal {
        SIGHUP => Exit::HungUp,
        SIGINT => Exit::Interrupted,
        SIGTERM => Exit::Terminated,
        other => Exit::Program(u8::try_from(128 + other).unwrap_or(1)),
    }
}

/// Prints a frame, and a blank line behind it.
fn print(view: &View, how: &How) -> io::Result<()> {
    let (columns, rows) = how.size;
    let mut text = frame::text(&frame::frame(view, columns, rows));
    text.push('\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

#[cfg(test)]
mod tests;
