//! A terminal of text: as much of one as it takes to read what a program draws.

/// Rows of characters; columns are counted in characters.
pub(super) struct Screen {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// The end of what was fed, if it is the beginning of a sequence or of a character.
    rest: Vec<u8>,
}

impl Screen {
    pub(super) fn new(rows: usize, columns: usize) -> Screen {
        Screen { rows: vec![vec![' '; columns]; rows], row: 0, column: 0, rest: Vec::new() }
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.rows.iter().map(|row| row.iter().collect())
    }

    /// Draws what a program wrote.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let written = std::mem::take(&mut self.rest);
        let whole = match std::str::from_utf8(&written) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&written[..error.valid_up_to()]).expect("it is valid up to there"),
        };
        let mut text = whole;
        while let Some(first) = text.chars().next() {
            let after = if first == '\u{1b}' { self.obey(text) } else { self.draw(first, text) };
            let Some(after) = after else { break };
            text = after;
        }
        self.rest = written[whole.len() - text.len()..].to_vec();
    }

    fn draw<'a>(&mut self, first: char, text: &'a str) -> Option<&'a str> {
        match first {
            '\r' => self.column = 0,
            '\n' => self.row += 1,
            _ => {
                if let Some(cell) = self.rows.get_mut(self.row).and_then(|row| row.get_mut(self.column)) {
                    *cell = first;
                }
                self.column += 1;
            }
        }
        Some(&text[first.len_utf8()..])
    }

    /// What follows an escape sequence; `None` if it is not whole yet. Those that do not move or clear mean nothing here.
    fn obey<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let Some(sequence) = text.strip_prefix("\u{1b}[") else { return text.get(2..) };
        let end = sequence.find(|c: char| ('@'..='~').contains(&c))?;
        let number = |index: usize| sequence[..end].split(';').nth(index).and_then(|text| text.parse::<usize>().ok());
        match &sequence[end..=end] {
            "H" => (self.row, self.column) = (number(0).unwrap_or(1) - 1, number(1).unwrap_or(1) - 1),
            "J" => self.rows.iter_mut().for_each(|row| row.fill(' ')),
            _ => {}
        }
        Some(&sequence[end + 1..])
    }
}

#[test]
fn text_is_where_it_was_drawn() {
    let mut screen = Screen::new(2, 8);
    for part in ["\u{1b}[2J\u{1b}[2;", "3H\u{1b}[1mab", "⏹\u{1b}[1;1Hc"] {
        // A character in two parts as well.
        let (first, second) = part.as_bytes().split_at(part.len() - 1);
        screen.feed(first);
        screen.feed(second);
    }
    assert_eq!(screen.lines().collect::<Vec<_>>(), ["c       ", "  ab⏹   "]);
}
