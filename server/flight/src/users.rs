//! Those who may log in, from a file.
//!
//! Passwords are kept as Argon2 hashes, as people choose them and others can guess. Tokens are 256
//! random bits, which nobody guesses, so a plain SHA-256 does, and takes no time at each call.

use std::fmt;
use std::path::Path;

use argon2::Argon2;
use argon2::password_hash::rand_core::{OsRng, RngCore};
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const TOKEN_BYTES: usize = 32;
const DIGEST: &str = "sha256:";

/// Who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// Whether tables and files may be written.
    pub writable: bool,
}

/// Those who may log in. Hashes are not shown.
pub struct Users {
    all: Vec<Entry>,
    /// What the password of an unknown user is compared with, so that it takes as long.
    stand_in: String,
}

struct Entry {
    user: User,
    password: Option<String>,
    tokens: Vec<[u8; 32]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    user: Vec<FileEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    name: String,
    password: Option<String>,
    #[serde(default)]
    tokens: Vec<String>,
    #[serde(default)]
    writable: bool,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_list().entries(self.all.iter().map(|entry| &entry.user)).finish()
    }
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn read(path: &Path) -> Result<Self, String> {
        let told = |problem: String| format!("the file of users {}: {problem}", path.display());
        check_private(path).map_err(told)?;
        let text = std::fs::read_to_string(path).map_err(|cause| told(cause.to_string()))?;
        Self::parse(&text).map_err(told)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|cause| {
            let line = cause.span().map(|span| text[..span.start].lines().count().max(1));
            let place = line.map(|line| format!(" (line {line})")).unwrap_or_default();
            format!("{}{place}", cause.message())
        })?;
        if file.user.is_empty() {
            return Err("nobody is in it; almagest serve --make-user NAME prints an entry".into());
        }
        let mut all: Vec<Entry> = vec![];
        for entry in file.user {
            if all.iter().any(|other| other.user.name == entry.name) {
                return Err(format!("user '{}' stands twice", entry.name));
            }
            all.push(entry.checked()?);
        }
        Ok(Self { all, stand_in: hashed("nobody's password")? })
    }

    /// The user of a name and password. Takes tens of milliseconds of a core, whoever it is.
    pub fn verify_password(&self, name: &str, password: &str) -> Option<User> {
        let entry = self.all.iter().find(|entry| entry.user.name == name);
        let known = entry.and_then(|entry| entry.password.as_deref());
        let hash = PasswordHash::new(known.unwrap_or(&self.stand_in)).ok()?;
        let fits = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
        entry.filter(|_| fits && known.is_some()).map(|entry| entry.user.clone())
    }

    /// The user of a token that was made beforehand.
    pub fn verify_token(&self, token: &str) -> Option<User> {
        let given = digest(token);
        let mut found = None;
        // all are compared, so that the time tells nothing
        for entry in &self.all {
            for known in &entry.tokens {
                if bool::from(known.ct_eq(&given)) {
                    found = Some(&entry.user);
                }
            }
        }
        found.cloned()
    }
}

impl FileEntry {
    fn checked(self) -> Result<Entry, String> {
        let Self { name, password, tokens, writable } = self;
        if name.is_empty() || name.contains(':') {
            return Err(format!("'{name}' is no name; it has letters, and no colon"));
        }
        if password.is_none() && tokens.is_empty() {
            return Err(format!("user '{name}' has neither a password nor tokens"));
        }
        if password.as_deref().is_some_and(|hash| PasswordHash::new(hash).is_err()) {
            return Err(format!(
                "the password of user '{name}' is no Argon2 hash, which begins with $argon2id$; \
                 almagest serve --make-user {name} makes one"
            ));
        }
        let tokens = tokens.iter().map(|text| {
            let hex = text.strip_prefix(DIGEST).and_then(bytes_of);
            hex.ok_or_else(|| {
                format!("a token of user '{name}' is not {DIGEST} and 64 hexadecimal digits")
            })
        });
        let tokens = tokens.collect::<Result<_, _>>()?;
        Ok(Entry { user: User { name, writable }, password, tokens })
    }
}

#[cfg(unix)]
fn check_private(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    const OTHERS: u32 = 0o077;
    let found = std::fs::metadata(path).map_err(|cause| cause.to_string())?;
    match found.permissions().mode() & OTHERS {
        0 => Ok(()),
        _ => Err(format!("others may read it; keep it from them: chmod 600 {}", path.display())),
    }
}

#[cfg(not(unix))]
fn check_private(_: &Path) -> Result<(), String> {
    Ok(())
}

/// An entry for the file of users, and a token for programs, which is only in what is returned.
///
/// # Errors
/// What is wrong with the name or the machine.
pub fn make_user(name: &str, password: &str) -> Result<(String, String), String> {
    if name.contains(['"', '\\']) || name.chars().any(char::is_control) {
        return Err(format!("'{name}' is no name; it has letters, and neither \" nor \\"));
    }
    let token = random_token()?;
    let hex: String = digest(&token).iter().map(|byte| format!("{byte:02x}")).collect();
    let entry = format!(
        "[[user]]\nname = \"{}\"\npassword = \"{}\"\ntokens = [\"{DIGEST}{hex}\"]\nwritable = false",
        name,
        hashed(password)?
    );
    Users::parse(&entry)?;
    Ok((entry, token))
}

fn hashed(password: &str) -> Result<String, String> {
    let salt = SaltString::generate(&mut OsRng);
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|cause| format!("cannot hash a password: {cause}"))
}

/// 256 bits of the system's randomness, as text that is safe in headers.
///
/// # Errors
/// If the system gives none.
pub fn random_token() -> Result<String, String> {
    let mut bytes = [0; TOKEN_BYTES];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|cause| format!("the system gives no randomness: {cause}"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// What is kept of a token.
pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn bytes_of(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() || !hex.is_ascii() {
        return None;
    }
    for (position, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * position..2 * position + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_the_file_can_log_in_and_nobody_else() {
        let (entry, token) = make_user("ada", "a pass:word").unwrap();
        assert!(!entry.contains("a pass:word") && !entry.contains(&token));
        let users = Users::parse(&entry.replace("writable = false", "writable = true")).unwrap();
        let ada = Some(User { name: "ada".into(), writable: true });
        assert_eq!(users.verify_password("ada", "a pass:word"), ada);
        assert_eq!(users.verify_password("ada", "nobody's password"), None);
        assert_eq!(users.verify_password("eve", "nobody's password"), None);
        assert_eq!(users.verify_token(&token), ada);
        assert_eq!(users.verify_token(""), None);
        assert_eq!(format!("{users:?}"), "[User { name: \"ada\", writable: true }]");
    }

    #[test]
    fn a_user_without_a_password_logs_in_by_token_only() {
        let (entry, token) = make_user("bot", "x").unwrap();
        let entry: String = entry
            .lines()
            .filter(|line| !line.starts_with("password"))
            .collect::<Vec<_>>()
            .join("\n");
        let users = Users::parse(&entry).unwrap();
        assert!(users.verify_token(&token).is_some());
        assert_eq!(users.verify_password("bot", "x"), None);
        assert_eq!(users.verify_password("bot", "nobody's password"), None);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told() {
        let (entry, _) = make_user("ada", "x").unwrap();
        for (text, expected) in [
            (String::new(), "nobody is in it"),
            (format!("{entry}\n{entry}"), "stands twice"),
            ("[[user]]\nname = \"a\"".into(), "neither a password nor tokens"),
            ("[[user]]\nname = \"a\"\npassword = \"plain\"".into(), "no Argon2 hash"),
            ("[[user]]\nname = \"a\"\ntokens = [\"sha256:1\"]".into(), "64 hexadecimal"),
            ("[[user]]\nname = \"a\"\nadmin = true".into(), "unknown field"),
            ("[[user]]\nname = ".into(), "line 2"),
        ] {
            let error = Users::parse(&text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(make_user("a:b", "x").is_err());
        assert!(make_user("a\"b", "x").is_err());
        assert!(make_user("é", "x").is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        std::fs::write(&path, make_user("ada", "x").unwrap().0).unwrap();
        let allow =
            |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        allow(0o640);
        assert!(Users::read(&path).unwrap_err().contains("chmod 600"));
        allow(0o600);
        Users::read(&path).unwrap();
        assert!(Users::read(&folder.path().join("none")).is_err());
    }
}
