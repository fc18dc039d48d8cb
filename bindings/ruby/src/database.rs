//! `Stepwell::Native::Database`: this process's link to a database, and to those of the namespaces that have their own,
//! shared by what uses it.

use magnus::{function, method, Error, Module, Object, RModule, Ruby};
use stepwell::Databases;

use crate::definitions::NativeConfig;
use crate::errors::entry;
use crate::guarded::Guarded;
use crate::gvl::block_on;

#[magnus::wrap(class = "Stepwell::Native::Database", free_immediately, size)]
pub(crate) struct NativeDatabase(pub(crate) Guarded<Databases>);

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = crate::define_class::<NativeDatabase>(ruby, native, "Database")?;
    class.define_singleton_method("connect", function!(connect, 2))?;
    class.define_method("url", method!(url, 0))?;
    class.define_method("place", method!(place, 1))?;
    class.define_method("flush_traces", method!(flush_traces, 0))?;
    class.define_method("close", method!(close, 0))?;
    Ok(())
}

fn connect(ruby: &Ruby, url: String, config: &NativeConfig) -> Result<NativeDatabase, Error> {
    entry(ruby, || {
        let config = config.config.clone();
        let databases = block_on(ruby, async move { Databases::connect(&url, &config).await })?;
        Ok(NativeDatabase(Guarded::new(databases)))
    })
}

fn url(ruby: &Ruby, database: &NativeDatabase) -> Result<String, Error> {
    entry(ruby, || Ok(database.0.get(ruby)?.default().url().to_owned()))
}

/// A number that namespaces on the same database share; 0 on the default one.
fn place(ruby: &Ruby, database: &NativeDatabase, namespace: String) -> Result<usize, Error> {
    entry(ruby, || Ok(database.0.get(ruby)?.place(&namespace)))
}

/// Waits, 2 seconds at most, until the receiver of traces has what was recorded, if there is one.
fn flush_traces(ruby: &Ruby, database: &NativeDatabase) -> Result<(), Error> {
    entry(ruby, || {
        let database = database.0.get(ruby)?.default().clone();
        block_on(ruby, async move {
            database.flush_traces().await;
            Ok(())
        })
    })
}

fn close(ruby: &Ruby, database: &NativeDatabase) -> Result<(), Error> {
    entry(ruby, || {
        let databases = database.0.get(ruby)?.clone();
        block_on(ruby, async move {
            databases.close().await;
            Ok(())
        })
    })
}
