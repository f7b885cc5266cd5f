//! `--html`: a page that is whole, gives its recording back, and that a browser takes without complaint.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Folder, alone, run, stderr, stdout};

/// A desk and a telephone.
const WIDTHS: [u32; 2] = [1280, 390];
/// A page of a built-in scenario, in bytes.
const LARGEST: usize = 400_000;

/// A page with slow polls, and the same recording as JSON.
fn page(folder: &Folder) -> String {
    let _alone = alone();
    // Whether its expectations hold is another test's business.
    let output = folder.run("run slow-sink --quiet --html page.html --json run.json");
    assert!(matches!(output.status.code(), Some(0 | 99)), "{}", stderr(&output));
    String::from_utf8(folder.read("page.html")).expect("UTF-8")
}

#[test]
fn a_page_is_whole_in_itself_and_gives_its_recording_back() {
    let folder = Folder::new();
    let page = page(&folder);
    assert!(page.len() <= LARGEST, "{}", page.len());
    for id in [
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
    ] {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "{id}");
    }
    for loads in ["src=", "<link", "@import", "url(", "<iframe", "fetch("] {
        assert!(!page.contains(loads), "{loads}");
    }
    assert_eq!(folder.run("report page.html --format json").stdout, folder.read("run.json"));
    assert_eq!(stdout(&folder.run("report run.json --format html")), page);
}

#[test]
fn a_browser_shows_it_without_complaint_on_a_desk_and_on_a_telephone() {
    if Command::new("chromium").arg("--version").output().is_err() {
        eprintln!("SKIP: chromium is not installed");
        return;
    }
    let folder = Folder::new();
    let page = page(&folder);
    // A script of the test's own, which the page's policy would not let run.
    let policy = page.find("<meta http-equiv=\"Content-Security-Policy\"").expect("a policy");
    let end = policy + page[policy..].find('>').expect("its end") + 1;
    let measure = "<script>const e = document.documentElement; \
        parent.document.title = `asked ${e.clientWidth} took ${e.scrollWidth} spinners ${document.querySelectorAll('.spin:not([hidden])').length}`</script></body>";
    let measured = format!("{}{}", &page[..policy], &page[end..]).replace("</body>", measure);
    let quoted = measured.replace('&', "&amp;").replace('"', "&quot;");
    for width in WIDTHS {
        let output = browse(&folder, "page.html", width);
        assert!(stdout(&output).contains("<h1>"), "{}", stderr(&output));
        let said: Vec<String> =
            stderr(&output).lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
        assert!(said.is_empty(), "at {width}: {said:?}");
        // In a frame: a browser's window cannot be as narrow as a telephone.
        let frame =
            format!("<title></title><iframe width={width} height=900 frameborder=0 srcdoc=\"{quoted}\"></iframe>");
        folder.write("frame.html", frame);
        let dom = stdout(&browse(&folder, "frame.html", 1400));
        let wanted = format!("<title>asked {width} took {width} spinners 2</title>");
        let title = dom.lines().find_map(|line| Some(&line[line.find("<title>")?..line.find("</title>")? + 8]));
        assert_eq!(title, Some(wanted.as_str()));
    }
}

/// The page's document after its scripts ran; what the browser said is on stderr.
fn browse(folder: &Folder, page: &str, width: u32) -> Output {
    let profile = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]);
    command.args(["--hide-scrollbars", "--enable-logging=stderr", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", profile.path().display())).arg(format!("--window-size={width},900"));
    let output = run(command.arg(url(&folder.path(page))));
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}
