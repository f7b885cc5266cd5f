//! What is looked at: the service, and how. Pure; keys change it.

use pollscope_record::growing::Fed;

use super::places::{Key as Place, Row, Sort, Window};
use super::state::{State, Status};

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Sort,
    Window,
    Pause,
    Up,
    Down,
    Open,
    /// Back, or the end.
    Escape,
    Quit,
}

/// A service as it is shown.
#[derive(Debug, Default)]
pub(crate) struct View {
    now: State,
    /// What was shown when it was paused.
    paused: Option<State>,
    pub(crate) sort: Sort,
    pub(crate) window: Window,
    /// The place that is marked; `None` for the first.
    marked: Option<Place>,
    /// Whether its stack is shown, from which frame on.
    opened: Option<usize>,
    /// Where the output of a program goes that was started here.
    pub(crate) output: Option<String>,
    /// What stands in the way of a feed.
    pub(crate) trouble: Option<String>,
}

impl View {
    /// What is shown.
    pub(crate) fn state(&self) -> &State {
        self.paused.as_ref().unwrap_or(&self.now)
    }

    /// What is so now, whatever is shown.
    pub(crate) fn now(&self) -> &State {
        &self.now
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    pub(crate) fn take(&mut self, fed: Fed) {
        self.trouble = None;
        self.now.take(fed);
    }

    pub(crate) fn set_status(&mut self, status: Status) {
        self.now.status = status;
    }

    /// The table of places.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let state = self.state();
        let open = state.live.as_ref().map_or(&[][..], |live| &live.stalls);
        state.places.rows(state.now_ns(), open, self.window, self.sort)
    }

    /// Which of the rows is marked.
    pub(crate) fn marked(&self, rows: &[Row]) -> usize {
        let marked = self.marked.as_ref();
        marked.and_then(|marked| rows.iter().position(|row| row.key == *marked)).unwrap_or(0)
    }

    /// The place whose stack is shown, and from which of its frames on.
    pub(crate) fn opened<'r>(&self, rows: &'r [Row]) -> Option<(&'r Row, usize)> {
        Some((rows.get(self.marked(rows))?, self.opened?))
    }

    /// A key was pressed; whether that is the end.
    pub(crate) fn press(&mut self, key: Key) -> bool {
        match key {
            Key::Quit => return true,
            Key::Escape if self.opened.is_none() => return true,
            Key::Escape => self.opened = None,
            Key::Sort => self.sort = self.sort.next(),
            Key::Window => {
                self.window = if self.window == Window::All { Window::Recent } else { Window::All };
            }
            Key::Pause => self.paused = if self.is_paused() { None } else { Some(self.now.clone()) },
            Key::Open if self.opened.is_some() => self.opened = None,
            Key::Open => {
                let rows = self.rows();
                self.marked = rows.get(self.marked(&rows)).map(|row| row.key.clone());
                self.opened = self.marked.as_ref().map(|_| 0);
            }
            Key::Up | Key::Down => self.step(key == Key::Down),
        }
        false
    }

    /// To the next row, or frame.
    fn step(&mut self, is_down: bool) {
        let rows = self.rows();
        let marked = self.marked(&rows);
        let next = |at: usize, count: usize| {
            let last = count.saturating_sub(1);
            if is_down { (at + 1).min(last) } else { at.min(last).saturating_sub(1) }
        };
        match &mut self.opened {
            Some(from) => *from = next(*from, rows.get(marked).map_or(0, |row| row.stack.len())),
            None => self.marked = rows.get(next(marked, rows.len())).map(|row| row.key.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use pollscope_record::feed::Update;

    use super::*;
    use crate::recording::{Frame, Kind, SlowPoll};

    fn view() -> View {
        let mut view = View::default();
        for (line, ms) in [("a:1", 300), ("b:2", 200), ("c:3", 100)] {
            let frame = Frame { function: Some("f".into()), file: None, line: None };
            let stack = [frame.clone(), frame].into_iter().collect();
            let kind = Kind { blocking_line: Some(line.into()), stack, ..Kind::default() };
            let poll = SlowPoll { duration_ns: ms * 1_000_000, ..SlowPoll::of(kind) };
            view.take(Fed::Update(Update::SlowPoll(Box::new(poll)), None));
        }
        view
    }

    fn marked(view: &View) -> String {
        let rows = view.rows();
        rows[view.marked(&rows)].place.as_deref().expect("a place").to_owned()
    }

    #[test]
    fn the_mark_stays_with_its_place() {
        let mut view = view();
        assert_eq!(marked(&view), "a:1");
        assert!(!view.press(Key::Down) && marked(&view) == "b:2");
        let kind = Kind { blocking_line: Some("b:2".into()), ..Kind::default() };
        let longer = SlowPoll { duration_ns: 900_000_000, ..SlowPoll::of(kind) };
        view.take(Fed::Update(Update::SlowPoll(Box::new(longer)), None));
        assert_eq!((marked(&view).as_str(), view.marked(&view.rows())), ("b:2", 0));
        (0..9).for_each(|_| assert!(!view.press(Key::Down)));
        assert_eq!(marked(&view), "c:3");
        (0..9).for_each(|_| assert!(!view.press(Key::Up)));
        assert_eq!(marked(&view), "b:2");
    }

    #[test]
    fn a_stack_is_opened_scrolled_and_closed() {
        let mut view = view();
        view.press(Key::Down);
        view.press(Key::Open);
        (0..5).for_each(|_| _ = view.press(Key::Down));
        let rows = view.rows();
        let (row, from) = view.opened(&rows).expect("a stack");
        assert_eq!((row.place.as_deref(), from), (Some("b:2"), 1));
        assert!(!view.press(Key::Escape) && view.opened(&rows).is_none(), "back");
        assert!(view.press(Key::Escape) && view.press(Key::Quit), "the end");
        let mut empty = View::default();
        empty.press(Key::Open);
        assert!(empty.press(Key::Escape), "there is nothing to open");
    }

    #[test]
    fn what_is_paused_stands_still() {
        let mut view = view();
        view.press(Key::Pause);
        view.take(Fed::Update(Update::SlowPoll(Box::default()), None));
        assert!(view.is_paused() && view.rows().len() == 3 && view.now().places.others == 0);
        view.press(Key::Pause);
        assert_eq!(view.rows().len(), 4);
        assert_eq!(view.sort, Sort::Time);
        view.press(Key::Sort);
        view.press(Key::Window);
        assert_eq!((view.sort, view.window), (Sort::Worst, Window::All));
    }
}
