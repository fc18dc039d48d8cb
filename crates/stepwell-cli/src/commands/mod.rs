//! One module a command.

mod check;
mod completions;
mod config;
mod dead_letters;
mod doctor;
mod migrate;
mod namespaces;
mod queues;
mod serve;
mod task;

use crate::arguments::{Command, Config};
use crate::failure::Failure;
use crate::session::Session;
use crate::Host;

/// Runs a command. Returns the exit code.
pub(crate) async fn run(session: &Session, command: Command) -> Result<u8, Failure> {
    match command {
        Command::Migrate(arguments) => migrate::run(session, &arguments).await,
        Command::Serve(arguments) => serve::run(session, &arguments).await,
        Command::Work { .. } => Err(no_work(session)),
        Command::Task(command) => task::run(session, command).await,
        Command::Queues => queues::list(session).await,
        Command::Limit(arguments) => queues::limit(session, &arguments).await,
        Command::Pause(arguments) => namespaces::pause(session, &arguments).await,
        Command::Resume(arguments) => namespaces::resume(session, &arguments).await,
        Command::DeadLetters(command) => dead_letters::run(session, command).await,
        Command::Check => check::run(session).await,
        Command::Doctor => doctor::run(session).await,
        Command::Config(Config::Show) => config::show(session),
        Command::Completions { shell } => completions::print(shell),
    }
}

fn no_work(session: &Session) -> Failure {
    Failure::Usage(match session.host {
        Host::Program => {
            "workers execute Ruby handlers: install the gem (`gem install stepwell`) and run `stepwell work` \
                          of its executable"
                .to_owned()
        }
        Host::Gem => "give `work` first, and the options behind it: stepwell work --database-url URL …".to_owned(),
    })
}
