//! The other end of a socket.
//!
//! The kernel is asked for that of a socket of this process. Otherwise it is looked up by the socket's number in the tables of its
//! network, which have no ends of Unix sockets; and some calls are given an address.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};

use super::arguments;
use super::text::Quoted;
use crate::process::Process;
use crate::thread::ThreadRef;

/// No more is read of one table: some 7,000 sockets.
const MOST: u64 = 1 << 20;
/// The tables, by their names in `/proc`.
const TABLES: [&str; 4] = ["net/tcp", "net/udp", "net/tcp6", "net/udp6"];
/// What no address is longer than: `sockaddr_storage`.
const LONGEST: usize = 128;
/// By which a DNS server is recognised.
const DNS_PORT: u16 = 53;

/// The other end of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// The path of a Unix socket; `@` and its name, if it is abstract.
    Unix(PathBuf),
}

impl Peer {
    /// Whether it is a DNS server, by its port.
    pub(super) fn is_dns(&self) -> bool {
        matches!(self, Peer::Ip(address) if address.port() == DNS_PORT)
    }

    /// As recordings have it: not escaped, not quoted.
    ///
    /// ```
    /// use pollscope_stacks::syscall::Peer;
    /// assert_eq!(Peer::Ip(([203, 0, 113, 9], 53).into()).plain(), "203.0.113.9:53");
    /// assert_eq!(Peer::Unix("/run/app.sock".into()).plain(), "/run/app.sock");
    /// ```
    pub fn plain(&self) -> String {
        match self {
            Peer::Ip(address) => address.to_string(),
            Peer::Unix(path) => path.display().to_string(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Ip(address) => address.fmt(f),
            Peer::Unix(path) => Quoted(path).fmt(f),
        }
    }
}

/// The number of the socket that a descriptor leads to; `None` if it is no socket.
pub(super) fn inode(link: &Path) -> Option<&str> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')
}

/// Of the address at this place in memory.
pub(super) fn in_memory(process: &Process, address: u64, length: u64) -> Option<Peer> {
    let mut copy = [0; LONGEST];
    let length = usize::try_from(length).ok().filter(|length| *length <= LONGEST)?;
    let is_whole = crate::memory::read(process, address, &mut copy[..length]) == length;
    is_whole.then(|| parse(&copy[..length])).flatten()
}

/// Of the message whose header (`msghdr`) is at this place in memory.
pub(super) fn of_message(process: &Process, address: u64) -> Option<Peer> {
    let header = arguments::bytes::<16>(process, address)?;
    let length = arguments::word(&header, 8)? & 0xffff_ffff;
    in_memory(process, arguments::word(&header, 0)?, length)
}

/// A `sockaddr`: its family, and what that has. `None` for families without an end that has an address, and for what has no name.
fn parse(address: &[u8]) -> Option<Peer> {
    /// These of Linux; elsewhere nothing is read.
    const UNIX: u16 = 1;
    const INET: u16 = 2;
    const INET6: u16 = 10;
    let (family, rest) = address.split_first_chunk()?;
    let port = || Some(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?));
    match u16::from_ne_bytes(*family) {
        INET => {
            let ip: [u8; 4] = rest.get(2..6)?.try_into().ok()?;
            Some(Peer::Ip(SocketAddr::from((ip, port()?))))
        }
        INET6 => {
            let ip: [u8; 16] = rest.get(6..22)?.try_into().ok()?;
            let scope = u32::from_ne_bytes(rest.get(22..26)?.try_into().ok()?);
            Some(Peer::Ip(canonical(Ipv6Addr::from(ip), port()?, scope)))
        }
        UNIX => match rest {
            [] | [0] => None,
            [0, name @ ..] => arguments::path_of(&[b"@", name].concat()).map(Peer::Unix),
            path => {
                let path = path.split(|byte| *byte == 0).next().filter(|path| !path.is_empty())?;
                arguments::path_of(path).map(Peer::Unix)
            }
        },
        _ => None,
    }
}

/// An address of IPv4 that is written in IPv6 is one of IPv4.
fn canonical(ip: Ipv6Addr, port: u16, scope: u32) -> SocketAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, port)),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
    }
}

/// Of a socket of this process, by its descriptor, if that leads there before and after.
#[cfg(supported)]
pub(super) fn of_own(process: &Process, fd: i32, link: Option<&Path>) -> Option<Peer> {
    if !process.is_own() || !crate::seccomp::may_call() {
        return None;
    }
    let mut address = [0_u8; LONGEST];
    let mut length = LONGEST as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is how many `address` has, and then the length itself; both are
    // exclusively borrowed. A descriptor that is none, or no socket, is an error.
    let answer = unsafe { libc::getpeername(fd, address.as_mut_ptr().cast(), &raw mut length) };
    let told = usize::try_from(length).ok().filter(|length| answer == 0 && *length <= LONGEST)?;
    parse(&address[..told]).filter(|_| super::descriptor::link(process, fd).as_deref() == link)
}

#[cfg(not(supported))]
pub(super) fn of_own(_process: &Process, _fd: i32, _link: Option<&Path>) -> Option<Peer> {
    None
}

/// Of the socket with this number, by the tables of the thread's network. It can take milliseconds.
pub(super) fn by_tables(thread: &ThreadRef, inode: &str) -> Option<Peer> {
    TABLES.iter().find_map(|name| {
        let table = File::open(thread.process.file_of_thread(thread.tid, name).to_string()).ok()?;
        by_table(BufReader::new(table.take(MOST)), inode)
    })
}

/// A socket a line: `1: 0100007F:9C40 0900CB71:0035 01 00000000:00000000 00:00000000 00000000 0 0 12345 …`.
fn by_table(table: impl std::io::BufRead, inode: &str) -> Option<Peer> {
    const REMOTE: usize = 2;
    const INODE: usize = 9;
    let lines = table.lines().map_while(Result::ok);
    let mut found = lines.filter(|line| line.split_ascii_whitespace().nth(INODE) == Some(inode));
    let (ip, port) = found.next()?.split_ascii_whitespace().nth(REMOTE)?.split_once(':').map(|(ip, port)| {
        let port = u16::from_str_radix(port, 16).ok().filter(|port| *port != 0);
        (words(ip), port)
    })?;
    match ip?.as_slice() {
        [word] => Some(Peer::Ip((Ipv4Addr::from(word.to_ne_bytes()), port?).into())),
        [a, b, c, d] => {
            let mut bytes = [0; 16];
            for (to, word) in bytes.chunks_exact_mut(4).zip([a, b, c, d]) {
                to.copy_from_slice(&word.to_ne_bytes());
            }
            Some(Peer::Ip(canonical(Ipv6Addr::from(bytes), port?, 0)))
        }
        _ => None,
    }
}

/// Numbers of eight hexadecimal digits: the kernel prints an address as such, in the order of this machine.
fn words(digits: &str) -> Option<Vec<u32>> {
    let words = digits.as_bytes().chunks(8).map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockaddr(family: u16, rest: &[u8]) -> Vec<u8> {
        [&family.to_ne_bytes(), rest].concat()
    }

    #[track_caller]
    fn check(address: &[u8], expected: Option<&str>) {
        assert_eq!(parse(address).map(|peer| peer.plain()).as_deref(), expected, "{address:?}");
    }

    #[test]
    fn addresses_of_every_family_are_read_and_what_has_none_is_none() {
        check(&sockaddr(2, &[0, 53, 203, 0, 113, 9, 0, 0, 0, 0, 0, 0, 0, 0]), Some("203.0.113.9:53"));
        let ipv6 = |ip: Ipv6Addr, scope: u32| {
            sockaddr(10, &[&[0x1f, 0x90, 0, 0, 0, 0], &ip.octets()[..], &scope.to_ne_bytes()].concat())
        };
        check(&ipv6("2001:db8::1".parse().unwrap(), 0), Some("[2001:db8::1]:8080"));
        check(&ipv6("fe80::1".parse().unwrap(), 2), Some("[fe80::1%2]:8080"));
        check(&ipv6("::ffff:192.0.2.1".parse().unwrap(), 0), Some("192.0.2.1:8080"));
        check(&sockaddr(1, b"/run/app.sock\0rest"), Some("/run/app.sock"));
        check(&sockaddr(1, b"\0bus"), Some("@bus"));
        check(&sockaddr(1, b""), None);
        check(&sockaddr(1, b"\0"), None);
        check(&sockaddr(16, &[0; 10]), None);
        check(&sockaddr(0, &[0; 14]), None);
        check(&sockaddr(2, &[0, 53, 203]), None);
        check(&[2], None);
    }

    #[test]
    fn only_port_53_is_a_dns_server() {
        let at = |port: u16| Peer::Ip(([127, 0, 0, 1], port).into());
        assert!(at(53).is_dns() && !at(5353).is_dns() && !at(853).is_dns());
        assert!(!Peer::Unix("/run/53".into()).is_dns());
    }

    #[test]
    fn a_table_is_read_by_the_socket_s_number() {
        let v4 = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                  \x20  0: 0100007F:9C40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0\n\
                  \x20  1: 0100007F:9C41 0971CB00:0035 01 00000000:00000000 00:00000000 00000000     0        0 111 1 0\n\
                  torn";
        let found = |table: &str, inode: &str| by_table(table.as_bytes(), inode).map(|peer| peer.plain());
        assert_eq!(found(v4, "111").as_deref(), Some("0.203.113.9:53"));
        assert_eq!(found(v4, "11"), None, "it listens");
        assert_eq!(found(v4, "1"), None);
        let v6 = "0: 00000000000000000000000000000000:1F90 B80D0120000000000000000001000000:01BB 01 0:0 0:0 0 0 0 7 1\n\
                  1: 0:0 0000000000000000FFFF00000100007F:0050 01 0:0 0:0 0 0 0 8 1\n\
                  2: 0:0 0100007F0100007F:0050 01 0:0 0:0 0 0 0 9 1\n";
        assert_eq!(found(v6, "7").as_deref(), Some("[2001:db8::1]:443"));
        assert_eq!(found(v6, "8").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(found(v6, "9"), None, "no address is that long");
    }

    #[cfg(supported)]
    #[test]
    fn the_tables_know_a_connection_and_a_connection_that_is_begun() {
        use std::net::{TcpListener, UdpSocket};
        use std::os::fd::AsRawFd as _;
        let (me, listener) = (ThreadRef::current(), TcpListener::bind("127.0.0.1:0").unwrap());
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let of = |fd: i32| {
            let link = super::super::descriptor::link(&me.process, fd).unwrap();
            let inode = inode(&link).expect("a socket").to_owned();
            (by_tables(&me, &inode), of_own(&me.process, fd, Some(&link)))
        };
        let expected = Some(Peer::Ip(listener.local_addr().unwrap()));
        assert_eq!(of(stream.as_raw_fd()), (expected.clone(), expected));
        assert_eq!(of(udp.as_raw_fd()), (None, None), "it is connected to nobody");
        udp.connect("127.0.0.1:9").unwrap();
        let expected = Some(Peer::Ip(([127, 0, 0, 1], 9).into()));
        assert_eq!(of(udp.as_raw_fd()), (expected.clone(), expected));
        assert_eq!(of(listener.as_raw_fd()), (None, None));
    }
}
