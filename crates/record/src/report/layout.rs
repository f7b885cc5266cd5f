//! Lines of inked text: cut, padded and wrapped by display width.
//!
//! Every text that enters a [`Line`] is escaped here, so no section can forget it, and every line is cut to the page
//! when it leaves, so none is ever wider.

use anstyle::{AnsiColor, Effects};
use unicode_width::UnicodeWidthChar;

use super::style::Style;
use crate::escape::{self, escape};
pub use crate::width::{cut, width};
use crate::width::{take, wrap};

/// What a piece of text is, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// As the terminal has it.
    Plain,
    /// Less important.
    Dim,
    /// More important.
    Bold,
    /// A heading.
    Title,
    /// As expected.
    Good,
    /// Not as expected.
    Bad,
    /// Where that is.
    Place,
    /// Worth a look.
    Warn,
    /// The mode of that index.
    Mode(usize),
}

impl Ink {
    fn style(self) -> anstyle::Style {
        const MODES: [AnsiColor; 5] =
            [AnsiColor::Yellow, AnsiColor::Cyan, AnsiColor::Magenta, AnsiColor::Blue, AnsiColor::Green];
        let plain = anstyle::Style::new();
        match self {
            Ink::Plain => plain,
            Ink::Dim => plain.effects(Effects::DIMMED),
            Ink::Bold => plain.effects(Effects::BOLD),
            Ink::Title => plain.effects(Effects::BOLD | Effects::UNDERLINE),
            Ink::Good => AnsiColor::Green.on_default(),
            Ink::Bad | Ink::Place => AnsiColor::Red.on_default().effects(Effects::BOLD),
            Ink::Warn => AnsiColor::Yellow.on_default().effects(Effects::BOLD),
            Ink::Mode(index) => MODES[index % MODES.len()].on_default(),
        }
    }
}

/// One line of a page.
#[derive(Debug, Clone, Default)]
pub struct Line {
    spans: Vec<(Ink, String)>,
    /// What the pieces of one ink lead to.
    link: Option<(Ink, String)>,
}

impl Line {
    /// An empty one.
    pub fn new() -> Line {
        Line::default()
    }

    /// A line that starts with `columns` blanks.
    pub fn indent(columns: usize) -> Line {
        Line::new().blank(columns)
    }

    /// Appends text as it is, escaped.
    pub fn text(mut self, ink: Ink, text: &str) -> Line {
        let text = escape(text);
        match self.spans.last_mut() {
            _ if text.is_empty() => {}
            Some((last, tail)) if *last == ink => tail.push_str(&text),
            _ => self.spans.push((ink, text.into_owned())),
        }
        self
    }

    /// Appends blanks.
    pub fn blank(self, columns: usize) -> Line {
        self.text(Ink::Plain, &" ".repeat(columns))
    }

    /// Appends text cut or padded on its right to `columns`.
    pub fn left(self, ink: Ink, text: &str, columns: usize) -> Line {
        let text = cut(&escape(text), columns);
        let pad = columns - width(&text);
        self.text(ink, &text).blank(pad)
    }

    /// Appends text cut or padded on its left to `columns`.
    pub fn right(self, ink: Ink, text: &str, columns: usize) -> Line {
        let text = cut(&escape(text), columns);
        self.blank(columns - width(&text)).text(ink, &text)
    }

    /// Appends another line.
    pub fn append(self, other: Line) -> Line {
        other.spans.into_iter().fold(self, |line, (ink, text)| line.text(ink, &text))
    }

    /// Writes over the blanks at the line's start, as far as there are any.
    pub fn over_start(mut self, ink: Ink, text: &str) -> Line {
        if let Some((Ink::Plain, blanks)) = self.spans.first_mut() {
            let room = blanks.len() - blanks.trim_start_matches(' ').len();
            let text = cut(&escape(text), room);
            blanks.replace_range(..width(&text), "");
            self.spans.insert(0, (ink, text));
        }
        self
    }

    /// Makes all that has this ink lead to `uri`, where the page has colours: in the way that terminals know as OSC 8. Of a URI that
    /// has anything but plain ASCII in it, nothing becomes of it.
    pub fn link(&mut self, ink: Ink, uri: &str) {
        let is_plain = uri.chars().all(|c| c.is_ascii_graphic());
        self.link = is_plain.then(|| (ink, uri.to_owned()));
    }

    /// Display columns.
    pub fn width(&self) -> usize {
        self.spans.iter().map(|(_, text)| width(text)).sum()
    }

    /// The line as printed: cut to the page's width, without blanks at its end.
    pub fn finish(mut self, style: &Style) -> String {
        self.make_safe();
        self.trim_end();
        self.cut_to(style.width);
        let mut out = String::new();
        for (ink, text) in &self.spans {
            let text = if style.unicode { text.clone() } else { to_ascii(text) };
            if style.color && *ink != Ink::Plain {
                let uri = self.link.as_ref().filter(|(linked, _)| linked == ink).map(|(_, uri)| uri);
                let (start, end) =
                    uri.map_or_else(Default::default, |uri| (format!("\u{1b}]8;;{uri}\u{1b}\\"), "\u{1b}]8;;\u{1b}\\"));
                let ink = ink.style();
                out.push_str(&format!("{start}{ink}{text}{ink:#}{end}"));
            } else {
                out.push_str(&text);
            }
        }
        out
    }

    /// The pieces are escaped, but not what a CI makes of the line that they begin.
    fn make_safe(&mut self) {
        if let Some((_, text)) = self.spans.iter_mut().find(|(_, text)| !text.trim().is_empty()) {
            *text = escape::line(text).into_owned();
        }
    }

    fn trim_end(&mut self) {
        while let Some((_, text)) = self.spans.last_mut() {
            text.truncate(text.trim_end_matches(' ').len());
            if !text.is_empty() {
                break;
            }
            self.spans.pop();
        }
    }

    fn cut_to(&mut self, columns: usize) {
        if self.width() <= columns {
            return;
        }
        let mut left = columns;
        for (i, (_, text)) in self.spans.iter_mut().enumerate() {
            let wanted = width(text);
            if wanted >= left {
                // A span that just fits is cut all the same: something behind it is lost.
                *text = if wanted == left { cut(&format!("{text}…"), left) } else { cut(text, left) };
                self.spans.truncate(i + 1);
                return;
            }
            left -= wanted;
        }
    }
}

/// The end of a text in at most `columns`: of a path, the end says more.
pub fn cut_start(text: &str, columns: usize) -> String {
    let text = escape(text);
    if width(&text) <= columns || columns == 0 {
        return cut(&text, columns);
    }
    let mut room = columns - 1;
    let kept: Vec<char> = text.chars().rev().take_while(|&c| take(&mut room, c)).collect();
    // A combining mark at the front would sit on the ellipsis.
    let kept = kept.into_iter().rev().skip_while(|&c| c.width() == Some(0));
    std::iter::once('…').chain(kept).collect()
}

/// Text after a prefix, wrapped to `page` columns; the lines after the first hang below its start.
pub fn paragraph(prefix: Line, ink: Ink, text: &str, page: usize) -> Vec<Line> {
    let hang = prefix.width().min(page / 3);
    hanging(prefix, hang, ink, text, page)
}

/// A [`paragraph`] whose lines after the first are indented by `hang` columns.
pub fn hanging(prefix: Line, hang: usize, ink: Ink, text: &str, page: usize) -> Vec<Line> {
    let first = page.saturating_sub(prefix.width());
    let mut lines = Vec::new();
    let mut prefix = Some(prefix);
    for part in wrap(&escape(text), first, page.saturating_sub(hang)) {
        let start = prefix.take().unwrap_or_else(|| Line::indent(hang));
        lines.push(start.text(ink, &part));
    }
    lines.extend(prefix);
    lines
}

/// The same columns in ASCII: each of the page's own signs has a likeness, any other character becomes `?`.
fn to_ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let like = match c {
            'µ' => 'u',
            '…' => '~',
            '·' | '—' | '–' | '─' | '╌' => '-',
            '━' => '=',
            '●' => 'o',
            '│' | '┤' | '├' => '|',
            '┊' => ':',
            '█' | '▌' | '▐' => '#',
            '▁' => '_',
            '▂' => '.',
            '▃' => ':',
            '▄' => '-',
            '▅' => '=',
            '▆' => '+',
            '▇' => '*',
            '×' => 'x',
            '≥' => '>',
            '≤' => '<',
            c if c.is_ascii() => c,
            c => {
                out.extend(std::iter::repeat_n('?', c.width().unwrap_or(0)));
                continue;
            }
        };
        out.push(like);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCII: Style = Style { width: 20, color: false, unicode: false };
    const PLAIN: Style = Style { width: 20, color: false, unicode: true };

    #[test]
    fn cells_are_cut_and_padded_by_display_width() {
        let cells =
            |text| Line::new().left(Ink::Bold, text, 5).right(Ink::Dim, text, 5).text(Ink::Plain, "|").finish(&PLAIN);
        assert_eq!(cells("ab"), "ab      ab|");
        assert_eq!(cells("abcdefgh"), "abcd…abcd…|");
        assert_eq!(cells("日本語"), "日本…日本…|");
        assert_eq!(cells("x日本語"), "x日…  x日…|");
        assert_eq!(cells("a\u{1b}b"), "a\\u{…a\\u{…|");
    }

    #[test]
    fn paths_are_cut_at_their_start() {
        assert_eq!(cut_start("src/pipeline/merge.rs:88", 12), "…merge.rs:88");
        assert_eq!(cut_start("merge.rs:88", 12), "merge.rs:88");
        assert_eq!(cut_start("merge.rs:88", 0), "");
        assert_eq!(cut_start("xe\u{301}e\u{301}", 2), "…e\u{301}");
    }

    #[test]
    fn no_line_is_wider_than_the_page() {
        let long = Line::new().text(Ink::Plain, "0123456789").text(Ink::Bold, "0123456789").text(Ink::Dim, "x");
        assert_eq!(long.finish(&PLAIN), "0123456789012345678…");
        assert_eq!(Line::new().text(Ink::Bold, "a").blank(90).finish(&PLAIN), "a");
    }

    #[test]
    fn sentences_hang_below_their_start() {
        let lines = |prefix: &str, text: &str| -> Vec<String> {
            let prefix = Line::new().text(Ink::Bold, prefix);
            paragraph(prefix, Ink::Plain, text, 20).into_iter().map(|line| line.finish(&PLAIN)).collect()
        };
        assert_eq!(lines("note: ", "one two three four five"), ["note: one two three", "      four five"]);
        assert_eq!(lines("note: ", "a/very/long/path/to.rs:88"), ["note: a/very/long/pa", "      th/to.rs:88"]);
        assert_eq!(lines("note: ", "it took just 201 ms, once"), ["note: it took just", "      201 ms, once"]);
        assert_eq!(lines("note: ", ""), ["note:"]);
    }

    #[test]
    fn ascii_keeps_every_column() {
        let text = "µ…·—─━●│█▌日é";
        assert_eq!(to_ascii(text), "u~---=o|##???");
        assert_eq!(Line::new().text(Ink::Good, "≥ 3 µs").finish(&ASCII), "> 3 us");
    }

    #[test]
    fn a_link_leads_from_its_ink_alone_and_only_where_there_is_colour() {
        let mut line = Line::new().text(Ink::Bad, "x").text(Ink::Plain, "y");
        line.link(Ink::Bad, "file://host/x");
        assert_eq!(line.clone().finish(&PLAIN), "xy");
        let coloured = line.finish(&Style { color: true, ..PLAIN });
        assert_eq!(coloured, "\u{1b}]8;;file://host/x\u{1b}\\\u{1b}[1m\u{1b}[31mx\u{1b}[0m\u{1b}]8;;\u{1b}\\y");
        let mut line = Line::new().text(Ink::Bad, "x");
        line.link(Ink::Bad, "file:///\u{1b}]0;title\u{7}");
        assert!(!line.finish(&Style { color: true, ..PLAIN }).contains("]0;"), "nothing but a link gets out");
    }

    #[test]
    fn only_colour_adds_escapes() {
        let line = Line::new().text(Ink::Bad, "x").text(Ink::Plain, "y");
        assert_eq!(line.clone().finish(&PLAIN), "xy");
        assert_eq!(line.finish(&Style { color: true, ..PLAIN }), "\u{1b}[1m\u{1b}[31mx\u{1b}[0my");
    }
}
