//! Where the time of loops went, on the page.

use super::*;
use crate::recording::{Profile, ProfilePlace, ThreadState};

/// What the section holds; `None` where there is none.
fn section(recording: &Recording) -> Option<String> {
    let page = markup(&render(recording).expect("a page"));
    let (_, rest) = page.split_once("<section id=\"loops\">")?;
    Some(rest.split_once("</section>").expect("its end").0.to_owned())
}

#[test]
fn shares_places_and_a_graph_are_there_without_a_script() {
    let recording = fixture::profiled_recording();
    let section = section(&recording).expect("a section");
    for said in [
        "parked: 24.0 s, 60.0 %",
        "in polls off the CPU: 10.0 s, 25.0 %",
        "running or ready at an unknown place: 1.20 s, 3.0 %",
        "by 1,000 looks from outside; by the threads' clocks: 4.90 s on a CPU, 310 ms ready for one",
        "api: 16.0 s not parked, 40.0 %",
        "<code>src/conf.rs:41</code>",
        "openat(&quot;/etc/api/conf.toml&quot;)",
        ">25.0 %</td>",
        "<svg class=\"call\"",
        "<svg class=\"cpu\"",
    ] {
        assert!(section.contains(said), "{said} in {section}");
    }
    let page = render(&recording).expect("a page");
    let busy = page.contains("<section class=\"folded\" id=\"time\">");
    assert!(!busy, "no second section says that the same is not known");
    let ids: Vec<&str> =
        page.match_indices(" id=\"").map(|(at, id)| page[at + id.len()..].split('"').next().expect("an id")).collect();
    let twice = ids.iter().find(|id| ids.iter().filter(|other| other == id).count() > 1);
    assert_eq!(twice, None);
    assert_eq!(read_back(&page).runs[0].profile, recording.runs[0].profile);
}

#[test]
fn boxes_are_as_wide_as_their_share_of_what_was_not_parked() {
    let section = section(&fixture::profiled_recording()).expect("a section");
    let (_, section) = section.split_once("<svg class=\"flame\"").expect("a graph");
    let title = |says: &str| {
        let (_, rest) =
            section.split_once(&format!("<title>{says}: ")).unwrap_or_else(|| panic!("{says} in {section}"));
        rest.split_once("</title>").expect("its end").0
    };
    assert_eq!(title("all that was not parked"), "16.0 s, 100 %");
    assert_eq!(title("future type api::answer::{{closure}}"), "13.2 s, 82.5 %");
    assert_eq!(title("openat()"), "9.60 s, 60.0 %");
    assert_eq!(title("api::hash::sum"), "3.20 s, 20.0 %");
    assert_eq!(title("in the scheduler"), "800 ms, 5.0 %");
}

#[test]
fn where_nobody_looked_and_where_nothing_was_seen_there_is_nothing() {
    assert_eq!(section(&fixture::recording()), None);
    let mut recording = fixture::profiled_recording();
    recording.runs[0].profile = Some(Box::default());
    assert_eq!(section(&recording), None);
    recording.runs[0].profile = Some(Box::new(Profile { period_ns: 1, looks: 3, parked: 3, ..Profile::default() }));
    let parked = section(&recording).expect("a section");
    assert!(parked.contains("parked: 3 ns, 100 %") && !parked.contains("<svg class=\"flame\""), "{parked}");
}

#[test]
fn a_profile_that_means_harm_is_text() {
    let mut recording = fixture::profiled_recording();
    let evil = "</script><script>alert(1)</script>\u{202e}".repeat(500);
    let place = ProfilePlace {
        state: ThreadState::PollOffCpu,
        looks: u64::MAX,
        future: Some(evil.as_str().into()),
        line: Some(evil.as_str().into()),
        function: None,
        call: Some(evil.as_str().into()),
        stack: vec![Frame { function: Some(evil.as_str().into()), file: None, line: None }; 4_000].into(),
    };
    let places = vec![place; 3];
    let profile = Profile { period_ns: u64::MAX, looks: u64::MAX, parked: u64::MAX, places, ..Profile::default() };
    recording.runs[0].profile = Some(Box::new(profile));
    let section = section(&recording).expect("a section");
    assert!(!section.contains("<script") && !section.contains('\u{202e}'), "{section}");
    assert!(section.len() < 200_000, "{}", section.len());
}
