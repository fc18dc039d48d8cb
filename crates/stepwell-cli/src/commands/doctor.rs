//! `stepwell doctor`: whether database and server are fit.

use stepwell::doctor::{examine, Verdict};
use stepwell::telemetry::{self, Level};
use stepwell::Error;

use crate::failure::{Failure, DONE, FAILED, UNREACHABLE};
use crate::humane;
use crate::output::{styled, styles};
use crate::progress::spinner;
use crate::session::Session;

pub(crate) async fn run(session: &Session) -> Result<u8, Failure> {
    let output = session.output;
    let config = session.config()?;
    telemetry::init(&config.logging.with_level(Level::Error));
    let (url, cluster) = session.database_url(&config).await?;
    let spinner = spinner(telemetry::mask_url(&url));
    let examination = tokio::select! {
        () = session.interrupt.cancelled() => Err(Failure::Interrupted),
        examination = examine(&url, &config) => Ok(examination),
    };
    spinner.finish_and_clear();
    if let Some(cluster) = cluster {
        cluster.stop().await.map_err(Error::from)?;
    }
    let examination = examination?;

    if output.is_json() {
        output.json(&examination)?;
    } else {
        output.line(styled(styles::FAINT, telemetry::mask_url(&url)))?;
        let width = examination.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        for check in &examination.checks {
            let (style, sign, word) = match check.verdict {
                Verdict::Ok => (styles::GOOD, "✓", "ok"),
                Verdict::Warn => (styles::DOUBTFUL, "!", "warn"),
                Verdict::Fail => (styles::BAD, "✗", "fail"),
            };
            let verdict = styled(style, format!("{sign} {word:<4}"));
            output.line(format!("{verdict}  {:width$}  {}", check.name, check.found))?;
            if let Some(fix) = &check.fix {
                output.line(format!("        {:width$}  {}", "", styled(styles::NAME, format!("→ {fix}"))))?;
            }
        }
        let of = |verdict| examination.checks.iter().filter(|check| check.verdict == verdict).count();
        let (warnings, failures) = (of(Verdict::Warn), of(Verdict::Fail));
        output.note(match (failures, warnings) {
            (0, 0) => "All is well.".to_owned(),
            (0, _) => format!("It works; {} could be better.", humane::count(warnings, "thing")),
            _ => format!("{}, {}.", humane::count(failures, "failure"), humane::count(warnings, "warning")),
        });
    }
    Ok(match (examination.reachable, examination.verdict()) {
        (false, _) => UNREACHABLE,
        (true, Verdict::Fail) => FAILED,
        _ => DONE,
    })
}
