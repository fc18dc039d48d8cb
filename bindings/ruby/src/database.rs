//! `Stepwell::Native::Database`: this process's link to one database, shared by what uses it.

use magnus::{function, method, Error, Module, Object, RModule, Ruby};
use stepwell::Database;

use crate::definitions::NativeConfig;
use crate::errors::entry;
use crate::guarded::Guarded;
use crate::gvl::block_on;

#[magnus::wrap(class = "Stepwell::Native::Database", free_immediately, size)]
pub(crate) struct NativeDatabase(pub(crate) Guarded<Database>);

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("Database", ruby.class_object())?;
    class.define_singleton_method("connect", function!(connect, 2))?;
    class.define_method("url", method!(url, 0))?;
    class.define_method("close", method!(close, 0))?;
    Ok(())
}

fn connect(ruby: &Ruby, url: String, config: &NativeConfig) -> Result<NativeDatabase, Error> {
    entry(ruby, || {
        let config = config.0.clone();
        let database = block_on(ruby, async move { Database::connect(&url, &config).await })?;
        Ok(NativeDatabase(Guarded::new(database)))
    })
}

fn url(ruby: &Ruby, database: &NativeDatabase) -> Result<String, Error> {
    entry(ruby, || Ok(database.0.get(ruby)?.url().to_owned()))
}

fn close(ruby: &Ruby, database: &NativeDatabase) -> Result<(), Error> {
    entry(ruby, || {
        let database = database.0.get(ruby)?.clone();
        block_on(ruby, async move {
            database.close().await;
            Ok(())
        })
    })
}
