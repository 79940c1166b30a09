//! Which files of the sample are already there, and writing those that are not.
//!
//! A manifest beside the files names each that the demo has written, with its length: what it does
//! not name belongs to someone else, and what it names is whole. Files get their names only when
//! they are whole ([`super::sky`], [`super::candidates`]).

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use almagest::{Error, Result};
use almagest_engine::write::write_whole;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Task, candidates, sky};
use crate::arguments::DemoArguments;

const MANIFEST: &str = "almagest-demo.txt";
const IMAGE: &str = "sky.h5";
const CATALOG: &str = "toi";

/// The files that the demo has written, by name, with their bytes.
#[derive(Debug, Default)]
struct Manifest {
    /// What the sample is: its version, size and rows.
    sample: String,
    files: BTreeMap<String, u64>,
}

/// Makes sure that the whole sample is there, and says on stderr what was done.
///
/// # Errors
/// `Plan` if a file of others is in the way, `Unreachable` if files cannot be written, `Cancelled`.
pub fn ensure(arguments: &DemoArguments, task: &Task) -> Result<()> {
    let dir = arguments.dir.as_path();
    let say = |line: String| {
        if !task.quiet {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    };
    let sample = format!("almagest demo 1: size {} rows {}", arguments.size, arguments.rows);
    let mut manifest = if arguments.force { None } else { read_manifest(dir)? }.unwrap_or_default();
    if !arguments.force {
        refuse_foreign(dir, &manifest)?;
    }
    if manifest.sample != sample {
        for name in names() {
            remove(&dir.join(name))?;
        }
        manifest = Manifest { sample, files: BTreeMap::new() };
    }
    manifest.files.retain(|name, _| dir.join(name).exists());
    if manifest.files.len() == names().len() {
        say(format!("The sample in {} is complete; --force writes it anew.", dir.display()));
        return Ok(());
    }
    let made = std::fs::create_dir_all(dir.join(CATALOG));
    made.map_err(|cause| cannot("make the folder", &dir.join(CATALOG), cause))?;
    remove_leftovers(dir)?;
    remove_leftovers(&dir.join(CATALOG))?;
    write_manifest(dir, &manifest)?;
    say(format!(
        "Writing an image of {0} x {0} pixels and a catalog of {1} rows to {2}.",
        arguments.size,
        arguments.rows,
        dir.display()
    ));
    let manifest = Mutex::new(manifest);
    write_image(dir, arguments.size, task, &manifest, &say)?;
    write_catalog(dir, arguments.rows, task, &manifest, &say)
}

fn write_image(
    dir: &Path,
    size: u64,
    task: &Task,
    manifest: &Mutex<Manifest>,
    say: &dyn Fn(String),
) -> Result<()> {
    if has(manifest, IMAGE) {
        return Ok(());
    }
    let (bar, started) = (bar(IMAGE, task), Instant::now());
    let bytes = sky::write(&dir.join(IMAGE), size, task, &bar)?;
    bar.finish_and_clear();
    record(dir, manifest, IMAGE, bytes)?;
    say(written(IMAGE, bytes, started));
    Ok(())
}

fn write_catalog(
    dir: &Path,
    rows: u64,
    task: &Task,
    manifest: &Mutex<Manifest>,
    say: &dyn Fn(String),
) -> Result<()> {
    let (bar, started) = (bar(CATALOG, task), Instant::now());
    bar.set_length(rows);
    let (next, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || -> Result<()> {
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= candidates::FILE_COUNT {
                return Ok(());
            }
            let name = part_name(part);
            if !has(manifest, &name) {
                let length = candidates::write(&dir.join(&name), part, rows, task, &bar)?;
                bytes.fetch_add(length, Ordering::Relaxed);
                record(dir, manifest, &name, length)?;
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..task.threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(Error::bug("making the catalog panicked")))
        })
    })?;
    bar.finish_and_clear();
    say(written(CATALOG, bytes.into_inner(), started));
    Ok(())
}

fn part_name(part: u64) -> String {
    format!("{CATALOG}/part-{part}.parquet")
}

fn names() -> Vec<String> {
    let parts = (0..candidates::FILE_COUNT).map(part_name);
    std::iter::once(IMAGE.to_string()).chain(parts).collect()
}

fn has(manifest: &Mutex<Manifest>, name: &str) -> bool {
    manifest.lock().unwrap_or_else(PoisonError::into_inner).files.contains_key(name)
}

fn record(dir: &Path, manifest: &Mutex<Manifest>, name: &str, bytes: u64) -> Result<()> {
    let mut manifest = manifest.lock().unwrap_or_else(PoisonError::into_inner);
    manifest.files.insert(name.into(), bytes);
    write_manifest(dir, &manifest)
}

/// The manifest of a folder, if the demo has ever written there.
fn read_manifest(dir: &Path) -> Result<Option<Manifest>> {
    let path = dir.join(MANIFEST);
    let text = match std::fs::read_to_string(&path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|cause| cannot("read", &path, cause))?,
    };
    let mut lines = text.lines();
    let sample = lines.next().unwrap_or_default().to_string();
    let files = lines.map(|line| {
        let (bytes, name) = line.split_once(' ')?;
        Some((name.to_string(), bytes.parse().ok()?))
    });
    let files: Option<BTreeMap<String, u64>> = files.collect();
    let files = files.filter(|_| sample.starts_with("almagest demo "));
    let files = files.ok_or_else(|| {
        Error::plan("this is not the list that a demo leaves; name another folder with --dir")
            .with("file", path.display())
    })?;
    Ok(Some(Manifest { sample, files }))
}

fn write_manifest(dir: &Path, manifest: &Manifest) -> Result<()> {
    let mut text = format!("{}\n", manifest.sample);
    for (name, bytes) in &manifest.files {
        text.push_str(&format!("{bytes} {name}\n"));
    }
    let path = dir.join(MANIFEST);
    write_whole(&path, text.as_bytes()).map_err(|cause| cannot("write", &path, cause))
}

/// Refuses to go on where a file stands that no demo has written.
fn refuse_foreign(dir: &Path, manifest: &Manifest) -> Result<()> {
    let ours = |name: &str, path: &Path| {
        let bytes = std::fs::metadata(path).map(|found| found.len()).ok();
        bytes.is_some() && bytes == manifest.files.get(name).copied()
    };
    let mut present: Vec<(String, PathBuf)> = vec![];
    if dir.join(IMAGE).exists() {
        present.push((IMAGE.into(), dir.join(IMAGE)));
    }
    if let Ok(entries) = std::fs::read_dir(dir.join(CATALOG)) {
        let entries = entries.flatten().map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (format!("{CATALOG}/{name}"), entry.path())
        });
        present.extend(entries.filter(|(name, _)| !name.ends_with(".partial")));
    }
    match present.iter().find(|(name, path)| !ours(name, path)) {
        None => Ok(()),
        Some((_, path)) => Err(Error::plan(
            "a file that the demo has not written is in the way; name another folder with --dir, \
             or write over it with --force",
        )
        .with("file", path.display())),
    }
}

/// Removes what a killed run has left of the sample's own files.
fn remove_leftovers(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let own = [IMAGE, MANIFEST, "part-"].iter().any(|prefix| name.starts_with(prefix));
        if own && name.ends_with(".partial") {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(cannot("remove", path, cause))
        }
        _ => Ok(()),
    }
}

fn cannot(what: &str, path: &Path, cause: std::io::Error) -> Error {
    Error::unreachable(format!("cannot {what}: {cause}"))
        .with("file", path.display())
        .caused_by(cause)
}

fn written(name: &str, bytes: u64, started: Instant) -> String {
    let (mb, seconds) = (bytes as f64 / 1e6, started.elapsed().as_secs_f64());
    format!("  {name}: {mb:.1} MB in {seconds:.1} s")
}

fn bar(name: &str, task: &Task) -> ProgressBar {
    let shown = !task.quiet && std::io::stderr().is_terminal();
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("  {msg} {wide_bar:.cyan/dim} {percent} %")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(None, target)
        .with_style(style.progress_chars("━━╌"))
        .with_message(name.to_string())
}
