//! Errors of the command line, each on one line.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Invocation;
use config::options::UsageError;

/// Help and version are printed; everything else is an error of one line.
pub(super) fn printed(error: &clap::Error, program: &str) -> Result<Invocation, UsageError> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Invocation::Print(error.to_string())),
        _ => Err(UsageError(format!("{} (see '{program} --help')", one_line(error)))),
    }
}

fn one_line(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let suggestion = context(ContextKind::SuggestedArg).or_else(|| context(ContextKind::SuggestedSubcommand));
    let hint = suggestion.map(|text| format!(", did you mean '{text}'?")).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => {
            format!("unknown option '{}'{hint}", context(ContextKind::InvalidArg).unwrap_or_default())
        }
        ErrorKind::InvalidSubcommand => {
            format!("unknown command '{}'{hint}", context(ContextKind::InvalidSubcommand).unwrap_or_default())
        }
        ErrorKind::MissingRequiredArgument => {
            format!("missing {}", context(ContextKind::InvalidArg).unwrap_or_default())
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "no command given".to_owned()
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    }
}
