//! Core files that are made here, byte by byte; those that a kernel wrote are tried by `pollscope-attach`.

use std::io::Write as _;

use super::*;

const PRSTATUS: usize = 336;

/// What is put into one: notes, and memory with its flags and its size where that is more.
#[derive(Default)]
struct Made {
    notes: Vec<u8>,
    loads: Vec<(u64, u32, Vec<u8>, u64)>,
}

impl Made {
    fn note(mut self, kind: u32, of: &[u8]) -> Made {
        for word in [5, of.len() as u32, kind] {
            self.notes.extend(word.to_le_bytes());
        }
        self.notes.extend(b"CORE\0\0\0\0");
        self.notes.extend(of);
        self.notes.resize(self.notes.len().next_multiple_of(4), 0);
        self
    }

    fn thread(self, tid: u32, signal: u16, sp: u64, call: i64) -> Made {
        let mut of = [0; PRSTATUS];
        of[12..14].copy_from_slice(&signal.to_le_bytes());
        of[32..36].copy_from_slice(&tid.to_le_bytes());
        for (place, value) in [(19, sp), (16, 0x40_1000), (15, call.cast_unsigned()), (14, 7), (4, 0xb9)] {
            of[112 + 8 * place..120 + 8 * place].copy_from_slice(&value.to_le_bytes());
        }
        self.note(1, &of)
    }

    fn files(self, of: &[(u64, u64, u64, &str)]) -> Made {
        let words = [of.len() as u64, 4096].into_iter().chain(of.iter().flat_map(|file| [file.0, file.1, file.2]));
        let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        of.iter().for_each(|file| bytes.extend(file.3.bytes().chain([0])));
        self.note(0x4649_4c45, &bytes)
    }

    fn load(mut self, start: u64, flags: u32, bytes: &[u8], size: u64) -> Made {
        self.loads.push((start, flags, bytes.to_vec(), size));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let count = self.loads.len() + 1;
        let mut at = 64 + 56 * count as u64;
        let mut out = b"\x7fELF\x02\x01\x01".to_vec();
        out.resize(16, 0);
        [4_u16, 62].iter().for_each(|half| out.extend(half.to_le_bytes()));
        out.extend(1_u32.to_le_bytes());
        [0_u64, 64, 0].iter().for_each(|word| out.extend(word.to_le_bytes()));
        out.extend(0_u32.to_le_bytes());
        [64_u16, 56, count as u16, 0, 0, 0].iter().for_each(|half| out.extend(half.to_le_bytes()));
        let mut header = |kind: u32, flags: u32, words: [u64; 4]| {
            let [address, has, size, align] = words;
            [kind, flags].iter().for_each(|half| out.extend(half.to_le_bytes()));
            [at, address, 0, has, size, align].iter().for_each(|word| out.extend(word.to_le_bytes()));
            at += has;
        };
        header(4, 0, [0, self.notes.len() as u64, 0, 4]);
        for (start, flags, bytes, size) in &self.loads {
            header(1, *flags, [*start, bytes.len() as u64, *size, 4096]);
        }
        out.extend(&self.notes);
        self.loads.iter().for_each(|(_, _, bytes, _)| out.extend(bytes));
        out
    }

    fn open(&self) -> CoreFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(&self.bytes()).expect("it is written");
        CoreFile::open(file.path(), None).expect("it is a core")
    }
}

fn read(core: &CoreFile, address: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; length];
    let got = core.read(address, &mut bytes);
    bytes.truncate(got);
    bytes
}

#[test]
fn memory_is_read_across_ranges_and_up_to_what_is_not_there() {
    let core = Made::default()
        .thread(4711, 6, 0x7000_0010, -1)
        .load(0x2000, 6, &[2; 4096], 4096)
        .load(0x1000, 4, &[1; 4096], 4096)
        .load(0x7000_0000, 6, &[7; 64], 4096)
        .load(0x1800, 6, &[9; 64], 64)
        .open();
    assert_eq!((core.pid(), core.signal(), core.cut()), (4711, Some(6), 0));
    assert_eq!(read(&core, 0x1ffe, 4), [1, 1, 2, 2]);
    assert_eq!(read(&core, 0x2ffe, 4), [2, 2]);
    assert_eq!(read(&core, 0x1800, 2), [1, 1], "what overlaps another range is not believed");
    assert_eq!(read(&core, 0x7000_003e, 4), [7, 7], "it was not written out");
    assert!([0, 0xfff, 0x3000, u64::MAX].iter().all(|address| read(&core, *address, 8).is_empty()));
    assert_eq!(core.present(&(0x1800..0x7000_1000)), [0x1800..0x2000, 0x2000..0x3000, 0x7000_0000..0x7000_0040]);
    assert_eq!(
        core.maps(),
        "1000-2000 r--p 00000000 00:00 0 \n2000-3000 rw-p 00000000 00:00 0 \n\
         70000000-70000040 rw-p 00000000 00:00 0 [stack]\n"
    );
}

#[test]
fn what_was_written_out_and_cut_off_is_not_read_from_a_file() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&[5; 8192]).expect("it is written");
    let name = file.path().to_str().expect("text").to_owned();
    let made = Made::default()
        .thread(1, 6, 0, -1)
        .files(&[(0x1000, 0x2000, 0, &name), (0x2000, 0x3000, 1, &name)])
        .load(0x1000, 4, &[5; 4096], 4096)
        .load(0x2000, 6, &[9; 4096], 4096);
    let whole = made.bytes();
    let core = |length: usize| {
        let mut core = tempfile::NamedTempFile::new().expect("a file");
        core.write_all(&whole[..length]).expect("it is written");
        CoreFile::open(core.path(), None).expect("it is a core")
    };
    assert_eq!(read(&core(whole.len()), 0x2ff0, 32), [9; 16]);
    let cut = core(whole.len() - 4000);
    assert_eq!((cut.cut(), read(&cut, 0x2000, 4096)), (4000, vec![9; 96]), "the file has what was there before");
}

#[test]
fn threads_have_their_registers_and_the_call_that_they_were_in() {
    let core = Made::default().thread(1, 11, 0x5000, -1).thread(2, 0, 0x6000, 202).open();
    let [one, two] = core.threads() else { panic!("{:?}", core.threads()) };
    assert_eq!(
        (one.tid, one.syscall, one.registers.sp(), one.registers.pc()),
        (1, None, Some(0x5000), Some(0x40_1000))
    );
    assert_eq!((two.tid, two.syscall), (2, Some((202, [7, 0, 0, 0, 0, 0]))));
    assert_eq!(two.registers.get(6), Some(0xb9), "rbp is the fifth");
    assert_eq!(core.signal(), Some(11), "that of the first one");
}

#[test]
fn what_was_not_written_out_is_read_from_a_file_of_the_same_build() {
    let mut program = std::fs::read("/proc/self/exe").expect("this program");
    program.truncate(3 << 12);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&program).expect("it is written");
    let name = file.path().to_str().expect("text").to_owned();
    let auxv = [[9_u64, 0x41_1004], [0, 0]].concat().iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let made = |head: &[u8]| {
        Made::default()
            .thread(1, 6, 0, -1)
            .note(6, &auxv)
            .files(&[(0x41_0000, 0x41_1000, 0, &name), (0x41_1000, 0x41_3000, 1, &name)])
            .load(0x41_0000, 4, head, 4096)
            .load(0x41_1000, 5, &[], 8192)
            .open()
    };
    let core = made(&program[..4096]);
    assert_eq!(core.has_program(), Ok(()));
    assert_eq!(core.program().and_then(Path::to_str), Some(name.as_str()));
    assert_eq!(read(&core, 0x41_0ff0, 4112 + 4096), &program[0xff0..0x3000]);
    // A debugger leaves such a range out.
    let left_out = Made::default()
        .thread(1, 6, 0, -1)
        .note(6, &auxv)
        .files(&[(0x41_0000, 0x41_1000, 0, &name), (0x41_1000, 0x41_3000, 1, &name)])
        .load(0x41_0000, 4, &program[..4096], 4096)
        .open();
    assert_eq!((left_out.has_program(), left_out.maps()), (Ok(()), core.maps()));
    assert_eq!(read(&left_out, 0x41_0ff0, 4112 + 4096), &program[0xff0..0x3000]);
    let inode = u64::MAX;
    assert!(core.maps().contains(&format!("411000-413000 r-xp 00001000 00:00 {inode} {name}\n")), "{}", core.maps());
    let mut other = program[..4096].to_vec();
    other[100] ^= 1;
    let core = made(&other);
    let why = core.has_program().expect_err("another head");
    assert!(why.contains("it is of another build than the core") || is_identified(&program), "{why}");
    // Without its head nothing says that it is the same.
    let core = made(&[]);
    assert!(core.has_program().is_err_and(|why| why.contains("the core does not have its first page")));
    assert_eq!(read(&core, 0x41_1000, 8), []);
}

/// Whether a build-id says that it is the same all the same.
fn is_identified(program: &[u8]) -> bool {
    build_id_of_file(program).is_some()
}

#[test]
fn what_is_malformed_is_refused_or_read_as_far_as_it_makes_sense() {
    let made = Made::default()
        .thread(4711, 6, 0x7000_0010, -1)
        .files(&[(0x1000, 0x2000, 0, "/a"), (0x2000, 0x3000, u64::MAX, "/b")])
        .load(0x1000, 4, &[1; 4096], 4096)
        .load(u64::MAX - 10, 4, &[1; 16], 4096)
        .load(0x7000_0000, 6, &[7; 64], 4096);
    let whole = made.bytes();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut opened = 0;
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random(4) {
            // Mostly the heads and the notes.
            let below = if random(8) == 0 { whole.len() } else { 1_024 };
            let at = random(below);
            bytes[at] = random(256) as u8;
        }
        if random(4) == 0 {
            bytes.truncate(random(whole.len()));
        }
        let Ok(parsed) = Parsed::of(&bytes) else { continue };
        opened += 1;
        assert!(parsed.segments.is_sorted_by(|one, next| one.end() <= next.start), "{:?}", parsed.segments);
        assert!(parsed.segments.iter().all(|segment| parsed.bytes_of(segment, &bytes).is_some()));
        let unnamed = parsed.segments.iter().filter(|segment| segment.file.is_none()).map(|segment| segment.size);
        assert!(unnamed.sum::<u64>() <= bytes.len() as u64, "what is searched is in the file");
        assert!(!parsed.threads.is_empty() && parsed.maps.lines().count() >= parsed.segments.len());
    }
    assert!(opened > 5_000, "{opened}");
    let refused = |bytes: &[u8]| Parsed::of(bytes).expect_err("it is none");
    assert_eq!(refused(&whole[..100]), "it breaks off before it says which memory it has");
    let mut arm = whole.clone();
    arm[18] = 183;
    assert_eq!(refused(&arm), "it is of another processor than x86-64");
    assert_eq!(refused(&Made::default().bytes()), "it has no threads: it is not a core of a process");
}
