//! `/etc/resolv.conf` of a command: the machine's, as far as it makes sense where the command is. BuildKit
//! makes the same of it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use corten_sandbox::Network;

use crate::run::options::Dns;

/// Where the machine says how names are resolved.
const USUAL: &str = "/etc/resolv.conf";
/// Where systemd-resolved says what it asks itself, for those who cannot ask it.
const BEHIND_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
/// Where systemd-resolved answers.
const RESOLVED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));

/// Who is asked where the machine names nobody whom a command could reach.
const FALLBACK: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8844)),
];

/// Returns what a command with `network` finds in its `/etc/resolv.conf`.
pub(crate) fn for_command(network: Network, dns: &Dns) -> String {
    let usual = read(USUAL);
    let is_behind = network == Network::None
        && matches!(usual.servers.as_slice(), [only] if only.address == RESOLVED);
    let machine = if is_behind {
        read(BEHIND_RESOLVED)
    } else {
        usual
    };
    machine.suited(network, dns).to_string()
}

/// A file that is not there says nothing.
fn read(path: &str) -> Resolvers {
    let bytes = fs::read(Path::new(path)).unwrap_or_default();
    Resolvers::parse(&String::from_utf8_lossy(&bytes))
}

/// What a `resolv.conf` says (resolv.conf(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Resolvers {
    servers: Vec<Server>,
    search: Vec<String>,
    options: Vec<String>,
    /// Lines that mean nothing here, such as `sortlist`.
    others: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    address: IpAddr,
    /// The interface of a link-local address, with its `%`.
    zone: String,
}

impl Server {
    fn parse(text: &str) -> Option<Self> {
        let at = text.find('%').unwrap_or(text.len());
        let (address, zone) = text.split_at_checked(at)?;
        let address: IpAddr = address.parse().ok()?;
        let is_zone_sound = zone.is_empty() || (zone.len() > 1 && address.is_ipv6());
        is_zone_sound.then(|| Self {
            address,
            zone: zone.to_owned(),
        })
    }
}

impl Resolvers {
    /// Reads what a resolver would; a server whose address is none is left out.
    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let Some(first) = words.next().filter(|_| !line.starts_with(['#', ';'])) else {
                continue;
            };
            let rest: Vec<String> = words.map(str::to_owned).collect();
            match (first, rest.first()) {
                ("nameserver", Some(address)) => found.servers.extend(Server::parse(address)),
                // Only the last one counts.
                ("domain" | "search", Some(_)) => found.search = rest,
                ("options", Some(_)) => found.options.extend(rest),
                ("nameserver" | "domain" | "search" | "options", None) => {}
                _ => found.others.push(line.to_owned()),
            }
        }
        found
    }

    /// Makes it what serves a command with `network`: a server of the machine's own loopback interface
    /// is out of reach with another network, and nobody at all is asked in vain.
    fn suited(mut self, network: Network, dns: &Dns) -> Self {
        if !dns.servers.is_empty() {
            self.servers = servers(&dns.servers);
        }
        if !dns.search.is_empty() {
            self.search.clone_from(&dns.search);
            self.search.retain(|domain| domain != ".");
        }
        if !dns.options.is_empty() {
            self.options.clone_from(&dns.options);
        }
        if dns.servers.is_empty() {
            if network == Network::None {
                let is_far = |server: &Server| !server.address.to_canonical().is_loopback();
                self.servers.retain(is_far);
            }
            if self.servers.is_empty() {
                self.servers = servers(&FALLBACK);
            }
        }
        self
    }
}

fn servers(addresses: &[IpAddr]) -> Vec<Server> {
    let server = |address: &IpAddr| Server {
        address: *address,
        zone: String::new(),
    };
    addresses.iter().map(server).collect()
}

impl std::fmt::Display for Resolvers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for Server { address, zone } in &self.servers {
            writeln!(f, "nameserver {address}{zone}")?;
        }
        for (word, values) in [("search", &self.search), ("options", &self.options)] {
            if !values.is_empty() {
                writeln!(f, "{word} {}", values.join(" "))?;
            }
        }
        self.others
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(machine: &str, network: Network, dns: &Dns, expected: &str) {
        let found = Resolvers::parse(machine).suited(network, dns).to_string();
        assert_eq!(found, expected, "{machine:?} with {network:?}");
    }

    const FALLBACKS: &str = "nameserver 8.8.8.8\nnameserver 8.8.4.4\n\
        nameserver 2001:4860:4860::8888\nnameserver 2001:4860:4860::8844\n";

    #[test]
    fn servers_of_loopback_serve_the_machines_network_alone() {
        let none = Dns::default();
        let local = "nameserver 127.0.0.53\nnameserver ::1\nnameserver 10.0.0.1\n";
        check(local, Network::Host, &none, local);
        check(local, Network::None, &none, "nameserver 10.0.0.1\n");
        check("nameserver 127.0.0.1\n", Network::None, &none, FALLBACKS);
        check(
            "nameserver ::ffff:127.0.0.1\n",
            Network::None,
            &none,
            FALLBACKS,
        );
        check("", Network::Host, &none, FALLBACKS);
        check("", Network::None, &none, FALLBACKS);
    }

    #[test]
    fn the_rest_is_kept_in_its_order() {
        let machine = "# comment\n; another\n\ndomain old.example\noptions ndots:5\n\
            nameserver 192.0.2.1 trailing\nsortlist 130.155.160.0\nsearch  a.example\tb.example\n\
            nameserver nowhere\nnameserver fe80::1%eth0\noptions edns0 trust-ad\nnameserver\n";
        let expected = "nameserver 192.0.2.1\nnameserver fe80::1%eth0\n\
            search a.example b.example\noptions ndots:5 edns0 trust-ad\nsortlist 130.155.160.0\n";
        check(machine, Network::Host, &Dns::default(), expected);
        check(machine, Network::None, &Dns::default(), expected);
    }

    #[test]
    fn what_the_caller_says_takes_the_place_of_the_machines() {
        let dns = Dns {
            servers: vec![IpAddr::from([127, 0, 0, 1])],
            search: vec![".".to_owned(), "c.example".to_owned()],
            options: vec!["ndots:1".to_owned()],
        };
        let machine = "nameserver 192.0.2.1\nsearch a.example\noptions edns0\nsortlist 1.2.3.4\n";
        let expected =
            "nameserver 127.0.0.1\nsearch c.example\noptions ndots:1\nsortlist 1.2.3.4\n";
        check(machine, Network::None, &dns, expected);
        let nowhere = Dns {
            search: vec![".".to_owned()],
            ..Dns::default()
        };
        check(
            machine,
            Network::Host,
            &nowhere,
            "nameserver 192.0.2.1\noptions edns0\nsortlist 1.2.3.4\n",
        );
    }
}
