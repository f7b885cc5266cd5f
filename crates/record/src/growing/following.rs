//! Reading the feed of a service that goes on: line by line, as they come.

use std::io::{BufRead, Read};
use std::ops::ControlFlow;

use super::lines::{Head, Line, of_one_recording};
use super::short::Kinds;
use super::{FREE, LONGEST_LINE};
use crate::feed::Update;
use crate::live::Live;
use crate::recording::read::{ReadError, format_error};
use crate::recording::shared::sharing;
use crate::recording::wire::bounded;

/// What slow polls of one feed have in common is kept, as later lines refer to it: so many stacks and kinds.
const MOST_COMMON: u32 = 50_000;

/// What a line of a feed says.
#[derive(Debug)]
pub enum Fed {
    /// The run begins.
    Head(Box<Head>),
    /// Something became known; of an interval, when it ended, in nanoseconds since the run's start.
    Update(Update, Option<u64>),
    /// What is so at the moment.
    Live(Box<Live>),
    /// The same of a second run, which is told beside the first: a head, or an update.
    Beside(Box<Fed>),
    /// The service gives no feed, and why.
    Refused(String),
}

/// Reads a feed to its end, or until `each` has enough of it; a last line that is cut short is left out.
///
/// ```
/// use std::ops::ControlFlow;
/// use pollscope_record::growing::{Fed, LineWriter, follow};
///
/// let feed = LineWriter::refusal("four others read it").unwrap();
/// let mut why = String::new();
/// follow(feed.as_bytes(), |fed| {
///     if let Fed::Refused(said) = fed {
///         why = said;
///     }
///     ControlFlow::Continue(())
/// }).unwrap();
/// assert_eq!(why, "four others read it");
/// ```
///
/// # Errors
/// See [`ReadError`].
pub fn follow<R: BufRead>(mut feed: R, mut each: impl FnMut(Fed) -> ControlFlow<()>) -> Result<(), ReadError> {
    let mut follow = || {
        let (mut line, mut kinds, mut common) = (Vec::new(), Kinds::default(), 0);
        let wrong = |why: &str| ReadError::Format(format!("a line of the feed is wrong: {why}"));
        loop {
            line.clear();
            (&mut feed).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                if line.len() as u64 == LONGEST_LINE {
                    return Err(ReadError::Format("a line of the feed is longer than 16 MiB".to_owned()));
                }
                return Ok(());
            }
            let fed = match one(&line)? {
                Line::Head(head) => {
                    kinds.forget();
                    Fed::Head(head)
                }
                Line::Update(update, end_ns) => Fed::Update(update, end_ns),
                Line::Poll(poll, goes_on) => Fed::Update(kinds.update(*poll, goes_on).map_err(wrong)?, None),
                Line::Live(live, stalls) => {
                    let stalls = stalls.into_iter().map(|stall| kinds.poll(stall, true)).collect::<Result<_, _>>();
                    Fed::Live(Box::new(Live { stalls: stalls.map_err(wrong)?, ..*live }))
                }
                Line::Refused(why) => Fed::Refused(why),
                Line::Beside(line) => match beside(*line, &mut kinds).map_err(wrong)? {
                    Some(fed) => Fed::Beside(Box::new(fed)),
                    None => continue,
                },
                Line::Stack | Line::Kind(_) if common == MOST_COMMON => {
                    return Err(wrong("there are more than 50000 stacks and kinds"));
                }
                Line::Stack => {
                    common += 1;
                    continue;
                }
                Line::Kind(kind) => {
                    common += 1;
                    bounded::within(usize::MAX, || kinds.define(*kind)).map_err(wrong)?;
                    continue;
                }
                Line::Other => continue,
            };
            if each(fed).is_break() {
                return Ok(());
            }
        }
    };
    let (followed, is_settled) = of_one_recording(|| sharing(u64::from(u32::MAX), &mut follow));
    followed?;
    match is_settled {
        true => Ok(()),
        false => Err(ReadError::Format("a slow poll refers to a stack that is not there".to_owned())),
    }
}

/// What a line says of the run beside; `None` of what such a line does not say.
fn beside(line: Line, kinds: &mut Kinds) -> Result<Option<Fed>, &'static str> {
    Ok(Some(match line {
        Line::Head(head) => Fed::Head(head),
        Line::Update(update, end_ns) => Fed::Update(update, end_ns),
        Line::Poll(poll, goes_on) => Fed::Update(kinds.update_beside(*poll, goes_on)?, None),
        _ => return Ok(None),
    }))
}

/// A line by itself takes little more memory than its text.
fn one(line: &[u8]) -> Result<Line, ReadError> {
    let text = std::str::from_utf8(line).map_err(|_| ReadError::Format("a line is not UTF-8".to_owned()))?;
    let room = usize::try_from(FREE).unwrap_or(usize::MAX).saturating_add(line.len());
    bounded::within(room, || Line::read(text)).map_err(format_error)
}
