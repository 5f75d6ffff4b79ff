//! The client address of a request, from the socket and from trusted proxies.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName, X_FORWARDED_FOR};
use ipnet::IpNet;
use thiserror::Error;

/// The trusted proxies, and the header in which they name the client. Default: no proxies, and the header is ignored.
///
/// Any client can send the header, so it is read from the right, where the trusted proxies append. The client is the
/// first address, from the peer backwards, that is not a trusted proxy's. Addresses further left may be forged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    trusted: Vec<Network>,
    header: ForwardedHeader,
}

/// An address such as `192.0.2.1`, or a network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// The header in which the proxies name the client.
///
/// Only one is read: a proxy that writes one of them passes on the other as the client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, which most proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The text is neither an address nor a network, or the network contains all addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be an address such as 192.0.2.1, or a network such as 10.0.0.0/8, but not all addresses")]
pub struct InvalidNetwork;

/// Networks without clients on the Internet: private, local, multicast and reserved ones.
const NOBODYS: [&str; 11] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/3",
    "::/3",
    "4000::/2",
    "8000::/1",
];

/// The networks together contain all clients, so every client could forge its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the trusted networks together contain all public addresses")]
pub struct TrustsEverybody;

impl Proxies {
    /// Trusts proxies with an address in one of these networks. All of them must write `header`.
    ///
    /// # Errors
    /// [`TrustsEverybody`] if the networks together contain all public addresses of IPv4 or of IPv6.
    pub fn new(trusted: Vec<Network>, header: ForwardedHeader) -> Result<Self, TrustsEverybody> {
        let mut networks: Vec<_> = trusted.iter().map(|network| network.0).collect();
        networks.extend(NOBODYS.iter().filter_map(|network| network.parse::<IpNet>().ok()));
        if IpNet::aggregate(&networks).iter().any(|network| network.prefix_len() == 0) {
            return Err(TrustsEverybody);
        }
        Ok(Self { trusted, header })
    }

    /// The client address of a request. Without a peer, as on a Unix socket, all clients have the same address.
    pub(crate) fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
        if !self.trusts(client) {
            return client;
        }
        for hop in self.hops(headers).iter().rev() {
            // An unreadable hop ends the search: the last known address counts as the client.
            let Some(hop) = hop else { break };
            client = *hop;
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.0.contains(&address))
    }

    /// The addresses in the header, nearest proxy last; `None` for an unreadable one.
    fn hops(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        let lines = headers.get_all(self.header.name());
        let hops = lines.flat_map(|line| match line.to_str() {
            Ok(line) => self.header.hops(line),
            Err(_) => vec![None],
        });
        hops.collect()
    }
}

impl ForwardedHeader {
    /// Every header.
    const ALL: [Self; 2] = [Self::XForwardedFor, Self::Forwarded];

    /// Its name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    const fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => X_FORWARDED_FOR,
            Self::Forwarded => FORWARDED,
        }
    }

    fn hops(self, line: &str) -> Vec<Option<IpAddr>> {
        match self {
            Self::XForwardedFor => line.split(',').map(|hop| node(hop.trim())).collect(),
            Self::Forwarded => outside_of_quotes(line, ',').into_iter().map(element).collect(),
        }
    }
}

/// The node after `for=` in an element such as `for="[2001:db8::1]:4711";proto=https`.
fn element(element: &str) -> Option<IpAddr> {
    let mut pairs = outside_of_quotes(element, ';').into_iter().filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let value = value.trim();
    match value.strip_prefix('"') {
        Some(quoted) => node(quoted.strip_suffix('"')?),
        None => node(value),
    }
}

/// Parses an address as proxies write it: with or without a port, IPv6 with or without brackets.
fn node(text: &str) -> Option<IpAddr> {
    let address = text
        .parse()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .or_else(|_| text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or("").parse());
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// Splits at a character outside quoted strings (RFC 9110, 5.6.4).
fn outside_of_quotes(text: &str, at: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|c: char| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = quoted && c == '\\';
        quoted ^= c == '"';
        c == at && !quoted
    })
    .collect()
}

impl Network {
    /// Whether it is too large to belong to one operator: larger than an IPv4 /8 or an IPv6 /16.
    #[must_use]
    pub const fn is_vast(&self) -> bool {
        match self.0 {
            IpNet::V4(network) => network.prefix_len() < 8,
            IpNet::V6(network) => network.prefix_len() < 16,
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address.to_canonical()),
            Err(_) => text.parse().map_err(|_| InvalidNetwork)?,
        };
        // If every address were trusted, every client could forge its address.
        if network.prefix_len() == 0 { Err(InvalidNetwork) } else { Ok(Self(network)) }
    }
}

impl FromStr for ForwardedHeader {
    type Err = UnknownHeader;

    fn from_str(name: &str) -> Result<Self, UnknownHeader> {
        Self::ALL.into_iter().find(|header| header.as_str() == name).ok_or(UnknownHeader)
    }
}

/// The name is not that of a header with client addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be x-forwarded-for or forwarded")]
pub struct UnknownHeader;

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    /// The client behind proxies at `10.0.0.0/8` and `2001:db8:ff::/48`.
    fn client(header: ForwardedHeader, peer: &str, lines: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "2001:db8:ff::/48"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header.name(), HeaderValue::from_str(line).unwrap());
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        Proxies::new(trusted.to_vec(), header).unwrap().client(Some(peer), &headers).to_string()
    }

    #[test]
    fn the_first_address_from_the_right_that_is_no_proxy_is_the_client() {
        for (peer, lines, expected) in [
            // Only a trusted proxy is believed.
            ("192.0.2.1", vec!["198.51.100.7"], "192.0.2.1"),
            ("192.0.2.1", vec!["10.0.0.1"], "192.0.2.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.0.0.1", vec!["198.51.100.7"], "198.51.100.7"),
            ("2001:db8:ff::1", vec!["2001:db8::7"], "2001:db8::7"),
            // Addresses further left come from the client itself.
            ("10.0.0.1", vec!["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", vec!["10.0.0.9, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", vec!["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
            // Through two proxies, or from one of them.
            ("10.0.0.1", vec!["203.0.113.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", vec!["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // An unreadable hop is not skipped.
            ("10.0.0.1", vec!["203.0.113.9, nonsense"], "10.0.0.1"),
            ("10.0.0.1", vec!["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", vec!["203.0.113.9,"], "10.0.0.1"),
            ("10.0.0.1", vec![""], "10.0.0.1"),
            // Other forms that proxies write.
            ("10.0.0.1", vec!["198.51.100.7:51123"], "198.51.100.7"),
            ("10.0.0.1", vec!["[2001:db8::7]:51123"], "2001:db8::7"),
            ("10.0.0.1", vec!["[2001:db8::7]"], "2001:db8::7"),
            ("10.0.0.1", vec!["::ffff:198.51.100.7"], "198.51.100.7"),
        ] {
            assert_eq!(
                client(ForwardedHeader::XForwardedFor, peer, &lines),
                expected,
                "{peer} forwarding {lines:?}"
            );
        }
    }

    #[test]
    fn the_standard_header_is_read_as_its_standard_says() {
        for (line, expected) in [
            ("for=198.51.100.7", "198.51.100.7"),
            ("For=\"198.51.100.7:51123\";proto=https;by=10.0.0.1", "198.51.100.7"),
            ("proto=http; for = \"[2001:db8::7]:51123\"", "2001:db8::7"),
            ("for=203.0.113.9, for=198.51.100.7", "198.51.100.7"),
            ("for=203.0.113.9, for=198.51.100.7;by=10.0.0.9, for=10.0.0.2", "198.51.100.7"),
            // A comma in quotes does not begin an element, and a made-up one does not hide the client.
            ("for=\"203.0.113.9, for=10.0.0.9\", for=198.51.100.7", "198.51.100.7"),
            ("for=198.51.100.7;ext=\"a\\\", for=203.0.113.9\"", "198.51.100.7"),
            ("for=203.0.113.9, for=_hidden", "10.0.0.1"),
            ("for=203.0.113.9, for=unknown", "10.0.0.1"),
            ("for=203.0.113.9, proto=https", "10.0.0.1"),
            ("203.0.113.9", "10.0.0.1"),
        ] {
            assert_eq!(client(ForwardedHeader::Forwarded, "10.0.0.1", &[line]), expected, "{line}");
        }
    }

    #[test]
    fn the_header_that_the_proxies_do_not_write_is_not_read() {
        let trusted = vec!["10.0.0.1".parse().unwrap()];
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED, HeaderValue::from_static("for=203.0.113.9"));
        let peer = Some("10.0.0.1:1".parse().unwrap());
        let proxies = Proxies::new(trusted, ForwardedHeader::XForwardedFor).unwrap();
        assert_eq!(proxies.client(peer, &headers).to_string(), "10.0.0.1");
    }

    #[test]
    fn networks_do_not_add_up_to_everybody() {
        let refused = |list: &str| {
            let networks = list.split(' ').map(|text| text.parse().unwrap()).collect();
            Proxies::new(networks, ForwardedHeader::XForwardedFor) == Err(TrustsEverybody)
        };
        for everybody in [
            "0.0.0.0/1 128.0.0.0/1",
            "128.0.0.0/2 0.0.0.0/1 192.0.0.0/3",
            "10.0.0.0/8 ::/1 8000::/1",
            "2000::/3",
            "0.0.0.0/1 128.0.0.0/2 192.0.0.0/4 208.0.0.0/5 216.0.0.0/5",
        ] {
            assert!(refused(everybody), "{everybody}");
        }
        for some in ["0.0.0.0/1", "0.0.0.0/1 128.0.0.0/2", "2000::/4", "10.0.0.0/8 fc00::/7 127.0.0.1 ::1"] {
            assert!(!refused(some), "{some}");
        }
    }

    #[test]
    fn nobody_is_trusted_unless_somebody_is_named_and_never_everybody() {
        let mut headers = HeaderMap::new();
        headers.append(X_FORWARDED_FOR, HeaderValue::from_static("203.0.113.9"));
        let peer = Some("127.0.0.1:1".parse().unwrap());
        assert_eq!(Proxies::default().client(peer, &headers).to_string(), "127.0.0.1");
        assert_eq!(Proxies::default().client(None, &headers).to_string(), "0.0.0.0");
        for bad in ["", "0.0.0.0/0", "::/0", "10.0.0.0/33", "proxy.example", "10.0.0", "10.0.0.1:80"] {
            assert_eq!(bad.parse::<Network>(), Err(InvalidNetwork), "{bad}");
        }
    }
}
