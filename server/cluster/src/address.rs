//! Where a scheduler is: `http://head:50050`.

use std::fmt;
use std::str::FromStr;

/// The port of a scheduler that names none.
pub const SCHEDULER_PORT: u16 = 50050;

/// Host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// The address as a URL.
    pub fn url(&self) -> String {
        format!("http://{self}")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no address; write http://HOST:PORT");
        let rest = match text.split_once("://") {
            None => text,
            Some(("http" | "https" | "df", rest)) => rest,
            Some((scheme, _)) => {
                return Err(format!(
                    "'{scheme}://' is no way to a scheduler; write http://HOST:PORT"
                ));
            }
        };
        let rest = rest.trim_end_matches('/');
        let (host, port) = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (host, rest) = bracketed.split_once(']').ok_or_else(wrong)?;
                (host, rest.strip_prefix(':'))
            }
            None => match rest.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') => (host, Some(port)),
                Some(_) => (rest, None),
                None => (rest, None),
            },
        };
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(wrong());
        }
        let port = match port {
            None => SCHEDULER_PORT,
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
        };
        Ok(Self { host: host.into(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_a_port() {
        let parsed = |text: &str| text.parse::<Address>().map(|address| address.to_string());
        assert_eq!(parsed("http://head:50050").unwrap(), "head:50050");
        assert_eq!(parsed("head").unwrap(), "head:50050");
        assert_eq!(parsed("http://10.0.0.1:7/").unwrap(), "10.0.0.1:7");
        assert_eq!(parsed("http://[::1]:7").unwrap(), "[::1]:7");
        assert_eq!(parsed("::1").unwrap(), "[::1]:50050");
        for wrong in ["", "http://", "ftp://head", "head:0", "head:x", "a b", "[::1"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
