//! The command line.
use std::error::Error;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use lastword::app::{App, check, keys};
use lastword::client::{self, AskIn, Client, ClientError, Escapes, Output, Question, warn};
use lastword::config::{
    AskFlags, ClientFlags, Command, Config, KeysCommand, PlaceFlags, ServeFlags, TailFlags,
    command_line, completions, terminal,
};
use lastword::telemetry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code for a start that was refused, as for a misspelt flag.
const REFUSED: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    // Every TLS client and server here uses ring; without this the first one would panic.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match command_line().command {
        Command::Serve(flags) => serve(*flags).await.map(|()| ExitCode::SUCCESS),
        Command::Check(flags) => check_all(*flags).await,
        Command::Keys { place, command } => {
            telemetry::start(place.log_format);
            keys(*place, command).await.map(|()| ExitCode::SUCCESS)
        }
        Command::Ask(flags) => return ended(ask(flags).await),
        Command::Tail(flags) => return ended(tail(flags).await),
        Command::Models(flags) => return ended(models(&flags).await),
        Command::Completions { shell } => {
            let script = completions(shell);
            std::io::stdout().write_all(&script).map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let mut said = error.to_string();
            eprintln!("lastword: {said}");
            let mut source = error.source();
            while let Some(cause) = source {
                let words = cause.to_string();
                // Libraries differ in whether an error repeats its cause.
                if !said.contains(&words) {
                    eprintln!("  because: {words}");
                    said = words;
                }
                source = cause.source();
            }
            ExitCode::from(REFUSED)
        }
    }
}

async fn ask(flags: AskFlags) -> Result<u8, ClientError> {
    let mut prompt = flags.prompt.join(" ");
    if prompt == "-" || (prompt.is_empty() && !std::io::stdin().is_terminal()) {
        prompt = std::io::read_to_string(std::io::stdin())?;
    }
    if prompt.trim().is_empty() {
        let why = "there is no prompt: `lastword ask \"Tell me about rivers\"`, or by a pipe";
        return Err(ClientError::Flag(why.into()));
    }
    let (client, output) = connection(&flags.client)?;
    let place = match flags.conversation {
        Some(id) if id == "new" => AskIn::New,
        Some(id) => AskIn::Conversation(id),
        None if flags.continue_last => AskIn::Last,
        None => AskIn::Nowhere,
    };
    let conversation_id = client.conversation(place).await?;
    let question = Question { prompt, model: flags.model, system: flags.system, conversation_id };
    client::ask(&client, &question, output).await
}

async fn tail(flags: TailFlags) -> Result<u8, ClientError> {
    let (client, output) = connection(&flags.client)?;
    client::tail(&client, &flags.id, flags.after, output).await
}

async fn models(flags: &ClientFlags) -> Result<u8, ClientError> {
    let (client, output) = connection(flags)?;
    client::models(&client, output).await
}

fn connection(flags: &ClientFlags) -> Result<(Client, Output), ClientError> {
    let client = Client::new(&flags.server, flags.key.as_deref())?;
    let ClientFlags { json, quiet, reasoning, .. } = *flags;
    Ok((client, Output { json, quiet, reasoning, escapes: escapes() }))
}

fn escapes() -> Escapes {
    let terminal = terminal();
    Escapes { colours: terminal.colours, moves: terminal.moves }
}

fn ended(outcome: Result<u8, ClientError>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            warn(&error.to_string(), escapes());
            if let Some(hint) = error.hint() {
                // A closed standard error leaves the exit code.
                let _ = writeln!(std::io::stderr(), "  {hint}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

async fn serve(flags: ServeFlags) -> Result<(), Box<dyn Error>> {
    telemetry::start(flags.place.log_format);
    let (stop, hurry) = (CancellationToken::new(), CancellationToken::new());
    let signals = watch_signals(stop.clone(), hurry.clone())?;
    let work = async {
        let mut config = Config::load(flags)?;
        config.limits.spans = telemetry::spans();
        let app = tokio::select! {
            app = App::build(&config) => app?,
            () = stop.cancelled() => return Ok(()),
        };
        // A closed standard output shall not end us.
        let _ = say(&app);
        Ok(app.run(stop.clone(), hurry.clone()).await?)
    };
    let result = tokio::select! {
        result = work => result,
        never = signals => match never {},
    };
    // Waits for the network, as only the last thing may.
    tokio::task::block_in_place(telemetry::stop);
    result
}

fn say(app: &App) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "lastword {} ({})", env!("CARGO_PKG_VERSION"), env!("BUILD_COMMIT"))?;
    for (name, value) in app.started() {
        writeln!(out, "  {name:<10} {value}")?;
    }
    out.flush()
}

async fn keys(place: PlaceFlags, command: KeysCommand) -> Result<(), Box<dyn Error>> {
    let config = Config::of_place(place)?;
    let told = keys::run(&config, command).await?;
    // A program's value goes to standard output alone: KEY=$(lastword keys create …).
    for line in told.notes {
        eprintln!("{line}");
    }
    let mut out = std::io::stdout().lock();
    for line in told.lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// A line for each thing; what is wrong is followed by how to mend it.
async fn check_all(flags: ServeFlags) -> Result<ExitCode, Box<dyn Error>> {
    telemetry::start(flags.place.log_format);
    let config = Config::load(flags)?;
    let findings = check(&config).await;
    let mut out = std::io::stdout().lock();
    for finding in &findings {
        let mark = if finding.ok { "ok  " } else { "BAD " };
        writeln!(out, "{mark} {}: {}", finding.what, finding.how)?;
        if let Some(mend) = finding.mend {
            writeln!(out, "     to mend it: {mend}")?;
        }
    }
    let all_ok = findings.iter().all(|finding| finding.ok);
    Ok(if all_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The first SIGTERM or SIGINT drains, the second one hurries.
fn watch_signals(
    stop: CancellationToken,
    hurry: CancellationToken,
) -> std::io::Result<impl Future<Output = std::convert::Infallible>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        for token in [stop, hurry] {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            token.cancel();
        }
        std::future::pending().await
    })
}
