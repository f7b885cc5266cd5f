//! The report as one page for a browser, which needs neither a network nor JavaScript.
//!
//! Names from outside are made safe twice: `maud` escapes what HTML gives a meaning, and [`render`] spells out, over the whole page,
//! what people cannot see, so that no section can forget it. The recording stands in the page as data: see `island`.

mod answer;
mod blame;
mod busy;
mod chart;
mod drawn;
mod flame;
mod frames;
mod heat;
mod island;
mod longest;
mod loops_time;
mod modes;
mod percentiles;
mod size_limit;
mod spans;
mod spinner;
mod summary;
mod table;
mod text;
mod timeline;
mod verdict;

#[cfg(test)]
mod tests;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::by_group::{ByGroup, by_group};
use crate::escape::escape;
use crate::recording::Recording;
use island::Island;

/// What a page's recording stands behind; it is no script.
pub const PAGE_MARK: &str = "<script type=\"application/zlib\" id=\"recording\">";
/// The chart library's first: the page has the last word.
const STYLES: [&str; 2] = [include_str!("html/vendor/uplot.min.css"), include_str!("html/page.css")];
const SCRIPTS: [&str; 4] = [
    include_str!("html/vendor/uplot.min.js"),
    include_str!("html/timeline.js"),
    include_str!("html/flame.js"),
    include_str!("html/page.js"),
];
/// Nothing may be loaded, and nothing runs but what stands here: a test compares the digests.
const POLICY: &str = concat!(
    "default-src 'none'; base-uri 'none'; form-action 'none'; style-src '",
    include_str!("html/vendor/uplot.min.css.sha256"),
    "' '",
    include_str!("html/page.css.sha256"),
    "'; script-src '",
    include_str!("html/vendor/uplot.min.js.sha256"),
    "' '",
    include_str!("html/timeline.js.sha256"),
    "' '",
    include_str!("html/flame.js.sha256"),
    "' '",
    include_str!("html/page.js.sha256"),
    "'"
);
/// The library is its author's: a page is a copy of it.
const LICENSE: &str = concat!(
    "<!--\nuPlot 1.6.32, unchanged, under this license:\n\n",
    include_str!("html/vendor/uplot.LICENSE"),
    "\n-->"
);

/// The page of a recording.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn render(recording: &Recording) -> serde_json::Result<String> {
    let island = Island::of(recording)?;
    let page = Page { recording, modes: by_group(&recording.runs), island: &island };
    let body = page.body().into_string();
    let title = format!("{} — pollscope", text::name(recording.name()));
    let head = html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        meta http-equiv="Content-Security-Policy" content=(POLICY);
        title { (title) }
        @for style in STYLES { style { (PreEscaped(style)) } }
    };
    let (doctype, head, body) = (DOCTYPE.into_string(), head.into_string(), closed_short(&escape(&body)));
    let (data, drawn_mark, drawn) = (&island.recording, drawn::MARK, &island.drawn.json);
    let scripts = SCRIPTS.map(|script| format!("<script>{script}</script>\n")).concat();
    Ok(format!(
        "{doctype}<html lang=\"en\"><head>{head}</head><body>{body}\n{PAGE_MARK}{data}</script>\n{drawn_mark}{drawn}</script>\n{LICENSE}\n\
         {scripts}</body></html>\n"
    ))
}

/// Elements of drawings without content, which there are many of, take less room so. In texts, quotes are spelled out.
fn closed_short(body: &str) -> String {
    ["path", "rect", "use"].iter().fold(body.to_owned(), |body, name| body.replace(&format!("\"></{name}>"), "\"/>"))
}

/// What every section is made from.
struct Page<'a> {
    recording: &'a Recording,
    modes: Vec<ByGroup<'a>>,
    island: &'a Island,
}

/// A section: its name within the page, its title, and what is in it; nothing where there is nothing to show.
type Section = (&'static str, &'static str, fn(&Page) -> Option<Markup>);

/// As many are open, since they say what most readers want: when, who, and what it costs to fix. The others are folded.
const OPEN: usize = 4;
const SECTIONS: [Section; 15] = [
    ("loops", "Where the loops' time went", loops_time::section),
    ("timeline", "Timeline", timeline::section),
    ("blocked", "Who blocked the loop", blame::who_blocked),
    ("price", "The price of the fix", modes::price),
    ("flame", "Stacks of slow polls", flame::section),
    ("waited", "Who waited", blame::who_waited),
    ("findings", "Findings", summary::findings),
    ("gates", "Gates", summary::gates),
    ("feel", "Feel it", spinner::section),
    ("percentiles", "Percentiles", percentiles::section),
    ("time", "Where the loop's time went", busy::section),
    ("heat", "When polls took how long", heat::section),
    ("latency", "Schedule latency", percentiles::schedule_latency),
    ("rounds", "Rounds", modes::rounds),
    ("unseen", "What could not be seen", summary::coverage),
];

impl Page<'_> {
    /// Whether it is of somebody's own program: then some of what a scenario measures is not known.
    fn is_of_program(&self) -> bool {
        self.recording.runs.iter().any(|run| run.subject.target().is_some())
    }

    fn body(&self) -> Markup {
        let sections: Vec<(&str, &str, Markup)> =
            SECTIONS.iter().filter_map(|(id, title, of)| Some((*id, *title, of(self)?))).collect();
        let is_open = |id: &str| SECTIONS[..OPEN].iter().any(|(open, ..)| *open == id);
        html! {
            header { (verdict::card(self)) }
            nav aria-label="Sections" {
                // What is folded is unfolded by a link to what is in it.
                @for (id, title, _) in &sections { a href={ "#" (id) @if !is_open(id) { "-all" } } { (title) } " " }
            }
            main {
                @for (id, title, section) in &sections {
                    @if is_open(id) { section id=(id) { h2 { (title) } (section) } } @else {
                        section.folded id=(id) {
                            details { summary { h2 { (title) } } div id={ (id) "-all" } { (section) } }
                        }
                    }
                }
            }
            footer {
                p { "Made by pollscope " (text::name(&self.recording.environment.pollscope)) ". " (self.island.sentence()) }
            }
        }
    }
}
