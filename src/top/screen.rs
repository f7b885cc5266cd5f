//! The terminal, while it shows frames: it is as it was before on every way out.

use std::io::{self, Stdout};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::text::Line;

use super::Event;
use super::frame::frame;
use super::view::{Key, View};
use std::sync::mpsc::Sender;

/// A terminal in its own screen, without an echo. A panic gives it back as well.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    color: bool,
}

impl Screen {
    pub(super) fn open(color: bool) -> io::Result<Screen> {
        Ok(Screen { terminal: ratatui::try_init()?, color })
    }

    pub(super) fn draw(&mut self, view: &View) -> io::Result<()> {
        let color = self.color;
        self.terminal.draw(|shown| {
            let area = shown.area();
            let lines = frame(view, usize::from(area.width), usize::from(area.height));
            for (y, line) in (area.y..area.bottom()).zip(lines) {
                let line = if color { line } else { without_color(line) };
                shown.buffer_mut().set_line(area.x, y, &line, area.width);
            }
        })?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = ratatui::try_restore();
    }
}

/// Bold and reversed text is none.
fn without_color(mut line: Line<'static>) -> Line<'static> {
    line.style.fg = None;
    line.spans.iter_mut().for_each(|span| span.style.fg = None);
    line
}

/// Tells what is typed, and that the size has changed, until nobody wants to know any more.
pub(super) fn read_keys(tell: &Sender<Event>) {
    // Without a keyboard a signal ends it.
    while let Ok(input) = event::read() {
        let told = match input {
            Input::Key(pressed) => match key(&pressed) {
                Some(key) => tell.send(Event::Key(key)),
                None => Ok(()),
            },
            Input::Resize(..) => tell.send(Event::Resized),
            _ => Ok(()),
        };
        if told.is_err() {
            return;
        }
    }
}

/// What a key asks for; nothing of one that is let go.
fn key(pressed: &KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    if pressed.modifiers.contains(KeyModifiers::CONTROL) {
        return (pressed.code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    match pressed.code {
        KeyCode::Char('q') => Some(Key::Quit),
        KeyCode::Esc => Some(Key::Escape),
        KeyCode::Char('s') => Some(Key::Sort),
        KeyCode::Char('w') => Some(Key::Window),
        KeyCode::Char('p' | ' ') => Some(Key::Pause),
        KeyCode::Enter => Some(Key::Open),
        KeyCode::Up | KeyCode::Char('k') => Some(Key::Up),
        KeyCode::Down | KeyCode::Char('j') => Some(Key::Down),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_the_footer_says() {
        let pressed = |code, modifiers| key(&KeyEvent::new(code, modifiers));
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!(pressed(KeyCode::Char('q'), KeyModifiers::CONTROL), None);
        assert_eq!(pressed(KeyCode::Char('q'), KeyModifiers::NONE), Some(Key::Quit));
        assert_eq!(pressed(KeyCode::Char(' '), KeyModifiers::NONE), Some(Key::Pause));
        assert_eq!(pressed(KeyCode::Enter, KeyModifiers::NONE), Some(Key::Open));
        assert_eq!(pressed(KeyCode::Char('x'), KeyModifiers::NONE), None);
    }
}
