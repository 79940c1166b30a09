//! Passwords that are typed: on the terminal, which does not show them, or on standard input.

use std::io::IsTerminal;

use almagest::{Error, Result};

/// Asks for the password of a user.
///
/// # Errors
/// `Plan` for none, `Unreachable` if nothing can be read.
pub fn ask(user: &str) -> Result<String> {
    let unreadable =
        |cause: std::io::Error| Error::unreachable(format!("cannot read the password: {cause}"));
    let password = if std::io::stdin().is_terminal() {
        rpassword::prompt_password(format!("password for {user}: ")).map_err(unreadable)?
    } else {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map_err(unreadable)?;
        line.trim_end_matches(['\r', '\n']).to_string()
    };
    if password.is_empty() {
        return Err(Error::plan("the password is empty; type it, or send it on standard input"));
    }
    Ok(password)
}
