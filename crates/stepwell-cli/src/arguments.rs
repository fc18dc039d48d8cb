//! What can be typed.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::builder::styling::Styles;
use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;
use colorchoice_clap::Color;
use uuid::Uuid;

use crate::humane;
use crate::output::styles;

const STYLES: Styles =
    Styles::styled().header(styles::HEADER).usage(styles::HEADER).literal(styles::NAME).placeholder(styles::FAINT);

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed: the task ended in error, or `check` or `doctor` found a problem
  2    wrong usage, setting or input
  3    no such task, workflow, namespace or dead letter
  4    the database cannot be reached
  130  interrupted

The database is --database-url, else DATABASE_URL, else `database.url` in config/stepwell.yml, else the private \
PostgreSQL in .stepwell/ that `stepwell serve` starts.";

/// Durable workflows on PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "stepwell", version, styles = STYLES, after_help = EXIT_CODES, subcommand_required = true,
          arg_required_else_help = true, disable_help_subcommand = false, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The database: postgres://user:password@host/name
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// A file with settings instead of config/stepwell.yml
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) color: Color,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring the schema in the database to this program's version
    Migrate(Migrate),
    /// Run an orchestrator until SIGTERM or SIGINT
    Serve(Serve),
    /// Run workers that execute Ruby handlers (`stepwell work --help` of the gem's executable)
    #[command(disable_help_flag = true)]
    Work {
        /// Options of the gem's executable
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        arguments: Vec<OsString>,
    },
    /// Submit, look at and repair tasks
    #[command(subcommand)]
    Task(Task),
    /// Show each namespace: what waits, what runs, and why
    Queues,
    /// Limit how many steps of a namespace run at the same time, or start within some time
    Limit(Limit),
    /// Stop claiming steps of a namespace; what runs goes on
    Pause(Namespace),
    /// Claim steps of a paused namespace again
    Resume(Namespace),
    /// Messages that nobody could use
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Look for anything in the database that must not be; exit 1 when there is
    Check,
    /// Look whether database and server are fit, and say what to do; exit 1 when they are not
    Doctor,
    /// The settings: see docs/configuration.md
    #[command(subcommand)]
    Config(Config),
    /// Print completions for a shell
    #[command(
        after_help = "For example: stepwell completions bash > ~/.local/share/bash-completion/completions/stepwell"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Only show which migrations the database has and which it lacks
    #[arg(long, visible_alias = "status")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Answer HTTP here: /metrics, /health/live, /health/ready; a port alone is of this machine only
    /// [default: metrics.listen of the settings, else none]
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = stepwell::config::parse_listen)]
    pub(crate) http: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Show every value in force and where it came from, without secrets; exit 2 when something is wrong
    Show,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Submit a task and print its id
    Submit(Submit),
    /// List tasks, the newest first
    List(List),
    /// Show a task: its steps, failed attempts, and what was done to it
    Show(One),
    /// Follow a task until it has finished; exit 1 unless it is complete
    Watch(Watch),
    /// Cancel tasks: what has not finished never will
    Cancel(Cancel),
    /// Give what failed in tasks fresh attempts
    Retry(Retry),
    /// Give a step its result by hand, so that its dependents go on
    Resolve(Resolve),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stepwell task submit shop/order --context '{\"order\": 42}'
  stepwell task submit shop/order --context @order.json --idempotency-key order-42 --wait
  jq .order data.json | stepwell task submit shop/order --context - --priority high")]
pub(crate) struct Submit {
    /// Name of the workflow: namespace/name
    #[arg(value_name = "NAMESPACE/NAME")]
    pub(crate) workflow: String,
    /// The context, a JSON object: the text itself, @FILE, or - for standard input
    #[arg(long, short, value_name = "JSON|@FILE|-", default_value = "{}", allow_hyphen_values = true)]
    pub(crate) context: String,
    /// low, normal, high, urgent, or -10 to 10 [default: the workflow's]
    #[arg(long, short, allow_hyphen_values = true)]
    pub(crate) priority: Option<String>,
    /// A second submit with the same key returns the first one's task
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Version of the workflow [default: the one that was registered last]
    #[arg(long = "version", value_name = "VERSION")]
    pub(crate) workflow_version: Option<String>,
    /// Ties the task to something of yours
    #[arg(long, value_name = "ID")]
    pub(crate) correlation_id: Option<String>,
    /// For finding it again; can be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Follow it until it has finished; exit 1 unless it is complete
    #[arg(long, short)]
    pub(crate) wait: bool,
    /// How long to wait, such as 30s or 5m [default: for ever]
    #[arg(long, requires = "wait", value_name = "DURATION", value_parser = humane::parse_duration)]
    pub(crate) timeout: Option<std::time::Duration>,
}

/// Values of `--state`.
const STATES: [&str; 6] = ["pending", "in_progress", "complete", "error", "cancelled", "resolved"];

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stepwell task list --state error --since 2h
  stepwell task list --workflow shop/order --tag vip --limit 100
  stepwell task list --json | jq -r '.[].id'

Lists are in the order of submits. One looks at up to 50,000 tasks for those that its filters ask for; when \
it stops before there are enough, it says from where to go on.")]
pub(crate) struct List {
    /// Only tasks in this state; can be repeated
    #[arg(long = "state", short, value_name = "STATE", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(STATES))]
    pub(crate) states: Vec<String>,
    /// Only of this workflow: namespace/name
    #[arg(long, short, value_name = "NAMESPACE/NAME", conflicts_with = "namespace")]
    pub(crate) workflow: Option<String>,
    /// Only of this version of the workflow
    #[arg(long = "version", value_name = "VERSION")]
    pub(crate) workflow_version: Option<String>,
    /// Only of workflows of this namespace
    #[arg(long, short)]
    pub(crate) namespace: Option<String>,
    /// Only with this tag
    #[arg(long, short)]
    pub(crate) tag: Option<String>,
    /// Only with this correlation id
    #[arg(long, value_name = "ID")]
    pub(crate) correlation_id: Option<String>,
    /// Only submitted since: 2h, 3d, or 2026-01-31T08:00:00Z
    #[arg(long, value_name = "AGE|TIME", value_parser = humane::parse_time)]
    pub(crate) since: Option<SystemTime>,
    /// Only submitted before this task: the next page
    #[arg(long, value_name = "ID")]
    pub(crate) before: Option<Uuid>,
    /// Most tasks
    #[arg(long, short, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// Id of the task
    #[arg(value_name = "ID")]
    pub(crate) task: Uuid,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Id of the task
    #[arg(value_name = "ID")]
    pub(crate) task: Uuid,
    /// How long to wait, such as 30s or 5m [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = humane::parse_duration)]
    pub(crate) timeout: Option<std::time::Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Why; kept with what was done
    #[arg(long, short)]
    pub(crate) reason: Option<String>,
    /// Who, kept too [default: the database's user]
    #[arg(long, value_name = "NAME")]
    pub(crate) actor: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// Ids of the tasks
    #[arg(value_name = "ID", required = true)]
    pub(crate) tasks: Vec<Uuid>,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// Ids of the tasks
    #[arg(value_name = "ID", required = true)]
    pub(crate) tasks: Vec<Uuid>,
    /// Only this failed step; can be repeated [default: all that failed]
    #[arg(long = "step", value_name = "STEP")]
    pub(crate) steps: Vec<String>,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, Args)]
pub(crate) struct Resolve {
    /// Id of the task
    #[arg(value_name = "ID")]
    pub(crate) task: Uuid,
    /// Name of the step
    pub(crate) step: String,
    /// Its result, any JSON: the text itself, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-", default_value = "null", allow_hyphen_values = true)]
    pub(crate) result: String,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, Args)]
pub(crate) struct Namespace {
    /// Name of the namespace
    pub(crate) namespace: String,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["concurrency", "rate", "none"]).required(true).multiple(true), after_help = "\
What is not given is not limited any more:
  stepwell limit shop --concurrency 20
  stepwell limit shop --rate 100 --period 1m
  stepwell limit shop --none")]
pub(crate) struct Limit {
    /// Name of the namespace
    pub(crate) namespace: String,
    /// Most steps in its queue and in work together
    #[arg(long, short, value_name = "STEPS")]
    pub(crate) concurrency: Option<u32>,
    /// Most steps that come into its queue within any --period
    #[arg(long, value_name = "STEPS")]
    pub(crate) rate: Option<u32>,
    /// Of the rate: 100ms to a day
    #[arg(long, requires = "rate", value_name = "DURATION", default_value = "1s", value_parser = humane::parse_duration)]
    pub(crate) period: std::time::Duration,
    /// Neither
    #[arg(long, conflicts_with_all = ["concurrency", "rate"])]
    pub(crate) none: bool,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetters {
    /// List them, the newest first
    List(Letters),
    /// Put them back into the queues that they came from
    Replay(Replay),
}

#[derive(Debug, Args)]
pub(crate) struct Letters {
    /// Only from this queue
    #[arg(long, short)]
    pub(crate) queue: Option<String>,
    /// Only before the one with this number: the next page
    #[arg(long, value_name = "ID")]
    pub(crate) before: Option<i64>,
    /// Most letters
    #[arg(long, short, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Their numbers
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) letters: Vec<i64>,
    /// All that there are
    #[arg(long)]
    pub(crate) all: bool,
    /// With --all: only from this queue
    #[arg(long, short, requires = "all")]
    pub(crate) queue: Option<String>,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn is_consistent() {
        Arguments::command().debug_assert();
    }
}
