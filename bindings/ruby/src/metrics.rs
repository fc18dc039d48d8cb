//! `Stepwell::Native.metrics`, and `Stepwell::Native::Endpoint`: HTTP for those who watch this process.

use magnus::{function, method, typed_data::Obj, Error, Module, Object, RArray, RModule, Ruby};
use stepwell::telemetry::metrics::{self, Endpoint};

use crate::database::NativeDatabase;
use crate::errors::{entry, error};
use crate::guarded::Guarded;
use crate::gvl::block_on;

#[magnus::wrap(class = "Stepwell::Native::Endpoint", free_immediately, size)]
struct NativeEndpoint(Guarded<std::sync::Arc<Endpoint>>);

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    native.define_singleton_method("metrics", function!(text, 1))?;
    native.define_singleton_method("listen", function!(listen, 1))?;
    let class = crate::define_class::<NativeEndpoint>(ruby, native, "Endpoint")?;
    class.define_singleton_method("serve", function!(serve, 2))?;
    class.define_method("address", method!(address, 0))?;
    class.define_method("stop", method!(stop, 0))
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

/// Address and port that a text means.
fn listen(ruby: &Ruby, text: String) -> Result<(String, u16), Error> {
    entry(ruby, || {
        let address = stepwell::config::parse_listen(&text).map_err(|why| error(ruby, "ConfigurationError", why))?;
        Ok((address.ip().to_string(), address.port()))
    })
}

fn serve(ruby: &Ruby, database: &NativeDatabase, (address, port): (String, u16)) -> Result<NativeEndpoint, Error> {
    entry(ruby, || {
        let databases = database.0.get(ruby)?.clone();
        let address = address
            .parse::<std::net::IpAddr>()
            .map_err(|_| error(ruby, "ConfigurationError", format!("{address} is no address")))?;
        let served = block_on(ruby, async move { metrics::serve((address, port).into(), databases).await })?;
        Ok(NativeEndpoint(Guarded::new(std::sync::Arc::new(served))))
    })
}

fn address(ruby: &Ruby, endpoint: &NativeEndpoint) -> Result<String, Error> {
    entry(ruby, || Ok(endpoint.0.get(ruby)?.address().to_string()))
}

fn stop(ruby: &Ruby, endpoint: &NativeEndpoint) -> Result<(), Error> {
    entry(ruby, || {
        let endpoint = endpoint.0.get(ruby)?.clone();
        block_on(ruby, async move {
            endpoint.stop().await;
            Ok(())
        })
    })
}
