//! Where a process serves its metrics.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// What `metrics` is set to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsChoice {
    /// Nowhere.
    #[default]
    Off,
    /// At the first free port of this address, from this one on.
    At(SocketAddr),
}

impl FromStr for MetricsChoice {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if word == "off" {
            return Ok(MetricsChoice::Off);
        }
        let address: SocketAddr = word.parse().map_err(|_| {
            format!("metrics {word} is neither IP:PORT, as 127.0.0.1:9187 or [::1]:9187, nor `off`")
        })?;
        if address.ip().is_multicast() {
            return Err(format!("metrics {word} is a group; name an address of this host"));
        }
        Ok(MetricsChoice::At(address))
    }
}

impl fmt::Display for MetricsChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetricsChoice::Off => f.write_str("off"),
            MetricsChoice::At(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_a_port_or_nothing() {
        for word in ["off", "127.0.0.1:9187", "[::1]:0", "0.0.0.0:9187"] {
            assert_eq!(word.parse::<MetricsChoice>().unwrap().to_string(), word);
        }
        for word in ["on", "9187", "localhost:9187", "127.0.0.1", "127.0.0.1:70000", "::1:9187x"] {
            let refused = word.parse::<MetricsChoice>().unwrap_err();
            assert!(
                refused.starts_with(&format!("metrics {word} is neither IP:PORT")),
                "{refused}"
            );
        }
        assert!("239.0.0.1:1".parse::<MetricsChoice>().unwrap_err().contains("is a group"));
    }
}
