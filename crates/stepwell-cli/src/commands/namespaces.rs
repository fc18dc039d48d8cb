//! `stepwell pause` and `stepwell resume`.

use serde::Serialize;

use crate::arguments::Namespace;
use crate::failure::{Failure, DONE};
use crate::session::Session;

#[derive(Serialize)]
struct Changed<'a> {
    namespace: &'a str,
    paused: bool,
    changed: bool,
}

pub(crate) async fn pause(session: &Session, arguments: &Namespace) -> Result<u8, Failure> {
    let (namespace, why) = (&arguments.namespace, &arguments.why);
    let (reason, actor) = (why.reason.as_deref(), why.actor.as_deref());
    let changed = session.connected(async |link| Ok(link.client.pause(namespace, reason, actor).await?)).await?;
    tell(session, Changed { namespace, paused: true, changed })
}

pub(crate) async fn resume(session: &Session, arguments: &Namespace) -> Result<u8, Failure> {
    let (namespace, why) = (&arguments.namespace, &arguments.why);
    let (reason, actor) = (why.reason.as_deref(), why.actor.as_deref());
    let changed = session.connected(async |link| Ok(link.client.resume(namespace, reason, actor).await?)).await?;
    tell(session, Changed { namespace, paused: false, changed })
}

fn tell(session: &Session, outcome: Changed<'_>) -> Result<u8, Failure> {
    let output = session.output;
    if output.is_json() {
        output.json(&outcome)?;
    } else {
        let namespace = outcome.namespace;
        output.line(match (outcome.paused, outcome.changed) {
            (true, true) => {
                format!("{namespace} is paused: none of its steps is claimed until `stepwell resume {namespace}`.")
            }
            (true, false) => format!("{namespace} was paused already."),
            (false, true) => format!("{namespace} goes on."),
            (false, false) => format!("{namespace} was not paused."),
        })?;
    }
    Ok(DONE)
}
