//! Shell completions and man pages, made from the one definition of the flags: packages ask each program for them when they
//! are built.

use std::{io, path::PathBuf};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

/// Of man pages of daemons.
const DAEMONS: &str = "8";

/// Flags by which a daemon prints texts about itself. They are not shown to people.
#[derive(Debug, clap::Args)]
pub(crate) struct TextArgs {
    /// Print completions for a shell, and stop.
    #[arg(long, value_name = "SHELL", hide = true)]
    completions: Option<Shell>,
    /// Print the man page, and stop.
    #[arg(long, hide = true)]
    man: bool,
}

impl TextArgs {
    /// Whether a text was asked for.
    pub(crate) const fn is_asked(&self) -> bool {
        self.completions.is_some() || self.man
    }

    /// Writes what was asked for about `command`, whose name is that of the program.
    ///
    /// # Errors
    /// When `to` takes nothing.
    pub(crate) fn write(&self, mut command: Command, to: &mut impl io::Write) -> io::Result<()> {
        if let Some(shell) = self.completions {
            to.write_all(&completions(shell, &mut command))?;
        }
        if self.man {
            Man::new(command).section(DAEMONS).render(to)?;
        }
        to.flush()
    }
}

/// Subcommands with the same for a program that has subcommands. They are not shown to people.
#[derive(Debug, clap::Subcommand)]
pub enum TextCommand {
    /// Print completions for a shell.
    #[command(hide = true)]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write a man page of the program and of each of its subcommands.
    #[command(hide = true)]
    Man {
        /// An existing folder.
        folder: PathBuf,
    },
}

impl TextCommand {
    /// Does what was asked for about `command`, whose name is that of the program.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn run(self, mut command: Command) -> io::Result<()> {
        match self {
            Self::Completions { shell } => io::Write::write_all(&mut io::stdout(), &completions(shell, &mut command)),
            Self::Man { folder } => clap_mangen::generate_to(command, folder),
        }
    }
}

fn completions(shell: Shell, command: &mut Command) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    // The generator does not return what goes wrong while it writes.
    clap_complete::generate(shell, command, name, &mut text);
    text
}
