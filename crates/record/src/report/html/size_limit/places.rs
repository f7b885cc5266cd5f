//! Which places of wall-clock profiles a page's recording has: as many as there is room for, those with most looks first.

use std::collections::HashSet;

use super::length;
use crate::recording::{Frame, Profile, ProfilePlace, Run};

/// Bytes of JSON that they may take in all: compressed, an eighth of it.
const PLACES: usize = 1 << 19;
/// The least that one takes.
const PLACE: usize = 130;
/// The number of a frame.
const NUMBER: usize = 6;

/// How many are left out, and the profile of each run without those: their looks are counted as dropped.
pub(super) fn that_fit(runs: &[Run]) -> (u64, Vec<Option<Box<Profile>>>) {
    let (mut room, mut left_out) = (PLACES, 0);
    let mut of_run = |run: &Run| {
        let profile = run.profile.as_deref()?;
        let mut frames = HashSet::new();
        let mut kept = Vec::new();
        for place in &profile.places {
            let size = size(place, &mut frames);
            if size > room {
                room = 0;
                break;
            }
            room -= size;
            kept.push(place.clone());
        }
        let rest = &profile.places[kept.len()..];
        left_out += rest.len() as u64;
        let dropped = rest.iter().fold(profile.dropped, |sum, place| sum.saturating_add(place.looks));
        let Profile { period_ns, looks, parked, running, moved, cpu_ns, run_delay_ns, .. } = *profile;
        let places = kept;
        Some(Box::new(Profile { period_ns, looks, parked, running, moved, cpu_ns, run_delay_ns, dropped, places }))
    };
    let profiles = runs.iter().map(&mut of_run).collect();
    (left_out, profiles)
}

/// About how many bytes of JSON a place takes, with the frames that no place before it had.
fn size<'p>(place: &'p ProfilePlace, known: &mut HashSet<&'p Frame>) -> usize {
    let texts = [&place.future, &place.line, &place.function, &place.call];
    let new = place.stack.iter().filter(|frame| known.insert(frame));
    let frames: usize = new.map(|frame| 50 + length(&frame.function) + length(&frame.file)).sum();
    PLACE + texts.map(length).iter().sum::<usize>() + place.stack.len() * NUMBER + frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn places_with_few_looks_give_way_and_their_looks_are_counted() {
        let mut run = fixture::profiled();
        let profile = run.profile.as_mut().expect("a profile");
        let place = |at: u64| ProfilePlace {
            looks: 2,
            line: Some(format!("src/{at}.rs:1").as_str().into()),
            ..ProfilePlace::default()
        };
        profile.places.extend((0..20_000).map(place));
        let (left_out, profiles) = that_fit(&[run.clone(), fixture::run("naive"), run.clone()]);
        let kept = profiles[0].as_ref().expect("a profile");
        assert!(profiles[1].is_none() && kept.places.len() > 1_000, "{}", kept.places.len());
        assert_eq!(profiles[2].as_ref().expect("a profile").places, [], "there is no room any more");
        assert_eq!(left_out, 2 * 20_005 - kept.places.len() as u64);
        assert_eq!(kept.dropped, 3 + 2 * (20_005 - kept.places.len() as u64));
        let few = fixture::profiled();
        assert_eq!(that_fit(std::slice::from_ref(&few)), (0, vec![few.profile.clone()]));
    }
}
