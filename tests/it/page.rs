//! `--html`: a page that is whole, gives its recording back, and that a browser takes without complaint.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Folder, alone, root, run, stderr, stdout};

/// A page of a built-in scenario, in bytes.
const LARGEST: usize = 400_000;
const SECTIONS: [&str; 14] = [
    "percentiles",
    "time",
    "timeline",
    "heat",
    "blocked",
    "waited",
    "flame",
    "latency",
    "price",
    "rounds",
    "findings",
    "gates",
    "unseen",
    "feel",
];

/// A page of a scenario, and the same recording as JSON.
fn page(folder: &Folder, scenario: &str) -> String {
    let _alone = alone();
    // Whether its expectations hold is another test's business.
    let output = folder.run(&format!("run {scenario} --quiet --html page.html --json run.json"));
    assert!(matches!(output.status.code(), Some(0 | 99)), "{}", stderr(&output));
    String::from_utf8(folder.read("page.html")).expect("UTF-8")
}

#[test]
fn a_page_is_whole_in_itself_and_gives_its_recording_back() {
    let folder = Folder::new();
    let page = page(&folder, "slow-sink");
    assert!(page.len() <= LARGEST, "{}", page.len());
    for id in SECTIONS {
        assert!(page.contains(&format!(" id=\"{id}\">")), "{id}");
    }
    for loads in ["src=", "<link", "@import", "url(", "<iframe", "fetch("] {
        assert!(!page.contains(loads), "{loads}");
    }
    assert_eq!(folder.run("report page.html --format json").stdout, folder.read("run.json"));
    assert_eq!(stdout(&folder.run("report run.json --format html")), page);
}

/// It has the most slow polls of all scenarios; their stacks are what takes room.
#[test]
fn a_page_of_many_stacks_is_not_too_large_and_its_recording_is_read() {
    let folder = Folder::new();
    let page = page(&folder, "multi-thread");
    assert!(page.len() <= LARGEST, "{}", page.len());
    let [of_page, of_json] = ["page.html", "run.json"].map(|file| folder.run(&format!("report {file}")));
    assert!(of_page.status.success() && of_json.status.success(), "{}", stderr(&of_page));
    let blockers = |report: &Output| {
        let text = stdout(report);
        text.lines()
            .filter(|line| line.contains("crates/lab/src/pipeline/sink/"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(blockers(&of_page), blockers(&of_json));
    let compared = folder.run("compare page.html run.json");
    assert!(!stderr(&compared).contains("error"), "{}", stderr(&compared));
}

/// Frames in which a page is shown in all the ways that it can be, and the script that tells what they show. A frame can be as narrow
/// as a telephone, which a browser's window cannot; in a sandbox no script runs.
const FRAMES: &str = r##"<script>
const page = document.getElementById("page").value;
const ways = [];
for (const width of [1280, 390]) for (const scheme of ["light", "dark"]) for (const scripts of [true, false]) {
  const frame = document.createElement("iframe");
  frame.width = width;
  frame.height = 900;
  frame.style = `border: 0; color-scheme: ${scheme}`;
  if (!scripts) frame.sandbox = "allow-same-origin";
  frame.srcdoc = page;
  document.body.append(frame);
  ways.push([width, scheme, scripts, frame]);
}
const shown = (frame, selector) => [...frame.contentDocument.querySelectorAll(selector)].filter((e) => e.checkVisibility()).length;
const tell = ([width, scheme, scripts, frame]) => {
  const page = frame.contentDocument;
  const folded = [...page.querySelectorAll("details:not([open])")];
  const isFolded = folded.length > 10 && !page.getElementById("unseen-all").checkVisibility({ contentVisibilityAuto: true, visibilityProperty: true });
  folded.forEach((details) => { details.open = true; });
  const isCut = (box) => box.scrollWidth > box.clientWidth + 1;
  const { clientWidth, scrollWidth } = page.documentElement;
  const [zoom, range] = [page.querySelector("[data-zoom=in]"), page.getElementById("range")];
  const before = range.textContent;
  zoom.click();
  return [width, scheme, scripts ? "scripts" : "none", "width", clientWidth, scrollWidth,
    "dark", frame.contentWindow.matchMedia("(prefers-color-scheme: dark)").matches,
    "folded", isFolded, "cut", [...page.querySelectorAll(".scroll, p, figure, main")].filter(isCut).length,
    "sections", page.querySelectorAll("main > section h2").length,
    "drawn", shown(frame, "#timeline figure > svg"), "zooming", shown(frame, "#timeline canvas"), range.textContent !== before,
    "spinners", shown(frame, ".spin"), "asked", frame.contentWindow.performance.getEntriesByType("resource").length].join(" ");
};
onload = () => { document.title = ways.map(tell).join(";"); };
</script>"##;

#[test]
fn a_browser_shows_it_on_a_desk_and_on_a_telephone_in_light_and_in_dark_with_scripts_and_without() {
    if Command::new("chromium").arg("--version").output().is_err() {
        eprintln!("SKIP: chromium is not installed");
        return;
    }
    let folder = Folder::new();
    let page = page(&folder, "slow-sink");
    let output = browse(&folder, "page.html");
    assert!(stdout(&output).contains("<h1>") && stdout(&output).contains("class=\"uplot "), "{}", stderr(&output));
    assert_eq!(complaints(&output), [""; 0]);

    let quoted = page.replace('&', "&amp;").replace('<', "&lt;");
    let frames = format!("<!doctype html><title></title><textarea id=page hidden>{quoted}</textarea>{FRAMES}");
    folder.write("frames.html", frames);
    let output = browse(&folder, "frames.html");
    assert_eq!(complaints(&output), [""; 0]);
    let dom = stdout(&output);
    let title = dom.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).expect("a title").0;
    let mut expected = Vec::new();
    for width in [1280, 390] {
        for (scheme, is_dark) in [("light", false), ("dark", true)] {
            for (scripts, timeline, spinners) in
                [("scripts", "drawn 0 zooming 2 true", 2), ("none", "drawn 2 zooming 0 false", 0)]
            {
                expected.push(format!(
                    "{width} {scheme} {scripts} width {width} {width} dark {is_dark} folded true cut 0 sections {} {timeline} \
                     spinners {spinners} asked 0",
                    SECTIONS.len()
                ));
            }
        }
    }
    assert_eq!(title.split(';').collect::<Vec<_>>(), expected);
}

/// Frames in which a page is used; each answers with what it then shows.
const USE: &str = r##"<script>
const frame = document.createElement("iframe");
frame.width = 1280;
frame.height = 900;
frame.srcdoc = document.getElementById("page").value;
document.body.append(frame);
const said = [];
onload = () => {
  const page = frame.contentDocument;
  const id = (name) => page.getElementById(name);
  page.querySelectorAll("details").forEach((details) => { details.open = true; });
  const boxes = [...page.querySelectorAll("svg.flame > svg")];
  const named = (text) => boxes.filter((box) => box.querySelector("div").textContent.includes(text));
  const shown = () => boxes.filter((box) => box.getAttribute("display") !== "none").length;
  const { KeyboardEvent, MouseEvent } = frame.contentWindow;
  const press = (key) => page.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const tell = (...words) => said.push(words.join(" "));
  const reserve = named("Stock::reserve")[0];
  tell("before", shown(), reserve.getAttribute("width"), id("unzoom").disabled);
  reserve.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  tell("zoomed", shown(), reserve.getAttribute("width"), id("unzoom").disabled);
  id("unzoom").click();
  tell("after", shown(), reserve.getAttribute("width"), id("unzoom").disabled);
  boxes[0].focus();
  ["ArrowDown", "ArrowRight", "ArrowDown", "Enter"].forEach(press);
  tell("keys", page.activeElement.querySelector("div").textContent, page.activeElement.getAttribute("width"), shown());
  press("Escape");
  tell("escape", shown(), page.activeElement.getAttribute("role"), boxes.filter((box) => box.getAttribute("tabindex") === "0").length);
  tell("reads", page.querySelector("#flame .readout").textContent.includes("audit::append"));
  const search = (text) => {
    id("find").value = text;
    id("find").dispatchEvent(new Event("input"));
    return `${page.querySelectorAll(".flame .hit").length}, ${id("found").textContent}`;
  };
  tell("search", search("STOCK::"), "|", search("place"), "|", search("nowhere"), "|", search(""));
  const table = page.querySelector("#blocked table");
  const rows = () => [...table.tBodies[0].rows].map((row) => (row.className || row.cells[6].textContent)).join(",");
  table.tHead.rows[0].cells[5].querySelector("button").click();
  const descending = rows();
  table.tHead.rows[0].cells[5].querySelector("button").click();
  tell("sorted", descending, "|", rows());
  const over = page.querySelector("#timeline .u-over");
  const point = (second) => {
    const box = over.getBoundingClientRect();
    const at = { clientX: box.left + (box.width * second) / 30, clientY: box.top + 9, bubbles: true };
    for (const type of ["mouseenter", "mousemove"]) over.dispatchEvent(new MouseEvent(type, at));
  };
  const read = () => tell("at", page.querySelector("#timeline .readout").textContent.replace(/^.*? s · /, ""));
  // The chart answers once its own work is done.
  point(29.5);
  Promise.resolve().then(() => { read(); point(10); }).then(() => {}).then(() => { read(); document.title = said.join(";"); });
};
</script>"##;

#[test]
fn a_flame_graph_zooms_and_is_searched_a_stack_goes_with_its_row_and_a_poll_is_where_it_was() {
    if Command::new("chromium").arg("--version").output().is_err() {
        eprintln!("SKIP: chromium is not installed");
        return;
    }
    let folder = Folder::new();
    let recording = root().join("crates/record/tests/fixtures/schema-2/process.json");
    folder.write("run.json", std::fs::read(recording).expect("a recording"));
    let page = stdout(&folder.run("report run.json --format html"));
    let quoted = page.replace('&', "&amp;").replace('<', "&lt;");
    folder
        .write("use.html", format!("<!doctype html><title></title><textarea id=page hidden>{quoted}</textarea>{USE}"));
    let output = browse(&folder, "use.html");
    assert_eq!(complaints(&output), [""; 0]);
    let dom = stdout(&output);
    let title = dom.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).expect("a title").0;
    let expected = [
        "before 10 60.24% true",
        "zoomed 6 100% false",
        "after 10 60.24% true",
        "keys audit::append 100% 5",
        "escape 10 button 1",
        "reads true",
        "search 1, 1 found, 60.2 % of the time | 3, 3 found, 85.6 % of the time | 0, nothing found | 0, ",
        "sorted 1.7 %,more,0.7 %,more,0.4 % | 0.4 %,0.7 %,more,1.7 %,more",
        // It had not ended at the end, which is at 30 s.
        "at worst poll 1.2 s · worst lag — · a slow poll of 1.2 s at src/stock.rs:118",
        "at worst poll — · worst lag —",
    ];
    assert_eq!(title.split(';').collect::<Vec<_>>(), expected);
}

/// What a browser said on its console, but for what it says of every script in a sandbox.
fn complaints(output: &Output) -> Vec<String> {
    let said = stderr(output);
    let of_page = said.lines().filter(|line| line.contains("CONSOLE") && !line.contains("frame is sandboxed"));
    of_page.map(str::to_owned).collect()
}

/// The page's document after its scripts ran; what the browser said is on stderr.
fn browse(folder: &Folder, page: &str) -> Output {
    let profile = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]);
    command.args(["--hide-scrollbars", "--enable-logging=stderr", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", profile.path().display())).arg("--window-size=1400,900");
    let output = run(command.arg(url(&folder.path(page))));
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}
