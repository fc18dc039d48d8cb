//! `Stepwell::Native::Orchestrator`.

use std::sync::Arc;

use magnus::{function, method, Error, Module, Object, RModule, Ruby};
use stepwell::Orchestrator;

use crate::database::NativeDatabase;
use crate::definitions::NativeConfig;
use crate::errors::{entry, error};
use crate::guarded::Guarded;
use crate::gvl::block_on;

#[magnus::wrap(class = "Stepwell::Native::Orchestrator", free_immediately, size)]
struct NativeOrchestrator(Guarded<Arc<Orchestrator>>);

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = crate::define_class::<NativeOrchestrator>(ruby, native, "Orchestrator")?;
    class.define_singleton_method("embedded", function!(embedded, 1))?;
    class.define_method("database", method!(database, 0))?;
    class.define_method("running?", method!(running, 0))?;
    class.define_method("status", method!(status, 0))?;
    class.define_method("stop", method!(stop, 0))?;
    Ok(())
}

fn embedded(ruby: &Ruby, config: &NativeConfig) -> Result<NativeOrchestrator, Error> {
    entry(ruby, || {
        let config = config.config.clone();
        let orchestrator = block_on(ruby, async move { Orchestrator::embedded(&config).await })?;
        Ok(NativeOrchestrator(Guarded::new(Arc::new(orchestrator))))
    })
}

fn database(ruby: &Ruby, orchestrator: &NativeOrchestrator) -> Result<NativeDatabase, Error> {
    entry(ruby, || Ok(NativeDatabase(Guarded::new(orchestrator.0.get(ruby)?.databases().clone()))))
}

fn running(ruby: &Ruby, orchestrator: &NativeOrchestrator) -> Result<bool, Error> {
    entry(ruby, || Ok(orchestrator.0.get(ruby)?.is_running()))
}

fn status(ruby: &Ruby, orchestrator: &NativeOrchestrator) -> Result<String, Error> {
    entry(ruby, || {
        let orchestrator = orchestrator.0.get(ruby)?.clone();
        let status = block_on(ruby, async move {
            orchestrator.look().await;
            Ok(orchestrator.status())
        })?;
        serde_json::to_string(&status).map_err(|failure| error(ruby, "Error", failure.to_string()))
    })
}

fn stop(ruby: &Ruby, orchestrator: &NativeOrchestrator) -> Result<(), Error> {
    entry(ruby, || {
        let orchestrator = orchestrator.0.get(ruby)?.clone();
        block_on(ruby, async move { orchestrator.stop().await })
    })
}
