//! `Stepwell::Native.metrics`.

use magnus::{function, typed_data::Obj, Error, Object, RArray, RModule, Ruby};
use stepwell::telemetry::metrics;

use crate::database::NativeDatabase;
use crate::errors::entry;
use crate::gvl::block_on;

pub(crate) fn init(native: RModule) -> Result<(), Error> {
    native.define_singleton_method("metrics", function!(text, 1))
}

/// The metrics of these links as Prometheus reads them.
fn text(ruby: &Ruby, databases: RArray) -> Result<String, Error> {
    entry(ruby, || {
        let databases: Vec<Obj<NativeDatabase>> =
            databases.into_iter().map(magnus::TryConvert::try_convert).collect::<Result<_, _>>()?;
        let links = databases.iter().map(|it| it.0.get(ruby).cloned()).collect::<Result<Vec<_>, _>>()?;
        block_on(ruby, async move { Ok(metrics::text(&links).await) })
    })
}
