//! Addresses that are handed on: a provider fetches them, or a recipient opens them, so that none may lead
//! into somebody's own network, or carry a password.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Ends of names that no public server has.
const PRIVATE_NAMES: [&str; 6] = ["localhost", "localdomain", "local", "internal", "home.arpa", "intranet"];

/// Who follows an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follower {
    /// The provider's server, which asks usual ports only.
    Provider,
    /// The recipient's browser.
    Recipient,
}

/// Why an address is not handed on; `None` if it is.
pub(super) fn problem(given: &str, follower: Follower) -> Option<&'static str> {
    // It reads numbers in any spelling as the address that they stand for.
    let Ok(url) = Url::parse(given) else {
        return Some("expected an address such as https://example.com/a.jpg");
    };
    let public = match url.host() {
        Some(Host::Domain(name)) => is_public_name(name),
        Some(Host::Ipv4(ip)) => is_public(ip.into()),
        Some(Host::Ipv6(ip)) => is_public(ip.into()),
        None => false,
    };
    match (url.scheme(), public) {
        ("https" | "http", true) => {}
        ("https" | "http", false) => return Some("lies in a private network: the provider cannot fetch it"),
        _ => return Some("expected https or http"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("holds a user or a password, which everybody would see: expected an address without");
    }
    if follower == Follower::Provider && !matches!(url.port(), None | Some(80 | 443)) {
        return Some("names a port of its own: expected the usual one of https or http");
    }
    None
}

fn is_public_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let private = |end: &str| name == end || name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    name.contains('.') && !PRIVATE_NAMES.iter().any(|end| private(end))
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let none = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_broadcast() || ip.is_multicast();
    // This network, carriers' shared space, protocol assignments, benchmarks, what is reserved.
    let special = a == 0 || (a == 100 && b & 0xc0 == 64) || (a, b, c) == (192, 0, 0) || (a == 198 && b & 0xfe == 18);
    !(none || special || ip.is_documentation() || a >= 240)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    // IPv4 in IPv6: mapped, compatible, translated (64:ff9b::/96), and 6to4 (2002::/16).
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0 | 0xffff) => is_public_v4(v4(g, h)),
        (0x64, 0xff9b, 0, 0, 0, 0) => is_public_v4(v4(g, h)),
        (0x2002, ..) => is_public_v4(v4(b, c)),
        // What is handed out lies in 2000::/3; documentation does too.
        _ => a & 0xe000 == 0x2000 && (a, b) != (0x2001, 0xdb8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_into_a_private_network_is_not_handed_on() {
        let private = [
            "http://localhost/a",
            "http://LOCALHOST./a",
            "http://x.localhost/a",
            "http://printer.local/a",
            "http://printer.local./a",
            "http://intranet/a",
            "http://db.internal/a",
            "http://nas.home.arpa/a",
            "http://10.1.2.3/a",
            "http://127.0.0.1/a",
            "http://127.1/a",
            "http://0.0.0.0/a",
            "http://0/a",
            "http://169.254.169.254/latest/meta-data",
            "http://172.16.0.1/a",
            "http://172.31.255.255/a",
            "http://192.168.1.1/a",
            "http://100.64.0.1/a",
            "http://100.127.255.255/a",
            "http://198.18.0.1/a",
            "http://192.0.0.8/a",
            "http://224.0.0.1/a",
            "http://255.255.255.255/a",
            "http://240.0.0.1/a",
            // The same in other spellings: decimal, hexadecimal, octal, full-width digits.
            "http://2130706433/a",
            "http://0x7f000001/a",
            "http://0x7f.1/a",
            "http://017700000001/a",
            "http://0177.0.0.1/a",
            "http://１２７.０.０.１/a",
            "http://3232235777/a",
            "http://[::1]/a",
            "http://[::]/a",
            "http://[fc00::1]/a",
            "http://[fdff::1]/a",
            "http://[fe80::1]/a",
            "http://[febf::1]/a",
            "http://[ff02::1]/a",
            "http://[::ffff:10.0.0.1]/a",
            "http://[::ffff:7f00:1]/a",
            "http://[::127.0.0.1]/a",
            "http://[64:ff9b::a00:1]/a",
            "http://[2002:a00:1::]/a",
            "http://[2001:db8::1]/a",
        ];
        for url in private {
            let said = problem(url, Follower::Recipient);
            assert_eq!(said, Some("lies in a private network: the provider cannot fetch it"), "{url}");
        }
        let public = [
            "https://example.com/a.jpg",
            "http://example.com:80/a",
            "https://example.com:443/a",
            "https://cdn.local.example.com/a",
            "https://mylocalhost.com/a",
            "http://8.8.8.8/a",
            "http://172.32.0.1/a",
            "http://100.128.0.1/a",
            "http://[2606:4700::1111]/a",
            "http://[::ffff:8.8.8.8]/a",
            "https://bücher.example/a",
        ];
        for url in public {
            assert_eq!(problem(url, Follower::Provider), None, "{url}");
        }
    }

    #[test]
    fn passwords_odd_ports_and_other_schemes_are_refused() {
        let check = |url: &str, follower, expect: Option<&str>| {
            let said = problem(url, follower);
            assert!(said.zip(expect).is_some_and(|(said, e)| said.contains(e)) || said == expect, "{url}: {said:?}");
        };
        check("https://me:secret@example.com/a", Follower::Recipient, Some("user or a password"));
        check("https://me@example.com/a", Follower::Provider, Some("user or a password"));
        check("http://example.com@10.0.0.1/a", Follower::Provider, Some("private network"));
        check("https://example.com:8443/a", Follower::Provider, Some("port of its own"));
        check("https://example.com:8443/a", Follower::Recipient, None);
        for url in ["ftp://example.com/a", "file:///etc/passwd", "data:image/png;base64,AA", "javascript:alert(1)"] {
            check(url, Follower::Provider, Some("expected https or http"));
        }
        check("example.com/a", Follower::Provider, Some("expected an address"));
    }
}
