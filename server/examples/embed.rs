//! Almagest in a service: one SQL statement a line over TCP, the answer as text.
//!
//! `cargo run --example embed`, then `echo "SELECT avg(value) FROM sky" | nc localhost 7878`.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use almagest::{Error, Result, Session, SessionOptions};
use arrow::datatypes::Float32Type;
use arrow::util::pretty::pretty_format_batches;
use ndarray::Array2;
use tokio::runtime::{Handle, Runtime};

/// A session with an array of the program behind the table `sky`.
pub fn session() -> Result<Session> {
    let session = almagest::session(&SessionOptions::default())?;
    let sky = Array2::from_shape_fn((512, 512), |(y, x)| (y as f32 - x as f32).abs());
    session.register_array::<Float32Type>("sky", &["y", "x"], sky.into_dyn())?;
    Ok(session)
}

/// The answer to a statement as a table of text.
pub async fn answer(session: &Session, statement: &str) -> Result<String> {
    let rows = session.sql(statement).await?.collect().await?;
    let table = pretty_format_batches(&rows).map_err(|cause| Error::bug(cause.to_string()))?;
    Ok(table.to_string())
}

fn serve(runtime: &Handle, session: &Session, mut client: TcpStream) -> std::io::Result<()> {
    for statement in BufReader::new(client.try_clone()?).lines() {
        match runtime.block_on(answer(session, &statement?)) {
            Ok(table) => writeln!(client, "{table}")?,
            Err(error) => writeln!(client, "error: {error}")?,
        }
    }
    Ok(())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (runtime, session) = (Runtime::new()?, session()?);
    for client in TcpListener::bind("127.0.0.1:7878")?.incoming() {
        let (runtime, session, client) = (runtime.handle().clone(), session.clone(), client?);
        std::thread::spawn(move || serve(&runtime, &session, client));
    }
    Ok(())
}
