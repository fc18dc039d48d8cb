//! What metrics ask of the database.

use sqlx::FromRow;

use super::{OrFail, Store};
use crate::error::Result;

/// How a queue is.
#[derive(Debug, Clone, FromRow)]
pub struct QueueMetrics {
    /// Its name.
    pub queue: String,
    /// The namespace whose steps stand in it; none for requests and results.
    pub namespace: Option<String>,
    /// Messages in it.
    pub messages: i64,
    /// Seconds that the oldest has been there; none when it is empty.
    pub oldest_age: Option<f64>,
    /// Messages that ever came into it.
    pub sent: i64,
    /// Rows of its table that vacuum has still to remove.
    pub dead_rows: i64,
    /// Steps of the namespace that wait for a place in it.
    pub waiting: i64,
    /// Steps of the namespace that workers hold.
    pub in_progress: i64,
}

/// How a database is.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct DatabaseMetrics {
    /// Seconds that the oldest transaction has kept vacuum from removing rows.
    pub oldest_snapshot_age: f64,
    /// Messages that nobody could use.
    pub dead_letters: i64,
}

impl Store {
    /// How each queue is, by name; at most `most` messages of each are counted.
    pub async fn queue_metrics(&self, most: i32) -> Result<Vec<QueueMetrics>> {
        sqlx::query_as("select * from stepwell.queue_metrics($1)").bind(most).fetch_all(self).await.or_fail(self)
    }

    /// How the database is; at most `most` dead letters are counted.
    pub async fn database_metrics(&self, most: i32) -> Result<DatabaseMetrics> {
        sqlx::query_as("select * from stepwell.database_metrics($1)").bind(most).fetch_one(self).await.or_fail(self)
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&self) -> Result<()> {
        sqlx::query("select").execute(self).await.or_fail(self).map(drop)
    }

    /// What the database is called in metrics: `host:port/name`.
    pub(crate) fn label(&self) -> String {
        let options = self.pool.connect_options();
        let host = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        format!("{host}/{}", options.get_database().unwrap_or_else(|| options.get_username()))
    }

    /// Connections of the pool: in use, idle, at most.
    pub(crate) fn connections(&self) -> (usize, usize, u32) {
        let idle = self.pool.num_idle() + self.idle.count();
        ((self.pool.size() as usize).saturating_sub(idle), idle, self.pool.options().get_max_connections())
    }
}
