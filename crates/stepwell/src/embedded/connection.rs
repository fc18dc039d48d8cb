//! Talking to the server, just enough to know that it is there and that the database exists.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

use super::{EmbeddedError, DATABASE, SUPERUSER};

const PATIENCE: Duration = Duration::from_secs(5);
/// What passes by itself: the server starts, stops or crashes, has no connection left, or is still making the database
/// for a user that was killed.
const PASSING: [&str; 7] = ["57P01", "57P02", "57P03", "53300", "23505", "42P04", "55006"];

/// What a server said.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is up and has the database; with the folder of its socket.
    Ready(PathBuf),
    /// It is there, but not ready for us: ask again.
    Busy(sqlx::Error),
    /// Nobody listens.
    Silent,
}

/// The URL of the database behind a folder with a socket. It names all that the environment could change otherwise
/// (`PGPORT`, `PGSSLMODE`).
pub(super) fn url(sockets: &Path, database: &str) -> String {
    let host = sockets.display().to_string().replace('/', "%2F");
    format!("postgres://{SUPERUSER}@{host}:5432/{database}?sslmode=disable")
}

/// Connects and makes the database if it is missing.
pub(super) async fn prepare(sockets: PathBuf) -> Result<Answer, EmbeddedError> {
    let options: PgConnectOptions = url(&sockets, "postgres").parse()?;
    let asked = tokio::time::timeout(PATIENCE, create_database(&options.disable_statement_logging())).await;
    let Ok(asked) = asked else {
        return Ok(Answer::Busy(sqlx::Error::PoolTimedOut));
    };
    match asked {
        Ok(()) => Ok(Answer::Ready(sockets)),
        // No socket, nobody behind it, or a server that is just going away.
        Err(sqlx::Error::Io(_)) => Ok(Answer::Silent),
        Err(error) => match error.as_database_error().and_then(|error| error.code()).as_deref() {
            Some(code) if PASSING.contains(&code) => Ok(Answer::Busy(error)),
            _ => Err(error.into()),
        },
    }
}

async fn create_database(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_catalog.pg_database where datname = $1)")
        .bind(DATABASE)
        .fetch_one(&mut connection)
        .await?;
    if !exists {
        sqlx::query(&format!("create database {DATABASE}")).execute(&mut connection).await?;
    }
    connection.close().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_names_the_socket_and_the_port() {
        let url = url(Path::new("/tmp/stepwell-0a"), "stepwell");
        assert_eq!(url, "postgres://stepwell@%2Ftmp%2Fstepwell-0a:5432/stepwell?sslmode=disable");
    }
}
