//! The shell's files: the history in the XDG state directory, init.sql in the configuration one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rustyline::history::FileHistory;
use rustyline::{Editor, Helper};

/// Loads the history. The file to append to; absent, after a note, if there can be none.
pub fn open<H: Helper>(editor: &mut Editor<H, FileHistory>, quiet: bool) -> Option<PathBuf> {
    let path = in_directory("XDG_STATE_HOME", ".local/state")?.join("history");
    let loaded = prepare(&path).map_err(|cause| cause.to_string()).and_then(|()| {
        if path.exists() { editor.load_history(&path).map_err(|c| c.to_string()) } else { Ok(()) }
    });
    if let Err(cause) = loaded {
        if !quiet {
            super::say(&format!("note: no history, as {} cannot be used: {cause}", path.display()));
        }
        return None;
    }
    Some(path)
}

/// The file that runs when the shell starts, whether it exists or not.
pub fn init_file() -> Option<PathBuf> {
    Some(in_directory("XDG_CONFIG_HOME", ".config")?.join("init.sql"))
}

/// Our directory under the one that a variable names, or under the home directory.
fn in_directory(variable: &str, under_home: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || {
        let home: Option<OsString> = std::env::var_os("HOME").filter(|home| !home.is_empty());
        home.map(|home| PathBuf::from(home).join(under_home))
    };
    named.or_else(home).map(|directory| directory.join("almagest"))
}

fn prepare(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(parent) => std::fs::create_dir_all(parent),
        None => Ok(()),
    }
}
