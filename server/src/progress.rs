//! The progress bar: one line on stderr while a statement runs.
//!
//! In: what tells how far a statement is. Out: after half a second, a bar with a rough time left; it never
//! runs backwards and is gone before the answer is written. Not here: how much is done
//! (`almagest_engine::exec::progress`).

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use almagest_engine::exec::progress::Work;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::arguments::{MessageArguments, When};

/// A statement shorter than this shows no bar.
const APPEARS_AFTER: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(100);
/// Without a terminal, a line this often.
const LINE_EVERY: Duration = Duration::from_secs(1);
const STEPS: u64 = 1000;

/// The meter of one statement. Dropping it takes the bar away.
pub struct Meter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    progress: Option<Box<dyn Fn() -> Work + Send>>,
    stopped: bool,
    /// Nothing more will be drawn.
    gone: bool,
}

impl Meter {
    /// Starts the clock, if a bar is wanted.
    pub fn start(messages: MessageArguments) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let wanted = match messages.progress {
            When::Always => true,
            When::Never => false,
            When::Auto => terminal && !messages.quiet,
        };
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let drawing = Arc::clone(&shared);
        let draw = move || {
            draw(&drawing, terminal);
            drawing.lock().gone = true;
            drawing.changed.notify_all();
        };
        let thread = wanted.then(|| std::thread::spawn(draw));
        Self { shared, thread }
    }

    /// One that shows nothing, for what a server is asked beside a statement.
    #[cfg(feature = "flight")]
    pub fn silent() -> Self {
        Self {
            shared: Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() }),
            thread: None,
        }
    }

    /// Whether anyone looks.
    pub fn is_shown(&self) -> bool {
        self.thread.is_some()
    }

    /// Shows this progress from now on.
    pub fn watch(&self, progress: impl Fn() -> Work + Send + 'static) {
        if self.is_shown() {
            self.shared.lock().progress = Some(Box::new(progress));
        }
    }

    /// What takes the bar away, from wherever bytes are about to be written.
    pub fn stopper(&self) -> impl FnOnce() + Send + use<> {
        let shared = Arc::clone(&self.shared);
        let drawing = self.thread.is_some();
        move || {
            if drawing {
                shared.stop();
            }
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.stop();
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the bar away and waits until it is.
    fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.gone));
    }

    /// Waits for `time`; `false` if the statement has ended by then.
    fn wait(&self, time: Duration) -> bool {
        let running = |state: &mut State| !state.stopped;
        let waited = self.changed.wait_timeout_while(self.lock(), time, running);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopped
    }
}

fn draw(shared: &Shared, terminal: bool) {
    let started = Instant::now();
    if !shared.wait(APPEARS_AFTER) {
        return;
    }
    let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(STEPS), target);
    let mut estimate = Estimate::default();
    let mut last_line = None::<Instant>;
    let mut is_bar = None;
    loop {
        let work = shared.lock().progress.as_ref().map(|now| now());
        let line = estimate.update(work, started.elapsed());
        if terminal {
            if is_bar != Some(estimate.fraction.is_some()) {
                is_bar = Some(estimate.fraction.is_some());
                bar.set_style(style(estimate.fraction.is_some()));
            }
            show(&bar, &estimate, line);
        } else if last_line.is_none_or(|seen| seen.elapsed() >= LINE_EVERY) {
            last_line = Some(Instant::now());
            let _ = writeln!(std::io::stderr(), "progress: {line}");
        }
        if !shared.wait(TICK) {
            break;
        }
    }
    bar.finish_and_clear();
}

fn show(bar: &ProgressBar, estimate: &Estimate, line: String) {
    bar.set_position((estimate.fraction.unwrap_or(0.0) * STEPS as f64) as u64);
    bar.set_message(line);
    bar.tick();
}

/// A bar if the part done is known, else a sign of life.
fn style(is_bar: bool) -> ProgressStyle {
    let template = if is_bar { "{wide_bar:.cyan/dim} {msg}" } else { "{spinner} {msg}" };
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━━╌").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}

/// The part done, which never shrinks, and what it lets expect.
#[derive(Debug, Default)]
struct Estimate {
    fraction: Option<f64>,
}

impl Estimate {
    /// Takes what is known now and says it in a line.
    fn update(&mut self, work: Option<Work>, elapsed: Duration) -> String {
        let took = format!("{:.0} s", elapsed.as_secs_f64());
        let Some(work) = work else { return format!("planning, {took}") };
        if let Some(seen) = work.fraction {
            // What follows the scans is not counted: the last percent is theirs.
            let seen = seen.min(0.99);
            self.fraction = Some(self.fraction.map_or(seen, |before| before.max(seen)));
        }
        match self.fraction {
            None if work.rows == 0 => format!("running, {took}"),
            None => format!("{} rows read, {took}", work.rows),
            Some(part) if part >= 0.99 => format!("99 %, finishing, {took}"),
            Some(part) => {
                let percent = (part * 100.0) as u64;
                let left = elapsed.as_secs_f64() * (1.0 - part) / part;
                match part > 0.02 && left.is_finite() {
                    true => format!("{percent} %, {took}, about {} left", rough(left)),
                    false => format!("{percent} %, {took}"),
                }
            }
        }
    }
}

/// A time in one unit, as an estimate deserves no more.
fn rough(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{:.0} s", s.max(1.0)),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.0} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(estimate: &mut Estimate, fraction: Option<f64>, seconds: u64) -> String {
        estimate.update(Some(Work { fraction, rows: 7 }), Duration::from_secs(seconds))
    }

    #[test]
    fn the_bar_never_runs_backwards() {
        let mut estimate = Estimate::default();
        assert_eq!(line(&mut estimate, Some(0.5), 10), "50 %, 10 s, about 10 s left");
        assert_eq!(line(&mut estimate, Some(0.25), 11), "50 %, 11 s, about 11 s left");
        assert_eq!(line(&mut estimate, None, 12), "50 %, 12 s, about 12 s left");
        assert_eq!(line(&mut estimate, Some(1.0), 20), "99 %, finishing, 20 s");
    }

    #[test]
    fn what_is_not_known_is_not_claimed() {
        let mut estimate = Estimate::default();
        assert_eq!(estimate.update(None, Duration::from_secs(1)), "planning, 1 s");
        assert_eq!(line(&mut estimate, None, 2), "7 rows read, 2 s");
        assert_eq!(line(&mut estimate, Some(0.0), 3), "0 %, 3 s");
    }

    #[test]
    fn times_left_are_rough() {
        assert_eq!(rough(0.2), "1 s");
        assert_eq!(rough(61.0), "61 s");
        assert_eq!(rough(600.0), "10 min");
        assert_eq!(rough(7200.0), "2 h");
    }
}
