//! How other commands talk to the process that keeps a cluster: a Unix socket in its folder.
//!
//! A request is one line: `status`, `scale 8`, `stop`. The answer is text: a line `ok` or `error`,
//! and then what to print, until the end. Who may open the folder may ask; it is its owner.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use almagest_engine::{Error, Result};

/// How long a request may take: cancelling many jobs is slow.
const LONGEST: Duration = Duration::from_secs(150);
const REQUEST_LONGEST: Duration = Duration::from_secs(5);
const REQUEST_BYTES_MAX: u64 = 200;
/// What a user can ask for; a number above it is a mistake.
pub const WORKERS_MAX: usize = 10_000;
/// What systems take as a path of a socket.
const PATH_BYTES_MAX: usize = 100;

/// What can be asked of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A table of its jobs.
    Status,
    /// Another number of workers.
    Scale(usize),
    /// Its end.
    Stop,
}

/// A request, and where the answer goes.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<String>>,
}

impl FromStr for Request {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let wrong = || Error::plan("a request is `status`, `scale N` or `stop`");
        match words[..] {
            ["status"] => Ok(Self::Status),
            ["stop"] => Ok(Self::Stop),
            ["scale", count] => match count.parse().ok().filter(|count| *count <= WORKERS_MAX) {
                Some(count) => Ok(Self::Scale(count)),
                None => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status => f.write_str("status"),
            Self::Scale(count) => write!(f, "scale {count}"),
            Self::Stop => f.write_str("stop"),
        }
    }
}

/// Listens at `path`, and hands on what is asked, until the receiver is dropped.
///
/// # Errors
/// `Unreachable` if the socket cannot be made.
pub fn listen(path: &Path) -> Result<mpsc::Receiver<Asked>> {
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(Error::unreachable(format!(
            "the path of the cluster's socket is longer than the {PATH_BYTES_MAX} bytes that \
             systems allow; choose a shorter --name, or set XDG_STATE_HOME to a shorter path"
        ))
        .with("socket", path.display()));
    }
    // what a killed process left; the caller has the lock
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(|cause| {
        Error::unreachable(format!(
            "cannot listen at the cluster's socket: {cause}; set XDG_STATE_HOME to a folder of a \
             file system that has sockets"
        ))
        .with("socket", path.display())
    })?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = sender.closed() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => drop(tokio::spawn(serve(stream, sender.clone()))),
                    Err(cause) => {
                        log::warn!("a request was lost: {cause}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
    });
    Ok(receiver)
}

async fn serve(mut stream: UnixStream, requests: mpsc::Sender<Asked>) {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(REQUEST_BYTES_MAX));
    let read = tokio::time::timeout(REQUEST_LONGEST, reader.read_line(&mut line)).await;
    let answer = match read {
        Ok(Ok(_)) => pass_on(&line, &requests).await,
        _ => Err(Error::plan("no request came")),
    };
    let text = match answer {
        Ok(text) => format!("ok\n{text}"),
        Err(error) => format!("error\n{}", error.message()),
    };
    // a user who did not wait
    let _ = writer.write_all(text.as_bytes()).await;
}

async fn pass_on(line: &str, requests: &mpsc::Sender<Asked>) -> Result<String> {
    let request = line.parse()?;
    let (reply, answer) = oneshot::channel();
    let ending = || Error::unreachable("the cluster is about to end");
    requests.send(Asked { request, reply }).await.map_err(|_| ending())?;
    answer.await.map_err(|_| ending())?
}

/// Asks the process that listens at `path`; gives back what to print.
///
/// # Errors
/// `Unreachable` if nobody answers, or with what the process says if it cannot.
pub async fn ask(path: &Path, request: Request) -> Result<String> {
    let answer = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(format!("{request}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let failed = |cause: String| {
        Error::unreachable(format!(
            "the process that keeps the cluster does not answer: {cause}; try again, or end it \
             with Ctrl-C where it runs"
        ))
        .with("socket", path.display())
    };
    let answer = match tokio::time::timeout(LONGEST, answer).await {
        Ok(answer) => answer.map_err(|cause| failed(cause.to_string()))?,
        Err(_) => return Err(failed(format!("nothing within {} s", LONGEST.as_secs()))),
    };
    match answer.split_once('\n') {
        Some(("ok", text)) => Ok(text.to_string()),
        Some(("error", text)) => Err(Error::unreachable(text.trim())),
        _ => Err(failed("it ended".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_one_line() {
        for request in [Request::Status, Request::Scale(0), Request::Scale(8), Request::Stop] {
            assert_eq!(request.to_string().parse::<Request>().unwrap(), request);
        }
        for wrong in ["", "scale", "scale x", "scale -1", "scale 99999", "stop now", "reboot"] {
            assert!(wrong.parse::<Request>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn an_answer_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let mut requests = listen(&path).unwrap();
        tokio::spawn(async move {
            while let Some(Asked { request, reply }) = requests.recv().await {
                let answer = match request {
                    Request::Scale(count) => Ok(format!("{count}\nlines")),
                    Request::Status => Err(Error::unreachable("no queue")),
                    Request::Stop => break,
                };
                reply.send(answer).unwrap();
            }
        });
        assert_eq!(ask(&path, Request::Scale(3)).await.unwrap(), "3\nlines");
        assert_eq!(ask(&path, Request::Status).await.unwrap_err().message(), "no queue");
        let error = ask(&path, Request::Stop).await.unwrap_err();
        assert!(error.message().contains("about to end"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_process_and_a_long_path_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let error = ask(&folder.path().join("s"), Request::Status).await.unwrap_err();
        assert!(error.message().contains("does not answer"), "{error}");
        let long = folder.path().join("x".repeat(100));
        assert!(listen(&long).unwrap_err().message().contains("XDG_STATE_HOME"));
    }
}
