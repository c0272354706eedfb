//! Who may knock: networks and rates of a source. Both are off unless configured, and neither looks at signatures.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use axum::http::HeaderMap;
use common::config::Source;
use face::Peer;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use ipnet::IpNet;

use crate::rejection::Rejection;

/// Above this many remembered addresses, those that have been quiet are forgotten.
const MEMORY: usize = 10_000;

/// A source's rules of admission.
pub(crate) struct Admission {
    allowed: Vec<IpNet>,
    proxies: Vec<IpNet>,
    rate: Option<DefaultKeyedRateLimiter<IpAddr>>,
    clock: DefaultClock,
}

impl Admission {
    pub(crate) fn of(source: &Source) -> Self {
        Self {
            allowed: source.allow_ips.clone(),
            proxies: source.trusted_proxies.clone(),
            rate: source.rate_per_minute.map(|rate| DefaultKeyedRateLimiter::keyed(Quota::per_minute(rate))),
            clock: DefaultClock::default(),
        }
    }

    /// Lets a request in, or says why not.
    pub(crate) fn admit(&self, peer: Option<Peer>, headers: &HeaderMap) -> Result<(), Rejection> {
        if self.allowed.is_empty() && self.rate.is_none() {
            return Ok(());
        }
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip().to_canonical());
        let client = client(peer, &self.proxies, headers);
        if !self.allowed.is_empty() && !holds(&self.allowed, client) {
            return Err(Rejection::AddressNotAllowed);
        }
        match &self.rate {
            None => Ok(()),
            Some(rate) => self.spend(rate, client),
        }
    }

    fn spend(&self, rate: &DefaultKeyedRateLimiter<IpAddr>, client: IpAddr) -> Result<(), Rejection> {
        if rate.len() > MEMORY {
            rate.retain_recent();
        }
        rate.check_key(&neighbourhood(client)).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            Rejection::TooManyRequests { retry_after: seconds_up(wait) }
        })
    }
}

/// The address that the request comes from: the peer's, or behind trusted proxies the last one in `X-Forwarded-For`
/// that none of them is. What stands before it, the client may have written itself.
fn client(peer: IpAddr, proxies: &[IpNet], headers: &HeaderMap) -> IpAddr {
    let mut nearest = peer;
    let lines: Vec<&str> = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        if !holds(proxies, nearest) {
            break;
        }
        let Some(address) = address(entry.trim()) else { break };
        nearest = address;
    }
    nearest
}

/// An address as proxies write it, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    bare.or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

fn holds(nets: &[IpNet], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&address))
}

/// One customer of a provider holds a whole /64 of IPv6.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

fn seconds_up(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| ("x-forwarded-for".parse().unwrap(), line.parse().unwrap())).collect()
    }

    #[test]
    fn forwarded_addresses_are_believed_only_from_trusted_proxies_and_from_the_right() {
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        let seen = |peer: &str, lines: &[&str]| client(peer.parse().unwrap(), &proxies, &headers(lines)).to_string();
        assert_eq!(seen("192.0.2.9", &["203.0.113.1"]), "192.0.2.9");
        assert_eq!(seen("10.0.0.1", &["203.0.113.1"]), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7, 203.0.113.1"]), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7", "203.0.113.1, 10.2.2.2"]), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", &["203.0.113.1:4711"]), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", &["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(seen("10.0.0.1", &["unknown"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn neighbours_of_one_ipv6_network_share_a_rate() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
