//! Makes flags behave as those of Go's programs, because scripts rely on it: `--rm=false` and `-i=1` are meant,
//! and an option takes the next word whatever it begins with (`--memory-swap -1`, `-e -x`).

use clap::builder::TypedValueParser;
use clap::{Arg, ArgAction, Command};

/// Adapts a whole grammar.
pub(crate) fn like_go(command: Command) -> Command {
    command.mut_args(adapt).mut_subcommands(like_go)
}

fn adapt(arg: Arg) -> Arg {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return switch(arg).default_value("false");
    }
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    if takes_value && !arg.is_positional() && !arg.is_require_equals_set() {
        return arg.allow_hyphen_values(true);
    }
    arg
}

/// A flag that may be given a value after `=`.
pub(crate) fn switch(arg: Arg) -> Arg {
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(clap::builder::NonEmptyStringValueParser::new().try_map(|text| boolean(&text)))
}

/// The words Go takes for a boolean.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}
