//! Where feeds come from, and the thread that reads them: one after the other, as a service's probes come and go.

use std::fs;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use pollscope_base::reason;
use pollscope_record::growing::{Fed, follow};

use super::Event;
use super::outside::Outside;
use crate::service::{NoFeed, Service};

/// How often it is looked for a probe, while none is there.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What is shown.
#[derive(Debug)]
pub(crate) enum Source {
    /// Who listens.
    Listens(Listener),
    /// A process that is looked at from outside.
    Outside(Box<Outside>),
}

/// Who listens.
#[derive(Debug)]
pub(crate) enum Listener {
    /// A process.
    Process(Arc<Service>),
    /// Whoever does in this folder.
    Folder(PathBuf),
}

impl Source {
    /// Reads what is told until nobody wants to know any more.
    pub(super) fn read(self, tell: &Sender<Event>) {
        match self {
            Source::Listens(listener) => listener.read(tell),
            Source::Outside(outside) => outside.read(tell),
        }
    }
}

impl Listener {
    fn sockets(&self) -> Result<Vec<PathBuf>, String> {
        match self {
            Listener::Process(service) => service.sockets().map_err(|error| error.to_string()),
            Listener::Folder(folder) => {
                let files = fs::read_dir(folder).map_err(|error| reason(error).to_string())?;
                let mut paths: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
                paths.sort();
                Ok(paths)
            }
        }
    }

    fn connect(&self, path: &Path) -> Result<UnixStream, String> {
        match self {
            Listener::Process(service) => service.connect(path).map_err(|error| match error {
                NoFeed::Connect { error, .. } => reason(error).to_string(),
                other => other.to_string(),
            }),
            Listener::Folder(_) => UnixStream::connect(path).map_err(|error| reason(error).to_string()),
        }
    }

    /// Reads feeds until nobody wants to know any more.
    fn read(&self, tell: &Sender<Event>) {
        loop {
            let found = self.sockets().map(|paths| paths.into_iter().next());
            let said = match found {
                Ok(Some(path)) => self.connect(&path).and_then(|stream| read_one(stream, tell)),
                Ok(None) => Ok(()),
                Err(why) => Err(why),
            };
            if said.is_err_and(|why| tell.send(Event::Trouble(why)).is_err()) {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// Reads one to its end.
fn read_one(stream: UnixStream, tell: &Sender<Event>) -> Result<(), String> {
    let mut refused = None;
    let each = |fed| match fed {
        Fed::Refused(why) => {
            refused = Some(why);
            ControlFlow::Break(())
        }
        fed => match tell.send(Event::Fed(Box::new(fed))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        },
    };
    let read = follow(BufReader::with_capacity(64 << 10, stream), each);
    match refused {
        Some(why) => Err(why),
        None => read.map_err(|error| error.to_string()),
    }
}
