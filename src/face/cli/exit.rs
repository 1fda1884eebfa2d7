//! How a command ends badly: a message, what to do about it, and an exit code of sysexits(3).

use std::fmt;

/// An exit code of sysexits(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// 64: the command line was wrong.
    Usage,
    /// 65: the input was wrong.
    Data,
    /// 66: an input is not there.
    NoInput,
    /// 67: an addressee cannot be.
    NoUser,
    /// 69: something needed is not available.
    Unavailable,
    /// 70: a fault in this program.
    Software,
    /// 73: an output cannot be made.
    CannotCreate,
    /// 74: reading or writing failed.
    Io,
    /// 75: try again later.
    TempFail,
    /// 77: not allowed.
    NoPermission,
    /// 78: something is set up wrong.
    Config,
}

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Self::Usage => 64,
            Self::Data => 65,
            Self::NoInput => 66,
            Self::NoUser => 67,
            Self::Unavailable => 69,
            Self::Software => 70,
            Self::CannotCreate => 73,
            Self::Io => 74,
            Self::TempFail => 75,
            Self::NoPermission => 77,
            Self::Config => 78,
        }
    }
}

/// Why a command failed, for a person: what went wrong, and the next step.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong, one sentence without a full stop.
    pub message: String,
    /// What to do next, if there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with no advice.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: in_words(message.to_string()), hint: None }
    }

    /// The same with advice.
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  → {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let exit = match error.kind() {
            std::io::ErrorKind::StorageFull => Exit::TempFail,
            _ => Exit::Io,
        };
        Self::new(exit, error)
    }
}

/// The same text without the numbers that the system gives its errors.
fn in_words(mut text: String) -> String {
    const NUMBER: &str = " (os error ";
    while let Some(at) = text.find(NUMBER) {
        let len = text[at..].find(')').map_or(text.len() - at, |end| end + 1);
        text.replace_range(at..at + len, "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_is_told_in_words_alone() {
        let error = std::io::Error::from_raw_os_error(2);
        let told = Failure::new(Exit::Io, format_args!("a: {error}; b: {error}")).message;
        assert_eq!(told, "a: No such file or directory; b: No such file or directory");
        assert_eq!(in_words("x (os error 1".to_owned()), "x");
    }
}
