//! By which names a server may be asked: a page that a browser shows can make a name of its own lead to this machine (DNS rebinding)
//! and read what is served here. A browser says by which name it asks, and none but its own would be that page's.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// Names that nobody can have in the public DNS, and so no page: of machines in one network, containers, services of a cluster.
const PRIVATE: [&str; 5] = [".local", ".internal", ".svc", ".home.arpa", ".lan"];

/// The names of one server.
#[derive(Debug)]
pub(super) struct Hosts {
    /// Whether it is reached from this machine alone, by an address or as `localhost`.
    is_local: bool,
    /// The machine's own, if it tells.
    machine: Option<String>,
    allowed: Mutex<Vec<String>>,
}

impl Hosts {
    /// Of a server that listens there.
    pub(super) fn of(address: IpAddr) -> Hosts {
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        Hosts {
            is_local: address.to_canonical().is_loopback(),
            machine: machine.map(|name| canonical(&name)).filter(|name| !name.is_empty()),
            allowed: Mutex::default(),
        }
    }

    /// Allows one more.
    pub(super) fn allow(&self, name: &str) {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner).push(canonical(name));
    }

    /// Whether a request's `Host` is one of them. Addresses always are: no page's name is one.
    pub(super) fn include(&self, host: &str) -> bool {
        let Some(name) = without_port(host.trim()) else { return false };
        if name.starts_with('[') {
            let literal = name.trim_start_matches('[').trim_end_matches(']');
            return literal.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
        }
        let name = canonical(name);
        let is_machine = self.machine.as_ref().is_some_and(|machine| *machine == name);
        let is_allowed = || self.allowed.lock().unwrap_or_else(PoisonError::into_inner).contains(&name);
        let is_address = || name.parse::<IpAddr>().is_ok();
        let is_local = || name == "localhost" || name.ends_with(".localhost");
        is_address() || is_local() || is_machine || is_allowed() || (!self.is_local && self.is_private(&name))
    }

    /// A name that leads here within one network: without a dot, of a private domain, or the machine's with its domain.
    fn is_private(&self, name: &str) -> bool {
        let is_plain =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let is_machine =
            |machine: &String| name.strip_prefix(machine.as_str()).is_some_and(|rest| rest.starts_with('.'));
        is_plain
            && (!name.contains('.')
                || PRIVATE.iter().any(|domain| name.ends_with(domain))
                || self.machine.as_ref().is_some_and(is_machine))
    }
}

/// As names are compared.
fn canonical(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    name.strip_suffix('.').map(str::to_owned).unwrap_or(name)
}

/// `None` where what stands behind the colon is no port.
fn without_port(host: &str) -> Option<&str> {
    let behind_address = host.rfind(']').map_or(0, |end| end + 1);
    match host[behind_address..].split_once(':') {
        None => Some(host),
        Some((rest, port)) => {
            port.bytes().all(|byte| byte.is_ascii_digit()).then_some(&host[..behind_address + rest.len()])
        }
    }
}

/// What a request's head says of the host; `Err` where it says it more than once.
pub(super) fn host_of(head: &str) -> Result<Option<&str>, ()> {
    let mut hosts = head.lines().skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    });
    let first = hosts.next();
    if hosts.next().is_some() { Err(()) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(address: &str) -> Hosts {
        Hosts { machine: Some("web-7".to_owned()), ..Hosts::of(address.parse().unwrap()) }
    }

    const ALWAYS: [&str; 10] = [
        "127.0.0.1",
        "127.0.0.1:9464",
        "10.1.2.3:80",
        "[::1]:9464",
        "[fe80::1%25eth0]",
        "localhost",
        "LOCALHOST:9464",
        "app.localhost.",
        "web-7:9464",
        "Web-7",
    ];
    const NEVER: [&str; 12] = [
        "evil.example",
        "evil.example:9464",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.nip.io",
        "web-70.evil.example",
        "[::1].evil.example",
        "[evil]",
        "evil.example@127.0.0.1",
        "localhost:evil",
        "",
        "é.example",
    ];
    const WITHIN_A_NETWORK: [&str; 5] = ["web", "web:9464", "web.default.svc", "web-7.corp.example", "nas.local:80"];

    #[test]
    fn of_the_loopback_nothing_but_addresses_and_the_machines_names() {
        let local = hosts("127.0.0.1");
        assert!(ALWAYS.iter().all(|host| local.include(host)));
        for host in NEVER.iter().chain(&WITHIN_A_NETWORK) {
            assert!(!local.include(host), "{host}");
        }
    }

    #[test]
    fn elsewhere_names_that_lead_here_within_a_network() {
        let open = hosts("0.0.0.0");
        for host in ALWAYS.iter().chain(&WITHIN_A_NETWORK) {
            assert!(open.include(host), "{host}");
        }
        for host in NEVER {
            assert!(!open.include(host), "{host}");
        }
        open.allow("Metrics.Example.org");
        assert!(open.include("metrics.example.org.:9464") && !open.include("x.metrics.example.org"));
    }

    #[test]
    fn a_head_says_its_host_once() {
        let head = |lines: &str| format!("GET /metrics HTTP/1.1\r\nAccept: */*\r\n{lines}\r\n");
        assert_eq!(host_of(&head("")), Ok(None));
        assert_eq!(host_of(&head("hOST:  a:1 \r\n")), Ok(Some("a:1")));
        assert_eq!(host_of(&head("Host: a\r\nX: b\r\nhost: evil\r\n")), Err(()));
    }
}
