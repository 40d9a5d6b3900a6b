//! The program `tandem`: reads the command line and the settings, and calls what does the work.

mod allocator;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::{Parser, Subcommand};
use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tandem::account::{self, Scope};
use tandem::clock::{SystemClock, entropy, seed};
use tandem::database::Database;
use tandem::lookup::Moment;
use tandem::portability::command::{self as portability, PortabilityCommand};
use tandem::settings::{LogFormat, LogSettings, Settings};
use tandem::{apply, explain, history, lookup, plan, serve, settings, simulate};
use tandem_model::{CallId, Clock};
use tandem_store::PgPool;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

/// The exchange where voice providers connect once and reach each other
#[derive(Parser)]
#[command(name = "tandem", version, max_term_width = 100)]
struct Arguments {
    /// The settings; `tandem settings` prints a file with every key and its default
    #[arg(long, global = true, env = "TANDEM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a node: carries calls, serves the portal, or both
    Serve,
    /// Brings the schema of the database up to date
    Migrate,
    /// Brings the exchange to the state that a file declares, and prints what it changed
    Apply {
        /// Members, endpoints, ranges, announcements and agreements, as TOML
        file: PathBuf,
        /// Only if it still does what `tandem plan` said, by the hash that this printed
        #[arg(long, value_name = "HASH")]
        plan: Option<String>,
    },
    /// Says what `tandem apply` would change: rows, routes, and where the calls of the last day would go. Exits with 2
    /// where anything would change, with 0 where nothing would
    Plan {
        /// Members, endpoints, ranges, announcements and agreements, as TOML
        file: PathBuf,
    },
    /// Says who would get a call, and why
    Lookup {
        /// The member that calls
        #[arg(long, value_name = "MEMBER")]
        from: String,
        /// The called number, internationally, such as +442079460000
        #[arg(required_unless_present = "file")]
        number: Option<String>,
        /// A file with a number on each line, instead: each is answered with a line
        #[arg(long, conflicts_with = "number")]
        file: Option<PathBuf>,
        /// As the exchange was at this moment, such as 2026-05-01T12:00:00Z
        #[arg(long, value_name = "TIME")]
        at: Option<DateTime<Utc>>,
    },
    /// Says why a call went where it went, and makes its selection again on the route table of that time. Fails where
    /// another one comes of it
    Explain {
        /// The id of the call
        #[arg(value_parser = call_id)]
        call: CallId,
    },
    /// Says since when the past of the exchange is known, and fails where it is not what was written
    History,
    /// Files of ported numbers, which a node reads
    #[command(subcommand)]
    Portability(PortabilityCommand),
    /// Bearer tokens of the API
    #[command(subcommand)]
    Token(TokenCommand),
    /// People who act for the operator of the exchange
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Prints every setting with its meaning and default
    Settings,
    /// Runs member switches that join a running exchange and call each other
    Simulate(simulate::Options),
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Makes a token and prints it; it is not shown again
    Create {
        #[command(flatten)]
        scope: Scope,
        /// What it is for
        #[arg(long, default_value = "made on the command line")]
        name: String,
        /// How long it holds
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=account::MOST_DAYS))]
        days: i64,
    },
}

#[derive(Subcommand)]
enum OperatorCommand {
    /// Makes a log-in, or gives one a new password, and prints the password; it is not shown again
    Create {
        /// The address with which the person signs in
        email: String,
    },
}

fn main() -> ExitCode {
    allocator::set_up();
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            say_error(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a command that fails says why")]
fn say_error(error: &anyhow::Error) {
    eprintln!("tandem: {error:#}");
}

#[expect(clippy::print_stdout, reason = "it prints what it was asked for")]
fn print_settings() {
    print!("{}", settings::DEFAULTS);
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if let Command::Settings = arguments.command {
        print_settings();
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Portability(command) = &arguments.command {
        return portability::run(command).map(|()| ExitCode::SUCCESS);
    }
    let settings = Settings::load(arguments.config.as_deref(), std::env::vars())?;
    let is_server = matches!(arguments.command, Command::Serve | Command::Simulate(_));
    log(&settings.log, is_server)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // The threads that carry calls are none of these.
        .on_thread_start(give_way_to_calls)
        .build()?;
    runtime.block_on(perform(arguments.command, &settings))
}

/// How much less of the processor than a thread that carries calls gets one that does anything else (`nice(2)`): for ten
/// steps a ninth, and it is interrupted as soon as a message comes.
const NICENESS: i32 = 10;

/// Lets this thread wait for those that carry calls: building a table of millions of prefixes takes seconds.
fn give_way_to_calls() {
    // On Linux it is the thread's own. Where it is not permitted, threads are equal.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

/// Logs to standard error. Short commands say only what is wrong, unless they are asked for more.
fn log(settings: &LogSettings, is_server: bool) -> anyhow::Result<()> {
    let is_default = settings.filter == Settings::read(None, [])?.log.filter;
    let filter = if is_server || !is_default { &settings.filter } else { "error" };
    let filter = filter.parse::<EnvFilter>().context("log.filter")?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Plain => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// How `tandem plan` ends where the file would change something.
const WOULD_CHANGE: u8 = 2;

async fn perform(command: Command, settings: &Settings) -> anyhow::Result<ExitCode> {
    let clock = Arc::new(SystemClock);
    let done = match command {
        Command::Plan { file } => {
            let planned = with_database(settings, async |db| plan::run(db, &file, clock.now()).await).await?;
            return Ok(if planned { ExitCode::from(WOULD_CHANGE) } else { ExitCode::SUCCESS });
        }
        Command::Serve => serve::run(settings, clock, seed(), signals()?).await,
        Command::Simulate(options) => {
            let mut signals = signals()?;
            let stop = async move { signals.recv().await.unwrap_or_default() };
            simulate::run(&options, clock, seed(), stop).await
        }
        Command::Migrate => with_database(settings, async |_| Ok(())).await,
        Command::Apply { file, plan } => {
            with_database(settings, async |db| match plan {
                None => apply::run(db, &file, clock.now()).await,
                Some(planned) => plan::apply(db, &file, &planned, clock.now()).await,
            })
            .await
        }
        Command::Lookup { from, number, file, at } => {
            let moment = at.map_or_else(|| Moment::Now(clock.now()), Moment::Past);
            let draw = StdRng::from_seed(seed()).random();
            let ported = &settings.portability;
            with_database(settings, async |db| match (number, file) {
                (_, Some(file)) => lookup::run_file(db, ported, &from, &file, draw, moment).await,
                (number, None) => {
                    lookup::run(db, ported, &from, &number.unwrap_or_default(), draw, moment).await
                }
            })
            .await
        }
        Command::Explain { call } => with_database(settings, async |db| explain::run(db, call).await).await,
        Command::History => with_database(settings, history::run).await,
        Command::Token(TokenCommand::Create { scope, name, days }) => {
            with_database(settings, async |db| {
                account::create_token(db, &scope, &name, days, &entropy(), clock.now()).await
            })
            .await
        }
        Command::Operator(OperatorCommand::Create { email }) => {
            with_database(settings, async |db| {
                account::create_operator(db, &email, &entropy(), clock.now()).await
            })
            .await
        }
        Command::Settings | Command::Portability(_) => Ok(()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn call_id(text: &str) -> Result<CallId, String> {
    text.parse()
        .map(CallId)
        .map_err(|_| "write the id of a call, as the portal and the API show it".to_owned())
}

/// Opens the database for one command; a private cluster that is started for it is stopped after it.
async fn with_database<T>(
    settings: &Settings,
    work: impl AsyncFnOnce(&PgPool) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let database = Database::open_now(settings).await?;
    let outcome = work(&database.pool).await;
    database.close().await?;
    outcome
}

/// SIGTERM and SIGINT, each time they come.
fn signals() -> anyhow::Result<mpsc::Receiver<()>> {
    let (sender, signals) = mpsc::channel(4);
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut stream = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && sender.send(()).await.is_ok() {} });
    }
    Ok(signals)
}
