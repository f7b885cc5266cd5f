//! Feel it: what the loop did to everything on it, as two spinners that stand still when it did. A script makes them.

use maud::{Markup, html};

use super::Page;
use super::table::class;
use super::text::name;

pub(super) fn section(page: &Page) -> Option<Markup> {
    let last = page.modes.len().checked_sub(1)?;
    let mut shown = vec![0, last];
    shown.dedup();
    Some(html! {
        p { "Each spinner turns as evenly as its loop was free, in the time that the run took: it stands still for every slow poll, and \
             for the worst lag of each moment without one." }
        noscript { p { "This part needs JavaScript; everything else on this page does not." } }
        div.feel {
            @for index in shown {
                figure.spin data-run=[first_run(page, index)] hidden {
                    svg viewBox="-50 -50 100 100" role="img" aria-label={ "Spinner of " (name(page.modes[index].name)) } {
                        circle.grid r="40" {}
                        g.hand { path.line.(class(index)) d="M0 -40A40 40 0 0 1 40 0" {} circle.dot.(class(index)) cx="40" cy="0" r="6" {} }
                    }
                    figcaption { span.mode.(class(index)) { (name(page.modes[index].name)) } " " output { "ready" } }
                }
            }
        }
        p.controls hidden { button type="button" id="replay" { "Replay the first round" } }
    })
}

/// Where a mode's first round is among the runs.
fn first_run(page: &Page, mode: usize) -> Option<usize> {
    page.recording.runs.iter().position(|run| run.group == page.modes[mode].name)
}
