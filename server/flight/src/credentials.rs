//! What a client says it is, in the header `authorization`.

use std::fmt;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Bytes of a header at most.
const HEADER_BYTES_MAX: usize = 8 << 10;

/// Words of a client. Its secrets are not shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user's name and password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => write!(f, "Basic {user}"),
            Self::Bearer(_) => f.write_str("Bearer"),
        }
    }
}

impl Credentials {
    /// Reads `Basic …` or `Bearer …`. Some clients leave out the padding of base64.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(header: &str) -> Result<Self, String> {
        if header.len() > HEADER_BYTES_MAX {
            return Err(format!("the authorization has more than {HEADER_BYTES_MAX} bytes"));
        }
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        let rest = rest.trim();
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => basic(rest),
            "bearer" if !rest.is_empty() => Ok(Self::Bearer(rest.into())),
            _ => Err("the authorization is neither 'Basic …' nor 'Bearer …'".into()),
        }
    }
}

fn basic(encoded: &str) -> Result<Credentials, String> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoder = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    let bytes = decoder.decode(encoded).map_err(|_| "user and password are not in base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "user and password are not in UTF-8")?;
    let (user, password) =
        text.split_once(':').ok_or("user and password are not joined by a colon")?;
    Ok(Credentials::Basic { user: user.into(), password: password.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read() {
        let basic = |user: &str, password: &str| Credentials::Basic {
            user: user.into(),
            password: password.into(),
        };
        // "ada:a:b" and "ada:pw", with padding and without
        assert_eq!(Credentials::parse("Basic YWRhOmE6Yg==").unwrap(), basic("ada", "a:b"));
        assert_eq!(Credentials::parse("basic YWRhOmE6Yg").unwrap(), basic("ada", "a:b"));
        assert_eq!(Credentials::parse("Basic YWRhOnB3").unwrap(), basic("ada", "pw"));
        assert_eq!(Credentials::parse("bearer  x.y").unwrap(), Credentials::Bearer("x.y".into()));
        for wrong in ["", "Basic", "Bearer ", "Digest x", "Basic YWRh", "Basic !!", "Basic /w=="] {
            assert!(Credentials::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Credentials::parse(&format!("Bearer {}", "x".repeat(9000))).is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", Credentials::parse("Basic YWRhOnB3").unwrap());
        assert_eq!(shown, "Basic ada");
        assert_eq!(format!("{:?}", Credentials::Bearer("secret".into())), "Bearer");
    }
}
