//! Where a scheduler listens so that jobs on other machines reach it.

use std::net::{IpAddr, Ipv4Addr};

use super::commands::{Commands, Line};
use super::settings::Settings;
use crate::QueueKind;
use almagest_engine::{Error, Result};

/// The address of this machine at the cluster's network: that of `--interface`, or the first one
/// that is not the machine's own loop. For processes of this machine it is 127.0.0.1.
///
/// # Errors
/// `NotFound` if there is none.
pub async fn address(settings: &Settings, commands: &Commands) -> Result<IpAddr> {
    if settings.kind == QueueKind::Local && settings.interface.is_none() {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let line = Line::new("ip", ["-4", "-o", "addr", "show"]);
    let found = addresses(&commands.output(&line, "install iproute2").await?);
    let fits = |name: &str| match &settings.interface {
        Some(wanted) => name == wanted,
        None => name != "lo",
    };
    let first = found.iter().find(|(name, _)| fits(name)).map(|(_, address)| *address);
    first.map(IpAddr::from).ok_or_else(|| {
        let known: Vec<String> =
            found.iter().map(|(name, address)| format!("{name} ({address})")).collect();
        let wanted = settings.interface.as_deref().unwrap_or("any network");
        Error::not_found(format!(
            "this machine has no IPv4 address at {wanted}; it has {}; name one with --interface",
            known.join(", ")
        ))
    })
}

/// The interfaces and addresses of `ip -4 -o addr show`.
fn addresses(output: &str) -> Vec<(String, Ipv4Addr)> {
    let parsed = output.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let name = words.next()?;
        let (address, _) = words.nth(1)?.split_once('/')?;
        Some((name.to_string(), address.parse().ok()?))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    #[test]
    fn addresses_are_read() {
        // iproute2 6.1
        let output = "\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
2: eth0    inet 10.1.2.3/24 brd 10.1.2.255 scope global eth0\\       valid_lft forever
odd
3: x inet
";
        let found = addresses(output);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], ("eth0".into(), Ipv4Addr::new(10, 1, 2, 3)));
    }

    #[tokio::test]
    async fn an_unknown_interface_names_the_known_ones() {
        let options = Options { interface: Some("ib7".into()), ..Options::default() };
        let settings = Settings::new(QueueKind::Local, options).unwrap();
        let error = address(&settings, &Commands::default()).await.unwrap_err();
        assert!(error.message().contains("at ib7; it has lo (127.0.0.1)"), "{error}");
    }
}
