//! Asking before what cannot be undone: a person is asked, a program says `--yes`.

use std::io::{BufRead, IsTerminal, Write};

use crate::failure::Failure;

/// Goes on only after `yes` was given or a person said so.
///
/// # Errors
/// A refusal that names `--yes` where nobody can be asked, or that says nothing was changed where they declined.
pub(crate) fn or_ask(yes: bool, question: &str) -> Result<(), Failure> {
    if yes || (someone_is_there() && said_yes(question)) {
        return Ok(());
    }
    if someone_is_there() {
        return Err(Failure::cannot_run("Nothing was changed."));
    }
    Err(Failure::cannot_run(format!("{question} Nobody can be asked here: add --yes to go on. Nothing was changed.")))
}

/// As [`or_ask`], where a program needs not say so.
///
/// # Errors
/// That they declined.
pub(crate) fn or_ask_on_terminal(yes: bool, question: &str) -> Result<(), Failure> {
    if someone_is_there() { or_ask(yes, question) } else { Ok(()) }
}

/// Whether a person sits before the command: both ends of the talk are a terminal.
pub(crate) fn someone_is_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn said_yes(question: &str) -> bool {
    let mut talk = std::io::stderr().lock();
    let asked = write!(talk, "{question} [y/N] ").and_then(|()| talk.flush());
    let mut answer = String::new();
    let answered = asked.and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    answered.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}
