use super::*;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Files in a folder, of which all may have so many bytes.
fn files(folder: &Path, most_bytes: u64) -> Files {
    Files::new(Place::of(folder.to_owned(), "api", "20260101T000000.000Z"), most_bytes)
}

#[test]
fn one_file_follows_the_other_and_the_oldest_go() {
    let parent = tempfile::tempdir().unwrap();
    // Not of this program, though one begins with its name.
    for other in ["api-v2-20250101T000000.000Z-1-000001.pollscope", "notes.txt"] {
        fs::write(parent.path().join(other), [b'x'; 900]).unwrap();
    }
    fs::write(parent.path().join("api-20250101T000000.000Z-1-000007.pollscope"), [b'x'; 700]).unwrap();
    let mut files = files(parent.path(), 800);
    for line in 0..60 {
        if !files.is_open() {
            files.begin(&format!("first of {}\n", files.next_segment())).unwrap();
        }
        files.write(&format!("line {line:03} ....\n")).unwrap();
    }
    let names = names(parent.path());
    assert!(names.iter().any(|name| name == "notes.txt") && names.iter().any(|name| name.starts_with("api-v2-")));
    let ours: Vec<&String> = names.iter().filter(|name| name.starts_with("api-2026")).collect();
    assert!(!names.iter().any(|name| name.starts_with("api-2025")), "the oldest of this program: {names:?}");
    let bytes: u64 = ours.iter().map(|name| fs::metadata(parent.path().join(name)).unwrap().len()).sum();
    assert!(bytes <= 800 && ours.len() > 3, "{bytes} bytes in {names:?}");
    let text: String = ours.iter().map(|name| fs::read_to_string(parent.path().join(name)).unwrap()).collect();
    assert!(text.ends_with("line 059 ....\n") && !text.contains("line 000"), "{text}");
}

#[test]
fn a_file_that_is_removed_is_begun_anew() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("folder");
    let mut files = files(&folder, 1 << 20);
    assert!(!files.is_open());
    files.begin("a\n").unwrap();
    assert!(files.is_open());
    fs::remove_dir_all(&folder).unwrap();
    assert!(!files.is_open());
    files.begin("b\n").unwrap();
    files.write("c\n").unwrap();
    let names = names(&folder);
    assert_eq!(names.len(), 1);
    assert_eq!(fs::read_to_string(folder.join(&names[0])).unwrap(), "b\nc\n");
}

#[test]
fn one_file_is_never_written_over_and_ends_at_its_limit() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("api.pollscope");
    fs::write(&path, "of somebody").unwrap();
    let mut files = Files::new(Place::of(path.clone(), "api", "x"), 10);
    files.begin("12345\n").unwrap();
    assert_eq!(files.write("67890\n").unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    files.write("678\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "of somebody");
    assert_eq!(fs::read_to_string(parent.path().join("api-1.pollscope")).unwrap(), "12345\n678\n");
}
