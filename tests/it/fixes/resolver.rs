//! A DNS server that answers late, and the file that says where it is.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};

use super::program::BLOCK;
use crate::faults::private_mounts;

/// What it knows of every name.
pub(super) const ANSWER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const TYPE_A: [u8; 2] = [0, 1];

/// Has the programs that this thread starts ask it; an error where that is not allowed.
pub(super) fn start(folder: &Path) -> Result<(), String> {
    static SERVER: LazyLock<Result<Ipv4Addr, String>> = LazyLock::new(server);
    private_mounts()?;
    let address = SERVER.clone()?;
    let settings = folder.join("etc");
    fs::create_dir(&settings).expect("a folder");
    // What a program may need of that folder besides.
    for file in ["ld.so.cache", "localtime", "passwd"] {
        let _ = fs::copy(Path::new("/etc").join(file), settings.join(file));
    }
    let resolver = format!("nameserver {address}\noptions timeout:30 attempts:1\n");
    fs::write(settings.join("resolv.conf"), resolver).expect("a file");
    fs::write(settings.join("nsswitch.conf"), "hosts: dns\n").expect("a file");
    mount(Some(&settings), "/etc", None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|error| format!("no other settings of the resolver: {error}"))
}

/// Starts it, at an address that is likely nobody else's.
fn server() -> Result<Ipv4Addr, String> {
    let id = process::id().to_le_bytes();
    let address = Ipv4Addr::new(127, 53, id[0], id[1].max(1));
    let socket = UdpSocket::bind((address, 53)).map_err(|error| format!("no DNS server: {error}"))?;
    thread::spawn(move || serve(&socket));
    Ok(address)
}

/// Answers until the test program ends. A name is asked for twice, for both kinds of address: once late is enough.
fn serve(socket: &UdpSocket) {
    let mut last: Option<Instant> = None;
    let mut question = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut question) {
        if last.is_none_or(|last| last.elapsed() > Duration::from_millis(20)) {
            thread::sleep(BLOCK);
        }
        last = Some(Instant::now());
        let _ = socket.send_to(&answer(&question[..length]), from);
    }
}

/// The question once more, with an address if it is for one of the fourth version.
fn answer(question: &[u8]) -> Vec<u8> {
    let name = question[12..].iter().position(|length| *length == 0).map_or(question.len(), |end| 12 + end + 1);
    let asked = question.get(name..name + 4).unwrap_or_default();
    let knows = asked.starts_with(&TYPE_A);
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(knows), 0, 0, 0, 0]);
    answer.extend(&question[12..name]);
    answer.extend(asked);
    if let (true, IpAddr::V4(known)) = (knows, ANSWER) {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(known.octets());
    }
    answer
}
