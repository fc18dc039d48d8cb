//! Which database a namespace lives on: its own where the settings name one, else the default. Where they name none
//! this is the default's link and nothing else, so that the usual case costs nothing.
//!
//! The others are linked when they are first used, and each may be away without disturbing the rest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use futures_util::future::join_all;

use crate::config::Config;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::signals::lock;
use crate::telemetry::traces::Traces;

/// One process's links to all databases. Cheap to clone; [`close`](Self::close) ends them for all clones.
#[derive(Debug, Clone)]
pub struct Databases {
    default: Database,
    others: Option<Arc<Others>>,
}

#[derive(Debug)]
struct Others {
    /// By namespace: the place in `links`.
    places: HashMap<String, usize>,
    links: Vec<Link>,
    /// Locked while a link is made, so that none is after the end.
    closed: Mutex<bool>,
}

#[derive(Debug)]
struct Link {
    url: String,
    config: Config,
    traces: Option<Traces>,
    namespaces: Vec<String>,
    database: OnceLock<Database>,
}

impl From<Database> for Databases {
    fn from(default: Database) -> Self {
        Self { default, others: None }
    }
}

impl Databases {
    /// Connects to the default database at `url`; those that the settings name for namespaces follow when they are used.
    ///
    /// # Errors
    /// As [`Database::connect`]. Where there are several, one that is away does not count: it is tried again.
    pub async fn connect(url: &str, config: &Config) -> Result<Self> {
        let traces = Traces::start(&config.traces)?;
        let others = others(url, config, traces.as_ref());
        let default = match Database::connect_traced(url, config, traces.clone()).await {
            Err(error) if error.is_transient() && others.is_some() => {
                tracing::warn!(%error, "a database is away; what lives on the others goes on");
                Database::lazy(url, config, traces)?
            }
            connected => connected?,
        };
        Ok(Self { default, others: others.map(Arc::new) })
    }

    /// The database of all namespaces that the settings do not name.
    pub fn default(&self) -> &Database {
        &self.default
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        1 + self.others.as_ref().map_or(0, |others| others.links.len())
    }

    /// The database at a place, 0 for the default.
    ///
    /// # Errors
    /// [`Error::Stopped`] after [`close`](Self::close).
    pub fn at(&self, place: usize) -> Result<&Database> {
        match (&self.others, place) {
            (Some(others), 1..) => others.at(place - 1),
            _ => Ok(&self.default),
        }
    }

    /// The place of the database that a namespace lives on.
    pub fn place(&self, namespace: &str) -> usize {
        self.others.as_ref().and_then(|others| others.places.get(namespace)).map_or(0, |place| place + 1)
    }

    /// The place of the database that a workflow, `namespace/name`, lives on.
    pub fn place_of(&self, workflow: &str) -> usize {
        match self.others {
            Some(_) => self.place(workflow.split_once('/').map_or(workflow, |(namespace, _)| namespace)),
            None => 0,
        }
    }

    /// The database that a namespace lives on.
    ///
    /// # Errors
    /// [`Error::Stopped`] after [`close`](Self::close).
    pub fn of(&self, namespace: &str) -> Result<&Database> {
        self.at(self.place(namespace))
    }

    /// All of them, the default first.
    ///
    /// # Errors
    /// [`Error::Stopped`] after [`close`](Self::close).
    pub fn all(&self) -> Result<Vec<&Database>> {
        (0..self.count()).map(|place| self.at(place)).collect()
    }

    /// Those that have been linked so far, the default first.
    pub(crate) fn made(&self) -> Vec<&Database> {
        let others = self.others.as_deref().map(|others| others.links.iter()).into_iter().flatten();
        std::iter::once(&self.default).chain(others.filter_map(|link| link.database.get())).collect()
    }

    /// The namespaces that the settings put on the database at a place; none on the default, which has all others.
    pub fn namespaces(&self, place: usize) -> &[String] {
        match (&self.others, place) {
            (Some(others), 1..) => others.links.get(place - 1).map_or(&[], |link| &link.namespaces),
            _ => &[],
        }
    }

    /// Ends all links.
    pub async fn close(&self) {
        let others = self.others.as_deref().map(Others::close).unwrap_or_default();
        join_all(others.into_iter().chain([&self.default]).map(Database::close)).await;
    }
}

impl Others {
    fn at(&self, place: usize) -> Result<&Database> {
        let link = self.links.get(place).ok_or(Error::Stopped { what: "a database that is not there" })?;
        if let Some(database) = link.database.get() {
            return Ok(database);
        }
        let closed = lock(&self.closed);
        if *closed {
            return Err(Error::Stopped { what: "the link to the database" });
        }
        if let Some(database) = link.database.get() {
            return Ok(database); // another thread was first
        }
        let database = Database::lazy(&link.url, &link.config, link.traces.clone())?;
        Ok(link.database.get_or_init(|| database))
    }

    /// The links that have been made; no more are.
    fn close(&self) -> Vec<&Database> {
        *lock(&self.closed) = true;
        self.links.iter().filter_map(|link| link.database.get()).collect()
    }
}

/// None when every namespace lives on the default database.
fn others(default_url: &str, config: &Config, traces: Option<&Traces>) -> Option<Others> {
    let mut others = Others { places: HashMap::new(), links: Vec::new(), closed: Mutex::new(false) };
    for (name, namespace) in config.namespaces.iter().filter(|(_, namespace)| namespace.database_url != default_url) {
        let known = others.links.iter().position(|link| link.url == namespace.database_url);
        let place = known.unwrap_or_else(|| {
            let mut config = config.clone();
            config.database.direct_url = None;
            let (url, namespaces, database) = (namespace.database_url.clone(), Vec::new(), OnceLock::new());
            others.links.push(Link { url, config, traces: traces.cloned(), namespaces, database });
            others.links.len() - 1
        });
        let link = &mut others.links[place];
        link.namespaces.push(name.clone());
        if namespace.direct_url.is_some() {
            link.config.database.direct_url.clone_from(&namespace.direct_url);
        }
        others.places.insert(name.clone(), place);
    }
    (!others.links.is_empty()).then_some(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn namespaces_that_name_the_same_url_share_a_link() {
        let own = r#"{"namespaces": {"a": {"database_url": "postgres://x@127.0.0.1:1/one"},
                                     "b": {"database_url": "postgres://x@127.0.0.1:1/two"},
                                     "c": {"database_url": "postgres://x@127.0.0.1:1/one"},
                                     "d": {"database_url": "postgres://x@127.0.0.1:1/default"}}}"#;
        let config = Config::load_with(Some("test"), own).unwrap();
        let databases = Databases::connect("postgres://x@127.0.0.1:1/default", &config).await.unwrap();
        let places: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| databases.place(name)).into();
        assert_eq!(places, [1, 2, 1, 0, 0]);
        assert_eq!(databases.place_of("b/some"), 2);
        assert_eq!(databases.namespaces(1), ["a", "c"]);
        assert_eq!(databases.of("c").unwrap().url(), "postgres://x@127.0.0.1:1/one");
        databases.close().await;
        assert!(databases.of("c").is_ok(), "a link that is closed says so itself");
        assert!(matches!(databases.of("b"), Err(Error::Stopped { .. })), "no link is made after the end");
    }

    #[tokio::test]
    async fn the_only_database_must_be_there() {
        let config = Config::load(Some("test")).unwrap();
        assert!(Databases::connect("postgres://x@127.0.0.1:1/default", &config).await.unwrap_err().is_transient());
    }
}
