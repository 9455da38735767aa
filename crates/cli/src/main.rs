//! The program `fanfare`: one file for each command group.

mod account;
mod attach;
mod audit;
mod bars;
mod campaign;
mod contact;
mod context;
mod credits;
mod db;
mod demo;
mod import;
mod kinds;
mod list;
mod logs;
mod message;
mod offers;
mod output;
mod parse;
mod roles;
mod sample;
mod schedule;
mod sim;
mod stream;
mod template;
mod words;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use context::Global;
use output::Output;

/// Durable broadcasts: from a contact file to a balanced account of every message.
#[derive(Debug, Parser)]
#[command(name = "fanfare", version, propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole job on this machine: import, plan, send through a simulated provider, account for all
    Demo(demo::Demo),
    /// Everything in one process: scheduler, worker, and the server that providers post to
    Up(roles::Listen),
    /// Run a worker: sends messages; run as many as you like, on any machine
    Worker,
    /// Run a scheduler: expands, reclaims and finishes runs; run as many as you like
    Scheduler,
    /// Run the server that providers post receipts and replies to; run as many as you like
    Serve(roles::Listen),
    /// Import contact files into a list
    Import(import::Import),
    /// Lists, their contacts, and addresses never to write to
    #[command(subcommand)]
    List(list::Command),
    /// Contacts: all that is known of one, its tags and attributes, the right to be forgotten
    #[command(subcommand)]
    Contact(contact::Command),
    /// Templates: what is said
    #[command(subcommand)]
    Template(template::Command),
    /// Accounts at providers, their limits and prices
    #[command(subcommand)]
    Account(account::Command),
    /// Campaigns: plan, launch, follow, account for every message
    #[command(subcommand)]
    Campaign(campaign::Command),
    /// Schedules: when cron expressions and plain words come
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// One message to one recipient, ahead of all bulk
    #[command(subcommand)]
    Message(message::Command),
    /// Top up and show the credit of the workspace
    #[command(subcommand)]
    Credits(credits::Command),
    /// The rules of the workspace: consent, how often a contact is written to, and when
    #[command(subcommand)]
    Workspace(workspace::Command),
    /// Check every book of the workspace against what it is kept of
    Audit,
    /// Simulate a provider on loopback, with faults; it judges what it is sent
    Sim(sim::Options),
    /// Look after the database
    #[command(subcommand)]
    Db(db::Command),
}

fn main() -> ExitCode {
    // Bad usage ends here, with exit code 2.
    let cli = Cli::parse();
    let output = Output::new(cli.global.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return output.error(&anyhow::Error::new(e).context("cannot start the runtime")),
    };
    match runtime.block_on(dispatch(cli.global, cli.command, output)) {
        Ok(code) => code,
        Err(error) => output.error(&error),
    }
}

async fn dispatch(global: Global, command: Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(demo) => demo::run(&global, &demo, output).await,
        Command::Import(import) => import::run(&global, &import, output).await,
        Command::Up(listen) => roles::up(&global, &listen, output).await,
        Command::Serve(listen) => roles::serve(&global, &listen, output).await,
        Command::Worker => roles::worker(&global, output).await,
        Command::Scheduler => roles::scheduler(&global, output).await,
        Command::List(command) => list::run(&global, command, output).await,
        Command::Contact(command) => contact::run(&global, command, output).await,
        Command::Template(command) => template::run(&global, command, output).await,
        Command::Account(command) => account::run(&global, command, output).await,
        Command::Campaign(command) => campaign::run(&global, command, output).await,
        Command::Schedule(command) => schedule::run(command, output),
        Command::Workspace(command) => workspace::run(&global, command, output).await,
        Command::Message(command) => message::run(&global, command, output).await,
        Command::Credits(command) => credits::run(&global, command, output).await,
        Command::Audit => audit::run(&global, output).await,
        Command::Sim(options) => sim::run(&options, output).await,
        Command::Db(command) => db::run(&global, command, output).await,
    }
}
